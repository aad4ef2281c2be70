from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.arrays import LabelledArray
from napari_fbrs.evaluation.layouts import open_pictures
from napari_fbrs.evaluation.noc import held, mean_iou, spread, summary
from napari_fbrs.evaluation.objects import sample_objects
from napari_fbrs.evaluation.simulation import Run

CLICK = (Click(0, 0),)
RUNS = [Run(CLICK * 2, (0.7, 0.95), (0.1, 0.3)), Run(CLICK * 3, (0.5, 0.6, 0.84), (0.2, 0.2, 0.2))]
NO_CLICK = Run((), (), ())


def test_a_sample_is_seeded_and_leaves_out_small_objects(tmp_path: Path):
    labels = np.zeros((40, 40), np.uint8)
    labels[5:20, 5:20], labels[:3, :3] = 1, 2
    for name in ("a", "b"):
        for kind in ("images", "labels"):
            (tmp_path / kind).mkdir(exist_ok=True)
            iio.imwrite(tmp_path / kind / f"{name}.png", labels)
    source = open_pictures(tmp_path)
    assert [(s.image, s.label) for s in sample_objects(source)] == [(0, 1), (1, 1)]
    assert len(sample_objects(source, min_area=5)) == 4
    assert sample_objects(source, 2, 5, seed=3) == sample_objects(source, 2, 5, seed=3)
    with pytest.raises(InputError, match="no object of at least 5000 pixels"):
        sample_objects(source, min_area=5000)


def test_a_sample_spread_over_images_takes_from_each_before_it_takes_from_one_again(tmp_path: Path):
    counts = {"a": 9, "b": 1, "c": 3}
    for name, count in counts.items():
        labels = np.zeros((40, 40), np.uint8)
        for i in range(count):
            labels[12 * (i // 3) :, 12 * (i % 3) :][:10, :10] = i + 1
        for kind in ("images", "labels"):
            (tmp_path / kind).mkdir(exist_ok=True)
            iio.imwrite(tmp_path / kind / f"{name}.png", labels)
    source = open_pictures(tmp_path)

    def images(limit: int | None, seed: int) -> list[int]:
        samples = sample_objects(source, limit, seed=seed, spread=True)
        assert samples == sorted(set(samples), key=lambda sample: (sample.image, sample.label))
        return [sample.image for sample in samples]

    for seed in range(5):
        assert images(3, seed) == [0, 1, 2]
        assert images(5, seed) == [0, 0, 1, 2, 2]
        assert images(8, seed) == [0, 0, 0, 0, 1, 2, 2, 2]
    assert len({tuple(sample_objects(source, 3, seed=seed, spread=True)) for seed in range(5)}) > 1
    assert sample_objects(source, spread=True) == sample_objects(source)


def test_pixels_that_do_not_count_are_no_object():
    labels = np.full((20, 20), -1)
    labels[:10] = 3
    assert [sample.label for sample in sample_objects(LabelledArray(labels * 1.0, labels))] == [3]


def test_summary_of_known_runs():
    figures = summary(RUNS, limit=3)
    assert figures["NoC@80"] == (2 + 3) / 2
    assert figures["NoC@85"] == (2 + 3) / 2
    assert (figures["failed@85"], figures["failed@90"]) == (1, 1)
    assert figures["IoU after 1"] == pytest.approx(0.6)
    assert figures["IoU after 3"] == pytest.approx((0.95 + 0.84) / 2)
    assert "IoU after 5" not in figures
    assert figures["ms a click"] == pytest.approx(200)


def test_a_run_that_stopped_keeps_its_iou():
    assert held(RUNS[0], 4) == [0.7, 0.95, 0.95, 0.95]
    assert mean_iou(RUNS, 3) == pytest.approx([0.6, (0.95 + 0.6) / 2, (0.95 + 0.84) / 2])


def test_an_object_that_takes_no_click():
    assert summary([NO_CLICK])["failed@90"] == 1
    assert summary([NO_CLICK])["ms a click"] == 0
    assert held(NO_CLICK, 2) == [1, 1]


def test_the_spread_is_over_people():
    quick = Run(CLICK, (0.95,), (0.1,))
    figures = spread([[quick, quick], [RUNS[0], quick], [RUNS[0], RUNS[0]]], limit=3)
    assert figures["NoC@90"] == pytest.approx((1.5, 0.5))  # 1, 1.5 and 2 clicks
    assert spread([[quick]])["NoC@90"] == (1, 0)


def test_reference_tables(parity_tables):
    table = parity_tables["noc"]
    runs = [Run(CLICK * len(ious), tuple(ious), (0.0,) * len(ious)) for ious in table["ious"]]
    figures = summary(runs, table["max_clicks"])
    for target, noc in zip(table["thresholds"], table["noc"], strict=True):
        if (name := f"NoC@{100 * target:.0f}") in figures:
            assert figures[name] == pytest.approx(noc, rel=1e-12)
