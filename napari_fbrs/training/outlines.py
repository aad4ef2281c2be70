"""Outlines moved out or in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_Mask = npt.NDArray[np.bool_]

_LEAST_LEFT = 0.4  # of an object's pixels, below which it is left as it is


def moved_outline(mask: _Mask, pixels: float, others: _Mask | None = None) -> _Mask:
    """Return an object with its outline moved.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        The object.
    pixels : float
        How far its outline moves outwards; inwards where negative, unless little of the object would be left.
    others : ndarray of bool, shape (H, W), optional
        Pixels that it does not grow into.
    """
    if pixels <= -1:
        shrunk: _Mask = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1] > -pixels
        return shrunk if shrunk.sum() >= _LEAST_LEFT * mask.sum() else mask
    if pixels >= 1 and mask.any():
        grown: _Mask = ndimage.distance_transform_edt(~mask) <= pixels
        return grown if others is None else grown & ~others
    return mask
