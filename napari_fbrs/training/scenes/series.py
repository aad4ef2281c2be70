"""Scenes by number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from napari_fbrs.evaluation.datasets import LabelledImage
from napari_fbrs.training.scenes.blobs import blobs
from napari_fbrs.training.scenes.cells import cells
from napari_fbrs.training.scenes.fibres import fibres
from napari_fbrs.training.scenes.foams import foams
from napari_fbrs.training.scenes.microscope import choose_microscope
from napari_fbrs.training.scenes.nuclei import nuclei
from napari_fbrs.training.scenes.particles import particles
from napari_fbrs.training.scenes.specimen import Specimen
from napari_fbrs.training.scenes.tissue import tissue
from napari_fbrs.training.scenes.vesicles import vesicles

Kind = Callable[[tuple[int, int], np.random.Generator], Specimen]

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "blobs": blobs,
        "cells": cells,
        "fibres": fibres,
        "foams": foams,
        "nuclei": nuclei,
        "particles": particles,
        "tissue": tissue,
        "vesicles": vesicles,
    }
)
_SIDES = (192, 448)  # pixels


class Scenes:
    """An endless series of scenes; scene number `i` of a seed is always the same.

    Parameters
    ----------
    seed : int
        0 or more.

    Examples
    --------
    >>> from napari_fbrs.training.scenes import Scenes
    >>> scene = Scenes(seed=0).scene(3)
    >>> scene.image.dtype, scene.image.shape[:2] == scene.labels.shape, int(scene.labels.max()) > 0
    (dtype('uint8'), True, True)
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def kind(self, index: int) -> str:
        """Return what scene number `index` shows: a key of `KINDS`."""
        return _pick_kind(self._rng(index))

    def scene(self, index: int) -> LabelledImage:
        """Return scene number `index`, 0 or more.

        Objects are numbered from 1 without gaps, and each is one connected region; there is at least one.
        """
        rng = self._rng(index)
        kind = KINDS[_pick_kind(rng)]
        shape = (int(rng.integers(_SIDES[0], _SIDES[1] + 1)), int(rng.integers(_SIDES[0], _SIDES[1] + 1)))
        specimen = kind(shape, rng)
        while not specimen.labels.any():
            specimen = kind(shape, rng)
        image = choose_microscope(specimen, rng).photograph(specimen.light, rng)
        return LabelledImage(image, specimen.labels)

    def _rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, index))


def _pick_kind(rng: np.random.Generator) -> str:
    return tuple(KINDS)[int(rng.integers(len(KINDS)))]
