from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from fakes import BrightNetwork, model_of

from napari_fbrs import cli
from napari_fbrs.cli import main
from napari_fbrs.evaluation import command, measuring
from napari_fbrs.inference.settings import MODES


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> BrightNetwork:
    """Have the command load a model that finds what is bright."""
    network = BrightNetwork()
    monkeypatch.setattr(measuring, "load_model", lambda *_: model_of(network))
    return network


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    """Return a data set of two images with a large bright disc, a dark one and a speck each."""
    folder = tmp_path / "discs"
    rows, columns = np.indices((64, 96))
    for name, centre in (("a", (30, 30)), ("b", (34, 34))):
        bright, dark = (np.hypot(rows - centre[0], columns - column) <= 14 for column in (centre[1], 78))
        labels = 1 * bright + 2 * dark
        labels[:3, :3] = 3
        for kind, pixels in (("images", 30 + 190 * bright), ("labels", labels)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            iio.imwrite(folder / kind / f"{name}.png", pixels.astype(np.uint8))
    return folder


def evaluate(*arguments: object) -> int:
    return main(["evaluate", *map(str, arguments), "--device", "cpu", "--clicks", "4"])


def told(path: Path) -> Any:
    """Return what was written as JSON, without times."""
    record = json.loads(path.read_text())
    for dataset in record["datasets"]:
        for subject in dataset["subjects"]:
            del subject["figures"]["ms a click"]
            for run in [*subject["runs"], *(run for runs in subject["people"]["runs"] for run in runs)]:
                del run["seconds"]
    return record


def refused(capsys: pytest.CaptureFixture[str], code: int) -> str:
    assert code == 2
    return capsys.readouterr().err


def test_the_table_and_the_json_agree(discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "figures.json"
    assert evaluate(discs, "--json", out, "--mode", "NoBRS", "--mode", "voronoi", "--people", 2) == 0
    said = capsys.readouterr()
    (dataset,) = json.loads(out.read_text())["datasets"]
    assert [(o["image"], o["label"]) for o in dataset["objects"]] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    subjects = {subject["subject"]: subject for subject in dataset["subjects"]}
    bright = [subjects["NoBRS"]["runs"][number]["ious"] for number in (0, 2)]
    assert all(ious[0] > 0.8 for ious in bright)  # a bright disc is no puzzle
    lines = [line.split() for line in said.out.splitlines()]
    assert f"{subjects['NoBRS']['figures']['NoC@90']:.2f}" in next(line for line in lines if line[:1] == ["NoBRS"])
    assert ["2", "people"] in [line[:2] for line in lines]
    assert said.err == ""  # nobody looks at the progress


def test_a_command_repeated_does_nothing_again(
    discs: Path, tmp_path: Path, stand_in: BrightNetwork, capsys: pytest.CaptureFixture[str]
):
    out, again = tmp_path / "figures.json", tmp_path / "again.json"
    options = (discs, "--mode", "f-BRS-B", "--people", 1)
    assert evaluate(*options, "--json", out) == 0
    passes = stand_in.passes
    assert evaluate(*options, "--json", again, "--resume", tmp_path / "figures.runs.jsonl") == 0
    assert stand_in.passes == passes
    assert "8 of 8 runs are in" in capsys.readouterr().out
    assert again.read_text() == out.read_text()


def test_the_same_result_where_it_was_stopped(discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    options = (discs, "--mode", "f-BRS-C", "--mode", "voronoi", "--people", 1)
    assert evaluate(*options, "--json", tmp_path / "whole.json") == 0
    simulate, left = command.run_all, 5

    def stopped(*arguments: Any, **options: Any) -> Any:
        for number, finished in enumerate(simulate(*arguments, **options)):
            if number == left:
                raise KeyboardInterrupt
            yield finished

    monkeypatch.setattr(command, "run_all", stopped)
    assert evaluate(*options, "--json", tmp_path / "parts.json") == 130
    assert not (tmp_path / "parts.json").exists()
    assert len((tmp_path / "parts.runs.jsonl").read_text().splitlines()) == 1 + left
    monkeypatch.setattr(command, "run_all", simulate)
    assert evaluate(*options, "--json", tmp_path / "parts.json") == 0
    assert told(tmp_path / "parts.json") == told(tmp_path / "whole.json")


def test_another_model_or_setting_is_refused(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    options = (discs, "--limit", 1, "--json", tmp_path / "a.json")
    assert evaluate(*options) == 0
    assert "this is settings published" in refused(capsys, evaluate(*options, "--published"))
    monkeypatch.setattr(measuring, "load_model", lambda *_: model_of(BrightNetwork()))
    assert "made with model" in refused(capsys, evaluate(*options))


def test_data_that_changed_are_refused(discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    options = (discs, "--limit", 1, "--json", tmp_path / "a.json")
    assert evaluate(*options) == 0
    iio.imwrite(discs / "labels" / "a.png", np.full((64, 96), 1, np.uint8))
    assert "the data has changed" in refused(capsys, evaluate(*options))


def test_several_data_sets_and_formats(discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    other = tmp_path / "GrabCut"
    for kind, folder in (("images", "data_GT"), ("labels", "boundary_GT")):
        (other / folder).mkdir(parents=True)
        pixels = iio.imread(discs / kind / "a.png")
        iio.imwrite(other / folder / "a.png", pixels if kind == "images" else 255 * (pixels == 1).astype(np.uint8))
    assert evaluate(discs, other, "--json", tmp_path / "a.json", "--mode", "voronoi") == 0
    said = capsys.readouterr().out
    assert "discs, 4 objects" in said
    assert "GrabCut, 1 object\n" in said
    datasets = json.loads((tmp_path / "a.json").read_text())["datasets"]
    assert [dataset["format"] for dataset in datasets] == ["folder", "grabcut"]
    assert "given twice" in refused(capsys, evaluate(discs, discs))


def test_published_settings_are_those_of_each_data_set(tmp_path: Path):
    setup = measuring.FileSetup(
        {"d": measuring.DataSpec(tmp_path, "davis"), "g": measuring.DataSpec(tmp_path, "grabcut")}, "m", "cpu", True
    )
    for name, target in (("d", 600), ("g", 400)):
        settings = setup.settings(name)
        assert settings.zoom is not None
        assert (settings.zoom.target_size, settings.zoom.min_crop_size) == (target, 200)
        assert (settings.input_size, settings.first_look, settings.insist) == (None, False, False)


def test_all_is_everything_that_can_be_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measuring, "missing_subjects", lambda: ["grabcut"])
    assert measuring.chosen_subjects(["voronoi", "all"]) == ["voronoi", *MODES, "random-walker"]


def test_a_plot_and_a_page(discs: Path, tmp_path: Path):
    pytest.importorskip("matplotlib")
    assert evaluate(discs, "--plot", tmp_path / "a.svg", "--worst", tmp_path / "a.html", "--limit", 2) == 0
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert (tmp_path / "a.html").read_text().count("<figure>") == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--mode", "sam"], "nothing is called 'sam' that could be measured; --mode takes NoBRS"),
        (["--min-area", "9000"], "discs has no object of at least 9000 pixels; --min-area says"),
        (["--format", "sbd"], "has no val.txt"),
        (["--json", "no/such/a.json"], "there is no folder"),
        (["--jobs", "0"], "must be a whole number from 1, found '0'"),
        (["--format", "coco"], "invalid choice: 'coco'"),
        (["--seed", "-5"], "must be a whole number from 0, found '-5'"),
        (["--seed", "1.5"], "must be a whole number from 0, found '1.5'"),
    ],
)
def test_what_cannot_be_done_is_said(discs: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str):
    assert said in refused(capsys, evaluate(discs, *options))


def test_nothing_of_anybody_elses_is_replaced(
    discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name, text in (("a.json", '{"cells": [1, 2]}'), ("b.json", "notes"), ("model.pth", "weights")):
        (tmp_path / name).write_text(text)
    (tmp_path / "folder").mkdir()
    for options, said in (
        (("--json", "a.json"), "a.json is there already, and no result of an evaluation"),
        (("--json", "discs"), "discs is a folder"),
        (("--plot", "folder"), "give it a name that ends"),
        (("--worst", "folder"), "folder is a folder"),
        (("--worst", "model.pth", "--model", "model.pth"), "model.pth is what is read"),
        (("--json", "c.json", "--resume", "c.json"), "c.json would be written twice"),
        (("--resume", "a.json"), "a.json is no record of runs"),
        (("--resume", "b.json"), "b.json is no record of runs"),
    ):
        assert said in refused(capsys, evaluate("discs", *options))
    assert (tmp_path / "a.json").read_text() == '{"cells": [1, 2]}'
    assert (tmp_path / "b.json").read_text() == "notes"
    assert (
        evaluate("discs", "--limit", 1, "--json", "c.json") == evaluate("discs", "--limit", 1, "--json", "c.json") == 0
    )


def test_what_was_evaluated_is_written_though_the_reader_has_gone(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def gone(line: str) -> None:
        if "NoC@85" in line:
            raise BrokenPipeError

    monkeypatch.setattr(command, "_say", gone)
    monkeypatch.setattr(cli, "_stop_writing", lambda: None)
    assert evaluate(discs, "--limit", 1, "--json", tmp_path / "a.json") == 0
    assert told(tmp_path / "a.json")["datasets"]


@pytest.mark.parametrize("name", ["x.doc", "x", ".png"])
def test_a_plot_of_no_known_kind_is_refused_before_the_work(discs: Path, tmp_path: Path, capsys, name: str):
    pytest.importorskip("matplotlib")
    said = refused(capsys, evaluate(discs, "--plot", tmp_path / name, "--json", tmp_path / "a.json"))
    assert f"cannot draw into {tmp_path / name}: give it a name that ends in .png" in said
    assert not list(tmp_path.glob("a.*"))


def test_progress_is_shown_to_who_looks(
    discs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert evaluate(discs, "--mode", "voronoi") == 0
    shown = capsys.readouterr().err.split("\r")
    assert shown[1].startswith("1 of 4 runs, ")
    assert "left" in shown[3]
    assert shown[-1] == ""  # wiped off
