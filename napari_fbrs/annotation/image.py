"""Planes of an image of any dimension."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fbrs.errors import InputError
from napari_fbrs.inference.plane import (
    WIDEST,
    Limits,
    Plane,
    check_numbers,
    checked_limits,
    default_limits,
    dtype_limits,
    make_plane,
)
from napari_fbrs.models.memory import is_shortage

LARGE = 64 * 2**20  # bytes of a plane; larger ones are not read as a whole where that can be helped
_COLOURS = 3
_ENOUGH = 2**20  # pixels of a level in which black and white are looked for


@dataclass(frozen=True)
class PlaneIndex:
    """Which plane of an nD image: the axes it spans, and where it lies along the others.

    Parameters
    ----------
    position : tuple of int, optional
        Index along each axis that the plane does not span, in the order of the axes.
    axes : tuple of int, optional
        Axes of the image that are the plane's rows and columns; the last two by default.
    """

    position: tuple[int, ...] = ()
    axes: tuple[int, int] = (-2, -1)

    def resolved(self, ndim: int) -> PlaneIndex:
        """Return the same plane with axes counted from the front.

        Raises
        ------
        InputError
            If the plane does not fit an image of `ndim` dimensions.
        """
        axes = tuple(axis + ndim if axis < 0 else axis for axis in self.axes)
        if len(self.position) != ndim - 2 or not all(0 <= axis < ndim for axis in axes) or axes[0] == axes[1]:
            raise InputError(
                f"a plane of an image with {ndim} dimensions needs {ndim - 2} position(s), got "
                f"{self.position or 'none'} with axes {self.axes}"
            )
        return PlaneIndex(self.position, (axes[0], axes[1]))

    def select(self, rows: Any, columns: Any) -> tuple[Any, ...]:
        """Return what indexes `rows` and `columns` of this plane in the nD array; the plane must be resolved."""
        others = iter(self.position)
        spanned = {self.axes[0]: rows, self.axes[1]: columns}
        return tuple(spanned[axis] if axis in spanned else next(others) for axis in range(len(self.position) + 2))

    @property
    def transposed(self) -> bool:
        """Whether the plane's rows come after its columns in the array."""
        return self.axes[0] > self.axes[1]


class Channel:
    """One channel of an array, not read until it is indexed; its axis stays, one position long.

    So planes of the image have the same axes with and without it, and what is made of it (labels) fits the array by
    NumPy's rules of broadcasting.

    Parameters
    ----------
    data : array_like
        NumPy, dask, zarr or memory-mapped array.
    axis : int
        The axis of its channels.
    channel : int
        Which.
    """

    def __init__(self, data: Any, axis: int, channel: int) -> None:
        self.data, self.axis, self.channel = data, axis, channel
        self.shape: tuple[int, ...] = (*data.shape[:axis], 1, *data.shape[axis + 1 :])
        self.ndim, self.dtype = len(self.shape), data.dtype

    def __getitem__(self, index: tuple[int | slice, ...]) -> npt.NDArray[Any]:
        """Return pixels; an index for each axis from the first one on."""
        full = (*index, *(slice(None),) * (self.ndim - len(index)))
        here = full[self.axis]
        at = slice(self.channel, self.channel + 1) if isinstance(here, slice) else self.channel
        return np.asarray(self.data[(*full[: self.axis], at, *full[self.axis + 1 :])])


