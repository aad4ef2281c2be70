"""How well a network answers a few clicks on images kept from training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_fbrs.clicks import Click
from napari_fbrs.evaluation.datasets import Source
from napari_fbrs.models.network import InteractiveNetwork
from napari_fbrs.training.batches import batch_points, draw_crop
from napari_fbrs.training.config import TrainingConfig
from napari_fbrs.training.crops import Crop
from napari_fbrs.training.data import SCENES
from napari_fbrs.training.precision import Precision
from napari_fbrs.training.sampling import centred_click

CLICKS = (1, 3, 5)  # after how many clicks IoU is reported
_SEED = 12345  # one set of crops for every run, so that runs compare
_BATCH = 16


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
    sets = []
    for spec in config.sources:
        if spec.path == SCENES:
            continue  # what counts is what they do for real images
        source = Source(Path(spec.path), validation=True)
        if len(source) > 0:
            sets.append(ValidationSet(source.name, [_crop(source, i, config) for i in range(config.validation_images)]))
    return sets


def validate(
    network: InteractiveNetwork, sets: Sequence[ValidationSet], precision: Precision
) -> dict[str, list[float]]:
    """Return the mean IoU after `CLICKS` clicks, by source.

    Parameters
    ----------
    network : InteractiveNetwork
        In evaluation mode; used plainly, without BRS, flip or zoom.
    sets : sequence of ValidationSet
        From `validation_sets`.
    precision : Precision
        Device and number format.
    """
    return {one.name: _mean_iou(network, one.crops, precision) for one in sets}


def _crop(source: Source, index: int, config: TrainingConfig) -> Crop:
    rng = np.random.default_rng((_SEED, index))
    order = np.random.default_rng(_SEED).permutation(len(source))
    pictures = iter(range(index, index + 1_000_000))
    return draw_crop(
        rng, lambda: source[int(order[next(pictures) % len(source)])], config.min_area, (config.crop, config.crop)
    )


def _mean_iou(network: InteractiveNetwork, crops: Sequence[Crop], precision: Precision) -> list[float]:
    parts = [_ious(network, crops[i : i + _BATCH], precision) for i in range(0, len(crops), _BATCH)]
    return [round(float(iou), 4) for iou in np.concatenate(parts).mean(axis=0)]


def _ious(network: InteractiveNetwork, crops: Sequence[Crop], precision: Precision) -> npt.NDArray[np.float64]:
    image = torch.from_numpy(np.stack([crop.image for crop in crops])).permute(0, 3, 1, 2)
    truth = [crop.mask for crop in crops]
    masks = [np.zeros_like(mask) for mask in truth]
    prior = torch.zeros((len(crops), *image.shape[2:]), dtype=torch.uint8)
    clicks: list[list[Click]] = [[] for _ in crops]
    ious = []
    for count in range(1, max(CLICKS) + 1):
        for given, prediction, mask in zip(clicks, masks, truth, strict=True):
            click = centred_click(prediction, mask)
            given.extend([click] if click else [])
        prior = predict(network, image, batch_points(clicks), prior, precision)
        masks = list(prior.numpy() > 127)
        if count in CLICKS:
            ious.append([_iou(*pair) for pair in zip(masks, truth, strict=True)])
    return np.array(ious).T


def predict(network: InteractiveNetwork, image: Tensor, points: Tensor, prior: Tensor, precision: Precision) -> Tensor:
    """Return the probabilities of 8-bit images, as `Batch.prior`; the network must be in evaluation mode."""
    with torch.no_grad(), precision.autocast():
        logits = network(precision.image(image), points.to(precision.device), precision.prior(prior))
    return (torch.sigmoid(logits[:, 0].float()) * 255).round().to(torch.uint8).cpu()


def _iou(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0
