"""Clicks that nobody has made: one on each object that can be guessed at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu

from napari_fbrs.annotation.click_file import MAX_OBJECT, RecordedClick
from napari_fbrs.annotation.image import Image, PlaneIndex
from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError
from napari_fbrs.inference.plane import Crop

CENTROIDS, MAXIMA, DISTANCE = "centroids", "maxima", "distance"
KINDS = (CENTROIDS, MAXIMA, DISTANCE)
_BLUR = 1 / 8  # of the diameter, as the sigma of a Gaussian: takes away texture, and leaves neighbours apart

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Seeds:
    """How objects are guessed at.

    Parameters
    ----------
    kind : {"centroids", "maxima", "distance"}
        From a label image: a click in the middle of each object on each plane; or from the image: the brightest places,
        once it is smoothed; or the places that are deepest inside of what is brighter than Otsu's threshold, which
        takes flat objects that touch apart.
    diameter : float, optional
        Of objects, in pixels, about; needed by all but centroids: peaks are at least half of it from each other.
    dark : bool, optional
        Whether objects are darker than what is around them.

    Raises
    ------
    InputError
        If there is no such kind, or a diameter is missing.
    """

    kind: str
    diameter: float | None = None
    dark: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"there are no seeds {self.kind!r}; choose one of {', '.join(KINDS)}")
        if self.kind != CENTROIDS and not (self.diameter is not None and 1 <= self.diameter < np.inf):
            raise InputError(f"seeds from {self.kind} need the diameter of objects in pixels, at least 1 (--diameter)")


def seed_clicks(seeds: Seeds, image: Image, labels: Image | None = None) -> list[RecordedClick]:
    """Return a click for each object on each plane.

    Parameters
    ----------
    seeds : Seeds
        How.
    image : Image
        Read plane by plane.
    labels : Image, optional
        Label image of the same shape, for centroids; objects keep their labels.

    Returns
    -------
    list of RecordedClick
        Of each plane in order; peaks are numbered through all planes, the highest of each plane first.

    Raises
    ------
    InputError
        If the labels do not fit.
    """
    if seeds.kind == CENTROIDS:
        return _centroids(image, _checked(labels, image))
    find = _peaks_of_brightness if seeds.kind == MAXIMA else _peaks_of_distance
    return list(_peaks(seeds, image, find))


def inner_point(mask: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return a pixel of a mask in its middle: the one its centroid lies in, or, if that is none of it, the deepest.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        Not empty.
    """
    rows, columns = np.nonzero(mask)
    centre = round(float(rows.mean())), round(float(columns.mean()))
    if mask[centre]:
        return centre
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), mask.shape)
    return int(row), int(column)


def _checked(labels: Image | None, image: Image) -> Image:
    if labels is None:
        raise InputError("seeds from centroids need a label image (--labels)")
    if labels.shape != image.shape or labels.rgb or np.dtype(labels.data.dtype).kind not in "biu":
        raise InputError(
            f"the label image has shape {labels.shape} of {labels.data.dtype}; needed are whole numbers of the image's "
            f"shape {image.shape}"
        )
    return labels


def _centroids(image: Image, labels: Image) -> list[RecordedClick]:
    clicks = []
    for position in np.ndindex(image.shape[:-2]):
        plane = np.asarray(labels.data[position])
        values, numbers = np.unique(plane, return_inverse=True)
        if (len(values) and not 0 <= int(values[-1]) <= MAX_OBJECT) or int(values[0]) < 0:
            raise InputError(f"labels are whole numbers from 0 to {MAX_OBJECT}, found {values[0]} to {values[-1]}")
        numbered = numbers.reshape(plane.shape).astype(np.int32) + 1
        for number, box in enumerate(ndimage.find_objects(numbered), start=1):
            label = int(values[number - 1])
            if label:
                row, column = inner_point(numbered[box] == number)
                click = Click(row + box[0].start, column + box[1].start)
                clicks.append(RecordedClick(0, label, position, click))
    return clicks


Find = Callable[[Array, float], Array]


def _peaks(seeds: Seeds, image: Image, find: Find) -> Iterator[RecordedClick]:
    assert seeds.diameter is not None
    count = 0
    for position in np.ndindex(image.shape[:-2]):
        bright = _brightness(image, position)
        for row, column in find(-bright if seeds.dark else bright, seeds.diameter).tolist():
            count += 1
            yield RecordedClick(0, count, position, Click(row, column))


def _brightness(image: Image, position: tuple[int, ...]) -> Array:
    plane = Image(image.data, rgb=image.rgb).plane(PlaneIndex(position).resolved(image.ndim))  # all of it is looked at
    grey: Array = plane.read(Crop.whole(plane.shape), plane.shape).mean(axis=0)
    return grey


def _peaks_of_brightness(bright: Array, diameter: float) -> Array:
    smooth = ndimage.gaussian_filter(bright, diameter * _BLUR)
    return _found(smooth, diameter, _threshold(smooth))


def _peaks_of_distance(bright: Array, diameter: float) -> Array:
    smooth = ndimage.gaussian_filter(bright, diameter * _BLUR / 2)
    threshold = _threshold(smooth)
    if threshold is None:
        return np.zeros((0, 2), dtype=int)
    depth = ndimage.distance_transform_edt(smooth > threshold)
    return _found(ndimage.gaussian_filter(depth, diameter * _BLUR), diameter, diameter * _BLUR)


def _threshold(smooth: Array) -> float | None:
    """Return Otsu's threshold; None where everything is the same."""
    return None if smooth.min() == smooth.max() else float(threshold_otsu(smooth))


def _found(heights: Array, diameter: float, threshold: float | None) -> Array:
    if threshold is None:
        return np.zeros((0, 2), dtype=int)
    apart = max(1, int(diameter / 2))
    found: Array = peak_local_max(heights, min_distance=apart, threshold_abs=threshold, exclude_border=False)
    return found
