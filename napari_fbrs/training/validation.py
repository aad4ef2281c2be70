"""How well a network answers a few clicks on images kept from training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_fbrs.clicks import Click
from napari_fbrs.evaluation.datasets import Source
from napari_fbrs.evaluation.simulation import number_of_clicks
from napari_fbrs.models.network import InteractiveNetwork
from napari_fbrs.training.batches import batch_points, draw_crop
from napari_fbrs.training.config import TrainingConfig
from napari_fbrs.training.crops import Crop
from napari_fbrs.training.data import SCENES
from napari_fbrs.training.precision import Precision
from napari_fbrs.training.sampling import centred_click

CLICKS = (1, 3, 5)  # after how many clicks IoU is reported
TARGETS = (0.85, 0.9)  # IoUs to which clicks are counted
MAX_CLICKS = 10  # before a crop is given up
_SEED = 12345  # one set of crops for every run, so that runs compare
_BATCH = 16


@dataclass(frozen=True)
class Answers:
    """How a network answers clicks on the crops of one source.

    Parameters
    ----------
    iou : list of float
        Mean IoU after each of `CLICKS`.
    noc : list of float
        Mean number of clicks to each of `TARGETS`; where it is not reached, `MAX_CLICKS`.
    failed : list of float
        Share of the crops in which each of `TARGETS` is not reached.
    """

    iou: list[float]
    noc: list[float]
    failed: list[float]


@dataclass(frozen=True)
class ValidationSet:
    """Crops of one source's validation images.

    Parameters
    ----------
    name : str
        The source's name.
    crops : list of Crop
        Not augmented; all of one shape.
    """

    name: str
    crops: list[Crop]


def validation_sets(config: TrainingConfig) -> list[ValidationSet]:
    """Return ``config.validation_images`` crops of every source that has validation images."""
    sets: list[ValidationSet] = []
    for spec in config.sources:
        if spec.path == SCENES:
            continue  # what counts is what they do for real images
        source = Source(Path(spec.path), validation=True)
        if len(source) > 0:
            name = spec.path if source.name in {one.name for one in sets} else source.name
            sets.append(ValidationSet(name, [_crop(source, i, config) for i in range(config.validation_images)]))
    return sets


def validate(network: InteractiveNetwork, sets: Sequence[ValidationSet], precision: Precision) -> dict[str, Answers]:
    """Return how a network answers clicks, by source.

    Parameters
    ----------
    network : InteractiveNetwork
        In evaluation mode; used plainly, without BRS, flip or zoom.
    sets : sequence of ValidationSet
        From `validation_sets`.
    precision : Precision
        Device and number format.

    Notes
    -----
    The user of METHOD section 7 clicks, on every second pixel. IoUs are of all crops, whatever they have reached; only
    beyond the last of `CLICKS` are those at the last of `TARGETS` left alone, which spares most of the passes.
    """
    return {one.name: _answers(network, one.crops, precision) for one in sets}


def as_line(figures: Mapping[str, Answers]) -> dict[str, Any]:
    """Return figures by source as they stand in a run's log, with their means over the sources."""
    line: dict[str, Any] = {"clicks": CLICKS, "targets": TARGETS, "max_clicks": MAX_CLICKS}
    for key in ("iou", "noc", "failed"):
        values: dict[str, list[float]] = {name: getattr(answers, key) for name, answers in figures.items()}
        line |= {key: values, f"mean_{key}": _means(list(values.values()))}
    return line


def _crop(source: Source, index: int, config: TrainingConfig) -> Crop:
    rng = np.random.default_rng((_SEED, index))
    order = np.random.default_rng(_SEED).permutation(len(source))
    pictures = iter(range(index, index + 1_000_000))
    return draw_crop(
        rng, lambda: source[int(order[next(pictures) % len(source)])], config.min_area, (config.crop, config.crop)
    )


def _answers(network: InteractiveNetwork, crops: Sequence[Crop], precision: Precision) -> Answers:
    curves = [
        curve for i in range(0, len(crops), _BATCH) for curve in _curves(network, crops[i : i + _BATCH], precision)
    ]
    counts = [[number_of_clicks(curve, target, MAX_CLICKS) for target in TARGETS] for curve in curves]
    failed = [[max(curve) < target for target in TARGETS] for curve in curves]
    return Answers(_means([[curve[count - 1] for count in CLICKS] for curve in curves]), _means(counts), _means(failed))


def _curves(network: InteractiveNetwork, crops: Sequence[Crop], precision: Precision) -> list[list[float]]:
    """Return the IoU of each crop after 1, 2, ... clicks: as many as `CLICKS` has, then on to the last of `TARGETS`."""
    image = torch.from_numpy(np.stack([crop.image for crop in crops])).permute(0, 3, 1, 2)
    prior = torch.zeros((len(crops), *image.shape[2:]), dtype=torch.uint8)
    clicks: list[list[Click]] = [[] for _ in crops]
    curves: list[list[float]] = [[] for _ in crops]
    going = list(range(len(crops)))
    for count in range(1, MAX_CLICKS + 1):
        if count > max(CLICKS):
            going = [i for i in going if max(curves[i]) < TARGETS[-1]]
        if not going:
            break
        for i in going:
            click = centred_click(_mask(prior[i]), crops[i].mask)
            clicks[i].extend([click] if click else [])
        points = batch_points([clicks[i] for i in going])
        prior[going] = predict(network, image[going], points, prior[going], precision)
        for i in going:
            curves[i].append(_iou(_mask(prior[i]), crops[i].mask))
    return curves


def _mask(probability: Tensor) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = probability.numpy() > 127
    return mask


def _means(rows: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean of each column."""
    return [round(float(np.mean(column)), 4) for column in zip(*rows, strict=True)]


def predict(network: InteractiveNetwork, image: Tensor, points: Tensor, prior: Tensor, precision: Precision) -> Tensor:
    """Return the probabilities of 8-bit images, as `Batch.prior`; the network must be in evaluation mode."""
    with torch.no_grad(), precision.autocast():
        logits = network(precision.image(image), points.to(precision.device), precision.prior(prior))
    return (torch.sigmoid(logits[:, 0].float()) * 255).round().to(torch.uint8).cpu()


def _iou(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0