class Composite:
    """Two or three arrays of one shape as red, green and blue, not read until it is indexed.

    Parameters
    ----------
    parts : sequence of array_like
        In this order; of two, blue is nothing.

    Raises
    ------
    InputError
        If there are too few or too many, or their shapes differ.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        if not 2 <= len(parts) <= _COLOURS:
            raise InputError(f"two or three channels can be shown to the network as colours, not {len(parts)}")
        shapes = {tuple(part.shape) for part in parts}
        if len(shapes) > 1:
            raise InputError(f"channels of different shapes are no image: {', '.join(map(str, sorted(shapes)))}")
        self.parts = tuple(parts)
        self.shape: tuple[int, ...] = tuple(parts[0].shape)
        self.ndim, self.dtype = len(self.shape), np.result_type(*(part.dtype for part in parts))

    def __getitem__(self, index: tuple[int | slice, ...]) -> npt.NDArray[Any]:
        """Return pixels with the channels as one more axis, the last."""
        return np.stack([np.asarray(part[index]) for part in self.parts], axis=-1)


@dataclass(frozen=True)
class Channels:
    """Which channels an image is made of.

    Parameters
    ----------
    axis : int or None
        Of an array; None: each is an array of its own.
    shown : tuple of int
        One in grey, or up to three as red, green, blue.
    """

    axis: int | None
    shown: tuple[int, ...]

    def of(self, data: Any) -> Channel | Composite:
        """Return them, of an array with all channels.

        Raises
        ------
        InputError
            If it has no such axis or channels.
        """
        axis = self.axis
        if axis is None or axis >= data.ndim or max(self.shown) >= data.shape[axis]:
            raise InputError(f"an array of shape {tuple(data.shape)} has no channels {self.shown} along axis {axis}")
        parts = [Channel(data, axis, channel) for channel in self.shown]
        return Composite(parts) if len(parts) > 1 else parts[0]


def channels_of(image: Image) -> Channels | None:
    """Return which channels an image is made of; None for an array as it is."""
    data = image.data
    if isinstance(data, Channel):
        return Channels(data.axis, (data.channel,))
    if not isinstance(data, Composite):
        return None
    parts = [part for part in data.parts if isinstance(part, Channel)]
    if len(parts) < len(data.parts):
        return Channels(None, tuple(range(len(data.parts))))
    return Channels(parts[0].axis, tuple(part.channel for part in parts))


class _PlanePixels:
    """The pixels of a plane of an array, read by two slices when they are asked for."""

    def __init__(self, data: Any, index: PlaneIndex, shape: tuple[int, ...]) -> None:
        self._data, self._index = data, index
        self.shape, self.ndim = shape, len(shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self._data.dtype)
        return dtype

    def __getitem__(self, within: tuple[slice, slice]) -> npt.NDArray[Any]:
        pixels = _read(self._data, self._index.select(*within))
        return pixels.swapaxes(0, 1) if self._index.transposed else pixels

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[:, :], dtype)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def chunk(self) -> tuple[int, int]:
        """Rows and columns of the pieces it is stored in, each of which is read as a whole; 1 where there are none."""
        chunks = [getattr(array, "chunks", None) for array, _, _ in _arrays(self._data)]
        rows, columns = (min(_first(of[axis]) if of else 1 for of in chunks) for axis in self._index.axes)
        return rows, columns


class Image:
    """An nD image whose planes are read when they are needed.

    Parameters
    ----------
    data : array_like
        NumPy, dask, zarr or memory-mapped array: spatial and other axes, colours last if `rgb`. Or a `Channel`, or a
        `Composite`.
    rgb : bool, optional
        Whether the last axis holds 3 or 4 colours.
    coarser : sequence of array_like, optional
        Levels of a pyramid after the first: of planes of more than `LARGE` bytes only those parts are read that a
        prediction looks at, at the resolution that it needs. Those without the same axes, colours and dtype, which
        say nothing of its pixels, are left out.

    Raises
    ------
    InputError
        If it holds no numbers, there are fewer than two dimensions, or `rgb` does not fit.
    """

    def __init__(self, data: Any, *, rgb: bool = False, coarser: Sequence[Any] = ()) -> None:
        if not hasattr(data, "ndim"):
            data = np.asarray(data)
        if rgb and (data.ndim < 3 or data.shape[-1] not in (3, 4)):
            raise InputError(f"a colour image needs 3 or 4 colours in its last axis, got shape {data.shape}")
        if hasattr(data, "dtype"):
            check_numbers(np.dtype(data.dtype))
        self.data = data
        self.rgb = rgb
        self.shape: tuple[int, ...] = tuple(data.shape[:-1] if rgb else data.shape)
        if len(self.shape) < 2:
            raise InputError(f"an image needs at least two dimensions, got shape {data.shape}")
        fitting = [level for level in coarser if self._fits(level)]
        self.coarser = tuple(sorted(fitting, key=lambda level: math.prod(level.shape), reverse=True))

    def of_channels(self, channels: Channels) -> Image:
        """Return it with some of its channels.

        Raises
        ------
        InputError
            If it has no such axis or channels.
        """
        axis, shape = channels.axis, self.data.shape
        chosen = channels.of(self.data)
        return Image(chosen, coarser=[channels.of(one) for one in self.coarser if one.shape[axis] == shape[axis]])

    def same(self, other: Image) -> bool:
        """Whether another image has the same arrays, and the same channels of them; pixels are not compared."""
        mine, theirs = _arrays(self.data), _arrays(other.data)
        return len(mine) == len(theirs) and all(
            a[0] is b[0] and a[1:] == b[1:] for a, b in zip(mine, theirs, strict=True)
        )

    @property
    def ndim(self) -> int:
        """Number of dimensions, colours not counted."""
        return len(self.shape)

    @property
    def channels(self) -> int:
        """Number of channels that have limits of their own; 1 for colours."""
        return len(self.data.parts) if isinstance(self.data, Composite) else 1

    def plane_shape(self, index: PlaneIndex) -> tuple[int, int]:
        """Return rows and columns of a resolved plane."""
        return self.shape[index.axes[0]], self.shape[index.axes[1]]

    def limits(self) -> Limits | None:
        """Return black and white for the whole image, None where finding them would read all of a lazy array."""
        return default_limits(self.data, rgb=self.rgb) if isinstance(self.data, np.ndarray) else None

    def plane(self, index: PlaneIndex, limits: Limits | None = None) -> Plane:
        """Read one plane.

        Parameters
        ----------
        index : PlaneIndex
            Resolved.
        limits : tuple of float, optional
            Intensities shown as black and white; of each channel where there are several.

        Raises
        ------
        InputError
            If the position lies outside the image, or what holds the image cannot be read (any more).
        """
        finest, *coarser = (self._pixels(data, self.checked(index)) for data in (self.data, *self.coarser))
        if self.read_in_parts(index):
            if limits is None:
                limits = self._coarse_limits([finest, *coarser])
            return Plane(finest, checked_limits(limits, finest.shape), tuple(coarser))
        return make_plane(*self._whole(finest, limits))

    def with_levels(self, shapes: Sequence[tuple[int, ...]]) -> Image:
        """Return it with only those coarser levels that have one of these shapes."""
        return Image(self.data, rgb=self.rgb, coarser=[one for one in self.coarser if tuple(one.shape) in shapes])

    def read_in_parts(self, index: PlaneIndex) -> bool:
        """Whether only those parts of a resolved plane are read that are looked at."""
        if not self.coarser:
            return False
        finest = self._pixels(self.data, index)
        parts_pay = self.is_large(index) and not self.in_one_chunk(index)
        return parts_pay and finest.dtype.itemsize <= WIDEST

    def is_large(self, index: PlaneIndex) -> bool:
        """Whether a resolved plane has more than `LARGE` bytes."""
        return self.plane_nbytes(index) > LARGE

    def in_one_chunk(self, index: PlaneIndex) -> bool:
        """Whether a resolved plane is stored in one piece, which is read as a whole for every part of it."""
        return all(np.greater_equal(self.chunk(index), self.plane_shape(index)))

    def chunk(self, index: PlaneIndex) -> tuple[int, int]:
        """Return rows and columns of the pieces that a resolved plane is stored in; 1 where there are none."""
        return self._pixels(self.data, index).chunk

    def plane_nbytes(self, index: PlaneIndex) -> int:
        """Return the bytes of a resolved plane, with its colours."""
        return self._pixels(self.data, index).nbytes

    def _fits(self, level: Any) -> bool:
        """Whether an array can be a coarser level."""
        shape, mine = tuple(level.shape), tuple(self.data.shape)
        fits = len(shape) == len(mine) and 0 not in shape and not any(np.greater(shape, mine))
        return fits and level.dtype == self.data.dtype and shape[self.ndim :] == mine[self.ndim :]

    def _coarse_limits(self, levels: Sequence[_PlanePixels]) -> Limits:
        """Return black and white of a plane from the coarsest of its levels that has pixels enough."""
        known = dtype_limits(levels[0].dtype, rgb=self.rgb)
        if known is not None:
            return known * len(self.data.parts) if isinstance(self.data, Composite) else known
        enough = (level for level in reversed(levels[1:]) if math.prod(level.shape[:2]) >= _ENOUGH)
        return make_plane(*self._whole(next(enough, levels[1]), None)).limits

    def _pixels(self, data: Any, index: PlaneIndex) -> _PlanePixels:
        """Return the pixels of a plane of one level."""
        colours = (data.shape[-1],) if self.rgb else (len(data.parts),) if isinstance(data, Composite) else ()
        others = (axis for axis in range(self.ndim) if axis not in index.axes)
        longest = max(index.axes, key=lambda axis: self.shape[axis])
        factor = round(self.shape[longest] / data.shape[longest])
        position = tuple(
            _at_level(at, self.shape[axis], data.shape[axis], factor)
            for at, axis in zip(index.position, others, strict=True)
        )
        shape = (data.shape[index.axes[0]], data.shape[index.axes[1]], *colours)
        return _PlanePixels(data, PlaneIndex(position, index.axes), shape)

    def _whole(self, level: _PlanePixels, limits: Limits | None) -> tuple[npt.NDArray[Any], Limits | None]:
        """Return all pixels of a plane, with its limits where each channel has its own."""
        pixels = level[:, :]
        if limits is None and isinstance(self.data, Composite):
            limits = sum((default_limits(pixels[..., i], rgb=False) for i in range(pixels.shape[-1])), ())
        return pixels, limits

    def checked(self, index: PlaneIndex) -> PlaneIndex:
        """Return a resolved plane as it is.

        Raises
        ------
        InputError
            If the position lies outside the image.
        """
        others = [extent for axis, extent in enumerate(self.shape) if axis not in index.axes]
        if not all(0 <= at < extent for at, extent in zip(index.position, others, strict=True)):
            raise InputError(f"there is no plane {index.position} in an image of shape {self.shape}")
        return index


def _at_level(at: int, extent: int, count: int, factor: int) -> int:
    """Return the position along an axis of a coarser level where one of the finest lies.

    Where it may have as many times fewer positions as rows or columns, `factor`, it has.
    """
    if count in (extent // factor, -(-extent // factor)):  # of what is left over at the end, some levels hold nothing
        return min(at // factor, count - 1)
    return at * count // extent


def _first(chunks: Any) -> int:
    """Return the length of the first chunk along an axis; dask tells all of them."""
    return int(chunks[0]) if isinstance(chunks, Sequence) else int(chunks)


def _read(data: Any, where: tuple[Any, ...]) -> npt.NDArray[Any]:
    """Return a part of an array.

    Raises
    ------
    InputError
        If what holds it cannot be read (any more).
    """
    try:
        return np.asarray(data[where])
    except Exception as error:  # of a file, a server, a chunk's codec: there is nothing a lazy array does not raise
        if is_shortage(error):
            raise
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'nothing more is known'}"
        raise InputError(
            f"the image could not be read ({reason[:300]}): see that its file is where it was, and click again"
        ) from error


def _arrays(data: Any) -> list[tuple[Any, int | None, int | None]]:
    """Return the arrays that an image is read from, with axis and number of the channel."""
    if isinstance(data, Composite):
        return [array for part in data.parts for array in _arrays(part)]
    return [(data.data, data.axis, data.channel) if isinstance(data, Channel) else (data, None, None)]
