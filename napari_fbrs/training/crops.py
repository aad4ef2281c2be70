"""Crops at the scales prediction will produce: an object somewhere in view, at its zoomed size or far smaller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from napari_fbrs.evaluation.datasets import LabelledImage
from napari_fbrs.training.outlines import moved_outline, spread_over

_Scalar = TypeVar("_Scalar", bound=np.generic)

_ZOOMED_SHARE = 0.4  # crops such as the predictor makes from the second click on
_ZOOMED = (0.5, 0.85)  # its boxes are 1.4 times the object, so the object takes 0.71 of them; masks are not exact
_ANY = (0.08, 0.9)  # the first click sees the whole image or a crop around it
_CUT_SHARE = 0.08  # of crops: the object is cut by the edge, as by an image's
_CLICK_SHARE = 0.5  # of the other crops: centred on a pixel of the object
_MIN_WINDOW = 48  # pixels; the predictor has a smallest crop too
_CLOSE_SHARE = 0.04
_MIN_WINDOW_CLOSE = 12
_CELLS = (1, 1, 2, 3, 4, 5)  # of the grid by which outlines are moved, along each axis: 1 moves all alike
_COARSE_SHARE = 0.04  # of crops have been scaled up from far fewer pixels


@dataclass(frozen=True)
class Window:
    """A part of an image, and how it becomes a crop.

    Parameters
    ----------
    top, left, height, width : int
        In pixels of the image.
    quarter_turns : int
        Counter-clockwise turns after resizing.
    flip : bool
        Whether columns are mirrored, last of all.
    coarseness : int
        The image's detail is reduced by this factor.
    growth : tuple of tuple of float
        A grid over the object: its outline is moved outwards by so many pixels of the image; inwards where negative.
    """

    top: int
    left: int
    height: int
    width: int
    quarter_turns: int = 0
    flip: bool = False
    coarseness: int = 1
    growth: tuple[tuple[float, ...], ...] = ((0.0,),)


@dataclass(frozen=True)
class Crop:
    """What the network is shown, and what it should answer.

    Parameters
    ----------
    image : ndarray of uint8, shape (rows, columns, 3)
    mask : ndarray of bool, shape (rows, columns)
        The object.
    others : ndarray of bool, shape (rows, columns)
        Other objects.
    labelled : ndarray of bool, shape (rows, columns)
        The object before its outline was moved.
    """

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]
    others: npt.NDArray[np.bool_]
    labelled: npt.NDArray[np.bool_]


def choose_window(
    rng: np.random.Generator, picture: LabelledImage, label: int, shape: tuple[int, int], ambiguity: float = 0.0
) -> Window:
    """Return a random window on an object.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    picture : LabelledImage
        The image.
    label : int
        The object.
    shape : tuple of int
        Rows and columns of the crop it will become.
    ambiguity : float, optional
        Pixels of the image by which the outline is moved at most, out or in, everywhere alike or here more than there:
        where exactly an object ends is a convention that differs between people, and labels are not drawn to the pixel,
        so a network is to learn it from the clicks.
    """
    zoomed = bool(rng.random() < _ZOOMED_SHARE)
    fraction = _log_uniform(rng, *(_ZOOMED if zoomed else _ANY))
    smallest = _MIN_WINDOW_CLOSE if rng.random() < _CLOSE_SHARE else _MIN_WINDOW
    turns = int(rng.integers(4))
    window_shape, size = _fitted_size(picture, label, shape, fraction, smallest, turns)
    turns += window_shape != _turned(shape, turns)
    top, left = _corner(rng, picture, label, size, zoomed)
    coarseness = int(rng.integers(2, 7)) if rng.random() < _COARSE_SHARE else 1
    flip = bool(rng.random() < 0.5)
    cells = int(rng.choice(_CELLS))
    growth = ambiguity * rng.uniform(-1, 1, (cells, cells))
    return Window(top, left, *size, turns % 4, flip, coarseness, tuple(map(tuple, growth.tolist())))


def cut(picture: LabelledImage, label: int, window: Window, shape: tuple[int, int]) -> Crop:
    """Return the crop of a window, anti-aliased where it shrinks the image.

    Parameters
    ----------
    picture : LabelledImage
        The image.
    label : int
        The object.
    window : Window
        Which part.
    shape : tuple of int
        Rows and columns of the crop.
    """
    part = (slice(window.top, window.top + window.height), slice(window.left, window.left + window.width))
    shape = _turned(shape, window.quarter_turns)
    labels = picture.labels[part]
    image = picture.image[part]
    if window.coarseness > 1:
        image = _resized(image, (max(shape[0] // window.coarseness, 8), max(shape[1] // window.coarseness, 8)))
    mask = np.repeat((labels == label).astype(np.uint8)[..., None] * 255, 3, axis=2)
    rows, columns = (_nearest(n, m) for n, m in zip(labels.shape, shape, strict=True))
    others = (labels > 0)[rows[:, None], columns]
    labelled = _resized(mask, shape)[..., 0] > 127
    solid = _moved(labelled, others, window, shape[0] / window.height)
    masks = (_oriented(part, window) for part in (solid, others & ~solid, labelled))
    return Crop(_oriented(_resized(image, shape), window), *masks)


def _moved(
    mask: npt.NDArray[np.bool_], others: npt.NDArray[np.bool_], window: Window, scale: float
) -> npt.NDArray[np.bool_]:
    growth = np.array(window.growth) * scale
    if np.abs(growth).max() < 1 or not mask.any():
        return mask  # less than a pixel is nothing
    return moved_outline(mask, spread_over(growth, mask), others & ~mask)


def _oriented(array: npt.NDArray[_Scalar], window: Window) -> npt.NDArray[_Scalar]:
    turned = np.rot90(array, window.quarter_turns)
    return np.ascontiguousarray(turned[:, ::-1] if window.flip else turned)


def _nearest(size: int, target: int) -> npt.NDArray[np.int64]:
    return ((np.arange(target) + 0.5) * (size / target)).astype(np.int64)


def _resized(image: npt.NDArray[np.uint8], shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    # Three channels, the last axis first in memory: the layout for which torch has a vectorised 8-bit kernel.
    tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    resized = functional.interpolate(tensor, size=shape, mode="bilinear", antialias=True)
    out: npt.NDArray[np.uint8] = resized[0].permute(1, 2, 0).numpy()
    return out


def _fitted_size(
    picture: LabelledImage, label: int, shape: tuple[int, int], fraction: float, smallest: int, turns: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the crop's shape before turning and the window's size, at the aspect of `shape` in one orientation."""
    extent = _extent(picture, label)
    limits = picture.labels.shape

    def scales(candidate: tuple[int, int]) -> tuple[float, float]:
        wanted = max(n / c for n, c in zip(extent, candidate, strict=True)) / fraction
        wanted = max(wanted, smallest / max(candidate))
        return wanted, min(n / c for n, c in zip(limits, candidate, strict=True))

    chosen, other = _turned(shape, turns), _turned(shape, turns + 1)
    wanted, largest = scales(chosen)
    # What does not fit lying may fit standing.
    if wanted > largest < scales(other)[1]:
        chosen = other
        wanted, largest = scales(chosen)
    scale = min(wanted, largest)
    rows, columns = (min(max(round(c * scale), 1), n) for c, n in zip(chosen, limits, strict=True))
    return chosen, (rows, columns)


