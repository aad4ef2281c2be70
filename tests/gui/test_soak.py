from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_fbrs.gui import soak
from napari_fbrs.gui.soak_actions import WEIGHTS, Action, Hands, draw
from napari_fbrs.gui.soak_checks import (
    Replayer,
    Resources,
    Violation,
    check_counts,
    check_journal,
    check_points,
    check_undo,
)


def test_a_soak_of_reduced_length(tmp_path: Path):
    """All that must hold does, whatever is done: in a window of its own, as `napari-fbrs benchmark soak`."""
    command = [sys.executable, "-m", "napari_fbrs.gui.soak", "--actions", "100", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"TQDM_DISABLE": "1"})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "100 actions with seed 1, all held" in done.stdout


def test_actions_follow_from_the_seed():
    assert draw(300, 4)[:50] == draw(50, 4)
    assert draw(50, 4) != draw(50, 5)
    assert {action.kind for action in draw(2000, 0)} == set(WEIGHTS)
    assert all(callable(getattr(Hands, f"_{kind}")) for kind in WEIGHTS)


def test_the_shortest_list_is_found():
    actions = draw(40, 0)
    needed = [actions[7], actions[30]]

    def fails(rest: list[Action]) -> bool:
        return all(action in rest for action in needed)

    assert soak.shortest(actions, fails, tries=200) == needed
    assert soak.shortest(actions, fails, tries=0) == actions


def test_what_was_found_is_told_and_can_be_seen_again(tmp_path: Path, monkeypatch, capsys):
    def violated(actions, _folder, _told):
        kinds = [action.kind for action in actions]
        return (kinds.index("merge") + 1, "planted") if "merge" in kinds else None

    monkeypatch.setattr(soak, "prepare", lambda _folder: None)
    monkeypatch.setattr(soak, "first_violation", violated)
    out = tmp_path / "found.json"
    actions = draw(200, 3)
    assert soak.run(actions, 3, 10**9, out) == 1
    said = capsys.readouterr().out
    assert "seed 3, after" in said
    assert f"--again {out}" in said
    assert json.loads(out.read_text())["violation"] == "planted"
    (merge,) = soak.read_actions(out)
    assert merge == next(action for action in actions if action.kind == "merge")


def test_checks_find_what_is_planted(disc_bench, monkeypatch):
    """A check that cannot fail is none."""
    bench, annotator = disc_bench, disc_bench.annotator
    bench.wait(lambda: bench.widget.recovery.recorder is not None)
    bench.click(40, 50)
    bench.settle()
    for check in (check_points, check_counts, check_journal):
        check(annotator)
    check_undo(annotator, bench.settle)
    labels = annotator.layers.labels
    labels.data[0, :3] = 7  # told to nobody
    with pytest.raises(Violation, match="counts"):
        check_counts(annotator)
    with pytest.raises(Violation, match="3 pixels differ"):
        check_journal(annotator)
    labels.data[0, :3] = 0
    monkeypatch.setattr(annotator, "redo", lambda: labels.data.__setitem__((40, 50), 1))
    with pytest.raises(Violation, match="undo and redo does not lead back to the same clicks"):
        check_undo(annotator, bench.settle)
    with annotator.clicks._own_change():
        annotator.layers.positive.add([[10, 10]])
    with pytest.raises(Violation, match="do not show the clicks"):
        check_points(annotator)


def test_masks_are_replayed_by_predictors_that_remember_nothing(coins_bench):
    coins_bench.click(118, 106)
    coins_bench.settle()
    annotator, place = coins_bench.annotator, coins_bench.annotator.place()
    replayer = Replayer()
    replayer.check(annotator, place)
    replayer.check(annotator, place)
    assert replayer.masks == 1
    coins_bench.click(125, 112)
    coins_bench.settle()
    replayer.check(annotator, place)
    coins_bench.widget.mode.setCurrentText("NoBRS")
    coins_bench.widget.mode.activated.emit(coins_bench.widget.mode.currentIndex())
    coins_bench.wait(lambda: annotator.session.state()[0][2].method.mode == "NoBRS")
    replayer.check(annotator, place)
    assert replayer.masks == 3  # the same clicks in another mode are computed anew
    mask = annotator.session.state()[0][2]
    mask.bits[:] = np.roll(mask.bits, 3)
    with pytest.raises(Violation, match="not that of a replay"):
        replayer.check(annotator, place)


def test_what_a_process_holds_is_bounded():
    now = Resources(5, 20, 10**9, 0)
    now.check(now, 10)
    for more, what in (
        (Resources(50, 20, 10**9, 0), "50 threads"),
        (Resources(5, 200, 10**9, 0), "200 open files"),
        (Resources(5, 20, 2 * 10**9, 0), "memory grew from 1000 to 2000 MB"),
        (Resources(5, 20, 10**9, 10**8), "GPU memory grew"),
    ):
        with pytest.raises(Violation, match=what):
            now.check(more, 10**6)
