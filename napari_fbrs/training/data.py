"""Training data: several sets of labelled images, and scenes that are computed, drawn from by weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.datasets import LabelledImage
from napari_fbrs.training.scenes import Scenes

SCENES = "scenes"  # the name that stands for a path to them


class Pictures(Protocol):
    """Labelled images by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabelledImage: ...


class ComputedScenes:
    """Procedural scenes as a source; each is computed when it is drawn.

    Parameters
    ----------
    seed : int
        See `Scenes`.
    """

    def __init__(self, seed: int) -> None:
        self._scenes = Scenes(seed)

    def __len__(self) -> int:
        return 2**31  # none is drawn twice

    def __getitem__(self, index: int) -> LabelledImage:
        return self._scenes.scene(index)


class Mixture:
    """Several sources, drawn from by weight.

    Parameters
    ----------
    sources : sequence of Pictures
        Where images come from.
    weights : sequence of float
        Relative frequency of each.

    Raises
    ------
    InputError
        If the weights do not fit the sources.
    """

    def __init__(self, sources: Sequence[Pictures], weights: Sequence[float]) -> None:
        if not sources or len(sources) != len(weights) or not all(0 < weight < math.inf for weight in weights):
            raise InputError(f"{len(sources)} sources need as many weights above 0, got {list(weights)}")
        self.sources = list(sources)
        self._cumulated = np.cumsum(weights) / np.sum(weights)

    def pick(self, rng: np.random.Generator) -> LabelledImage:
        """Return a random image of a source drawn by weight."""
        source = self.sources[int(np.searchsorted(self._cumulated[:-1], rng.random(), side="right"))]
        return source[int(rng.integers(len(source)))]
