"""The objects of an annotation: what a list of them tells, and what is done to whole objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_fbrs.annotation.history import Base, Place, Refinement
from napari_fbrs.annotation.labels import Indices, LabelChange, LabelStore, PlaneMask, Values, slice_indices
from napari_fbrs.annotation.session import Result, Session
from napari_fbrs.clicks import ClickList
from napari_fbrs.errors import InputError


class CountedLabels:
    """A label image that knows how many pixels each object has in each slice (index along all but the last two axes).

    Parameters
    ----------
    store : LabelStore
        Where labels are read and written.
    shape : tuple of int
        Of the label image.
    """

    def __init__(self, store: LabelStore, shape: tuple[int, ...]) -> None:
        self._store, self._shape = store, shape
        self._pixels: Counter[tuple[int, int]] = Counter()  # by label and slice, the slices numbered through

    def count_all(self) -> None:
        """Look through the whole label image: for one that somebody else has written."""
        self._pixels.clear()
        leading = self._shape[:-2]
        for number, index in enumerate(np.ndindex(leading)):
            labels, counts = np.unique(self._store.read(index), return_counts=True)
            for label, count in zip(labels.tolist(), counts.tolist(), strict=True):
                if label:
                    self._pixels[label, number] = count

    @property
    def stamp(self) -> object | None:
        """What is another one once the labels have been written; None where that is not known."""
        return self._store.stamp

    @property
    def largest(self) -> int:
        """The largest label there is room for."""
        return self._store.largest

    def read(self, index: tuple[object, ...]) -> Values:
        """Return the labels at an index of the nD array."""
        return self._store.read(index)

    def write(self, indices: Indices, values: Values) -> None:
        """Set single pixels, given one index array an axis."""
        before = self._store.read(indices)
        self._store.write(indices, values)
        self.note(LabelChange(indices, before, values))

    def note(self, change: LabelChange) -> None:
        """Count pixels that somebody else has written."""
        slices = np.zeros(len(change.after), dtype=np.int64)
        for axis, extent in zip(change.indices[:-2], self._shape, strict=False):
            slices = slices * extent + axis
        for labels, sign in ((change.before, -1), (change.after, 1)):
            pairs, counts = np.unique(np.stack([labels.astype(np.int64), slices]), axis=1, return_counts=True)
            for label, number, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
                self._add(label, number, sign * count)

    def labels(self) -> list[int]:
        """Return the objects that have pixels."""
        return sorted({label for label, _ in self._pixels})

    def area(self, label: int) -> int:
        """Return an object's pixels."""
        return sum(count for (other, _), count in self._pixels.items() if other == label)

    def areas(self) -> tuple[Counter[int], Counter[int]]:
        """Return pixels, and slices with pixels, of every object."""
        areas: Counter[int] = Counter()
        slices: Counter[int] = Counter()
        for (label, _), count in self._pixels.items():
            areas[label] += count
            slices[label] += 1
        return areas, slices

    def slices(self, label: int) -> list[tuple[int, ...]]:
        """Return the slices in which an object has pixels."""
        numbers = sorted(number for other, number in self._pixels if other == label)
        leading = self._shape[:-2]
        return [tuple(int(at) for at in np.unravel_index(n, leading)) if leading else () for n in numbers]

    def _add(self, label: int, number: int, count: int) -> None:
        if not label:
            return
        key = label, number
        self._pixels[key] += count
        if self._pixels[key] <= 0:
            del self._pixels[key]


@dataclass(frozen=True)
class ObjectRow:
    """What a list tells of an object."""

    label: int
    name: str
    slices: int
    clicks: int
    area: int
    locked: bool


