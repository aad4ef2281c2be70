"""What a click changes: once an object is there, what is connected with the click, and the pixel itself in any case.

Scales and biases act everywhere, so that a click which mends an outline here would break it there. A change that no
click is connected with is therefore left out (as FocalClick does with masks that were there before, Chen et al. 2022),
unless so much changes that the click has told what the object is; and what was clicked is as it was said to be, where
even the optimisation did not get there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_fbrs.clicks import Click
from napari_fbrs.inference.correction import parts_with
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.zoom import stroke_to_crop
from napari_fbrs.strokes import Stroke

Probability = npt.NDArray[np.float32]

_ANOTHER = 0.8  # IoU with the mask before, below which a click has told what the object is


def contained(
    before: Probability, after: Probability, crop: Crop, clicks: Sequence[Click], threshold: float
) -> Probability:
    """Return probabilities without the changes of the mask that no click is connected with.

    Parameters
    ----------
    before, after : ndarray of float32, of one shape
        Probabilities of a crop; the last ones, and those that follow from the clicks.
    crop : Crop
        The crop.
    clicks : sequence of Click
        In pixels of the plane.
    threshold : float
        From which a pixel belongs to the mask.
    """
    old, new = before > threshold, after > threshold
    if departs(old, new, _ANOTHER):
        return after
    change, asked = old != new, np.zeros(old.shape, dtype=bool)
    for click in clicks:
        covered = _covered(click, crop, after.shape)
        asked[covered] |= new[covered] == click.positive
    return np.where(change & ~parts_with(change, asked), before, after)


def departs(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_], least: float) -> bool:
    """Return whether two masks of one shape have an IoU below `least`; not where both are empty."""
    return bool(np.count_nonzero(before & after) < least * np.count_nonzero(before | after))


def insisted(probability: Probability, crop: Crop, clicks: Sequence[Click]) -> Probability:
    """Return probabilities that are 1 on the pixels clicked as object, and 0 on those that are not to belong to it.

    Where one pixel was clicked as both, the last click counts. Strokes are left to the optimisation: hands are not
    that exact.

    Parameters
    ----------
    probability : ndarray of float32
        Of a crop; the corner pixels lie on those of the crop, however many are between.
    crop : Crop
        The crop.
    clicks : sequence of Click
        In pixels of the plane; those outside the crop are of no account.
    """
    met = probability.copy()
    for click in clicks:
        if not isinstance(click, Stroke):
            met[_covered(click, crop, probability.shape)] = float(click.positive)
    return met


def _covered(click: Click, crop: Crop, size: tuple[int, ...]) -> tuple[slice, ...] | tuple[npt.NDArray[np.int64], ...]:
    """Return where, among the pixels of a crop brought to a size, what was clicked lies: all that decide about it."""
    rows, columns = size
    if isinstance(click, Stroke):
        return tuple(stroke_to_crop(click, crop, (rows, columns)).T)
    position = np.subtract(click.pixel, (crop.row_min, crop.column_min))
    if (position < 0).any() or (position >= crop.shape).any():
        return slice(0), slice(0)
    return tuple(_near(int(at), extent, n) for at, extent, n in zip(position, crop.shape, size, strict=True))


def _near(position: int, extent: int, count: int) -> slice:
    """Return which of `count` pixels, the first and last of which lie on those of `extent`, show one of these."""
    centre = position * (count - 1) / max(1, extent - 1)
    reach = max(1.0, 0.5 * count / extent)  # interpolation takes both its neighbours, where it lies between
    return slice(max(0, math.floor(centre - reach) + 1), math.ceil(centre + reach))
