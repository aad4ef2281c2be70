"""Masks in a label image: what changes, exactly, and how to take it back."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.errors import InputError
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.settings import Method
from napari_fbrs.inference.zoom import bounding_box

Indices = tuple[npt.NDArray[np.intp], ...]
Values = npt.NDArray[Any]


class LabelStore(Protocol):
    """A label image that can be read and written in parts."""

    @property
    def stamp(self) -> object | None:
        """What is another one once the labels have been written; None where that is not known."""

    @property
    def largest(self) -> int:
        """The largest label there is room for."""

    def read(self, index: tuple[Any, ...]) -> Values:
        """Return the labels at an index of the nD array."""

    def write(self, indices: Indices, values: Values) -> None:
        """Set single pixels, given one index array an axis."""


def empty_labels(shape: Sequence[int]) -> npt.NDArray[np.int32]:
    """Return a label image without objects.

    Raises
    ------
    InputError
        If there is not as much memory.
    """
    try:
        return np.zeros(tuple(shape), dtype=np.int32)
    except MemoryError as error:
        extent, needed = " x ".join(map(str, shape)), 4 * math.prod(map(int, shape)) / 2**30
        raise InputError(
            f"labels of {extent} pixels need {needed:.0f} GB, more than there is: open a part of the image, or a "
            "coarser level of it, as a layer of its own"
        ) from error


def no_room(largest: int) -> str:
    """Return what there is to say where labels are of a type that holds none larger than this."""
    return (
        f"labels of this type end at {largest}: there is no room for another object. Convert them to a larger type (in "
        'napari by "Convert data type" in the menu of the layer), or let Start make a Labels layer'
    )


class LabelsBefore:
    """A label store that stands before another one; what takes part in writing says how.

    Parameters
    ----------
    store : LabelStore
        Where the labels are.
    """

    def __init__(self, store: LabelStore) -> None:
        self._store = store

    @property
    def stamp(self) -> object | None:
        """What is another one once the labels have been written; None where that is not known."""
        return self._store.stamp

    @property
    def largest(self) -> int:
        """The largest label there is room for."""
        return self._store.largest

    def read(self, index: tuple[Any, ...]) -> Values:
        """Return the labels at an index of the nD array."""
        return self._store.read(index)

    def write(self, indices: Indices, values: Values) -> None:
        """Set single pixels, given one index array an axis."""
        self._store.write(indices, values)


class ArrayLabels:
    """A label image held in a NumPy array.

    Parameters
    ----------
    array : ndarray of int
        Written in place.
    """

    stamp: object | None = None  # others may write into the array

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self.array = array

    @property
    def largest(self) -> int:
        """The largest label there is room for."""
        return int(np.iinfo(self.array.dtype).max)

    def read(self, index: tuple[Any, ...]) -> Values:
        """Return the labels at an index of the nD array."""
        return np.asarray(self.array[index])

    def write(self, indices: Indices, values: Values) -> None:
        """Set single pixels, given one index array an axis."""
        self.array[indices] = values


class SparseLabels:
    """A label image of which only the planes that have been written to are in memory.

    Parameters
    ----------
    shape : sequence of int
        Of the image; planes lie along the last two axes.
    """

    dtype = np.dtype(np.int32)

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)
        self.stamp: object | None = object()
        self._planes: dict[tuple[int, ...], Values] = {}

    @property
    def largest(self) -> int:
        """The largest label there is room for."""
        return int(np.iinfo(self.dtype).max)

    def read(self, index: tuple[Any, ...]) -> Values:
        """Return the labels at an index of the nD array; only what spans several planes puts them all together."""
        count = len(self.shape) - 2
        leading, within = tuple(index[:count]), tuple(index[count:])
        one = len(leading) == count and all(isinstance(at, int | np.integer) for at in leading)
        if one and not any(isinstance(at, np.ndarray) for at in within):
            return np.asarray(self._seen(tuple(map(int, leading)))[within])
        if isinstance(index[0], np.ndarray):
            return self._pixels(leading, within)
        whole = np.zeros(self.shape, dtype=self.dtype)
        for position, plane in self._planes.items():
            whole[position] = plane
        return np.asarray(whole[index])

    __getitem__ = read

    def write(self, indices: Indices, values: Values) -> None:
        """Set single pixels, given one index array an axis."""
        rows, columns = indices[-2:]
        for position, chosen in _by_plane(indices[:-2], len(rows)):
            if position not in self._planes:
                self._planes[position] = np.zeros(self.shape[-2:], dtype=self.dtype)
            self._planes[position][rows[chosen], columns[chosen]] = values[chosen]
        self.stamp = object()

    def _pixels(self, leading: Indices, within: Indices) -> Values:
        rows, columns = within
        found = np.zeros(len(rows), dtype=self.dtype)
        for position, chosen in _by_plane(leading, len(rows)):
            found[chosen] = self._seen(position)[rows[chosen], columns[chosen]]
        return found

    def _seen(self, position: tuple[int, ...]) -> Values:
        """Return a plane to be read; one that nothing was written to takes no memory."""
        there = self._planes.get(position)
        return np.broadcast_to(self.dtype.type(0), self.shape[-2:]) if there is None else there


def _by_plane(leading: Indices, count: int) -> Iterator[tuple[tuple[int, ...], npt.NDArray[np.bool_]]]:
    """Yield the planes that some pixels lie on, and which of them lie there."""
    positions = np.stack(leading, axis=1) if leading else np.zeros((count, 0), dtype=np.intp)
    if len(positions) and (positions == positions[0]).all():  # the usual case
        yield tuple(positions[0].tolist()), np.ones(count, dtype=bool)
        return
    for position in np.unique(positions, axis=0):
        yield tuple(position.tolist()), (positions == position).all(axis=1)


def slice_indices(at: tuple[int, ...], mask: npt.NDArray[np.bool_]) -> Indices:
    """Return the pixels of a slice along the last two axes that a mask holds, an index array an axis.

    Parameters
    ----------
    at : tuple of int
        Index along the axes before.
    mask : ndarray of bool, shape of the slice
        What is not 0 counts as True.
    """
    rows, columns = np.nonzero(mask)
    return (*(np.full(rows.shape, position, dtype=np.intp) for position in at), rows, columns)


@dataclass(frozen=True, eq=False)
class LabelChange:
    """Pixels of a label image before and after a step.

    Parameters
    ----------
    indices : tuple of ndarray of int
        One array an axis, all of one length.
    before, after : ndarray of int
        Labels of those pixels.
    """

    indices: Indices
    before: Values
    after: Values

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(array.nbytes for array in self.indices) + self.before.nbytes + self.after.nbytes

    def at(self, chosen: npt.NDArray[np.bool_]) -> LabelChange:
        """Return the change of some of the pixels."""
        return LabelChange(tuple(axis[chosen] for axis in self.indices), self.before[chosen], self.after[chosen])

    def do(self, store: LabelStore) -> LabelChange:
        """Write the labels after the step, except where somebody has changed a pixel since; return what was done."""
        return self.at(_exchange(store, self.indices, self.before, self.after))

    def undo(self, store: LabelStore) -> LabelChange:
        """Write the labels before the step, except where somebody has changed a pixel since; return what was undone."""
        return self.at(_exchange(store, self.indices, self.after, self.before))

    def inverse(self) -> LabelChange:
        """Return the change that takes this one back."""
        return LabelChange(self.indices, self.after, self.before)

    def then(self, later: LabelChange) -> LabelChange:
        """Return this change and a later one as a single change."""
        shape = tuple(
            int(max(a.max(initial=0), b.max(initial=0))) + 1 for a, b in zip(self.indices, later.indices, strict=True)
        )
        mine = np.ravel_multi_index(self.indices, shape)
        theirs = np.ravel_multi_index(later.indices, shape)
        every, first = np.unique(np.concatenate((mine, theirs)), return_index=True)
        before = np.concatenate((self.before, later.before))[first]
        # Reversed, the first occurrence is the last write.
        _, last = np.unique(np.concatenate((theirs, mine)), return_index=True)
        after = np.concatenate((later.after, self.after))[last]
        return LabelChange(np.unravel_index(every, shape), before, after)


@dataclass(frozen=True, eq=False)
class PlaneMask:
    """A mask of a plane, kept as bits of its bounding rectangle.

    Parameters
    ----------
    crop : Crop
        Where it lies.
    bits : ndarray of uint8
        ``numpy.packbits`` of the pixels.
    method : Method or None, optional
        What it was predicted by; None where it was not, or where that is not known.
    """

    crop: Crop
    bits: npt.NDArray[np.uint8]
    method: Method | None = None

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self.bits.nbytes

    @classmethod
    def of_plane(cls, pixels: npt.NDArray[np.bool_]) -> PlaneMask | None:
        """Return the mask of a plane; None where it is empty."""
        box = bounding_box(pixels, Crop.whole((pixels.shape[0], pixels.shape[1])))
        return None if box is None else cls.pack(box, pixels[box.slices])

    @classmethod
    def pack(cls, crop: Crop, pixels: npt.NDArray[np.bool_], method: Method | None = None) -> PlaneMask:
        """Return the mask of a crop."""
        return cls(crop, np.packbits(pixels), method)

    @property
    def pixels(self) -> npt.NDArray[np.bool_]:
        """The mask of the crop."""
        rows, columns = self.crop.shape
        return np.unpackbits(self.bits, count=rows * columns).reshape(rows, columns).astype(bool)

    def same_pixels(self, other: PlaneMask | None) -> bool:
        """Return whether another mask has the same pixels, whatever it was predicted by."""
        return other is not None and self.crop == other.crop and np.array_equal(self.bits, other.bits)

    def within(self, crop: Crop) -> npt.NDArray[np.bool_]:
        """Return the mask as pixels of another crop, False where that reaches beyond its own."""
        pixels = np.zeros(crop.shape, dtype=bool)
        mine = self.crop
        top, left = max(mine.row_min, crop.row_min), max(mine.column_min, crop.column_min)
        height, width = min(mine.row_max, crop.row_max) - top + 1, min(mine.column_max, crop.column_max) - left + 1
        if height > 0 and width > 0:
            here = self.pixels[top - mine.row_min :, left - mine.column_min :][:height, :width]
            pixels[top - crop.row_min :, left - crop.column_min :][:height, :width] = here
        return pixels


def mask_change(
    store: LabelStore,
    plane: PlaneIndex,
    label: int,
    old: PlaneMask | None,
    new: PlaneMask | None,
    *,
    overwrite: bool = False,
    locked: Collection[int] = (),
) -> LabelChange:
    """Return what turns an object's old mask into its new one.

    Only pixels in which the masks differ are touched, so what was painted by hand stays.

    Parameters
    ----------
    store : LabelStore
        The label image.
    plane : PlaneIndex
        Resolved.
    label : int
        The object.
    old, new : PlaneMask or None
        None is an empty mask.
    overwrite : bool, optional
        Whether pixels are taken from other objects; by default they keep them.
    locked : collection of int, optional
        Objects that keep theirs all the same.

    Raises
    ------
    InputError
        If the label image's dtype cannot hold the label.
    """
    masks = [mask for mask in (old, new) if mask is not None]
    if not masks:
        none = np.zeros(0, dtype=np.intp)
        return LabelChange((none,) * (len(plane.position) + 2), none, none)
    around = masks[0].crop.union(masks[-1].crop)
    labels = store.read(plane.select(*around.slices))
    if label > store.largest:  # would be written as another object
        raise InputError(f"object {label} does not fit: {no_room(store.largest)}")
    labels = labels.T if plane.transposed else labels
    was, is_ = (mask.within(around) if mask else np.zeros(around.shape, dtype=bool) for mask in (old, new))
    gone = was & ~is_ & (labels == label)
    free = ~np.isin(labels, [label, *locked]) if overwrite else labels == 0
    come = is_ & ~was & free
    rows, columns = np.nonzero(gone | come)
    before = labels[rows, columns]
    after = np.where(come[rows, columns], label, 0).astype(labels.dtype)
    constant = [np.full(rows.shape, at, dtype=np.intp) for at in plane.position]
    where = PlaneIndex(tuple(constant), plane.axes).select(rows + around.row_min, columns + around.column_min)  # type: ignore[arg-type]
    return LabelChange(where, before, after)


def _exchange(store: LabelStore, indices: Indices, expected: Values, wanted: Values) -> npt.NDArray[np.bool_]:
    """Write the labels wanted where there are those expected, and return where that was."""
    ours: npt.NDArray[np.bool_] = np.zeros(wanted.shape, dtype=bool)
    if wanted.size:
        ours = np.asarray(store.read(indices) == expected)
    if ours.any():
        store.write(tuple(axis[ours] for axis in indices), wanted[ours])
    return ours
