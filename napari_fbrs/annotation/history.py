"""Undo and redo: steps forwards and back, within a bound of memory."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile

from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.annotation.labels import LabelChange, PlaneMask
from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.inference.first_look import Expected
from napari_fbrs.inference.optimizer import Variables
from napari_fbrs.inference.plane import Limits

MAX_STEPS = 1000
MAX_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Base:
    """A mask that was there before a refinement: painted, brought from elsewhere, or carried over from another plane.

    Parameters
    ----------
    mask : PlaneMask or None
        None is an empty one.
    settled : tuple of Click, optional
        Clicks made before the mask became what it is; only others ask for changes of it.
    variables : ndarray of float32, optional
        Scales and biases that led to it.
    found : bool, optional
        Whether it was in the labels when it became the base; otherwise it is to be written into them.
    confidence : float, optional
        In [0, 1], of a mask that nobody has clicked on.
    """

    mask: PlaneMask | None
    settled: tuple[Click, ...] = ()
    variables: Variables | None = None
    found: bool = True
    confidence: float | None = None

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(part.nbytes for part in (self.mask, self.variables) if part is not None)


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
        Intensities shown to the network as black and white, of each channel; None: found from the plane.
    expected : Expected or None
        What was known of the object's size at its first click.
    base : Base or None
        The mask that it corrects; None: it starts from nothing.
    """

    clicks: ClickList = field(default_factory=ClickList)
    threshold: float = 0.5
    limits: Limits | None = None
    expected: Expected | None = None
    base: Base | None = None

    @property
    def extent(self) -> float | None:
        """Size of the object as the user said it; None where nothing was said."""
        return self.expected.extent if self.expected and self.expected.certain else None

    @property
    def asking(self) -> tuple[Click, ...]:
        """The clicks that the mask it starts from does not account for yet."""
        return tuple(click for clicks in self._open_rounds() for click in clicks)

    @property
    def settled_rounds(self) -> int:
        """How many rounds, the first ones, that mask accounts for."""
        return sum(1 for _ in takewhile(lambda clicks: not clicks, self._open_rounds()))

    def _open_rounds(self) -> Iterator[tuple[Click, ...]]:
        """Yield what is left of each round without the clicks that are settled."""
        settled = Counter(self.base.settled if self.base else ())
        for clicks in self.clicks.rounds:
            left = []
            for click in clicks:
                settled[click] -= 1
                if settled[click] < 0:
                    left.append(click)
            yield tuple(left)


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
    group : object or None
        Steps in a row of the same group are undone, and done again, together.
    """

    place: Place | None
    before: Refinement
    after: Refinement
    change: LabelChange | None = None
    shown_before: Refinement | None = None
    shown_after: Refinement | None = None
    mask_before: PlaneMask | None = None
    mask_after: PlaneMask | None = None
    group: object | None = None

    @property
    def nbytes(self) -> int:
        """Memory held by pixels and masks, in bytes."""
        held = (self.change, self.mask_after, self.after.base)
        return sum(part.nbytes for part in held if part is not None)

    def belongs_to(self, other: Step) -> bool:
        """Whether it is undone together with another step beside it."""
        return self.group is not None and self.group is other.group


class History:
    """Steps done and undone; the oldest are forgotten beyond a number of steps or bytes."""

    def __init__(self, max_steps: int = MAX_STEPS, max_bytes: int = MAX_BYTES) -> None:
        self._done: deque[Step] = deque()
        self._undone: list[Step] = []
        self._sizes: dict[int, int] = {}  # of steps done, by their id: a thousand are not summed up at every click
        self._nbytes = 0
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
        self.grown(step)

    def grown(self, step: Step) -> None:
        """Take note that a step done holds more, or less, than when it was recorded; the oldest may have to go.

        Those beyond the bounds are forgotten, groups as a whole; the newest is always kept.
        """
        self._count(step)
        while len(self._done) > self.max_steps or self._nbytes > self.max_bytes:
            count = len(_together(self._done))
            if count == len(self._done):
                return
            for _ in range(count):
                self._discount(self._done.popleft())

    def _count(self, step: Step) -> None:
        self._nbytes += step.nbytes - self._sizes.get(id(step), 0)
        self._sizes[id(step)] = step.nbytes

    def _discount(self, step: Step) -> Step:
        self._nbytes -= self._sizes.pop(id(step))
        return step

    def forget_newest(self) -> Step:
        """Return the newest step, which can be neither undone nor done again from now on."""
        return self._discount(self._done.pop())

    def undo(self) -> Step | None:
        """Return the newest step, now undone; None when there is none."""
        if not self._done:
            return None
        self._undone.append(self._discount(self._done.pop()))
        return self._undone[-1]

    def redo(self) -> Step | None:
        """Return the step undone last, now done again; None when there is none."""
        if not self._undone:
            return None
        self._done.append(self._undone.pop())
        self._count(self._done[-1])
        return self._done[-1]

    def to_undo(self) -> list[Step]:
        """Return the newest step and those that are undone with it, the newest first."""
        return _together(self.newest_first())

    def to_redo(self) -> list[Step]:
        """Return the step undone last and those that are done again with it, in that order."""
        return _together(self.undone())

    def undone(self) -> Iterator[Step]:
        """Yield the steps undone, the one to be done again first at the beginning."""
        return reversed(self._undone)

    def newest_first(self) -> Iterator[Step]:
        """Yield the steps done, the newest first."""
        return reversed(self._done)


def _together(steps: Iterable[Step]) -> list[Step]:
    """Return the first of some steps and those in a row that belong to it."""
    rest = iter(steps)
    first = next(rest, None)
    return [] if first is None else [first, *takewhile(first.belongs_to, rest)]
