"""A plane of an image, read as the network wants it: a crop, brought to a size, in RGB between 0 and 1."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_fbrs.errors import InputError
from napari_fbrs.models.network import resize

_COLOURS = 3
WIDEST = 8  # bytes of a number in a plane; long doubles are brought to that
_LARGEST = float(np.finfo(np.float64).max)
_STRIP_PIXELS = 2**21  # input pixels averaged at a time: bounds the memory of a large plane

Limits = tuple[float, ...]  # black and white; of several channels black and white of each in turn


@dataclass(frozen=True)
class Crop:
    """A rectangle of pixels; the last row and column belong to it."""

    row_min: int
    row_max: int
    column_min: int
    column_max: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.row_max - self.row_min + 1, self.column_max - self.column_min + 1

    @property
    def slices(self) -> tuple[slice, slice]:
        """What selects it from an array (rows, columns, ...)."""
        return slice(self.row_min, self.row_max + 1), slice(self.column_min, self.column_max + 1)

    def contains(self, other: Crop) -> bool:
        """Whether all pixels of another crop belong to this one."""
        return (
            self.row_min <= other.row_min
            and other.row_max <= self.row_max
            and self.column_min <= other.column_min
            and other.column_max <= self.column_max
        )

    def within(self, outer: Crop) -> Crop:
        """Return it in pixels of another crop."""
        row, column = outer.row_min, outer.column_min
        return Crop(self.row_min - row, self.row_max - row, self.column_min - column, self.column_max - column)

    def union(self, other: Crop) -> Crop:
        """Return the smallest crop that contains both."""
        return Crop(
            min(self.row_min, other.row_min),
            max(self.row_max, other.row_max),
            min(self.column_min, other.column_min),
            max(self.column_max, other.column_max),
        )

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Crop:
        """Return the crop that is all of a plane."""
        return cls(0, shape[0] - 1, 0, shape[1] - 1)


@dataclass(frozen=True, eq=False)
class Plane:
    """One 2D image with the intensities that are black and white.

    Parameters
    ----------
    pixels : array_like, shape (H, W), (H, W, 3) or (H, W, 4)
        Grey, RGB or RGBA; never copied and never written to. With limits of its own for each of them, two or three
        channels: red, green, blue. What is no ndarray is read in parts, by two slices.
    limits : tuple of float
        Intensities shown as 0 and 1, of all pixels or of one channel after the other; what lies outside is clipped,
        NaN is 0.
    coarser : tuple of array_like, optional
        The same pixels with fewer rows and columns, each coarser than the one before: the levels of a pyramid.
    """

    pixels: Any
    limits: Limits
    coarser: tuple[Any, ...] = ()
    token: object = field(default_factory=object, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def read(self, crop: Crop, size: tuple[int, int]) -> npt.NDArray[np.float32]:
        """Return a crop brought to a size.

        Interpolated bilinearly, corners on corners, as published; from twice the size on, averaged over areas
        instead, since bilinear interpolation would skip pixels. Of a pyramid, the coarsest level that has as many
        pixels as wanted is read.

        Parameters
        ----------
        crop : Crop
            Inside the plane.
        size : tuple of int
            Rows and columns wanted.

        Returns
        -------
        ndarray of float32, shape (3, rows, columns)
            RGB in [0, 1].
        """
        level = self._level(crop, size)
        if level is not None:
            return self._sampled(level, crop, size)
        pixels = np.asarray(self.pixels[crop.slices])
        ratio = max(crop.shape[0] / size[0], crop.shape[1] / size[1])
        if ratio >= 2:
            # Where only one axis shrinks that much the other is left to the interpolation below.
            pixels = self._averaged(pixels, (min(size[0], crop.shape[0]), min(size[1], crop.shape[1])))
        else:
            pixels = self._normalised(pixels)
        tensor = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
        # Float rounding in the interpolation may step over the ends.
        resized: npt.NDArray[np.float32] = resize(tensor, size)[0].clamp(0, 1).expand(3, -1, -1).numpy()
        return resized

    def _level(self, crop: Crop, size: tuple[int, int]) -> Any | None:
        """Return the coarsest level that has as many pixels of a crop as wanted; None for the finest."""
        wanted = [count * extent / had for count, extent, had in zip(size, self.shape, crop.shape, strict=True)]
        enough = [pixels for pixels in self.coarser if all(np.greater_equal(pixels.shape[:2], wanted))]
        return min(enough, key=lambda pixels: math.prod(pixels.shape[:2])) if enough else None

    def _sampled(self, level: Any, crop: Crop, size: tuple[int, int]) -> npt.NDArray[np.float32]:
        """Return a crop of a coarser level, interpolated bilinearly at the places where the finest is."""
        starts = crop.row_min, crop.column_min
        places, read = [], []
        for start, had, extent, count, wanted in zip(
            starts, crop.shape, self.shape, level.shape[:2], size, strict=True
        ):
            # Pixels are areas: the first one of each level begins at 0.
            within = np.linspace(0, had - 1, wanted) if wanted > 1 else np.array([(had - 1) / 2])
            at = (start + within + 0.5) * count / extent - 0.5
            first, last = max(0, math.floor(at[0])), min(count, math.floor(at[-1]) + 2)
            places.append(at - first)
            read.append(slice(first, last))
        pixels = np.asarray(level[tuple(read)])
        smaller = [max(1, n // max(1, n // wanted)) for n, wanted in zip(pixels.shape[:2], size, strict=True)]
        places = [(at + 0.5) * n / m - 0.5 for at, n, m in zip(places, smaller, pixels.shape[:2], strict=True)]
        pixels = _interpolated(self._averaged(pixels, (smaller[0], smaller[1])), places[0], places[1])
        return np.ascontiguousarray(np.broadcast_to(pixels.transpose(2, 0, 1), (_COLOURS, *size)))

    def _normalised(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return (rows, columns, 1 or 3) between 0 and 1; alpha shows the colour over black, as napari does."""
        if len(self.limits) == 2:
            return _normalised(pixels, self.limits[0], self.limits[1])
        channels = [_normalised(pixels[..., i], *limits) for i, limits in enumerate(by_channel(self.limits))]
        return np.concatenate((*channels, *[np.zeros_like(channels[0])] * (_COLOURS - len(channels))), axis=-1)

    def _averaged(self, pixels: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[np.float32]:
        """Return the mean of each of `size` cells, a strip of rows at a time."""
        rows, columns = (
            np.arange(count + 1) * extent // count for count, extent in zip(size, pixels.shape[:2], strict=True)
        )
        widths = np.diff(columns).astype(np.float32)[None, :, None]
        step = max(1, math.floor(_STRIP_PIXELS * size[0] / (pixels.shape[0] * pixels.shape[1])))
        strips = []
        for first in range(0, size[0], step):
            edges = rows[first : first + step + 1]
            strip = self._normalised(pixels[edges[0] : edges[-1]])
            strip = np.add.reduceat(strip, columns[:-1], axis=1) / widths
            heights = np.diff(edges).astype(np.float32)[:, None, None]
            strips.append(np.add.reduceat(strip, edges[:-1] - edges[0], axis=0) / heights)
        return np.concatenate(strips)


def _interpolated(
    pixels: npt.NDArray[np.float32], rows: npt.NDArray[np.float64], columns: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Return pixels, shape (H, W, channels), between their middles; those at the border go on outside it."""
    for axis, at in enumerate((rows, columns)):
        at = np.clip(at, 0, pixels.shape[axis] - 1)
        before = np.floor(at).astype(np.intp)
        after = np.minimum(before + 1, pixels.shape[axis] - 1)
        weight = np.expand_dims((at - before).astype(np.float32), (1, 2) if axis == 0 else (0, 2))
        pixels = pixels.take(before, axis) * (1 - weight) + pixels.take(after, axis) * weight
    return pixels


def _normalised(pixels: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.float32]:
    """Return (rows, columns, 1 or 3) between two limits that are 0 and 1."""
    wide: type[np.floating[Any]] = (
        np.float32 if pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32 else np.float64
    )
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    colour = np.nan_to_num(pixels[..., :3].astype(wide), nan=low, posinf=high, neginf=low)
    # Halves, because the span of the widest limits is more than a float holds.
    half_low, half_span = low / 2, high / 2 - low / 2
    scaled = np.clip((colour / 2 - half_low) / half_span, 0, 1) if half_span > 0 else np.zeros_like(colour)
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(wide) / colour_range(pixels.dtype)
        scaled = scaled * np.clip(np.nan_to_num(alpha), 0, 1)
    normalised: npt.NDArray[np.float32] = scaled.astype(np.float32, copy=False)
    return normalised


def by_channel(limits: Limits) -> list[tuple[float, float]]:
    """Return black and white of each channel."""
    return list(zip(limits[::2], limits[1::2], strict=True))


def make_plane(image: npt.ArrayLike, limits: Limits | None = None) -> Plane:
    """Return a plane for prediction.

    Parameters
    ----------
    image : array_like, shape (H, W), (H, W, 3) or (H, W, 4)
        Grey, RGB or RGBA, of any integer, float or boolean dtype. With limits for each of them, two or three channels.
    limits : tuple of float, optional
        Intensities to be shown as black and white, of all pixels or of one channel after the other; see
        `default_limits` for what is taken otherwise.

    Raises
    ------
    InputError
        If the shape, the dtype or the limits cannot be used.
    """
    pixels = np.asarray(image)
    check_numbers(pixels.dtype)
    if pixels.dtype.itemsize > WIDEST:
        with np.errstate(over="ignore"):
            pixels = pixels.astype(np.float64)
    channels = len(limits or ()) // 2
    if channels < 2 and pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] in (3, 4)):
        raise InputError(f"a plane must be (rows, columns) or (rows, columns, 3 or 4), got shape {pixels.shape}")
    if 0 in pixels.shape:
        raise InputError(f"the image is empty: shape {pixels.shape}")
    if limits is None:
        limits = default_limits(pixels, rgb=pixels.ndim == 3)
    return Plane(pixels, checked_limits(limits, pixels.shape))


def checked_limits(limits: Limits, shape: tuple[int, ...]) -> Limits:
    """Return limits as floats, for pixels of a shape.

    Raises
    ------
    InputError
        If they are no pairs, for another number of channels, not finite, or not in order.
    """
    if len(limits) == 0 or len(limits) % 2:
        raise InputError(f"contrast limits are pairs of black and white, got {len(limits)} numbers")
    channels = len(limits) // 2
    if channels > 1 and shape[2:] != (channels,):
        raise InputError(f"limits of {channels} channels do not fit pixels of shape {shape}")
    limits = tuple(map(float, limits))
    for low, high in by_channel(limits):
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise InputError(f"contrast limits must be finite and in order, got {low} and {high}")
    return limits


def check_numbers(dtype: np.dtype[Any]) -> None:
    """Raise `InputError` if an image of this dtype holds anything but real numbers."""
    if dtype.kind not in "buif":
        raise InputError(f"an image must hold numbers, this one holds {dtype}; convert it to float32")


def default_limits(pixels: npt.NDArray[Any], *, rgb: bool) -> tuple[float, float]:
    """Return black and white as napari first shows them.

    Parameters
    ----------
    pixels : ndarray
        Intensities.
    rgb : bool
        Whether they are colours, which are shown over the whole range of their dtype (0 to 1 for floats).

    Returns
    -------
    tuple of float
        The range of the dtype for colours, uint8 and bool; else the smallest and largest finite value.
    """
    known = dtype_limits(pixels.dtype, rgb=rgb)
    if known is not None:
        return known
    low, high = math.inf, -math.inf
    step = max(1, _STRIP_PIXELS // max(1, math.prod(pixels.shape[1:])))
    for first in range(0, len(pixels), step):
        strip = pixels[first : first + step]
        finite = strip[np.isfinite(strip)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return (max(low, -_LARGEST), min(high, _LARGEST)) if low <= high else (0.0, 1.0)  # long doubles reach farther


def dtype_limits(dtype: np.dtype[Any], *, rgb: bool) -> tuple[float, float] | None:
    """Return the limits of `default_limits` where the dtype is enough to tell; else None."""
    if rgb:
        return 0.0, colour_range(dtype)
    return {"b": (0.0, 1.0), "u1": (0.0, 255.0)}.get(dtype.kind if dtype.kind == "b" else dtype.str[1:])


def colour_range(dtype: np.dtype[Any]) -> float:
    """Return what counts as full intensity for a colour of `dtype`."""
    return float(np.iinfo(dtype).max) if dtype.kind in "ui" else 1.0
