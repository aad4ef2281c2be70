"""Figures of runs: mean numbers of clicks, failures, IoU after some clicks, time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from napari_fbrs.evaluation.objects import Dataset, Sample, truth_of
from napari_fbrs.evaluation.simulation import MAX_CLICKS, Run, Subject, number_of_clicks, simulate

TARGETS = (0.8, 0.85, 0.9)
AFTER = (1, 2, 3, 5, 10)


def evaluate(
    subject: Subject,
    dataset: Dataset,
    samples: Sequence[Sample],
    limit: int = MAX_CLICKS,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Run]:
    """Yield what a simulated user does on each object, to IoU 0.9 or `limit` clicks; stop where `cancelled` says so.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_fbrs.evaluation.arrays import LabelledArray
    >>> from napari_fbrs.evaluation.baselines import RandomWalker
    >>> from napari_fbrs.evaluation.objects import sample_objects
    >>> labels = np.zeros((2, 48, 48), dtype=int)
    >>> labels[:, 12:36, 12:36] = 1
    >>> dataset = LabelledArray(labels * 200.0, labels)
    >>> [len(run.clicks) for run in evaluate(RandomWalker(), dataset, sample_objects(dataset))]
    [1, 1]
    """
    for sample in samples:
        if cancelled():
            return
        truth = truth_of(dataset.labels(sample.image), sample.label)
        yield simulate(subject, dataset.plane(sample.image), truth, limit=limit)


def summary(runs: Sequence[Run], limit: int = MAX_CLICKS) -> dict[str, float]:
    """Return mean numbers of clicks, failures and mean IoUs of some runs, by the names they are printed under.

    Parameters
    ----------
    runs : sequence of Run
        At least one.
    limit : int, optional
        Most clicks of a run; what was not reached counts as that many.
    """
    figures: dict[str, float] = {}
    for target in TARGETS:
        figures[f"NoC@{_percent(target)}"] = mean_noc(runs, target, limit)
    best = [max(run.ious, default=0.0) for run in runs]
    for target in TARGETS[1:]:
        figures[f"failed@{_percent(target)}"] = sum(reached < target for reached in best)
    curve = mean_iou(runs, limit)
    figures |= {f"IoU after {count}": curve[count - 1] for count in AFTER if count <= limit}
    figures["ms a click"] = 1000 * float(np.median([second for run in runs for second in run.seconds] or [0]))
    return figures


def mean_noc(runs: Sequence[Run], target: float, limit: int = MAX_CLICKS) -> float:
    """Return the mean number of clicks to an IoU."""
    return float(np.mean([number_of_clicks(run.ious, target, limit) for run in runs]))


def mean_iou(runs: Sequence[Run], limit: int = MAX_CLICKS) -> list[float]:
    """Return the mean IoU after 1, 2, ... `limit` clicks; a run that stopped keeps the IoU it had reached."""
    return [float(value) for value in np.mean([held(run, limit) for run in runs], axis=0)]


def held(run: Run, limit: int = MAX_CLICKS) -> list[float]:
    """Return the IoU of a run after 1, 2, ... `limit` clicks, the last one kept once it has stopped."""
    return [run.ious[min(count, len(run.ious)) - 1] if run.ious else 1.0 for count in range(1, limit + 1)]


def spread(groups: Sequence[Sequence[Run]], limit: int = MAX_CLICKS) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation of the mean numbers of clicks of several people.

    Parameters
    ----------
    groups : sequence of sequence of Run
        The runs of each person over all objects.
    limit : int, optional
        As for `summary`.
    """
    figures = {}
    for target in TARGETS:
        values = [mean_noc(runs, target, limit) for runs in groups]
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        figures[f"NoC@{_percent(target)}"] = (float(np.mean(values)), deviation)
    return figures


def _percent(target: float) -> str:
    return f"{target:.0%}".removesuffix("%")
