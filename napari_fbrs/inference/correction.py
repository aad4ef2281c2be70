"""Correcting a mask that is there already: it is shown to the network, and kept where nobody has clicked.

The network is shown it faintly, as what is wrong with it would else be believed in against the click, and with a click
in its middle, so that a negative click does not leave it without an object.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_fbrs.clicks import Click
from napari_fbrs.inference.optimizer import Variables
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.prediction import State
from napari_fbrs.inference.prior import FAINT, Implied, Prior

Mask = npt.NDArray[np.bool_]

_THIN = 0.05  # of the mask's size (the root of its area): a strip no deeper than that is a matter of the border alone
_THIN_PIXELS = 1.5  # as deep as it may be on small masks


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
    prior = Prior(crop, np.float32(FAINT) * pixels)
    return State(variables=variables, box=crop, prior=prior, implied=_implied(crop, pixels))


def middle(pixels: Mask) -> tuple[int, int]:
    """Return row and column of the pixel of a mask that is farthest from its border, the frame being one.

    Parameters
    ----------
    pixels : ndarray of bool, shape (H, W)
        At least one pixel.
    """
    return _deepest(depth_of(pixels))


def _deepest(depth: npt.NDArray[np.float64]) -> tuple[int, int]:
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(row), int(column)


def _implied(crop: Crop, pixels: Mask) -> Implied:
    """Return the click in the middle of a mask; it is withdrawn where half as deep in it somebody says otherwise."""
    depth = depth_of(pixels)
    row, column = _deepest(depth)
    return Implied(Click(crop.row_min + row, crop.column_min + column), 0.5 * float(depth[row, column]))


def corrected(
    crop_before: Crop, before: Mask, crop_after: Crop, after: Mask, clicks: Sequence[Click]
) -> tuple[Crop, Mask]:
    """Return a mask in which only those changes were made that a click asks for, and the crop it is given in.

    The pixels in which the two masks differ fall into connected parts. A part is taken over if there is a click in it
    that wants its pixels as predicted (as FocalClick's progressive merge, Chen et al. 2022, takes the part with the
    last click). So a mask is respected away from the clicks. A click in a thin strip says that the border lies too far
    in, or too far out: all thin strips are taken over in which the network says the same of the border, as nobody can
    click on every piece of it.

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
    wanted = _wanted(new, crop, clicks)
    asked = parts_with(old != new, wanted)
    thin = max(_THIN_PIXELS, _THIN * math.sqrt(np.count_nonzero(before)))
    for change in (new & ~old, old & ~new):
        asked |= parts_with(change, wanted, thin)
    return crop, old ^ asked


def _wanted(new: Mask, crop: Crop, clicks: Sequence[Click]) -> Mask:
    """Return the pixels of a crop that were clicked, and are in a mask as they are wanted."""
    wanted = np.zeros_like(new)
    for click in clicks:
        pixels = click.pixels - (crop.row_min, crop.column_min)
        here = tuple(pixels[((pixels >= 0) & (pixels < crop.shape)).all(axis=1)].T)
        wanted[here] |= new[here] == click.positive
    return wanted


def parts_with(change: Mask, wanted: Mask, thin: float | None = None) -> Mask:
    """Return the connected parts of a change that hold a pixel wanted; of thin ones, all if any does.

    Parameters
    ----------
    change, wanted : ndarray of bool, of one shape
        Pixels.
    thin : float, optional
        Depth, in pixels, up to which a part is thin; the others are then left out. None: parts are what they are.
    """
    parts, count = ndimage.label(change, np.ones((3, 3)))
    chosen = np.zeros(count + 1, dtype=bool)
    chosen[parts[wanted]] = True
    if thin is not None:
        is_thin = ndimage.maximum(depth_of(change), parts, np.arange(count + 1)) <= thin
        chosen = is_thin & (chosen & is_thin)[1:].any()
    chosen[0] = False
    asked: Mask = chosen[parts]
    return asked


def depth_of(pixels: Mask) -> npt.NDArray[np.float64]:
    """Return the distance of a mask's pixels, shape (H, W), to its border, the frame being one; 0 off the mask."""
    depth: npt.NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(pixels, 1))[1:-1, 1:-1]
    return depth