class Objects:
    """The objects of a session.

    Parameters
    ----------
    session : Session
        Its labels are counted from now on.
    empty : bool, optional
        Whether the labels are known to be empty, and need not be looked through.
    """

    def __init__(self, session: Session, *, empty: bool = False) -> None:
        self._session = session
        self.labels = CountedLabels(session.labels, session.image.shape)
        if not empty:
            self.labels.count_all()
        session.labels = self.labels

    def known(self) -> list[int]:
        """Return the labels of all objects that have pixels or clicks, in order."""
        return sorted({*self.labels.labels(), *(place.object for place in self._session.annotated())})

    def rows(self) -> list[ObjectRow]:
        """Return what there is to tell of each object."""
        session = self._session
        areas, slices = self.labels.areas()
        clicks: Counter[int] = Counter()
        for place in session.annotated():
            clicks[place.object] += len(session.refinement(place).clicks)
        return [
            ObjectRow(label, session.classes.get(label, ""), slices[label], clicks[label], areas[label],
                      label in session.locked)
            for label in self.known()
        ]  # fmt: skip

    def turn_to(self, label: int) -> None:
        """Make an object the current one.

        Raises
        ------
        InputError
            If there is none with this label.
        """
        if label not in self.known():
            raise InputError(f"there is no object {label}")
        self._session.object = label

    def step(self, by: int) -> int:
        """Turn to the next object (1) or the one before (-1), around the end; return its label."""
        known, now = self.known(), self._session.object
        if known:
            later = [label for label in known if label > now] if by > 0 else [label for label in known if label < now]
            self._session.object = (later or known)[0 if by > 0 else -1]
        return self._session.object

    def new(self) -> int:
        """Turn to a new object with a label that nothing has, and return it; stay where nothing is there yet."""
        session = self._session
        if session.object in self.known() or session.object in session.locked:
            session.object = session.free_label(above=max(self.known(), default=0))
        return session.object

    def lock(self, label: int, locked: bool) -> None:
        """Have an object never change, or let it change again."""
        (self._session.locked.add if locked else self._session.locked.discard)(label)

    def rename(self, label: int, name: str) -> None:
        """Give an object the name of a class; an empty one takes it away."""
        if name.strip():
            self._session.classes[label] = name.strip()
        else:
            self._session.classes.pop(label, None)

    def clear(self, place: Place) -> None:
        """Take away the clicks of an object on a plane, and its mask there; one step to undo."""
        with self._session.together():
            self._empty(place)
            mask = self._session.mask(place)
            if mask is not None:
                self._paint(_on_plane(place, mask), 0)

    def delete(self, label: int) -> None:
        """Take away an object, clicks and pixels; one step to undo.

        Raises
        ------
        InputError
            If it is locked, or not there.
        """
        self._check(label)
        with self._session.together():
            for place in self._places(label):
                self._empty(place)
            for indices in self._pixels(label):
                self._paint(indices, 0)

    def merge(self, label: int, into: int) -> None:
        """Make one object of two: pixels, and the clicks that its mask agrees with; one step to undo.

        Parameters
        ----------
        label : int
            The object that ceases to be.
        into : int
            The object that takes its pixels.

        Raises
        ------
        InputError
            If they are the same, or one of them is locked or not there.
        """
        self._check(label)
        self._check(into)
        if label == into:
            raise InputError("an object cannot be merged with itself: choose two")
        session = self._session
        with session.together():
            moved = {place: session.refinement(place) for place in self._places(label)}
            for indices in self._pixels(label):
                self._paint(indices, into)
            for place in moved:
                self._empty(place)  # of no pixels any more
            for place, refinement in moved.items():
                self._join(Place(into, place.plane), refinement)
        session.object = into

    def _join(self, place: Place, other: Refinement) -> None:
        """Add the clicks of an object that has been painted over with this one's label."""
        session, mine = self._session, self._session.refinement(place)
        mask = session.mask(place)
        everything = ClickList((*mine.clicks.rounds, *other.clicks.rounds))
        wrong = [i for i, click in enumerate(everything) if _inside(mask, click.pixel) != click.positive]
        clicks = everything.removed(wrong)
        merged = Refinement(clicks, mine.threshold, mine.limits or other.limits, mine.expected, Base(mask, clicks.flat))
        session.edit(place, merged)
        session.show(Result(place, merged, None, mask))

    def _check(self, label: int) -> None:
        if label in self._session.locked:
            raise InputError(f"object {label} is locked: unlock it in the list of objects to change it")
        if label not in self.known():
            raise InputError(f"there is no object {label}")

    def _places(self, label: int) -> list[Place]:
        return [place for place in self._session.annotated() if place.object == label]

    def _empty(self, place: Place) -> None:
        """Take away what was clicked at a place, and the mask that came of it."""
        self._session.edit(place, Refinement())
        self._session.show(Result(place, Refinement(), None, None))

    def _pixels(self, label: int) -> Iterator[Indices]:
        """Yield the pixels of an object, slice by slice."""
        for index in self.labels.slices(label):
            yield slice_indices(index, self.labels.read(index) == label)

    def _paint(self, indices: Indices, label: int) -> None:
        before = self.labels.read(indices)
        after = np.full_like(before, label)
        change = LabelChange(indices, before, after)
        change.do(self.labels)
        self._session.painted(change)


def _on_plane(place: Place, mask: PlaneMask) -> Indices:
    """Return the pixels of a mask, an index array an axis."""
    rows, columns = np.nonzero(mask.pixels)
    selected = place.plane.select(rows + mask.crop.row_min, columns + mask.crop.column_min)
    return tuple(np.broadcast_to(np.asarray(at, dtype=np.intp), rows.shape) for at in selected)


def _inside(mask: PlaneMask | None, pixel: tuple[int, int]) -> bool:
    if mask is None:
        return False
    row, column = pixel[0] - mask.crop.row_min, pixel[1] - mask.crop.column_min
    pixels: npt.NDArray[np.bool_] = mask.pixels
    return 0 <= row < pixels.shape[0] and 0 <= column < pixels.shape[1] and bool(pixels[row, column])
