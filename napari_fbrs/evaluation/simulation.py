"""A simulated user who clicks where the mask is most wrong, and how many clicks that takes (METHOD section 7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_fbrs.clicks import Click
from napari_fbrs.inference.plane import Plane
from napari_fbrs.inference.predictor import Predictor

THRESHOLD = 0.49
MAX_CLICKS = 20
IGNORE = -1


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
        Time of each prediction.
    """

    clicks: tuple[Click, ...]
    ious: tuple[float, ...]
    seconds: tuple[float, ...]


def next_click(truth: npt.NDArray[np.int_], mask: npt.NDArray[np.bool_], clicked: Iterable[Click] = ()) -> Click | None:
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
    missed, added = (truth == 1) & ~mask, (truth == 0) & mask
    depths = [_depth(missed), _depth(added)]
    for click in clicked:
        for depth in depths:
            depth[click.pixel] = 0
    positive = depths[0].max() > depths[1].max()
    depth = depths[0 if positive else 1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return Click(int(row), int(column), bool(positive)) if depth[row, column] > 0 else None


def iou(truth: npt.NDArray[np.int_], mask: npt.NDArray[np.bool_]) -> float:
    """Return the intersection over union of a mask with the pixels of `truth` that are 1, not counting those at -1."""
    counted = truth != IGNORE
    object_, mask = (truth == 1) & counted, mask & counted
    union = np.count_nonzero(object_ | mask)
    return np.count_nonzero(object_ & mask) / union if union else 1.0


def number_of_clicks(ious: Sequence[float], target: float, limit: int = MAX_CLICKS) -> int:
    """Return how many clicks it took to reach an IoU, or `limit` where it was not reached within it (NoC)."""
    return next((count for count, value in enumerate(ious[:limit], 1) if value >= target), limit)


def simulate(
    predictor: Predictor,
    plane: Plane,
    truth: npt.NDArray[np.int_],
    *,
    target: float = 0.9,
    limit: int = MAX_CLICKS,
    threshold: float = THRESHOLD,
) -> Run:
    """Click on one object until an IoU is reached.

    Parameters
    ----------
    predictor : Predictor
        What is measured.
    plane : Plane
        From ``predictor.prepare``.
    truth : ndarray of int, shape (H, W)
        1 on the object, 0 off it, -1 where it does not count.
    target : float, optional
        IoU at which to stop.
    limit : int, optional
        Most clicks.
    threshold : float, optional
        Probability from which a pixel belongs to the mask.
    """
    mask = np.zeros(plane.shape, dtype=bool)
    clicks: list[Click] = []
    ious: list[float] = []
    seconds: list[float] = []
    state = None
    while len(clicks) < limit and (not ious or ious[-1] < target):
        click = next_click(truth, mask, clicks)
        if click is None:
            break
        clicks.append(click)
        prediction = predictor.predict(plane, clicks, state)
        state, mask = prediction.state, prediction.mask(threshold)
        ious.append(iou(truth, mask))
        seconds.append(sum(prediction.timings.values()))
    return Run(tuple(clicks), tuple(ious), tuple(seconds))


def _depth(region: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the distance to the region's border, the image's border being one."""
    depth: npt.NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    return depth
