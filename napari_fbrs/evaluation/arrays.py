"""Images and labels that are in memory already, so as to see how many clicks they would take."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import numpy as np

from napari_fbrs.annotation.image import Image, PlaneIndex
from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.objects import Truth
from napari_fbrs.inference.plane import Plane

MIN_AREA = 100


class LabelledArray:
    """A data set made of an image and its labels, 2D or a stack of planes.

    Parameters
    ----------
    image : array_like, shape (..., H, W) or (..., H, W, 3 or 4)
        NumPy, dask, zarr or memory-mapped; colours last if `rgb`.
    labels : array_like of int, shape (..., H, W)
        0 is background; -1 does not count. In a stack an object is what has one label in one plane.
    name : str, optional
        For people.
    rgb : bool, optional
        Whether the image's last axis holds 3 or 4 colours.
    limits : tuple of float, optional
        Intensities shown as black and white; those of the whole image by default.

    Raises
    ------
    InputError
        If image and labels do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_fbrs.evaluation.objects import sample_objects
    >>> labels = np.zeros((3, 40, 40), dtype=int)
    >>> labels[0, 5:20, 5:20] = labels[2, 5:20, 5:20] = 7
    >>> sample_objects(LabelledArray(labels * 30.0, labels))
    [Sample(image=0, label=7), Sample(image=2, label=7)]
    """

    min_area = MIN_AREA

    def __init__(
        self,
        image: Any,
        labels: Any,
        name: str = "layers",
        *,
        rgb: bool = False,
        limits: tuple[float, float] | None = None,
    ) -> None:
        self.name = name
        self._image = Image(image, rgb=rgb)
        self._labels = labels if hasattr(labels, "dtype") else np.asarray(labels)
        if self._labels.dtype.kind not in "bui":
            raise InputError(f"labels must be whole numbers, found {self._labels.dtype}; use a Labels layer")
        if tuple(self._labels.shape) != self._image.shape:
            raise InputError(f"the labels have shape {self._labels.shape}, the image {self._image.shape}")
        self._limits = limits or self._image.limits()
        self._positions = list(np.ndindex(*self._image.shape[:-2]))

    def __len__(self) -> int:
        return len(self._positions)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of shape, contrast limits and labels."""
        digest = hashlib.sha256(f"{self._image.shape} {self._image.rgb} {self._limits}".encode())
        for plane in range(len(self)):
            digest.update(self.labels(plane).tobytes())
        return digest.hexdigest()

    def title(self, image: int) -> str:
        """Return the plane's index along the leading axes, such as "plane 3"."""
        return f"plane {';'.join(map(str, self._positions[image]))}" if self._positions[image] else self.name

    def labels(self, image: int) -> Truth:
        """Return the labels of a plane, shape (H, W): 0 off all objects, -1 where it does not count."""
        return np.asarray(self._labels[self._positions[image]]).astype(int)

    def plane(self, image: int) -> Plane:
        """Return a plane, to be predicted on."""
        return self._image.plane(PlaneIndex(self._positions[image]).resolved(self._image.ndim), self._limits)
