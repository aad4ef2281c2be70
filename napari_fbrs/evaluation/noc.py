"""How many clicks the objects of a data set take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.datasets import Source
from napari_fbrs.evaluation.simulation import MAX_CLICKS, Run, number_of_clicks, simulate
from napari_fbrs.inference.predictor import Predictor

TARGETS = (0.8, 0.85, 0.9)
AFTER = (1, 2, 3, 5)


@dataclass(frozen=True)
class Sample:
    """One object of a data set: the image's number and the object's label."""

    image: int
    label: int


def sample_objects(source: Source, limit: int | None, min_area: int, seed: int = 0) -> list[Sample]:
    """Return a seeded sample of the objects of a data set, in the order of its images.

    Parameters
    ----------
    source : Source
        Labelled images.
    limit : int or None
        How many objects; None: all.
    min_area : int
        Smallest object, in pixels.
    seed : int, optional
        Decides which.

    Raises
    ------
    InputError
        If no object is large enough.
    """
    every = [
        Sample(image, int(label))
        for image in range(len(source))
        for label in np.flatnonzero(source[image].areas >= max(1, min_area))
    ]
    if not every:
        raise InputError(f"{source.path} has no object of at least {min_area} pixels")
    chosen = np.random.default_rng(seed).permutation(len(every))[:limit]
    return [every[index] for index in sorted(chosen)]


def evaluate(predictor: Predictor, source: Source, samples: Sequence[Sample], limit: int = MAX_CLICKS) -> Iterator[Run]:
    """Yield what a simulated user does on each object, to IoU 0.9 or `limit` clicks."""
    for sample in samples:
        picture = source[sample.image]
        plane = predictor.prepare(picture.image)
        yield simulate(predictor, plane, (picture.labels == sample.label).astype(int), limit=limit)
        predictor.cache.clear()  # nobody comes back to this plane


def summary(runs: Sequence[Run], limit: int = MAX_CLICKS) -> dict[str, float]:
    """Return mean numbers of clicks, failures and mean IoUs of some runs, by the names they are printed under.

    Parameters
    ----------
    runs : sequence of Run
        At least one.
    limit : int, optional
        Most clicks of a run; what was not reached counts as that many.
    """
    ious = [run.ious for run in runs]
    figures = {
        f"NoC@{target:.0%}".removesuffix("%"): float(np.mean([number_of_clicks(i, target, limit) for i in ious]))
        for target in TARGETS
    }
    figures["objects"] = len(runs)
    figures["failures at 90"] = int(sum(max(i, default=0.0) < TARGETS[-1] for i in ious))
    for count in AFTER:
        figures[f"IoU after {count}"] = float(np.mean([i[min(count, len(i)) - 1] for i in ious]))
    figures["ms a click"] = 1000 * float(np.median([second for run in runs for second in run.seconds]))
    return figures
