"""``python -m napari_fbrs.gui.soak``: random actions in a real viewer, and what must hold after each of them.

The actions follow from a seed. What does not hold is told with the shortest list of actions found that leads to it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import napari
import numpy as np
import numpy.typing as npt
from napari.utils.notifications import Notification, NotificationSeverity, notification_manager
from qtpy.QtWidgets import QApplication
from skimage import data

from napari_fbrs.annotation.output import replacing
from napari_fbrs.gui.soak_actions import Action, Hands, draw
from napari_fbrs.gui.soak_checks import (
    Replayer,
    Resources,
    Violation,
    check,
    check_counts,
    check_journal,
    check_points,
    check_undo,
    labels_of,
)
from napari_fbrs.gui.widget import FBRSWidget
from napari_fbrs.models.checkpoint import ModelSettings, save_model
from napari_fbrs.models.zoo import load_model

_SHAPE = (4, 96, 128)  # of the stack that is clicked on
_MODEL = "soak"
_SETTINGS = ModelSettings(target_size=64, min_crop_size=40)  # small pictures, for many actions
_PATIENCE = 300  # seconds
_EVERY = 25  # actions between looks at everything that takes long
_WARM = 100  # actions after which what the process holds has grown to its size
_AT_REST = 3  # rounds of events
_TRIES = 40  # of shorter lists


def picture() -> npt.NDArray[np.uint8]:
    """Return a stack of coins that shrink and drift from slice to slice."""
    coins = data.coins()
    return np.stack([coins[at : at + _SHAPE[1], 2 * at : 2 * at + _SHAPE[2]] for at in range(_SHAPE[0])])


class Soak:
    """One annotation, from an empty viewer to its end.

    Parameters
    ----------
    folder : Path
        Where models, journals and files of this process lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.viewer = napari.Viewer()
        self.viewer.add_image(picture(), name="coins")
        self.errors: list[str] = []
        self.replayer = Replayer()
        self.widget: FBRSWidget | None = None
        notification_manager.notification_ready.connect(self._hear)
        self.hands = Hands(self.viewer, self._open(), self._open, folder)

    def close(self) -> None:
        """Close the viewer."""
        notification_manager.notification_ready.disconnect(self._hear)
        if self.widget is not None:
            self.widget.close()
            self.settle()
        self.viewer.close()

    def do(self, action: Action, number: int) -> None:
        """Do one action, and check what must hold after it.

        Raises
        ------
        Violation
            If something does not.
        """
        self.hands.do(action)
        if action.hurried:
            return
        self.settle()
        self.check()
        if number % _EVERY == 0:
            self.check_all()

    def check(self) -> None:
        """Check what can be checked after every action."""
        annotator = self.hands.annotator
        check(not self.errors, "; ".join(self.errors))
        check_points(annotator)
        check_counts(annotator)
        for place in annotator.session.places(annotator.session.object):
            self.replayer.check(annotator, place)
        check_undo(annotator, self.settle)
        check(not self.errors, "; ".join(self.errors))

    def check_all(self) -> None:
        """Check the masks of all objects, and the journal."""
        annotator = self.hands.annotator
        for place in annotator.session.annotated():
            self.replayer.check(annotator, place)
        check_journal(annotator)

    def settle(self) -> None:
        """Wait until nothing is being computed and no mask is waited for.

        Raises
        ------
        Violation
            If that takes too long.
        """
        over = time.monotonic() + _PATIENCE
        at_rest = 0
        while at_rest < _AT_REST:  # what is put off until the next round of events may set something going
            QApplication.processEvents()
            at_rest = at_rest + 1 if self._settled() else 0
            check(time.monotonic() < over, "it does not come to rest: a mask is waited for that nobody computes")

    def _settled(self) -> bool:
        widget = self.widget
        if widget is None or widget.annotator is None:
            return False
        annotator = widget.annotator
        at_rest = not annotator.busy and not annotator.session.waiting() and not widget.propagation.busy
        started = widget.closed or widget.start_button.isEnabled()
        return (at_rest and started) or bool(self.errors)

    def _open(self) -> FBRSWidget:
        if self.widget is not None:
            self.widget.close()
            self.viewer.window.remove_dock_widget(self.widget)
        self.widget = widget = FBRSWidget(self.viewer)
        self.viewer.window.add_dock_widget(widget, area="right")
        widget.model.refresh()
        widget.model.use(_MODEL)
        widget.image.value = self.viewer.layers["coins"]
        widget.start()
        self.settle()
        over = time.monotonic() + _PATIENCE
        while widget.recovery.recorder is None and time.monotonic() < over:
            QApplication.processEvents()
        return widget

    def _hear(self, notification: Notification) -> None:
        if notification.severity >= NotificationSeverity.ERROR:
            self.errors.append(f"napari told of an error: {notification.message}")


