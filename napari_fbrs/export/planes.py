"""The planes of a label image one after the other, with the objects chosen and no others."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_fbrs.errors import CancelledError, InputError
from napari_fbrs.export.selection import Selection
from napari_fbrs.export.source import LabelImage

_TABLE = 2**24  # labels up to this are looked up in a table, larger ones searched for

Labels = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]
Cancelled = Callable[[], bool]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class PlaneObject:
    """An object on a plane, in its bounding box.

    Parameters
    ----------
    label : int
        Which one.
    row, column : int
        Corner of its bounding box in the plane, as cropped.
    mask : ndarray of bool
        Its pixels, of the bounding box.
    """

    label: int
    row: int
    column: int
    mask: Mask

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of its bounding box in the plane, as cropped."""
        rows, columns = self.mask.shape
        return slice(self.row, self.row + rows), slice(self.column, self.column + columns)


@dataclass(frozen=True, eq=False)
class PlaneLabels:
    """A plane of what is exported.

    Parameters
    ----------
    position : tuple of int
        Index along each leading axis of the whole image.
    labels : ndarray of int, shape (rows, columns)
        0 where there is no object that was chosen.
    present : ndarray of int
        Labels of its objects, in order.
    """

    position: tuple[int, ...]
    labels: Labels
    present: npt.NDArray[np.int64]

    @cached_property
    def compact(self) -> npt.NDArray[np.int32]:
        """The plane with objects numbered 1, 2, ... in the order of `present`."""
        if not len(self.present):
            return np.zeros(self.labels.shape, dtype=np.int32)
        largest = int(self.present[-1])
        if largest > _TABLE:
            values = np.concatenate(([0], self.present))
            return np.searchsorted(values, self.labels.astype(np.int64)).astype(np.int32)
        table = np.zeros(largest + 1, dtype=np.int32)
        table[self.present] = np.arange(1, len(self.present) + 1)
        return np.asarray(table[self.labels])

    def objects(self) -> Iterator[PlaneObject]:
        """Yield its objects in the order of `present`."""
        boxes = ndimage.find_objects(self.compact, len(self.present))
        for number, (label, box) in enumerate(zip(self.present.tolist(), boxes, strict=True), start=1):
            yield PlaneObject(label, box[0].start, box[1].start, self.compact[box] == number)