def _turned(shape: tuple[int, int], turns: int) -> tuple[int, int]:
    return shape if turns % 2 == 0 else (shape[1], shape[0])


def _extent(picture: LabelledImage, label: int) -> tuple[int, int]:
    rows, columns = _box(picture, label)
    return rows.stop - rows.start, columns.stop - columns.start


def _box(picture: LabelledImage, label: int) -> tuple[slice, slice]:
    box = picture.boxes[label - 1]
    if box is None:
        raise ValueError(f"there is no object {label}")
    return box


def _corner(
    rng: np.random.Generator, picture: LabelledImage, label: int, size: tuple[int, int], zoomed: bool
) -> tuple[int, int]:
    box = _box(picture, label)
    centre = np.array([(s.start + s.stop) / 2 for s in box])
    extent = np.array(_extent(picture, label))
    if rng.random() < _CUT_SHARE:
        outwards = rng.choice((-1, 1), 2) * (rng.permutation(2) == 0)
        centre = centre + outwards * (np.array(size) / 2 - rng.uniform(-0.3, 0.3) * extent)
    elif zoomed:
        centre = centre + rng.normal(0, 0.08, 2) * extent
    elif rng.random() < _CLICK_SHARE:
        inside = np.argwhere(picture.labels[box] == label)
        centre = inside[rng.integers(len(inside))] + [s.start for s in box]
    else:
        # Anywhere that keeps most of the object in view.
        slack = np.maximum(np.array(size) - extent, 0) / 2 + 0.15 * extent
        centre = centre + rng.uniform(-1, 1, 2) * slack
    limits = np.array(picture.labels.shape) - size
    top, left = np.clip(np.round(centre - np.array(size) / 2), 0, limits).astype(int)
    return int(top), int(left)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
