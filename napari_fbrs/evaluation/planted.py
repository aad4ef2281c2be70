"""Masks with planted errors, to be corrected by clicks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_fbrs.evaluation.simulation import Mask

IOUS = (0.5, 0.85)  # of a mask with errors, with the truth
_ATTEMPTS = 60

_Error = Callable[[Mask, Mask, np.random.Generator], Mask]


def planted(mask: Mask, others: Mask, rng: np.random.Generator) -> Mask:
    """Return a mask with one to three errors, such as automatic segmentation leaves behind.

    A piece cut off, a piece of the surroundings or of a neighbour too much, a bite out of the border, a hole, or a
    border that lies too far in or out.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        The object; at least one pixel.
    others : ndarray of bool, shape (H, W)
        Other objects.
    rng : numpy.random.Generator
        Decides everything.

    Returns
    -------
    ndarray of bool
        Its IoU with the object lies within `IOUS`, or as near to that as it came in some attempts.
    """
    best, distance = mask, np.inf
    for _ in range(_ATTEMPTS):
        out = mask
        for error in rng.choice(len(_ERRORS), rng.integers(1, 4), replace=False):
            out = _ERRORS[error](out, others, rng)
        overlap = float(np.count_nonzero(out & mask)) / max(1.0, float(np.count_nonzero(out | mask)))
        off = max(IOUS[0] - overlap, overlap - IOUS[1], 0.0)
        if out.any() and off < distance:
            best, distance = out, off
        if distance == 0:
            break
    return best


def _cut(mask: Mask, _others: Mask, rng: np.random.Generator) -> Mask:
    rows, columns = np.nonzero(mask)
    angle = rng.uniform(0, 2 * np.pi)
    along = rows * np.sin(angle) + columns * np.cos(angle)
    out = mask.copy()
    gone = along > np.quantile(along, rng.uniform(0.55, 0.9))
    out[rows[gone], columns[gone]] = False
    return out


def _bite(mask: Mask, _others: Mask, rng: np.random.Generator) -> Mask:
    return mask & ~_disc(mask, rng, _border(mask), 0.15, 0.45)


def _hole(mask: Mask, _others: Mask, rng: np.random.Generator) -> Mask:
    return mask & ~_disc(mask, rng, mask, 0.1, 0.3)


def _surplus(mask: Mask, _others: Mask, rng: np.random.Generator) -> Mask:
    return mask | _disc(mask, rng, _border(mask), 0.15, 0.45)


def _neighbour(mask: Mask, others: Mask, rng: np.random.Generator) -> Mask:
    """Add the part of other objects that is near; where there are none, a piece of the surroundings."""
    near = _depth(~mask) <= rng.uniform(0.2, 0.5) * _size(mask)
    return mask | (near & others) if (near & others & ~mask).any() else _surplus(mask, others, rng)


def _border_off(mask: Mask, _others: Mask, rng: np.random.Generator) -> Mask:
    pixels = rng.uniform(0.04, 0.12) * _size(mask)
    return _depth(mask) > pixels if rng.random() < 0.5 else _depth(~mask) <= pixels


_ERRORS: tuple[_Error, ...] = (_cut, _bite, _hole, _surplus, _neighbour, _border_off)


def _size(mask: Mask) -> float:
    return float(np.sqrt(np.count_nonzero(mask)))


def _depth(mask: Mask) -> npt.NDArray[np.float64]:
    depth: npt.NDArray[np.float64] = ndimage.distance_transform_edt(mask)
    return depth


def _border(mask: Mask) -> Mask:
    border: Mask = mask & ~ndimage.binary_erosion(mask)
    return border if border.any() else mask


def _disc(mask: Mask, rng: np.random.Generator, where: Mask, smallest: float, largest: float) -> Mask:
    """Return a disc around one of some pixels, of a radius relative to the mask's size."""
    places = np.argwhere(where)
    if not len(places):
        return np.zeros_like(mask)
    row, column = places[rng.integers(len(places))]
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    disc: Mask = (rows - row) ** 2 + (columns - column) ** 2 <= (rng.uniform(smallest, largest) * _size(mask)) ** 2
    return disc
