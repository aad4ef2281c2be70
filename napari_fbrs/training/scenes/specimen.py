"""What is put under the microscope: light, and the objects it comes from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage import measure

from napari_fbrs.training.scenes.fields import Field

Labels = npt.NDArray[np.int32]

MIN_AREA = 40  # pixels: less is debris, not an object


@dataclass(frozen=True, eq=False)
class Specimen:
    """A scene before the microscope.

    Parameters
    ----------
    light : ndarray of float32, shape (H, W) or (H, W, 3)
        From 0 to 1, without blur or noise.
    labels : ndarray of int32, shape (H, W)
        0 is background; each object is one connected region.
    contrast : float
        About the difference in light that tells an object from what is around it.
    detail : float
        Width in pixels of the finest structure by which it can be told.
    """

    light: Field
    labels: Labels
    contrast: float
    detail: float


def objects(labels: npt.NDArray[np.integer] | npt.NDArray[np.bool_], least: float = MIN_AREA) -> Labels:
    """Return labels whose every connected part (by edges) is an object, numbered from 1; the smallest parts are gone.

    Parameters
    ----------
    labels : ndarray of int or bool, shape (H, W)
        0 is background.
    least : float, optional
        Pixels of the smallest part that is kept, `MIN_AREA` or more.
    """
    parts = measure.label(labels, background=0, connectivity=1)
    kept = np.bincount(parts.ravel()) >= max(least, MIN_AREA)
    kept[0] = False
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    renumbered: Labels = numbers[parts]
    return renumbered
