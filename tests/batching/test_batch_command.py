"""The batch command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_fbrs.batching import cluster, command, running
from napari_fbrs.batching.command import usual_jobs
from napari_fbrs.cli import main


@pytest.fixture
def here(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Have batches done in this process, with the stand-in; return the options they are given."""
    given: list[dict[str, Any]] = []

    def batch(*args: Any, **options: Any) -> running.Batch:
        given.append(options)
        return running.batch(*args, **(options | {"apart": False, "jobs": 1}))

    monkeypatch.setattr(command, "batch", batch)
    return given


def test_progress_failures_and_what_came_of_it(squares, here, capsys):
    Path("images/b.csv").write_text("object,row,column,positive\n1,12,x,1\n")
    assert main(["batch", "images", "-o", "out", "--jobs", "3"]) == 1
    said = capsys.readouterr()
    why = "b.csv, line 2: column must be a number, found 'x'"
    assert said.out.splitlines() == [f"b failed: {why}", "images: 2 done, 1 failed; results in out"]
    lines = said.err.splitlines()
    assert f"failed: b: {why}" in lines
    assert [line.split(",")[0] for line in lines if "left" in line] == [f"{done} of 3 images" for done in (1, 2, 3)]
    assert (here[0]["jobs"], here[0]["apart"]) == (3, True)
    Path("images/b.csv").write_text("object,row,column,positive\n1,12,20,1\n")
    assert main(["batch", "images", "-o", "out"]) == 0
    said = capsys.readouterr()
    assert said.out == "images: 1 done, 2 done before; results in out\n"
    np.testing.assert_array_equal(tifffile.imread("out/b.tif"), squares["b"])


def test_every_option_arrives(squares, here, capsys):
    options = "--seeds maxima --diameter 15 --dark --format masks --value 1 --margin 2 --names {object} --records"
    prediction = "--threshold 0.6 --contrast-limits 0 255 --mode NoBRS --device cpu --threads 2 --overwrite --anyway"
    assert main(["batch", "images/a.png", "-o", "out", *options.split(), *prediction.split()]) == 0
    assert {key: value for key, value in here[0].items() if key not in ("progress", "jobs")} == {
        "seeds": "maxima", "diameter": 15, "dark": True, "format": "masks", "value": 1, "margin": 2,
        "names": "{object}", "records": True, "threshold": 0.6, "contrast_limits": [0, 255], "mode": "NoBRS",
        "device": "cpu", "threads": 2, "overwrite": True, "anyway": True, "clicks": None, "labels": None,
        "model": "default", "scheduler": None, "apart": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scheduler", "tcp://127.0.0.1:1"], "no dask scheduler answers at tcp://127.0.0.1:1"),
        (["--threshold", "2"], "--threshold: must be at least 0 and below 1"),
        (["--jobs", "0"], "--jobs: must be a whole number from 1"),
        (["--seeds", "distance"], "need the diameter"),
    ],
)
def test_bad_input_is_one_line(squares, here, capsys, monkeypatch, options, said):
    monkeypatch.setattr(cluster, "_PATIENCE", "0.2 s")
    assert main(["batch", "images", "-o", "out", "--device", "cpu", *options]) == 2
    assert said in capsys.readouterr().err


def test_half_of_the_processors_are_used(monkeypatch):
    for there, used in ((1, 1), (2, 1), (9, 4)):
        monkeypatch.setattr(command, "available_processors", lambda there=there: there)
        assert usual_jobs("cpu") == used


def test_the_benchmark_is_wired_in(capsys):
    assert main(["benchmark", "batch", "--workers", "0"]) == 2
    assert "numbers from 1" in capsys.readouterr().err
