"""How many clicks masks with planted errors take to be corrected, and the same objects from nothing."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from napari_fbrs.clicks import Click
from napari_fbrs.evaluation.objects import Dataset, Sample, truth_of
from napari_fbrs.evaluation.planted import planted
from napari_fbrs.evaluation.simulation import MAX_CLICKS, TARGET, Mask, iou, next_click, number_of_clicks, simulate
from napari_fbrs.evaluation.subjects import Predicting, Predicts
from napari_fbrs.inference.correction import corrected, state_from
from napari_fbrs.inference.plane import Crop, Plane
from napari_fbrs.inference.zoom import bounding_box

_THRESHOLD = 0.5  # of masks as the plugin shows them


@dataclass(frozen=True)
class Correction:
    """One object, twice.

    Parameters
    ----------
    start : float
        IoU of the mask with planted errors.
    corrected, anew : int
        Clicks to an IoU of 0.9 from that mask, and from nothing; the most allowed where it was not reached.
    """

    start: float
    corrected: int
    anew: int


def corrections(predictor: Predicts, dataset: Dataset, samples: Sequence[Sample]) -> Iterator[Correction]:
    """Yield what happened on each object; the errors planted in it are always the same."""
    for sample in samples:
        plane, labels = dataset.plane(sample.image), dataset.labels(sample.image)
        truth = truth_of(labels, sample.label)
        rng = np.random.default_rng([zlib.crc32(dataset.name.encode()), sample.image, sample.label])
        mask = planted(truth == 1, (labels > 0) & (labels != sample.label), rng)
        run = simulate(Predicting(predictor, _THRESHOLD), plane, truth)
        yield Correction(
            iou(truth, mask), clicks_to_correct(predictor, plane, truth, mask), number_of_clicks(run.ious, TARGET)
        )


def clicks_to_correct(predictor: Predicts, plane: Plane, truth: np.ndarray, start: Mask) -> int:
    """Return how many clicks a mask takes to an IoU of 0.9, corrected as a session does it."""
    whole = Crop.whole(plane.shape)
    box = bounding_box(start, whole)
    assert box is not None, "a mask to correct is not empty"
    state, mask, clicks = state_from(box, start[box.slices]), start, list[Click]()
    while iou(truth, mask) < TARGET:
        click = next_click(truth, mask, clicks)
        if click is None or len(clicks) == MAX_CLICKS:
            return MAX_CLICKS
        clicks.append(click)
        prediction = predictor.predict(plane, clicks, state)
        state = prediction.state
        _, mask = corrected(whole, start, whole, prediction.mask(_THRESHOLD), clicks)
    return len(clicks)
