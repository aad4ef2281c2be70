"""Where a user would click: at first, and where a prediction is wrong."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_fbrs.clicks import Click

_Mask = npt.NDArray[np.bool_]

MAX_CLICKS = 10  # of a sign, before corrections
_FIRST_ONLY_SHARE = 0.5  # the first click decides what is meant, so it is trained on its own
_CONTINUE = 0.6  # probability of one more click of a sign
_NO_NEGATIVE_SHARE = 0.35
_BORDER, _OTHERS = 0.5, 0.4  # of negative clicks; the rest lie anywhere in the background (METHOD section 8)
_BORDER_WIDTH = 12  # pixels
_STRIDE = 2  # distances are measured on every second pixel: a quarter of the work


def initial_clicks(mask: _Mask, others: _Mask, rng: np.random.Generator) -> list[Click]:
    """Return the clicks on an object before any prediction (METHOD section 8).

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
    list of Click
        One positive click at or near the object's centre; or 1 to `MAX_CLICKS` positive ones inside its eroded mask and
        0 to `MAX_CLICKS` negative ones just outside it, on other objects, or in the background.
    """
    depth = _depth(mask)
    if depth.max() <= 0:  # too thin for the grid
        row, column = rng.choice(np.argwhere(mask))
        return [Click(float(row), float(column))]
    if rng.random() < _FIRST_ONLY_SHARE:
        return [_click_within(depth, rng.uniform(0.4, 1), rng, positive=True)]
    positives = [_click_within(depth, rng.uniform(0.15, 1), rng, positive=True) for _ in range(_count(rng))]
    negatives = 0 if rng.random() < _NO_NEGATIVE_SHARE else _count(rng)
    return positives + _negatives(mask, others, negatives, rng)


def correcting_click(
    prediction: _Mask, truth: _Mask, rng: np.random.Generator, valid: _Mask | None = None
) -> Click | None:
    """Return a click where a prediction is wrong (Sofiiuk 2021, iterative sampling).

    Parameters
    ----------
    prediction, truth : ndarray of bool, shape (H, W)
        Predicted and true mask.
    rng : numpy.random.Generator
        Decides where in the error: deep inside, seldom at its very centre.
    valid : ndarray of bool, shape (H, W), optional
        Pixels that count.

    Returns
    -------
    Click or None
        Inside a missed part (positive) or a part too much (negative), whichever kind reaches deeper, where it is at
        least 0.3 times as deep as at the deepest point. None when hardly a pixel is wrong.
    """
    missed, surplus = truth & ~prediction, prediction & ~truth
    if valid is not None:
        missed, surplus = missed & valid, surplus & valid
    depths = {True: _depth(missed), False: _depth(surplus)}
    positive = bool(depths[True].max() > depths[False].max())
    if depths[positive].max() <= 0:
        return None
    return _click_within(depths[positive], rng.uniform(0.3, 1), rng, positive=positive)


def centred_click(prediction: _Mask, truth: _Mask) -> Click | None:
    """Return the click at the deepest point of the larger error, as evaluation clicks (METHOD section 7), or None."""
    depths = {True: _depth(truth & ~prediction), False: _depth(prediction & ~truth)}
    positive = bool(depths[True].max() > depths[False].max())
    depth = depths[positive]
    if depth.max() <= 0:
        return None
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return Click(float(row * _STRIDE), float(column * _STRIDE), positive)


def _depth(mask: _Mask) -> npt.NDArray[np.float64]:
    """Return the distance to the mask's border, 0 outside, on every `_STRIDE`-th pixel; the frame counts as border."""
    coarse = mask[::_STRIDE, ::_STRIDE]
    depth = np.zeros(coarse.shape)
    box = ndimage.find_objects(coarse.astype(np.int8))
    if box:
        depth[box[0]] = ndimage.distance_transform_edt(np.pad(coarse[box[0]], 1))[1:-1, 1:-1]
    return depth


def _click_within(depth: npt.NDArray[np.float64], share: float, rng: np.random.Generator, *, positive: bool) -> Click:
    """Return a click on a pixel whose depth is at least `share` of the greatest."""
    candidates = np.flatnonzero(depth >= share * depth.max())
    row, column = np.unravel_index(rng.choice(candidates), depth.shape)
    return Click(float(row * _STRIDE), float(column * _STRIDE), positive)


def _count(rng: np.random.Generator) -> int:
    return int(min(rng.geometric(1 - _CONTINUE), MAX_CLICKS))


def _negatives(mask: _Mask, others: _Mask, count: int, rng: np.random.Generator) -> list[Click]:
    if count == 0:
        return []
    # Every zone in grid points of the stride, so that its clicks never lie on the object.
    inside = mask[::_STRIDE, ::_STRIDE]
    reach = _BORDER_WIDTH // _STRIDE
    near = ndimage.maximum_filter(inside, size=2 * reach + 1) & ~inside
    background = ~inside
    zones = [np.flatnonzero(zone) for zone in (near, others[::_STRIDE, ::_STRIDE] & ~inside, background)]
    draws = np.digitize(rng.random(count), (_BORDER, _BORDER + _OTHERS))
    chosen = [zones[draw] if len(zones[draw]) else zones[2] for draw in draws]
    places = [np.unravel_index(rng.choice(zone), inside.shape) for zone in chosen if len(zone)]
    return [Click(float(r * _STRIDE), float(c * _STRIDE), positive=False) for r, c in places]
