"""What clicks give without a network: nearest click, random walker, GrabCut.

As long as there is no negative click, what lies just outside the image counts as one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.segmentation import random_walker

from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.simulation import Attempt, Mask, Subject
from napari_fbrs.inference.plane import Crop, Plane
from napari_fbrs.inference.zoom import resized_shape, to_crop

_LONGEST_SIDE = 256  # of the images that the random walker and GrabCut compute on, in pixels
_SEED_RADIUS = 2.5  # around a click, in those pixels
_BETA = 130  # scikit-image's own
_ITERATIONS = 5


class Voronoi:
    """A pixel belongs to the object if the click nearest to it is positive; of equals, negative wins."""

    def start(self, plane: Plane) -> Attempt:
        """Return what gives the mask of one object after each click."""

        def attempt(clicks: Sequence[Click]) -> Mask:
            to_object, off_object = (_distance(clicks, plane.shape, positive=sign) for sign in (True, False))
            return np.asarray(to_object < off_object)

        return attempt


class RandomWalker:
    """scikit-image's random walker (Grady 2006), from discs around the clicks."""

    def start(self, plane: Plane) -> Attempt:
        """Return what gives the mask of one object after each click."""
        scaled = _Scaled(plane)
        framed = np.pad(scaled.pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")

        def walk(clicks: Sequence[Click]) -> Mask:
            seeds = np.zeros(framed.shape[:2], dtype=np.int32)
            if all(click.positive for click in clicks):
                seeds[[0, -1]] = seeds[:, [0, -1]] = 2
            seeds[1:-1, 1:-1] = scaled.seeds(clicks, unknown=0, positive=1, negative=2)
            if not (seeds == 1).any():
                return np.zeros(scaled.size, dtype=bool)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of solvers that are not there
                labels = random_walker(framed, seeds, beta=_BETA, mode="cg_j", channel_axis=-1)
            return np.asarray(labels[1:-1, 1:-1] == 1)

        return scaled.attempt(walk)


class GrabCut:
    """OpenCV's GrabCut (Rother et al. 2004), from discs around the clicks, at first from the nearest click.

    Raises
    ------
    InputError
        If OpenCV is not there.
    """

    def __init__(self) -> None:
        try:
            import cv2
        except ImportError as error:
            raise InputError('grabcut needs OpenCV: pip install "napari-fbrs[evaluation]"') from error
        self._cv2 = cv2

    def start(self, plane: Plane) -> Attempt:
        """Return what gives the mask of one object after each click."""
        cv2, scaled = self._cv2, _Scaled(plane)
        image = np.ascontiguousarray(np.round(255 * scaled.pixels[..., ::-1]).astype(np.uint8))

        def cut(clicks: Sequence[Click]) -> Mask:
            near = _distance(clicks, scaled.size, positive=True) < _distance(clicks, scaled.size, positive=False)
            unknown = np.where(near, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
            marks = scaled.seeds(clicks, unknown=unknown, positive=cv2.GC_FGD, negative=cv2.GC_BGD).astype(np.uint8)
            sure = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD))
            if sure.all() or not sure.any():  # nothing to tell apart
                return sure
            cv2.setRNGSeed(0)
            cv2.grabCut(image, marks, None, np.zeros((1, 65)), np.zeros((1, 65)), _ITERATIONS, cv2.GC_INIT_WITH_MASK)
            return np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD))

        return scaled.attempt(cut)


BASELINES: MappingProxyType[str, Callable[[], Subject]] = MappingProxyType(
    {"voronoi": Voronoi, "random-walker": RandomWalker, "grabcut": GrabCut}
)


class _Scaled:
    """A plane brought to a size that a baseline can compute on."""

    def __init__(self, plane: Plane) -> None:
        self._whole = Crop.whole(plane.shape)
        self.size = plane.shape if max(plane.shape) <= _LONGEST_SIDE else resized_shape(plane.shape, _LONGEST_SIDE)
        self.pixels = plane.read(self._whole, self.size).transpose(1, 2, 0)

    def attempt(self, compute: Callable[[Sequence[Click]], Mask]) -> Attempt:
        """Return what gives masks of the plane from what computes them at this size."""

        def attempt(clicks: Sequence[Click]) -> Mask:
            mask = compute(to_crop(clicks, self._whole, self.size))
            nearest = (np.arange(n) * s // n for n, s in zip(self._whole.shape, self.size, strict=True))
            return mask[np.ix_(*nearest)]

        return attempt

    def seeds(
        self, clicks: Sequence[Click], *, unknown: int | npt.NDArray[np.int_], positive: int, negative: int
    ) -> npt.NDArray[np.int_]:
        """Return an array with discs around the clicks; a later click lies over the ones before."""
        seeds = np.broadcast_to(unknown, self.size).astype(int)
        rows, columns = np.ogrid[: self.size[0], : self.size[1]]
        for click in clicks:
            disc = (rows - click.row) ** 2 + (columns - click.column) ** 2 <= _SEED_RADIUS**2
            seeds[disc] = positive if click.positive else negative
        return seeds


def _distance(clicks: Sequence[Click], shape: tuple[int, int], *, positive: bool) -> npt.NDArray[np.float64]:
    """Return the distance to the nearest click of a sign; to the outside of the image if no click is negative."""
    frame = 0 if positive or any(not click.positive for click in clicks) else 1
    free = np.pad(np.ones(shape, dtype=bool), frame, constant_values=False)
    for click in clicks:
        if click.positive is positive:
            row, column = click.pixel
            free[min(row, shape[0] - 1) + frame, min(column, shape[1] - 1) + frame] = False
    if free.all():
        return np.full(shape, np.inf)
    distance: npt.NDArray[np.float64] = ndimage.distance_transform_edt(free)
    return distance[frame : frame + shape[0], frame : frame + shape[1]]
