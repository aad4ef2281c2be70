"""Undo and redo: steps forwards and back, within a bound of memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.annotation.labels import LabelChange, PlaneMask
from napari_fbrs.clicks import ClickList
from napari_fbrs.inference.first_look import Expected

MAX_STEPS = 1000
MAX_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Refinement:
    """What decides an object's mask on a plane.

    Parameters
    ----------
    clicks : ClickList
        In order.
    threshold : float
        Probability above which a pixel belongs to the object.
    limits : tuple of float or None
        Intensities shown to the network as black and white; None: found from the plane.
    expected : Expected or None
        What was known of the object's size at its first click.
    """

    clicks: ClickList = field(default_factory=ClickList)
    threshold: float = 0.5
    limits: tuple[float, float] | None = None
    expected: Expected | None = None

    @property
    def extent(self) -> float | None:
        """Size of the object as the user said it; None where nothing was said."""
        return self.expected.extent if self.expected and self.expected.certain else None


@dataclass(frozen=True)
class Place:
    """An object on a plane."""

    object: int
    plane: PlaneIndex


@dataclass
class Step:
    """Something that can be undone: a refinement changed (and so, later, pixels), or pixels painted by hand.

    Parameters
    ----------
    place : Place or None
        What was refined; None for pixels painted by hand.
    before, after : Refinement
        The same for pixels painted by hand.
    change : LabelChange or None
        Pixels changed; None until the mask is known.
    shown_before, shown_after : Refinement or None
        The refinements whose masks were shown before and after `change`; `after` may have changed since.
    mask_before, mask_after : PlaneMask or None
        The object's mask as predicted before and after `change`; None is an empty one.
    """

    place: Place | None
    before: Refinement
    after: Refinement
    change: LabelChange | None = None
    shown_before: Refinement | None = None
    shown_after: Refinement | None = None
    mask_before: PlaneMask | None = None
    mask_after: PlaneMask | None = None

    @property
    def nbytes(self) -> int:
        """Memory held by pixels, in bytes."""
        return self.change.nbytes if self.change is not None else 0


class History:
    """Steps done and undone; the oldest are forgotten beyond a number of steps or bytes."""

    def __init__(self, max_steps: int = MAX_STEPS, max_bytes: int = MAX_BYTES) -> None:
        self._done: deque[Step] = deque()
        self._undone: list[Step] = []
        self.max_steps = max_steps
        self.max_bytes = max_bytes

    def __len__(self) -> int:
        return len(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to do again."""
        return bool(self._undone)

    def record(self, step: Step) -> None:
        """Add a step just done; what was undone before can no longer be done again."""
        self._undone.clear()
        self._done.append(step)
        self.trim()

    def trim(self) -> None:
        """Forget the oldest steps beyond the bounds; the newest is always kept."""
        nbytes = sum(step.nbytes for step in self._done)
        while len(self._done) > 1 and (len(self._done) > self.max_steps or nbytes > self.max_bytes):
            nbytes -= self._done.popleft().nbytes

    def forget_newest(self) -> Step:
        """Return the newest step, which can be neither undone nor done again from now on."""
        return self._done.pop()

    def undo(self) -> Step | None:
        """Return the newest step, now undone; None when there is none."""
        if not self._done:
            return None
        self._undone.append(self._done.pop())
        return self._undone[-1]

    def redo(self) -> Step | None:
        """Return the step undone last, now done again; None when there is none."""
        if not self._undone:
            return None
        self._done.append(self._undone.pop())
        return self._done[-1]

    def newest_first(self) -> Iterator[Step]:
        """Yield the steps done, the newest first."""
        return reversed(self._done)
