"""The objects of an annotation: what a list of them tells, and what is done to whole objects."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from napari_fbrs.annotation.history import Base, Place, Refinement
from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.annotation.labels import (
    Indices,
    LabelChange,
    LabelsBefore,
    LabelStore,
    PlaneMask,
    Values,
    slice_indices,
)
from napari_fbrs.annotation.session import Result, Session
from napari_fbrs.clicks import ClickList
from napari_fbrs.errors import InputError
from napari_fbrs.inference.plane import Crop


class CountedLabels(LabelsBefore):
    """A label image that knows how many pixels each object has in each slice (index along all but the last two axes).

    Parameters
    ----------
    store : LabelStore
        Where labels are read and written.
    shape : tuple of int
        Of the label image.
    """

    def __init__(self, store: LabelStore, shape: tuple[int, ...]) -> None:
        super().__init__(store)
        self._shape = shape
        self._pixels: Counter[tuple[int, int]] = Counter()  # by label and slice, the slices numbered through

    def count_all(self) -> None:
        """Look through the whole label image: for one that somebody else has written."""
        self._pixels.clear()
        leading = self._shape[:-2]
        for number, index in enumerate(np.ndindex(leading)):
            labels, counts = np.unique(self.read(index), return_counts=True)
            for label, count in zip(labels.tolist(), counts.tolist(), strict=True):
                if label:
                    self._pixels[label, number] = count

    def write(self, indices: Indices, values: Values) -> None:
        """Set single pixels, given one index array an axis."""
        before = self.read(indices)
        super().write(indices, values)
        self.note(LabelChange(indices, before, values))

    def note(self, change: LabelChange) -> None:
        """Count pixels that somebody else has written."""
        slices = np.zeros(len(change.after), dtype=np.int64)
        for axis, extent in zip(change.indices[:-2], self._shape, strict=False):
            slices = slices * extent + axis
        every = math.prod(self._shape[:-2])
        for values, sign in ((change.before, -1), (change.after, 1)):
            labels, codes = np.unique(values, return_inverse=True)
            pairs, counts = np.unique(codes * every + slices, return_counts=True)  # one number for both: sorted at once
            for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
                self._add(int(labels[pair // every]), pair % every, sign * count)

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

    def slices(self, *labels: int) -> list[tuple[int, ...]]:
        """Return the slices in which an object, or one of several, has pixels."""
        wanted = set(labels)
        numbers = sorted({number for label, number in self._pixels if label in wanted})
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

    def nearest(self, plane: PlaneIndex) -> PlaneIndex | None:
        """Return the plane nearest to one, and parallel to it, that the current object is on; None if it is nowhere."""
        session, label = self._session, self._session.object
        across = [axis for axis in range(session.image.ndim) if axis not in plane.axes]
        there = {
            tuple(place.plane.select(*click.pixel)[axis] for axis in across)
            for place in session.places(label)
            for click in session.refinement(place).clicks
        }
        for index in self.labels.slices(label):
            if across == [*range(len(index))]:
                there.add(index)
            else:
                pixels = np.stack(slice_indices(index, self.labels.read(index) == label))
                there.update(map(tuple, np.unique(pixels[across], axis=1).T.tolist()))
        position = min(there, key=lambda at: (math.dist(at, plane.position), at), default=None)
        return None if position is None else PlaneIndex(position, plane.axes)

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
        """Take away the clicks of an object on a plane, and its mask there; one step to undo.

        Raises
        ------
        InputError
            If it is locked.
        """
        self._session.check_unlocked(place.object)
        with self._session.together():
            self._empty(place)
            mask = self._session.mask(place)
            if mask is not None:
                self._paint(_on_plane(place, mask), 0)

    def delete(self, labels: int | Collection[int]) -> None:
        """Take away objects, clicks and pixels; one step to undo.

        Parameters
        ----------
        labels : int or collection of int
            All of them, or none is taken away.

        Raises
        ------
        InputError
            If one is locked, or not there.
        """
        labels = _all(labels)
        self._check(labels)
        with self._session.together():
            for place in self._places(labels):
                self._empty(place)
            for indices in self._pixels(labels):
                self._paint(indices, 0)

    def merge(self, labels: int | Collection[int], into: int) -> None:
        """Make one object of several: pixels, and the clicks that its mask agrees with; one step to undo.

        Parameters
        ----------
        labels : int or collection of int
            The objects that cease to be: all of them, or none.
        into : int
            The object that takes their pixels.

        Raises
        ------
        InputError
            If it is among the others, there are no others, or one is locked or not there.
        """
        labels = _all(labels)
        self._check([*labels, into])
        if not labels or into in labels:
            raise InputError("an object cannot be merged with itself: choose two")
        session = self._session
        with session.together():
            moved: dict[PlaneIndex, list[Refinement]] = {}
            places = self._places(labels)
            for place in places:
                moved.setdefault(place.plane, []).append(session.refinement(place))
            for indices in self._pixels(labels):
                self._paint(indices, into)
            for place in places:
                self._empty(place)  # of no pixels any more
            for plane, refinements in moved.items():
                self._join(Place(into, plane), refinements)
        session.object = into

    def _join(self, place: Place, others: Sequence[Refinement]) -> None:
        """Add the clicks of objects that have been painted over with this one's label."""
        session, mine = self._session, self._session.refinement(place)
        mask = session.mask(place)
        whole = Crop.whole(session.image.plane_shape(place.plane))
        pixels = mask.within(whole) if mask is not None else np.zeros(whole.shape, dtype=np.bool_)
        everything = ClickList(tuple(clicks for one in (mine, *others) for clicks in one.clicks.rounds))
        wrong = [i for i, click in enumerate(everything) if pixels[click.pixel] != click.positive]
        clicks = everything.removed(wrong)
        limits = next((one.limits for one in (mine, *others) if one.limits), None)
        merged = Refinement(clicks, mine.threshold, limits, mine.expected, Base(mask, clicks.flat))
        session.edit(place, merged)
        session.show(Result(place, merged, None, mask))

    def _check(self, labels: Collection[int]) -> None:
        self._session.check_unlocked(*labels)
        missing = {*labels} - {*self.known()}
        if missing:
            raise InputError(f"there is no object {min(missing)}")

    def _places(self, labels: Collection[int]) -> list[Place]:
        wanted = set(labels)
        return [place for place in self._session.annotated() if place.object in wanted]

    def _empty(self, place: Place) -> None:
        """Take away what was clicked at a place, and the mask that came of it."""
        self._session.edit(place, Refinement())
        self._session.show(Result(place, Refinement(), None, None))

    def _pixels(self, labels: Collection[int]) -> Iterator[Indices]:
        """Yield the pixels of objects, slice by slice; each slice is looked through once, however many they are."""
        for index in self.labels.slices(*labels):
            yield slice_indices(index, np.isin(self.labels.read(index), [*labels]))

    def _paint(self, indices: Indices, label: int) -> None:
        before = self.labels.read(indices)
        after = np.full_like(before, label)
        change = LabelChange(indices, before, after)
        change.do(self.labels)
        self._session.painted(change)


def _all(labels: int | Collection[int]) -> Collection[int]:
    return labels if isinstance(labels, Collection) else [labels]


def _on_plane(place: Place, mask: PlaneMask) -> Indices:
    """Return the pixels of a mask, an index array an axis."""
    rows, columns = np.nonzero(mask.pixels)
    selected = place.plane.select(rows + mask.crop.row_min, columns + mask.crop.column_min)
    return tuple(np.broadcast_to(np.asarray(at, dtype=np.intp), rows.shape) for at in selected)
