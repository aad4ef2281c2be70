"""What must hold after every action of a soak."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_fbrs.annotation.history import Place, Refinement
from napari_fbrs.annotation.journal import read_journal
from napari_fbrs.annotation.labels import PlaneMask
from napari_fbrs.annotation.reconcile import point_of
from napari_fbrs.annotation.recovery import restore
from napari_fbrs.annotation.session import Seen, Session
from napari_fbrs.gui.annotator import Annotator
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import Method
from napari_fbrs.strokes import Stroke

_FILES, _STATUS = Path("/proc/self/fd"), Path("/proc/self/status")  # of Linux
_MORE_THREADS, _MORE_FILES = 4, 16  # than after the first actions: thread pools and libraries grow to some size

Labels = npt.NDArray[Any]


class Violation(Exception):  # noqa: N818  what was found, not what went wrong
    """Something that must hold does not."""


def check(holds: bool, what: str) -> None:
    """Raise `Violation` unless something holds."""
    if not holds:
        raise Violation(what)


def labels_of(annotator: Annotator) -> Labels:
    """Return a copy of all labels."""
    return np.array(annotator.layers.labels.data)


class Replayer:
    """Computes masks anew from clicks alone, by predictors that remember nothing."""

    def __init__(self) -> None:
        self.masks = 0
        self._anew: dict[tuple[int, Method], tuple[Any, PlaneMask | None]] = {}

    def check(self, annotator: Annotator, place: Place) -> None:
        """Raise `Violation` unless the mask predicted last at a place is the one that its clicks lead to."""
        session = annotator.session
        _, refinement, mask, seen = next((s for s in session.state() if s[0] == place), (None, None, None, None))
        if refinement is None or seen is not Seen.CURRENT or not refinement.clicks:
            return
        if mask is None or mask.method is None:  # empty, or put together of others: nobody says by which model
            return
        expected = self._computed(session, place, refinement, mask.method)
        check(
            mask.same_pixels(expected),
            f"the mask of object {place.object} at {place.plane.position} is not that of a replay of its clicks",
        )

    def _computed(self, session: Session, place: Place, refinement: Refinement, method: Method) -> PlaneMask | None:
        key = id(refinement), method
        known = self._anew.get(key)
        if known is None or known[0] is not refinement:
            model = session.predictor.model
            predictor = Predictor(model, method.mode, settings=method.settings)
            # Not in this thread, where numba (of napari's Labels layers) has set how many threads torch uses: the last
            # bits hang on that.
            with ThreadPoolExecutor(1) as thread:
                result = thread.submit(Session(session.image, predictor).compute, place, refinement).result()
            self._anew = {**dict(list(self._anew.items())[-50:]), key: (refinement, result.mask)}
            self.masks += 1
        return self._anew[key][1]


def check_points(annotator: Annotator) -> None:
    """Raise `Violation` unless the Points layers show the clicks of the current object, and the counts are right."""
    session = annotator.session
    wanted = Counter(
        point_of(place.plane, click)
        for place in session.places(session.object)
        for click in session.refinement(place).clicks
        if not isinstance(click, Stroke)
    )
    shown, outside = annotator.clicks.read()
    check(Counter(shown) == wanted and not outside, "the Points layers do not show the clicks of the current object")


def check_counts(annotator: Annotator) -> None:
    """Raise `Violation` unless the list of objects counts the pixels that there are."""
    labels, counts = np.unique(labels_of(annotator), return_counts=True)
    there = {int(label): int(count) for label, count in zip(labels, counts, strict=True) if label}
    areas, _ = annotator.objects.labels.areas()
    check(there == dict(areas), f"the list of objects counts {dict(areas)} pixels, there are {there}")


def _digest(mask: PlaneMask) -> str:
    return f"{mask.crop} {hashlib.sha256(mask.bits.tobytes()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Standing:
    """Where an annotation stands, as far as undo and redo lead back to it."""

    labels: Labels
    decided: dict[Place, tuple[Any, str | None]]

    @classmethod
    def of(cls, annotator: Annotator) -> Standing:
        """Return where it stands now."""
        decided = {
            place: (refinement, _digest(mask) if mask is not None else None)
            for place, refinement, mask, _ in annotator.session.state()
            if refinement.clicks or refinement.base or mask
        }
        return cls(labels_of(annotator), decided)

    def check(self, now: Standing, what: str) -> None:
        """Raise `Violation` unless it stands there now."""
        differ = {
            place for place in {**self.decided, **now.decided} if self.decided.get(place) != now.decided.get(place)
        }
        pairs = "; ".join(f"{place}: {self.decided.get(place)}, then {now.decided.get(place)}" for place in differ)
        check(not differ, f"{what} does not lead back to the same clicks and masks: {pairs[:2000]}")
        pixels = int(np.count_nonzero(now.labels != self.labels))
        check(not pixels, f"{what} does not lead back to the same labels: {pixels} pixels differ")


def check_undo(annotator: Annotator, settle: Callable[[], None]) -> None:
    """Raise `Violation` unless undo and then redo lead back to where it stands."""
    before = Standing.of(annotator)
    steps = len(annotator.session.history)
    annotator.undo()
    settle()
    if len(annotator.session.history) == steps:  # nothing to undo, or a locked object
        return
    annotator.redo()
    settle()
    before.check(Standing.of(annotator), "undo and redo")


def check_journal(annotator: Annotator) -> None:
    """Raise `Violation` unless the journal restores the labels that are shown."""
    session = annotator.session
    recorder: Any = session.observer
    check(recorder is not None, "no journal follows the annotation")
    recorder.note()
    check(recorder.journal.flush(), "the journal does not get to the disk")
    again = Session(session.image, session.predictor)
    restore(again, read_journal(recorder.journal.path)[1])
    everything = (slice(None),) * session.image.ndim
    differ = int(np.count_nonzero(again.labels.read(everything) != labels_of(annotator)))
    check(not differ, f"the journal restores labels of which {differ} pixels differ")
    mine, theirs = ({p: session_.refinement(p).clicks for p in session_.annotated()} for session_ in (session, again))
    check(mine == theirs, "the journal restores other clicks")


@dataclass(frozen=True)
class Resources:
    """What a process holds; None where the system does not tell."""

    threads: int
    files: int | None
    resident: int | None  # bytes
    on_gpu: int  # bytes

    @classmethod
    def now(cls) -> Resources:
        """Return what this process holds."""
        return cls(
            threading.active_count(),
            len(list(_FILES.iterdir())) if _FILES.is_dir() else None,
            _resident(),
            torch.cuda.memory_allocated() if torch.cuda.is_initialized() else 0,  # type: ignore[no-untyped-call]
        )

    def check(self, now: Resources, more_bytes: int) -> None:
        """Raise `Violation` if much more is held now."""
        check(now.threads <= self.threads + _MORE_THREADS, f"{now.threads} threads, {self.threads} at the beginning")
        if self.files is not None and now.files is not None:
            check(now.files <= self.files + _MORE_FILES, f"{now.files} open files, {self.files} at the beginning")
        for before, after, where in ((self.resident, now.resident, "memory"), (self.on_gpu, now.on_gpu, "GPU memory")):
            if before is not None and after is not None:
                grown = (
                    f"{where} grew from {before / 1e6:.0f} to {after / 1e6:.0f} MB, by more than {more_bytes / 1e6:.0f}"
                )
                check(after <= before + more_bytes, grown)


def _resident() -> int | None:
    if sys.platform != "linux":
        return None
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmRSS:"))
    return 1024 * int(line.split()[1])
