from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import BrightNetwork, model_of

from napari_fbrs.cli import main
from napari_fbrs.clicks import Click
from napari_fbrs.evaluation.latency import command, warming
from napari_fbrs.evaluation.latency.measure import NO_PASS, PUBLISHED, SHIPPED, Effort, squares_met
from napari_fbrs.evaluation.latency.memory import peak_bytes
from napari_fbrs.evaluation.latency.scenes import Picture, make_scene
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.prediction import Prediction, State
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import MODES


def picture() -> Picture:
    """Return a bright disc that has a bright twin."""
    rows, columns = np.indices((64, 96))
    disc, twin = (np.hypot(rows - 30, columns - column) <= 14 for column in (30, 72))
    return Picture("disc", (30 + 190 * (disc | twin)).astype(np.uint8), disc.astype(int))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> BrightNetwork:
    network = BrightNetwork(brightness=4.0, nearness=1.0)
    monkeypatch.setattr(command, "load_model", lambda *_: model_of(network))
    monkeypatch.setattr(command, "measure_warm_up", lambda *_, **how: {warming.COLD: [1.0] * how["rounds"]})
    monkeypatch.setattr(command, "QUICK", Effort((1, 2, 10), 2, (2, 10), 1))
    monkeypatch.setattr("napari_fbrs.samples.truth.known_objects", lambda **_: [tuple(vars(picture()).values())])
    return network


def test_everything_answers_the_same_clicks(
    stand_in: BrightNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "figures.json"
    threads = torch.get_num_threads()
    assert main(["benchmark", "latency", "--quick", "--no-sam", "--json", str(out), "--device", "cpu"]) == 0
    record, said = json.loads(out.read_text()), capsys.readouterr().out
    rows = {(row["what"], row["count"]): row for row in record["clicks"]}
    assert {what for what, _ in rows} >= {*MODES, PUBLISHED, SHIPPED + NO_PASS, PUBLISHED + NO_PASS, "random walker"}
    assert len(rows[SHIPPED, 2]["seconds"]) == 2
    assert len(rows["RGB-BRS", 2]["seconds"]) == 1
    assert ("RGB-BRS", 1) not in rows
    assert rows[PUBLISHED, 2]["agreement"] == 1
    assert rows["NoBRS", 2]["evaluations"] == 0
    assert rows[SHIPPED, 2]["evaluations"] > 0
    assert record["facts"]["threads"] == threads
    assert set(record["stages"]["disc"]["seconds"]) >= {"read plane", "normalise", "embed", "optimise", "write labels"}
    assert record["stages"]["disc"]["cache"]["hits"] > 0
    reuse = record["stages"]["disc"]["reuse"]
    assert reuse["undo and redo"] == reuse["another threshold"] == [0, 0]  # the masks themselves are kept
    found, asked = reuse["another object, the same first click"]
    assert 0 < found <= asked  # what is known of the first object's size may have it looked at elsewhere
    assert record["first click of a process"] == {warming.COLD: [1.0]}
    assert "SAM image encoding / first mask" in said


def test_threads_are_set_for_the_run_alone(stand_in: BrightNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    before = torch.get_num_threads()
    out = tmp_path / "figures.json"
    assert main(["benchmark", "latency", "--quick", "--no-sam", "--threads", str(before + 1), "--json", str(out)]) == 0
    assert json.loads(out.read_text())["facts"]["threads"] == before + 1
    assert torch.get_num_threads() == before
    assert main(["benchmark", "latency", "--threads", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err


def test_a_plot_is_drawn(stand_in: BrightNetwork, tmp_path: Path):
    pytest.importorskip("matplotlib")
    assert main(["benchmark", "latency", "--quick", "--no-sam", "--plot", str(tmp_path / "figures.png")]) == 0
    assert (tmp_path / "figures.png").stat().st_size > 1000


@pytest.mark.parametrize(("option", "name"), [("plot", "x.doc"), ("plot", "no/x.png"), ("json", "no/x.json")])
def test_files_that_cannot_be_written_are_refused_before_the_work(tmp_path: Path, monkeypatch, capsys, option, name):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(command, "load_model", lambda *_: pytest.fail("it has begun"))
    assert main(["benchmark", "latency", f"--{option}", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert ("there is no folder" if "/" in name else "cannot draw into") in said


def test_without_transformers_the_sam_is_left_out(
    stand_in: BrightNetwork, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(command, "sam_is_there", lambda: False)
    assert main(["benchmark", "latency", "--quick"]) == 0
    assert 'pip install "napari-fbrs[benchmark]"' in capsys.readouterr().out


def test_a_window_needs_a_display(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("napari_fbrs.cli._has_display", lambda: False)
    assert main(["benchmark", "window"]) == 2
    assert "xvfb-run" in capsys.readouterr().err


def test_each_click_continues_from_the_one_before():
    predictor = Predictor(model_of(BrightNetwork(brightness=4.0, nearness=1.0)))
    scene = make_scene(picture(), predictor, 4)
    assert [len(moment.clicks) for moment in scene.moments] == [1, 2, 3, 4]
    assert scene.moments[0].state is None
    assert scene.moments[0].clicks[0].positive
    for before, moment in zip(scene.moments, scene.moments[1:], strict=False):
        assert moment.clicks[:-1] == before.clicks
        again = predictor.predict(scene.plane, before.clicks, before.state)
        assert again.state.box == moment.state.box
    assert [len(moment.clicks) for moment in scene.at((2, 4, 9))] == [2, 4]


@pytest.mark.parametrize(("edge", "met"), [(9, True), (8, True), (7, False), (6, False)])
def test_whether_the_squares_around_clicks_are_right(edge: int, met: bool):
    probability = np.ones((10, 10), np.float32)
    probability[edge:] = 0
    clicks = Click(13, 23), Click(40, 90, positive=False)  # at row 6 of the crop, and outside it
    assert squares_met(Prediction((50, 100), Crop(7, 16, 20, 29), probability, clicks, State())) is met


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells")
def test_peak_memory():
    def work() -> None:
        np.ones(8_000_000)  # 64 MB, given back at once

    # The kernel may take pages back meanwhile where memory is short.
    assert any(50e6 < peak_bytes(work, torch.device("cpu")) < 90e6 for _ in range(3))


@pytest.mark.parametrize("how", [warming.COLD, warming.WARM, warming.MEANWHILE])
def test_a_first_click_before_during_and_after_the_warm_up(how: str, monkeypatch: pytest.MonkeyPatch):
    made: list[Predictor] = []

    class Watched(Predictor):
        def __init__(self, *args) -> None:
            super().__init__(*args)
            self.done: list[str] = []
            made.append(self)

        def warm_up(self, plane, *, cancelled=lambda: False) -> None:
            assert plane.shape == (64, 96)
            self.done.append("warm-up")
            while how == warming.MEANWHILE and not cancelled():
                pass

        def predict(self, *args, **options):
            self.done.append("click")
            return super().predict(*args, **options)

    monkeypatch.setattr(warming, "Predictor", Watched)
    monkeypatch.setattr(warming, "load_model", lambda *_: model_of(BrightNetwork(brightness=4.0)))
    threads = torch.get_num_threads()
    clicks = [Click(30, 30)]
    assert warming.first_click(how, ("default", "cpu"), picture().pixels, clicks, "wall", threads) > 0
    assert made[0].done == (["click"] if how == warming.COLD else ["warm-up", "click"])
