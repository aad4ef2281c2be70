"""Which part of a plane the network looks at (METHOD section 6, ZoomIn)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError
from napari_fbrs.inference.plane import Crop
from napari_fbrs.models.checkpoint import is_count
from napari_fbrs.strokes import Stroke


@dataclass(frozen=True)
class Zoom:
    """How crops are chosen; the defaults are the published ones.

    Parameters
    ----------
    target_size : int
        Longer side of a crop after resizing, in pixels.
    min_crop_size : int
        Smallest side of a crop, in pixels of the plane.
    expansion_ratio : float
        Side of the crop over side of the object's bounding box.
    recompute_iou : float
        A crop is kept while its IoU with the crop that would be chosen now is at least this.
    threshold : float
        Probability from which a pixel counts as object here.
    largest_size : int or None
        Longer side up to which a crop of more than `target_size` pixels keeps those it has, once the object has been
        found: there is more to be seen of its outline. None: every crop is brought to `target_size`, as published.

    Raises
    ------
    InputError
        If a size is no positive whole number, the largest is below the target, or another number is out of range.
    """

    target_size: int = 400
    min_crop_size: int = 200
    expansion_ratio: float = 1.4
    recompute_iou: float = 0.5
    threshold: float = 0.5
    largest_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("target_size", "min_crop_size"):
            if not is_count(getattr(self, name), 1):
                raise InputError(f"{name} is a number of pixels, got {getattr(self, name)!r}")
        if self.largest_size is not None and not is_count(self.largest_size, self.target_size):
            raise InputError(
                f"largest_size is a number of pixels from {self.target_size} on, or None, got {self.largest_size!r}"
            )
        if not 1 <= self.expansion_ratio < math.inf:
            raise InputError(f"expansion_ratio is a number from 1 on, got {self.expansion_ratio!r}")
        for name in ("recompute_iou", "threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is a number from 0 to 1, got {getattr(self, name)!r}")

    def side(self, crop: Crop) -> int:
        """Return the longer side, in pixels, that a crop around an object is brought to."""
        if self.largest_size is None:
            return self.target_size
        return min(max(*crop.shape, self.target_size), self.largest_size)

    def propose(self, box: Crop, clicks: Sequence[Click], shape: tuple[int, int]) -> Crop:
        """Return the crop for an object.

        Parameters
        ----------
        box : Crop
            Bounding box of the object's mask.
        clicks : sequence of Click
            The positive ones belong to the object.
        shape : tuple of int
            Rows and columns of the plane.
        """
        pixels = [click.pixel for click in clicks if click.positive and click.inside(shape)]
        rows = [box.row_min, box.row_max, *(row for row, _ in pixels)]
        columns = [box.column_min, box.column_max, *(column for _, column in pixels)]
        return Crop(*self._expand(rows, shape[0]), *self._expand(columns, shape[1]))

    def choose(self, current: Crop | None, box: Crop, clicks: Sequence[Click], shape: tuple[int, int]) -> Crop:
        """Return the crop to look at next: the current one unless the object has left it or outgrown it.

        Parameters
        ----------
        current : Crop or None
            The crop adopted last; None when there is none yet.
        box : Crop
            Bounding box of the mask before.
        clicks : sequence of Click
            All clicks.
        shape : tuple of int
            Rows and columns of the plane.
        """
        proposed = self.propose(box, clicks, shape)
        if current is None or not holds_positives(current, clicks):
            return proposed
        return current if crop_iou(proposed, current) >= self.recompute_iou else proposed

    def _expand(self, positions: Sequence[int], extent: int) -> tuple[int, int]:
        first, last = min(positions), max(positions)
        centre = 0.5 * (first + last)
        side = max(self.expansion_ratio * (last - first + 1), self.min_crop_size)
        return max(0, round(centre - 0.5 * side)), min(extent - 1, round(centre + 0.5 * side))


def holds_positives(crop: Crop, clicks: Sequence[Click]) -> bool:
    """Whether all positive clicks lie in `crop`; its last row and column count as outside, as published."""
    return all(
        crop.row_min <= click.row < crop.row_max and crop.column_min <= click.column < crop.column_max
        for click in clicks
        if click.positive
    )


def crop_iou(a: Crop, b: Crop) -> float:
    """Return the product of the IoUs of two crops' row and column intervals."""
    return _interval_iou(a.row_min, a.row_max, b.row_min, b.row_max) * _interval_iou(
        a.column_min, a.column_max, b.column_min, b.column_max
    )


def _interval_iou(a_min: int, a_max: int, b_min: int, b_max: int) -> float:
    intersection = max(0, min(a_max, b_max) - max(a_min, b_min) + 1)
    union = max(1e-6, max(a_max, b_max) - min(a_min, b_min) + 1)
    return intersection / union


def resized_shape(shape: tuple[int, int], longer_side: int) -> tuple[int, int]:
    """Return `shape` scaled so that its longer side is `longer_side`, at least one pixel each way."""
    scale = longer_side / max(shape)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def to_crop(clicks: Sequence[Click], crop: Crop, size: tuple[int, int]) -> list[Click]:
    """Return clicks in pixels of a crop that was resized to `size`.

    Those on the outer half of the crop's first row or column get 0 there: negative is what lies outside.
    """
    rows, columns = crop.shape
    return [
        Click(
            size[0] * _offset(click.row, crop.row_min) / rows,
            size[1] * _offset(click.column, crop.column_min) / columns,
            click.positive,
        )
        for click in clicks
    ]


def stroke_to_crop(stroke: Stroke, crop: Crop, size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Return the pixels, shape (N, 2), that a stroke covers in a crop that was resized to `size`.

    Where the crop grows they have no gaps; where it shrinks none is lost, however thin the stroke is.
    """
    inside = np.zeros(crop.shape, dtype=bool)
    pixels = stroke.pixels - (crop.row_min, crop.column_min)
    pixels = pixels[((pixels >= 0) & (pixels < crop.shape)).all(axis=1)]
    inside[tuple(pixels.T)] = True
    scale = np.divide(size, crop.shape)
    sources = [
        np.minimum(np.rint(np.arange(n) / s).astype(int), m - 1)
        for n, s, m in zip(size, scale, crop.shape, strict=True)
    ]
    covered = inside[np.ix_(*sources)]
    covered[tuple(np.minimum(np.rint(pixels * scale).astype(int), np.subtract(size, 1)).T)] = True
    return np.argwhere(covered)


def _offset(position: float, first: int) -> float:
    offset = position - first
    return 0.0 if -0.5 <= offset < 0 else offset


def bounding_box(mask: npt.NDArray[np.bool_], crop: Crop) -> Crop | None:
    """Return the bounding box of a crop's mask in pixels of the plane; None when it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return Crop(
        crop.row_min + int(rows[0]),
        crop.row_min + int(rows[-1]),
        crop.column_min + int(columns[0]),
        crop.column_min + int(columns[-1]),
    )
