"""Training data: several sets of labelled images, drawn from by weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.datasets import LabelledImage, Source


class Mixture:
    """Several sources, drawn from by weight.

    Parameters
    ----------
    sources : sequence of Source
        Where images come from.
    weights : sequence of float
        Relative frequency of each.

    Raises
    ------
    InputError
        If the weights do not fit the sources.
    """

    def __init__(self, sources: Sequence[Source], weights: Sequence[float]) -> None:
        if len(sources) != len(weights) or min(weights, default=0) <= 0:
            raise InputError(f"{len(sources)} sources need as many weights above 0, got {list(weights)}")
        self.sources = list(sources)
        self._cumulated = np.cumsum(weights) / np.sum(weights)

    def pick(self, rng: np.random.Generator) -> LabelledImage:
        """Return a random image of a source drawn by weight."""
        source = self.sources[int(np.searchsorted(self._cumulated[:-1], rng.random(), side="right"))]
        return source[int(rng.integers(len(source)))]
