from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from napari_fbrs.cli import main
from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.datasets import Source
from napari_fbrs.evaluation.noc import sample_objects, summary
from napari_fbrs.evaluation.simulation import Run


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    """Return a data set of two images with a large bright disc and a speck each."""
    folder = tmp_path / "discs"
    rows, columns = np.indices((96, 96))
    for name, centre in (("a", (40, 40)), ("b", (50, 60))):
        disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= 20**2
        labels = disc.astype(np.uint8)
        labels[:3, :3] = 2
        for kind, pixels in (("images", np.where(disc, 220, 30).astype(np.uint8)), ("labels", labels)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            iio.imwrite(folder / kind / f"{name}.png", pixels)
    return folder


def test_a_sample_is_seeded_and_leaves_out_small_objects(discs):
    source = Source(discs, validation=None)
    assert [(s.image, s.label) for s in sample_objects(source, None, 100)] == [(0, 1), (1, 1)]
    assert len(sample_objects(source, None, 5)) == 4
    assert sample_objects(source, 2, 5, seed=3) == sample_objects(source, 2, 5, seed=3)
    with pytest.raises(InputError, match="no object of at least 5000 pixels"):
        sample_objects(source, None, 5000)


def test_summary_of_known_runs():
    click = (Click(0, 0),)
    runs = [Run(click * 2, (0.7, 0.95), (0.1, 0.3)), Run(click * 3, (0.5, 0.6, 0.84), (0.2, 0.2, 0.2))]
    figures = summary(runs, limit=3)
    assert figures["NoC@80"] == (2 + 3) / 2
    assert figures["NoC@85"] == (2 + 3) / 2
    assert figures["failures at 90"] == 1
    assert figures["IoU after 1"] == pytest.approx(0.6)
    assert figures["IoU after 5"] == pytest.approx((0.95 + 0.84) / 2)
    assert figures["ms a click"] == pytest.approx(200)


def test_evaluate_prints_and_writes_the_same_figures(discs, tmp_path, capsys):
    out = tmp_path / "figures.json"
    assert main(["evaluate", str(discs), "--clicks", "3", "--device", "cpu", "--json", str(out)]) == 0
    record = json.loads(out.read_text())
    assert record["figures"]["objects"] == len(record["runs"]) == 2
    assert record["figures"]["IoU after 1"] > 0.8  # a bright disc is no puzzle
    assert "NoC@85" in capsys.readouterr().out
