"""Masks that are nearly right, as users bring them and as predictions are: what a network learns to correct."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_fbrs.clicks import Click
from napari_fbrs.training.outlines import moved_outline
from napari_fbrs.training.sampling import correcting_click

_Mask = npt.NDArray[np.bool_]

_MAX_CORRECTIONS = 10
_REACH = (0.08, 0.35)  # of a correction around its click, of the object's size


def damaged(mask: _Mask, others: _Mask, rng: np.random.Generator) -> _Mask:
    """Return a mask with one or two errors such as automatic segmentation makes.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        The object; at least one pixel.
    others : ndarray of bool, shape (H, W)
        Other objects, of which a part may be added.
    rng : numpy.random.Generator
        Decides everything.
    """
    size = float(np.sqrt(mask.sum()))
    out = mask
    for _ in range(int(rng.integers(1, 3))):
        kind = rng.integers(5)
        if kind == 0:
            out = moved_outline(out, rng.uniform(-0.12, 0.15) * size)
        elif kind == 1:
            out = out & ~_half_plane(mask, rng)
        elif kind == 2:
            out = out | (moved_outline(mask, 0.35 * size) & others & _half_plane(mask, rng))
        elif kind == 3:
            out = out ^ _disk((mask.shape[0], mask.shape[1]), _somewhere(mask, rng), rng.uniform(0.1, 0.35) * size)
        else:
            out = _moved(out, np.round(rng.normal(0, 0.08 * size, 2)).astype(int))
    return out


def half_corrected(start: _Mask, mask: _Mask, rng: np.random.Generator) -> tuple[list[Click], _Mask]:
    """Return clicks that correct a mask one after the other, and the mask as it is before the last of them.

    Each click is taken to correct what is around it and nothing else: what a user expects who goes along an outline.

    Parameters
    ----------
    start : ndarray of bool, shape (H, W)
        The mask before the first of them.
    mask : ndarray of bool, shape (H, W)
        The object; at least one pixel.
    rng : numpy.random.Generator
        Decides everything.
    """
    size = float(np.sqrt(mask.sum()))
    clicks: list[Click] = []
    prior = corrected = start
    for _ in range(int(rng.integers(1, _MAX_CORRECTIONS + 1))):
        click = correcting_click(corrected, mask, rng)
        if click is None:
            break
        clicks.append(click)
        around = _disk((mask.shape[0], mask.shape[1]), np.array(click.pixel), max(rng.uniform(*_REACH) * size, 3))
        prior, corrected = corrected, np.where(around, mask, corrected)
    return clicks, prior


def _half_plane(mask: _Mask, rng: np.random.Generator) -> _Mask:
    """Return one side of a line through the object that leaves less than half of it there."""
    rows, columns = np.nonzero(mask)
    angle = rng.uniform(0, 2 * np.pi)
    along = rows * np.sin(angle) + columns * np.cos(angle)
    level = np.quantile(along, rng.uniform(0.55, 0.95))
    r, c = np.ogrid[: mask.shape[0], : mask.shape[1]]
    side: _Mask = r * np.sin(angle) + c * np.cos(angle) > level
    return side


def _somewhere(mask: _Mask, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    places = np.argwhere(mask)
    chosen: npt.NDArray[np.int64] = places[rng.integers(len(places))]
    return chosen


def _disk(shape: tuple[int, int], centre: npt.NDArray[np.int64], radius: float) -> _Mask:
    r, c = np.ogrid[: shape[0], : shape[1]]
    disk: _Mask = (r - centre[0]) ** 2 + (c - centre[1]) ** 2 <= radius**2
    return disk


def _moved(mask: _Mask, by: npt.NDArray[np.int64]) -> _Mask:
    moved: _Mask = ndimage.shift(mask.astype(np.uint8), by, order=0) > 0
    return moved
