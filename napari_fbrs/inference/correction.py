"""Correcting a mask that is there already: it is shown to the network, and kept where nobody has clicked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_fbrs.clicks import Click
from napari_fbrs.inference.optimizer import Variables
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.predictor import State
from napari_fbrs.inference.prior import Prior

Mask = npt.NDArray[np.bool_]


def state_from(crop: Crop, pixels: Mask, variables: Variables | None = None) -> State:
    """Return the state of an object whose mask is known, for the first prediction that corrects it.

    Parameters
    ----------
    crop : Crop
        Bounding box of the mask.
    pixels : ndarray of bool, shape of the crop
        The mask.
    variables : ndarray of float32, optional
        Scales and biases found elsewhere, on the plane before for example.
    """
    return State(variables=variables, box=crop, prior=Prior(crop, pixels.astype(np.float32)))


def middle(pixels: Mask) -> tuple[int, int]:
    """Return row and column of the pixel of a mask that is farthest from its border, the frame being one.

    Parameters
    ----------
    pixels : ndarray of bool, shape (H, W)
        At least one pixel.
    """
    depth = ndimage.distance_transform_edt(np.pad(pixels, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), pixels.shape)
    return int(row), int(column)


def corrected(
    crop_before: Crop, before: Mask, crop_after: Crop, after: Mask, clicks: Sequence[Click]
) -> tuple[Crop, Mask]:
    """Return a mask in which only those changes were made that a click asks for, and the crop it is given in.

    The pixels in which the two masks differ fall into connected parts. A part is taken over if there is a click in it
    that wants its pixels as predicted (as FocalClick's progressive merge, Chen et al. 2022, takes the part with the
    last click). So a mask is respected away from the clicks.

    Parameters
    ----------
    crop_before, crop_after : Crop
        Where the mask that was there, and the prediction, lie in the plane.
    before, after : ndarray of bool
        Their pixels. Where nothing was predicted nothing changes.
    clicks : sequence of Click
        In pixels of the plane.
    """
    crop = crop_before.union(crop_after)
    old = np.zeros(crop.shape, dtype=bool)
    old[crop_before.within(crop).slices] = before
    new = old.copy()
    new[crop_after.within(crop).slices] = after
    return crop, old ^ _asked_for(old, new, crop, clicks)


def _asked_for(old: Mask, new: Mask, crop: Crop, clicks: Sequence[Click]) -> Mask:
    """Return the pixels of those parts of a change that hold a click which wants them."""
    parts, count = ndimage.label(old != new, np.ones((3, 3)))
    wanted = np.zeros(count + 1, dtype=bool)
    for click in clicks:
        pixels = click.pixels - (crop.row_min, crop.column_min)
        pixels = pixels[((pixels >= 0) & (pixels < crop.shape)).all(axis=1)]
        here = tuple(pixels.T)
        wanted[parts[here][new[here] == click.positive]] = True
    wanted[0] = False
    asked: Mask = wanted[parts]
    return asked
