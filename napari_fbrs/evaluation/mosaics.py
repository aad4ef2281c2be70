"""Large fields made of small images: where an object is a small part of what is there."""

from __future__ import annotations

import hashlib
from functools import cached_property
from itertools import cycle, islice

import numpy as np
import numpy.typing as npt

from napari_fbrs.evaluation.datasets import plane_as_rgb
from napari_fbrs.evaluation.objects import Dataset, Truth
from napari_fbrs.inference.plane import Plane, make_plane

_SEED = 0


class Mosaics:
    """Mosaics of a data set's images, each image in one of them, in rows, cut off at the right and at the bottom.

    A mosaic is filled up with images that are in others too.

    Parameters
    ----------
    dataset : Dataset
        Whose images.
    side : int
        Rows and columns of a mosaic.
    """

    def __init__(self, dataset: Dataset, side: int) -> None:
        self._dataset, self._side = dataset, side
        self.name, self.min_area = f"{dataset.name} in {side} x {side}", dataset.min_area
        self._held: tuple[int, npt.NDArray[np.uint8], Truth] | None = None

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def fingerprint(self) -> str:
        """What tells these mosaics from others."""
        return hashlib.sha256(f"{self._dataset.fingerprint} {self._side} {_SEED}".encode()).hexdigest()

    def title(self, image: int) -> str:
        """Return the name of a mosaic."""
        return f"mosaic {image + 1}"

    def labels(self, image: int) -> Truth:
        """Return the labels of a mosaic, numbered anew from 1."""
        return self._mosaic(image)[1]

    def plane(self, image: int) -> Plane:
        """Return a mosaic, to be predicted on."""
        return make_plane(self._mosaic(image)[0])

    @cached_property
    def _order(self) -> list[int]:
        order: list[int] = np.random.default_rng(_SEED).permutation(len(self._dataset)).tolist()
        return order

    @cached_property
    def _starts(self) -> list[int]:
        """Positions in the order at which mosaics start."""
        starts, count = [0], len(self._dataset)
        while (end := starts[-1] + len(self._places(starts[-1]))) < count:
            starts.append(end)
        return starts

    def _places(self, start: int) -> list[tuple[int, int, int]]:
        """Return image, first row and first column of the pieces of the mosaic that starts at a position."""
        places = []
        row = column = height = 0
        for index in islice(cycle(self._order), start, None):
            rows, columns = self._dataset.labels(index).shape
            if column >= self._side:
                row, column, height = row + height, 0, 0
            if row >= self._side:
                break
            places.append((index, row, column))
            column, height = column + columns, max(height, rows)
        return places

    def _mosaic(self, image: int) -> tuple[npt.NDArray[np.uint8], Truth]:
        if self._held is None or self._held[0] != image:
            self._held = (image, *self._put_together(image))
        return self._held[1:]

    def _put_together(self, image: int) -> tuple[npt.NDArray[np.uint8], Truth]:
        pixels = np.zeros((self._side, self._side, 3), np.uint8)
        labels = np.zeros((self._side, self._side), int)
        largest = 0
        for index, row, column in self._places(self._starts[image]):
            piece = self._dataset.labels(index)[: self._side - row, : self._side - column]
            part = slice(row, row + piece.shape[0]), slice(column, column + piece.shape[1])
            labels[part] = np.where(piece > 0, piece + largest, piece)
            pixels[part] = plane_as_rgb(self._dataset.plane(index))[: piece.shape[0], : piece.shape[1]]
            largest = max(largest, int(labels[part].max()))
        return pixels, labels
