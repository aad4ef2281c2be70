"""A simulated user who clicks where the mask is most wrong, and how many clicks that takes (METHOD section 7)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_fbrs.clicks import Click
from napari_fbrs.inference.correction import depth_of
from napari_fbrs.inference.plane import Plane

THRESHOLD = 0.49
TARGET = 0.9
MAX_CLICKS = 20
IGNORE = -1

Mask = npt.NDArray[np.bool_]
Attempt = Callable[[Sequence[Click]], Mask]


class Subject(Protocol):
    """What is measured: anything that makes masks from clicks."""

    def start(self, plane: Plane) -> Attempt:
        """Return what gives the mask of one object, called after each click with all clicks so far."""


class User(Protocol):
    """Who clicks."""

    def __call__(self, truth: npt.NDArray[np.int_], mask: Mask, clicked: Iterable[Click] = (), /) -> Click | None:
        """Return the next click on a wrong pixel, None when there is none to click."""


@dataclass(frozen=True)
class Run:
    """What a simulated user did on one object.

    Parameters
    ----------
    clicks : tuple of Click
        In order.
    ious : tuple of float
        IoU with the truth after each click.
    seconds : tuple of float
        Time of each mask.
    """

    clicks: tuple[Click, ...]
    ious: tuple[float, ...]
    seconds: tuple[float, ...]


def next_click(truth: npt.NDArray[np.int_], mask: Mask, clicked: Iterable[Click] = ()) -> Click | None:
    """Return the click at the pixel farthest from the border of the larger error.

    Parameters
    ----------
    truth : ndarray of int, shape (H, W)
        1 on the object, 0 off it, -1 where it does not count.
    mask : ndarray of bool, shape (H, W)
        The prediction.
    clicked : iterable of Click, optional
        Pixels that are not to be clicked again.

    Returns
    -------
    Click or None
        None when no wrong pixel is left to click.
    """
    depth, positive = _larger_error(truth, mask, clicked)
    return _click(depth, int(depth.argmax()), positive)


class Person:
    """A user who does not aim: somewhere in the largest error, rather deep inside it than at its border.

    People do not always click in the centre of the largest error (RClicks, Antonov et al. 2024, arXiv:2410.11722). The
    positions here are drawn among the pixels connected to its deepest one, weighted by their distance from its border.

    Parameters
    ----------
    seed : int or sequence of int
        The same seed clicks alike; one person clicks on one object.
    """

    def __init__(self, seed: int | Sequence[int]) -> None:
        self._rng = np.random.default_rng(seed)

    def __call__(self, truth: npt.NDArray[np.int_], mask: Mask, clicked: Iterable[Click] = ()) -> Click | None:
        """Return the next click, as `next_click` does."""
        depth, positive = _larger_error(truth, mask, clicked)
        region, _ = ndimage.label(depth > 0)
        depth[region != region.flat[depth.argmax()]] = 0
        pixels = np.flatnonzero(depth)
        if not pixels.size:
            return None
        weights = depth.flat[pixels]
        return _click(depth, int(self._rng.choice(pixels, p=weights / weights.sum())), positive)


def iou(truth: npt.NDArray[np.int_], mask: Mask) -> float:
    """Return the intersection over union of a mask with the pixels of `truth` that are 1, not counting those at -1."""
    counted = truth != IGNORE
    object_, mask = (truth == 1) & counted, mask & counted
    union = np.count_nonzero(object_ | mask)
    return float(np.count_nonzero(object_ & mask) / union) if union else 1.0


def number_of_clicks(ious: Sequence[float], target: float, limit: int = MAX_CLICKS) -> int:
    """Return how many clicks it took to reach an IoU, or `limit` where it was not reached within it (NoC)."""
    return next((count for count, value in enumerate(ious[:limit], 1) if value >= target), limit)


def simulate(
    subject: Subject,
    plane: Plane,
    truth: npt.NDArray[np.int_],
    *,
    user: User = next_click,
    target: float = TARGET,
    limit: int = MAX_CLICKS,
) -> Run:
    """Click on one object until an IoU is reached.

    Parameters
    ----------
    subject : Subject
        What is measured.
    plane : Plane
        The image.
    truth : ndarray of int, shape (H, W)
        1 on the object, 0 off it, -1 where it does not count.
    user : User, optional
        Who clicks; by default always in the middle of the largest error.
    target : float, optional
        IoU at which to stop.
    limit : int, optional
        Most clicks.
    """
    attempt = subject.start(plane)
    mask = np.zeros(plane.shape, dtype=bool)
    clicks: list[Click] = []
    ious: list[float] = []
    seconds: list[float] = []
    while len(clicks) < limit and (not ious or ious[-1] < target):
        click = user(truth, mask, clicks)
        if click is None:
            break
        clicks.append(click)
        start = time.perf_counter()
        mask = attempt(clicks)
        seconds.append(time.perf_counter() - start)
        ious.append(iou(truth, mask))
    return Run(tuple(clicks), tuple(ious), tuple(seconds))


def replay(subject: Subject, plane: Plane, clicks: Sequence[Click]) -> Mask:
    """Return the mask after clicks made one by one."""
    attempt = subject.start(plane)
    mask = np.zeros(plane.shape, dtype=bool)
    for count in range(1, len(clicks) + 1):
        mask = attempt(clicks[:count])
    return mask


def _larger_error(
    truth: npt.NDArray[np.int_], mask: Mask, clicked: Iterable[Click]
) -> tuple[npt.NDArray[np.float64], bool]:
    """Return the depth of the pixels of the larger error, and whether they are missing from the mask."""
    missed, added = depth_of((truth == 1) & ~mask), depth_of((truth == 0) & mask)
    for click in clicked:
        missed[click.pixel] = added[click.pixel] = 0
    return (missed, True) if missed.max() > added.max() else (added, False)


def _click(depth: npt.NDArray[np.float64], pixel: int, positive: bool) -> Click | None:
    row, column = np.unravel_index(pixel, depth.shape)
    return Click(int(row), int(column), positive) if depth[row, column] > 0 else None
