from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_fbrs.training.config import SourceSpec, TrainingConfig
from napari_fbrs.training.crops import Crop
from napari_fbrs.training.precision import Precision
from napari_fbrs.training.validation import Answers, ValidationSet, as_line, validate, validation_sets

PLAIN = Precision(torch.device("cpu"), mixed=False)


class Scripted:
    """Answers the n-th click on a crop with the n-th of some IoUs; a crop's brightness is its number."""

    def __init__(self, *curves: list[int]) -> None:
        self.curves = curves  # in pixels found of the object's 100
        self.asked: Counter[int] = Counter()

    def __call__(self, image: Tensor, _points: Tensor, _prior: Tensor) -> Tensor:
        logits = torch.full((len(image), 1, *image.shape[2:]), -9.0)
        for row, one in zip(logits[:, 0], image, strict=True):
            number = round(float(one.max()) * 255)
            curve = self.curves[number]
            found = curve[min(self.asked[number], len(curve) - 1)]
            self.asked[number] += 1
            row[4 : 4 + found // 10, 4:14] = 9.0
            row[4 + found // 10, 4 : 4 + found % 10] = 9.0
        return logits


def crop(number: int) -> Crop:
    mask = np.zeros((32, 32), dtype=bool)
    mask[4:14, 4:14] = True
    return Crop(np.full((32, 32, 3), number, np.uint8), mask, np.zeros_like(mask), mask)


def test_figures_of_answers_that_are_known():
    quick = [50, 95]
    slow = [10, 20, 30, 40, 50, 60, 86, 70]  # 0.85 at the seventh click, 0.9 never
    loses = [0, 0, 85, 90, 40]
    network = Scripted(quick, slow, loses)
    figures = validate(network, [ValidationSet("set", [crop(i) for i in range(3)])], PLAIN)
    assert figures == {
        "set": Answers(
            iou=pytest.approx([0.2, (0.95 + 0.3 + 0.85) / 3, (0.95 + 0.5 + 0.4) / 3], abs=1e-4),
            noc=pytest.approx([(2 + 7 + 3) / 3, (2 + 10 + 4) / 3], abs=1e-4),
            failed=pytest.approx([0, 1 / 3], abs=1e-4),
        )
    }
    assert network.asked == {0: 5, 1: 10, 2: 5}  # the five of the IoUs, and no more once there


def test_batches_change_nothing(monkeypatch):
    curves = [[90], [10, 20], [40, 92], [86]] * 5
    crops = [crop(i) for i in range(20)]
    whole = validate(Scripted(*curves), [ValidationSet("set", crops)], PLAIN)
    monkeypatch.setattr("napari_fbrs.training.validation._BATCH", 3)
    assert validate(Scripted(*curves), [ValidationSet("set", crops)], PLAIN) == whole


def test_a_line_of_the_log_has_means_over_the_sources():
    line = as_line({"a": Answers([0.5, 0.6, 0.7], [2, 4], [0, 0.5]), "b": Answers([0.7, 0.8, 0.9], [4, 6], [1, 1])})
    assert line["mean_iou"] == [0.6, 0.7, 0.8]
    assert line["mean_noc"] == [3, 5]
    assert line["mean_failed"] == [0.5, 0.75]
    assert line["noc"] == {"a": [2, 4], "b": [4, 6]}
    assert (line["clicks"], line["targets"], line["max_clicks"]) == ((1, 3, 5), (0.85, 0.9), 10)
    assert as_line({})["mean_noc"] == []


def test_sets_of_one_name_are_told_apart(config: TrainingConfig, in_folder, discs: Path, tmp_path: Path):
    other = tmp_path / "other" / "discs"
    shutil.copytree(discs, other)
    sets = validation_sets(in_folder(config, "x", sources=(SourceSpec(str(discs)), SourceSpec(str(other)))))
    assert [one.name for one in sets] == ["discs", str(other)]


def test_crops_are_the_same_for_every_run(config: TrainingConfig, in_folder, discs: Path):
    sources = (SourceSpec("scenes"), SourceSpec(str(discs)))
    one, other = (validation_sets(in_folder(config, "x", sources=sources, seed=seed)) for seed in (0, 7))
    assert [part.name for part in one] == ["discs"]
    for first, second in zip(one[0].crops, other[0].crops, strict=True):
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.mask, second.mask)
