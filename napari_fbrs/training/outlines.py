"""Outlines moved out or in, everywhere alike or here more than there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_Mask = npt.NDArray[np.bool_]

_LEAST_LEFT = 0.4  # of an object's pixels, below which it is left as it is


def moved_outline(mask: _Mask, pixels: npt.ArrayLike, others: _Mask | None = None) -> _Mask:
    """Return an object with its outline moved.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        The object.
    pixels : float, or array_like of float, shape (H, W)
        How far its outline moves outwards, everywhere or at each pixel; inwards where negative, unless little of the
        object would be left.
    others : ndarray of bool, shape (H, W), optional
        Pixels that it does not grow into.
    """
    pixels = np.asarray(pixels)
    out = mask
    if pixels.min() <= -1:
        shrunk = mask & (ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1] > -pixels)
        out = shrunk if shrunk.sum() >= _LEAST_LEFT * mask.sum() else mask
    if pixels.max() >= 1 and mask.any():
        grown = ~mask & (ndimage.distance_transform_edt(~mask) <= pixels)
        out = out | (grown if others is None else grown & ~others)
    return out


def spread_over(grid: npt.NDArray[np.float64], mask: _Mask) -> npt.NDArray[np.float64]:
    """Return a few values spread over an object, and beyond it: what lies between them is interpolated.

    Parameters
    ----------
    grid : ndarray of float, shape (N, M)
        From one corner of the object's bounding box to the other; a single value holds everywhere.
    mask : ndarray of bool, shape (H, W)
        The object; at least one pixel.

    Returns
    -------
    ndarray of float, shape (H, W)
    """
    rows, columns = (
        _weights(np.flatnonzero(mask.any(axis=1 - axis)), mask.shape[axis], grid.shape[axis]) for axis in (0, 1)
    )
    spread: npt.NDArray[np.float64] = rows @ grid @ columns.T
    return spread


def _weights(occupied: npt.NDArray[np.int64], size: int, count: int) -> npt.NDArray[np.float64]:
    """Return how much of each of `count` values, evenly spaced over what is occupied, there is at each of `size`."""
    knots = np.linspace(occupied[0], max(occupied[-1], occupied[0] + 1), count)
    return np.stack([np.interp(np.arange(size), knots, unit) for unit in np.eye(count)], axis=1)
