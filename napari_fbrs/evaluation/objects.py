"""What a data set gives: images, and objects whose masks are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

import numpy as np
import numpy.typing as npt

from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.simulation import IGNORE
from napari_fbrs.inference.plane import Plane

Truth = npt.NDArray[np.int_]


@dataclass(frozen=True)
class Sample:
    """One object of a data set: the image's number and the object's label."""

    image: int
    label: int


class Dataset(Protocol):
    """Images with objects whose masks are known."""

    name: str
    min_area: int  # of its objects, where the user names none

    def __len__(self) -> int:
        """Return the number of images."""

    @property
    def fingerprint(self) -> str:
        """What tells this data set from one with other objects."""

    def title(self, image: int) -> str:
        """Return the name of an image."""

    def labels(self, image: int) -> Truth:
        """Return the labels of an image, shape (H, W): 0 off all objects, -1 where it does not count."""

    def plane(self, image: int) -> Plane:
        """Return an image, to be predicted on."""


def truth_of(labels: Truth, label: int) -> Truth:
    """Return where one object is: 1 on it, 0 off it, -1 where it does not count."""
    return np.where(labels == IGNORE, IGNORE, labels == label).astype(int)


def sample_objects(
    dataset: Dataset, limit: int | None = None, min_area: int | None = None, seed: int = 0, *, spread: bool = False
) -> list[Sample]:
    """Return a seeded sample of the objects of a data set, in the order of its images.

    Parameters
    ----------
    dataset : Dataset
        Where to look.
    limit : int, optional
        How many objects; None: all.
    min_area : int, optional
        Smallest object, in pixels; None: the data set's own.
    seed : int, optional
        Decides which.
    spread : bool, optional
        Whether no image gives a second object before every other one has given its first, and so on; else all objects
        have the same chance, and a few crowded images give most of them.

    Raises
    ------
    InputError
        If no object is large enough.
    """
    smallest = max(1, dataset.min_area if min_area is None else min_area)
    every = [
        Sample(image, int(label))
        for image in range(len(dataset))
        for label, area in zip(*np.unique(dataset.labels(image), return_counts=True), strict=True)
        if label > 0 and area >= smallest
    ]
    if not every:
        raise InputError(
            f"{dataset.name} has no object of at least {smallest} pixels; --min-area says how small they may be"
        )
    order = [every[index] for index in np.random.default_rng(seed).permutation(len(every))]
    if spread:
        order = _in_turns(order)
    return sorted(order[:limit], key=lambda sample: (sample.image, sample.label))


def _in_turns(samples: Sequence[Sample]) -> list[Sample]:
    """Return objects so that the images take turns, in the order of their first ones."""
    by_image: dict[int, list[Sample]] = {}
    for sample in samples:
        by_image.setdefault(sample.image, []).append(sample)
    return [sample for turn in zip_longest(*by_image.values()) for sample in turn if sample is not None]