class Planes:
    """What is to be exported of a label image: the planes, and the objects chosen.

    It is read twice: now, to find the objects, and plane by plane when they are written.

    Parameters
    ----------
    image : LabelImage
        All of it.
    selection : Selection, optional
        What is exported of it.
    progress : callable, optional
        Told how much is done, and of how much, in planes and objects on planes.
    cancelled : callable, optional
        When it answers True, `CancelledError` is raised.

    Raises
    ------
    InputError
        If something chosen is not there, or labels are negative, or there are no pixels.
    CancelledError
        If called off.
    """

    def __init__(
        self,
        image: LabelImage,
        selection: Selection | None = None,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> None:
        selection = selection or Selection()
        self.image = image
        self._progress, self._cancelled = progress, cancelled
        extents = image.shape[:-2]
        if 0 in image.shape:
            raise InputError(f"labels of shape {image.shape} hold no pixels: there is nothing to export")
        if selection.planes is not None and not extents:
            raise InputError("a 2D image has no slices to choose from: leave them at 'all', or --slices out")
        if selection.planes is not None and len(selection.planes) != len(extents):
            raise InputError(f"labels of shape {image.shape} have {len(extents)} leading axes, chosen was from "
                             f"{len(selection.planes)}; join what is chosen from each by semicolons")  # fmt: skip
        chosen = selection.planes or (slice(None),) * len(extents)
        self.indices = tuple(
            _range(part, extent, f"axis {axis}")
            for part, extent, axis in zip(chosen, extents, image.leading, strict=True)
        )
        self.rows = _range(selection.rows or slice(None), image.shape[-2], "rows")
        self.columns = _range(selection.columns or slice(None), image.shape[-1], "columns")
        self._chosen = _chosen_objects(image, selection)
        self._present = {position: self._find(position) for position in self.positions}
        self._check_chosen(selection)
        self.total = len(self._present) + sum(map(len, self._present.values()))
        self._done = 0

    @property
    def positions(self) -> list[tuple[int, ...]]:
        """Index of each plane along the leading axes of the whole image, in order."""
        return list(itertools.product(*self.indices))

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Rows and columns of a plane, as cropped."""
        return len(self.rows), len(self.columns)

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent along each axis of what is exported."""
        return (*map(len, self.indices), *self.plane_shape)

    @property
    def origin(self) -> tuple[int, ...]:
        """Index of the first pixel exported in the whole image."""
        return (*(index.start for index in self.indices), self.rows.start, self.columns.start)

    @cached_property
    def objects(self) -> list[int]:
        """Labels of all objects, in order."""
        return sorted(set().union(*(present.tolist() for present in self._present.values())))

    @property
    def largest(self) -> int:
        """Largest label; 0 where there is none."""
        return self.objects[-1] if self.objects else 0

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """Smallest unsigned type that holds the labels."""
        return np.dtype(np.min_scalar_type(self.largest))

    def present(self, position: tuple[int, ...]) -> list[int]:
        """Return the labels of the objects on a plane, in order."""
        return list(self._present[position].tolist())

    def __iter__(self) -> Iterator[PlaneLabels]:
        """Yield the planes in order; each and its objects count as done once the next is asked for."""
        return self.in_order(self.image.leading)

    def in_order(self, axes: Sequence[str]) -> Iterator[PlaneLabels]:
        """Yield the planes with the leading axes in another order, the last one changing fastest."""
        for position in self.positions_in(axes):
            plane = self.plane(position)
            end = self._done + 1 + len(plane.present)
            yield plane
            self.did(end - self._done)

    def positions_in(self, axes: Sequence[str]) -> Iterator[tuple[int, ...]]:
        """Yield the positions with the leading axes in another order, the last one changing fastest."""
        leading = self.image.leading
        for indices in itertools.product(*(self.indices[leading.index(axis)] for axis in axes)):
            at = dict(zip(axes, indices, strict=True))
            yield tuple(at[axis] for axis in leading)

    def plane(self, position: tuple[int, ...]) -> PlaneLabels:
        """Return the plane at a position of the whole image."""
        labels = self._read(position)
        present = self._present[position]
        if self._chosen is not None:
            labels = np.where(np.isin(labels, present), labels, 0)
        return PlaneLabels(position, labels, present)

    def mask(self, position: tuple[int, ...], label: int) -> Mask:
        """Return the pixels of an object on a plane."""
        if label not in self._present[position]:
            return np.zeros(self.plane_shape, dtype=bool)
        return np.asarray(self._read(position) == label)

    def measured(self, position: tuple[int, ...]) -> npt.NDArray[Any] | None:
        """Return the intensities of a plane, None where no image was given."""
        image = self.image.intensities
        return None if image is None else np.asarray(image[self._index(position)])

    def did(self, count: int = 1) -> None:
        """Count planes, and objects on planes, as done.

        Raises
        ------
        CancelledError
            If called off.
        """
        self._check_cancelled()
        self._done = min(self._done + count, self.total)
        if self._progress is not None:
            self._progress(self._done, self.total)

    def finish(self) -> None:
        """Count everything as done."""
        self.did(self.total - self._done)

    def _check_cancelled(self) -> None:
        if self._cancelled is not None and self._cancelled():
            raise CancelledError("the export was called off")

    def _index(self, position: tuple[int, ...]) -> tuple[Any, ...]:
        rows, columns = slice(self.rows.start, self.rows.stop), slice(self.columns.start, self.columns.stop)
        return (*position, rows, columns)

    def _read(self, position: tuple[int, ...]) -> Labels:
        self._check_cancelled()
        labels = np.asarray(self.image.data[self._index(position)])
        return labels.astype(np.uint8) if labels.dtype == bool else labels

    def _find(self, position: tuple[int, ...]) -> npt.NDArray[np.int64]:
        labels = self._read(position)
        smallest, largest = int(labels.min()), int(labels.max())
        if smallest < 0 or largest > np.iinfo(np.int64).max:
            raise InputError(f"labels are numbers from 0 to 2^63 - 1, found {smallest if smallest < 0 else largest}")
        found = _values(labels, largest)
        return found if self._chosen is None else found[np.isin(found, self._chosen)]

    def _check_chosen(self, selection: Selection) -> None:
        """Raise an error where objects or classes were chosen and there is not one of them."""
        if self._chosen is not None and not self.objects:
            raise InputError(f"none of the {_named(selection)} chosen is there, on the slices and pixels chosen")


def _values(labels: Labels, largest: int) -> npt.NDArray[np.int64]:
    """Return the labels on a plane, in order."""
    if largest > _TABLE:
        values: npt.NDArray[np.int64] = np.unique(labels).astype(np.int64)
        return values[values > 0]
    there = np.zeros(largest + 1, dtype=bool)
    there[labels] = True
    return np.flatnonzero(there[1:]) + 1


def _named(selection: Selection) -> str:
    return "objects" if selection.classes is None else f"objects of class {', '.join(sorted(selection.classes))}"


def _range(part: slice, extent: int, what: str) -> range:
    indices = range(extent)[part]
    if not len(indices) or (part.stop is not None and part.stop > extent):
        raise InputError(f"{what}: {_written(part)} was chosen of {extent}, which are counted from 0 to {extent - 1}")
    return indices


def _written(part: slice) -> str:
    return ":".join("" if at is None else str(at) for at in (part.start, part.stop))


def _chosen_objects(image: LabelImage, selection: Selection) -> npt.NDArray[np.int64] | None:
    if selection.objects is None and selection.classes is None:
        return None
    labels = None if selection.objects is None else set(selection.objects)
    if selection.classes is not None:
        known = set(image.classes.values())
        unknown = sorted(set(selection.classes) - known)
        if unknown:
            there = ", ".join(sorted(known)) or "no classes"
            raise InputError(f"no object is of class {', '.join(unknown)}; there are {there}")
        of_class = {label for label, name in image.classes.items() if name in selection.classes}
        labels = of_class if labels is None else labels & of_class
    return np.array(sorted(labels or ()), dtype=np.int64)
