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

_NECK = 0.04  # of the mask's size (the root of its area): changes joined by less than twice that are told apart
_WIDEST_NECK = 6  # pixels


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


def merged(before: Mask, after: Mask, clicks: Sequence[Click], corner: tuple[int, int] = (0, 0)) -> Mask:
    """Return a mask in which only those changes were made that a click asks for.

    The pixels in which two masks differ fall into parts: connected ones, told apart where only a narrow neck joins
    them. A part is taken over if one of the clicks lies in it (as FocalClick's progressive merge, Chen et al. 2022,
    takes the part with the last click). So a mask is respected away from the clicks.

    Parameters
    ----------
    before, after : ndarray of bool, shape (H, W)
        The mask that was there, and the prediction.
    clicks : sequence of Click
        Those outside ask for nothing; a stroke asks with every pixel.
    corner : tuple of int, optional
        Row and column, where the clicks are counted, of the first pixel of these arrays.
    """
    neck = min(_WIDEST_NECK, round(_NECK * float(np.sqrt(np.count_nonzero(before)))))
    asked = np.zeros_like(before)
    for sign, changed in ((True, after & ~before), (False, before & ~after)):
        pixels = np.concatenate([np.zeros((0, 2), int), *(c.pixels - corner for c in clicks if c.positive is sign)])
        pixels = pixels[((pixels >= 0) & (pixels < before.shape)).all(axis=1)]
        asked |= _parts_at(changed, pixels[changed[tuple(pixels.T)]], neck)
    return before ^ asked


def _parts_at(changed: Mask, pixels: npt.NDArray[np.int64], neck: int) -> Mask:
    """Return the parts of a change that hold these pixels of it, shape (N, 2)."""
    if not len(pixels):
        return np.zeros_like(changed)
    inner = ndimage.distance_transform_edt(np.pad(changed, 1))[1:-1, 1:-1] > neck
    parts, _ = ndimage.label(inner)
    whole, _ = ndimage.label(changed)
    part, around = parts[tuple(pixels.T)], whole[tuple(pixels.T)]
    out = np.isin(whole, around[part == 0])  # in a part that is narrow everywhere, or in a neck
    for label in np.unique(part[part > 0]):
        out |= (ndimage.distance_transform_edt(parts != label) <= neck + 1) & changed
    return out


def corrected(
    crop_before: Crop, before: Mask, crop_after: Crop, after: Mask, clicks: Sequence[Click]
) -> tuple[Crop, Mask]:
    """Return a mask with the changes that clicks ask for, see `merged`, and the crop it is given in.

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
    old[_shifted(crop_before, crop).slices] = before
    new = old.copy()
    new[_shifted(crop_after, crop).slices] = after
    return crop, merged(old, new, clicks, (crop.row_min, crop.column_min))


def _shifted(inner: Crop, outer: Crop) -> Crop:
    """Return a crop in pixels of another one."""
    row, column = outer.row_min, outer.column_min
    return Crop(inner.row_min - row, inner.row_max - row, inner.column_min - column, inner.column_max - column)
