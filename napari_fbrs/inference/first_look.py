"""How large to look at the first click, when nothing is known of the object's size.

The published ZoomIn shows the network the whole image at the first click, which loses an object that is small in a
large image. Here the click is looked at on several scales, and the mask that is most certain of itself and most like
its neighbours in scale is taken; what is known of the object's size has a say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_fbrs.clicks import Click
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.zoom import Zoom, bounding_box

_SCALE_STEP = 2
_SAMPLES = 64  # points a side at which two looks are compared
_SURE, _POSSIBLE, _MASK = 0.7, 0.3, 0.5
_SIZE_WEIGHT, _SIZE_OCTAVES = 0.7, 0.7  # what an expected size is worth, and how far from it half as much is left

Probability = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Expected:
    """What is known of an object's size before it is looked at.

    Parameters
    ----------
    extent : float
        Longer side of its bounding box, in pixels of the plane.
    certain : bool, optional
        The user said so: then the first look is at that size alone. Otherwise, from objects like it, it has a say in
        which of several looks is taken.
    """

    extent: float
    certain: bool = False


def candidate_crops(
    shape: tuple[int, int], clicks: Sequence[Click], zoom: Zoom, expected: Expected | None = None
) -> list[Crop]:
    """Return squares around the positive clicks, each twice the one before, and the whole plane last.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the plane.
    clicks : sequence of Click
        Without a positive one there is nothing to look around, and only the whole plane is returned.
    zoom : Zoom
        The smallest square has its `min_crop_size`, or holds the clicks expanded by its `expansion_ratio`.
    expected : Expected, optional
        If it is certain there is one crop, the one that suits it.
    """
    pixels = np.array([click.pixel for click in clicks if click.positive and click.inside(shape)])
    crops = []
    if len(pixels):
        first, last = pixels.min(axis=0), pixels.max(axis=0)
        certain = expected is not None and expected.certain
        extent = max(int((last - first).max() + 1), expected.extent if expected and certain else 0)
        side = max(zoom.min_crop_size, round(zoom.expansion_ratio * extent))
        while side < max(shape):
            rows, columns = (_interval((a + b) / 2, side, n) for a, b, n in zip(first, last, shape, strict=True))
            crops.append(Crop(*rows, *columns))
            if certain:
                return crops
            side *= _SCALE_STEP
    return [*crops, Crop.whole(shape)]


def choose_look(crops: Sequence[Crop], looks: Sequence[Probability], expected: Expected | None = None) -> int:
    """Return the position of the best of several looks at one object.

    A look's score is its stability (pixels that surely belong to the object over those that possibly do) plus its
    agreement (IoU of its mask with those of the next smaller and the next larger look, where they overlap), plus, where
    a size is expected, how near to it the mask comes.

    Parameters
    ----------
    crops : sequence of Crop
        From `candidate_crops`, the smallest first.
    looks : sequence of ndarray of float32
        The network's probabilities for each, at any resolution.
    expected : Expected, optional
        What is known of the object's size.
    """
    agreements = [_agreement(crops[i], looks[i], crops[i + 1], looks[i + 1]) for i in range(len(crops) - 1)]
    scores = [
        _stability(look)
        + float(np.mean(agreements[max(0, i - 1) : i + 1] or [1.0]))
        + (_fit(crops[i], look, expected) if expected else 0.0)
        for i, look in enumerate(looks)
    ]
    return int(np.argmax(scores))


def _interval(centre: float, side: int, extent: int) -> tuple[int, int]:
    """Return the first and last of `side` pixels around `centre`, moved to lie within `extent`."""
    first = max(0, min(round(centre - side / 2), extent - side))
    return first, min(extent, first + side) - 1


def _fit(crop: Crop, look: Probability, expected: Expected) -> float:
    """Return what the size of a look's mask is worth: a bell over its logarithm."""
    box = bounding_box(look > _MASK, Crop.whole((look.shape[0], look.shape[1])))
    if box is None:
        return 0.0
    extent = max(n * c / s for n, c, s in zip(box.shape, crop.shape, look.shape, strict=True))
    octaves = math.log2(extent / expected.extent)
    return _SIZE_WEIGHT * math.pow(0.5, (octaves / _SIZE_OCTAVES) ** 2)


def _stability(probability: Probability) -> float:
    return int(np.count_nonzero(probability > _SURE)) / max(1, int(np.count_nonzero(probability > _POSSIBLE)))


def _agreement(inner: Crop, a: Probability, outer: Crop, b: Probability) -> float:
    """Return the IoU of two looks' masks within the inner one's crop, at a grid of points."""
    cells = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    rows = inner.row_min + cells * inner.shape[0]
    columns = inner.column_min + cells * inner.shape[1]
    masks = [_sampled(probability, crop, rows, columns) > _MASK for probability, crop in ((a, inner), (b, outer))]
    union = np.count_nonzero(masks[0] | masks[1])
    return np.count_nonzero(masks[0] & masks[1]) / union if union else 0.0


def _sampled(
    probability: Probability, crop: Crop, rows: npt.NDArray[np.float64], columns: npt.NDArray[np.float64]
) -> Probability:
    i = ((rows - crop.row_min) * probability.shape[0] / crop.shape[0]).astype(int).clip(0, probability.shape[0] - 1)
    j = (
        ((columns - crop.column_min) * probability.shape[1] / crop.shape[1])
        .astype(int)
        .clip(0, probability.shape[1] - 1)
    )
    return probability[np.ix_(i, j)]