def first_violation(
    actions: Sequence[Action], folder: Path, told: Callable[[int, Soak], None]
) -> tuple[int, str] | None:
    """Do actions in a new viewer; return how many it took until something did not hold, and what; None if all held."""
    soak = Soak(folder)
    number = 0
    try:
        for number, action in enumerate(actions, 1):
            soak.do(action, number)
            told(number, soak)
        soak.settle()
        soak.check()
        soak.check_all()
    except Violation as violation:
        return number, str(violation)
    except Exception:  # noqa: BLE001  whatever it is, it is a finding
        return number, traceback.format_exc()
    finally:
        soak.close()
    return None


def shortest(actions: Sequence[Action], fails: Callable[[Sequence[Action]], bool], tries: int = _TRIES) -> list[Action]:
    """Return a part of a list that still fails: halves, quarters, ... are left out as long as it does.

    Parameters
    ----------
    actions : sequence of Action
        A list that fails.
    fails : callable
        Told a list, whether it fails.
    tries : int, optional
        How many lists are tried at most.
    """
    short = list(actions)
    size = len(short) // 2
    while size and tries:
        at = 0
        while at < len(short) and tries:
            rest = [*short[:at], *short[at + size :]]
            tries -= 1
            if rest and fails(rest):
                short = rest
            else:
                at += size
        size //= 2
    return short


class Watch:
    """Follows what the process holds, and says how far it is."""

    def __init__(self, count: int, more_bytes: int) -> None:
        self._count, self._more_bytes = count, more_bytes
        self._begun = time.monotonic()
        self._first: Resources | None = None
        self.peak = 0

    def __call__(self, number: int, soak: Soak) -> None:
        """Take note of an action done; raise `Violation` if much more is held than at first."""
        if number % _EVERY:
            return
        now = Resources.now()
        self.peak = max(self.peak, now.resident or 0)
        if self._first is None and number >= _WARM:
            self._first = now
        if self._first is not None:
            self._first.check(now, self._more_bytes)
        labels = labels_of(soak.hands.annotator)
        seconds = time.monotonic() - self._begun
        _say(
            f"{number} of {self._count} actions, {seconds:.0f} s: {len(np.unique(labels)) - 1} objects, "
            f"{soak.replayer.masks} masks replayed, {now.threads} threads, {now.files} files, "
            f"{(now.resident or 0) / 1e6:.0f} MB"
        )


def prepare(folder: Path) -> None:
    """Put the bundled model, for small pictures, into a folder of this process, where its journals go as well."""
    models = folder / "models"
    models.mkdir()
    bundled = load_model("default", "cpu")
    save_model(models / f"{_MODEL}.safetensors", bundled.network, _MODEL, _SETTINGS, half=True)
    os.environ["NAPARI_FBRS_MODELS"] = str(models)
    os.environ["NAPARI_FBRS_JOURNALS"] = str(folder / "journals")


def run(actions: list[Action], seed: int, more_bytes: int, out: Path | None) -> int:
    """Do actions and tell what does not hold; return the exit status."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        watch = Watch(len(actions), more_bytes)
        found = first_violation(actions, folder, watch)
        if found is None:
            kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(a.kind for a in actions).most_common())
            _say(f"{len(actions)} actions with seed {seed}, all held: {kinds}")
            return 0
        number, what = found
        _say(f"seed {seed}, after {number} actions: {what}")
        _say("looking for a shorter list ...")
        short = shortest(actions[:number], lambda rest: first_violation(rest, folder, lambda *_: None) is not None)
    for action in short:
        _say(f"  {action.kind} {' '.join(f'{value:.3f}' for value in action.at)}{' hurried' * action.hurried}")
    _say(f"{len(short)} actions; to see it again: napari-fbrs benchmark soak --seed {seed} --actions {number}")
    if out is not None:
        _write(out, short, what)
        _say(f"or: napari-fbrs benchmark soak --again {out}")
    return 1


def _write(out: Path, actions: Sequence[Action], what: str) -> None:
    with replacing(out) as temporary:
        content = {"violation": what, "actions": [action.as_dict() for action in actions]}
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def read_actions(path: Path) -> list[Action]:
    """Return the actions that a soak has written."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [Action(one["kind"], tuple(one["at"]), one["hurried"]) for one in content["actions"]]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Soak, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actions", type=int, default=2000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=int, default=1000, metavar="MB")
    parser.add_argument("--again", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    actions = read_actions(args.again) if args.again else draw(args.actions, args.seed)
    return run(actions, args.seed, 10**6 * args.memory, args.json)


if __name__ == "__main__":
    sys.exit(main())
