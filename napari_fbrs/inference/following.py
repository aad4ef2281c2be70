"""An object followed from a plane on which its mask is known to others like it: scales and biases learn the mask.

The scales and biases of f-BRS, a few hundred numbers before the decoder, are optimised on the plane that is known: not
for the clicks alone but for every pixel of the mask, until the network, shown a click in its middle, predicts it. On
the planes that follow they tell this object from what is around it, as fine-tuning on the first frame does for videos
(Caelles et al. 2017), in a second instead of minutes.

The network looks at each plane twice: without the mask of the plane before, where it sees how the object has changed
and may lose it, and with that mask at half its strength, where it keeps the object and hardly sees it change. What both
say together is taken, and how far they agree is how sure it is. A border is not believed to move far in one step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from napari_fbrs.clicks import Click
from napari_fbrs.errors import PredictionError
from napari_fbrs.inference.correction import middle
from napari_fbrs.inference.interruption import stop_if
from napari_fbrs.inference.lbfgs import minimise
from napari_fbrs.inference.objective import regularisation
from napari_fbrs.inference.optimizer import Variables
from napari_fbrs.inference.plane import Crop, Plane
from napari_fbrs.inference.prediction import Prediction, State
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.prior import FAINT, Prior
from napari_fbrs.inference.zoom import Zoom
from napari_fbrs.models.network import Features

Mask = npt.NDArray[np.bool_]

_EVALUATIONS = 12  # of the objective; each costs about what decoding twice does
_STEP = 0.1  # of the mask's size (the root of its area): how far its border moves readily from one plane to the next
_SURE, _POSSIBLE = 0.7, 0.3
_LEAST = 1e-4  # probability; keeps logits finite


@dataclass(frozen=True, eq=False)
class Sighting:
    """What is seen of an object on a plane.

    Parameters
    ----------
    crop : Crop
        Where it was looked for.
    mask : ndarray of bool, shape of the crop
        Its pixels; only parts that touch the mask before.
    sureness : float
        In [0, 1]: how far both looks agree, times how sharp they are.
    """

    crop: Crop
    mask: Mask
    sureness: float


class Follower:
    """Follows an object; a function of what it is given.

    Parameters
    ----------
    predictor : Predictor
        Its network looks. Variables are learnt where its mode has scales and biases.
    cancelled : callable, optional
        When it answers True, `CancelledError` is raised.
    """

    def __init__(self, predictor: Predictor, cancelled: Callable[[], bool] = lambda: False) -> None:
        self._predictor, self._cancelled = predictor, cancelled

    def learn(self, plane: Plane, box: Crop, pixels: Mask) -> Variables | None:
        """Return the scales and biases that make the network predict a mask; None where the mode has none.

        Parameters
        ----------
        plane : Plane
            On which it is known.
        box : Crop
            Bounding box of the mask.
        pixels : ndarray of bool, shape of the box
            The mask.
        """
        if not self._predictor.modulates:
            return None
        looks = [look.unmirrored for look in self._looks(plane, box, pixels)]
        wanted = Prior(box, pixels.astype(np.float32)).seen(self._crop(plane, box, pixels), looks[0].size)
        start = torch.zeros(2 * looks[0].x.shape[1], device=looks[0].x.device)
        distance = partial(self._distance, looks, torch.from_numpy(wanted).to(start.device))
        minimum = minimise(distance, start, evaluations=_EVALUATIONS, every=1, pause=lambda: stop_if(self._cancelled))
        if not math.isfinite(float(minimum.value)):
            raise PredictionError("the network's output was not a number; choose another model or device")
        variables: Variables = minimum.x.cpu().numpy()
        return variables

    def find(
        self, plane: Plane, box: Crop, pixels: Mask, variables: Variables | None, threshold: float = 0.5
    ) -> Sighting:
        """Return what is seen of an object on a plane, given its mask on the plane before.

        Parameters
        ----------
        plane : Plane
            Where to look.
        box : Crop
            Bounding box of the mask before.
        pixels : ndarray of bool, shape of the box
            The mask before.
        variables : ndarray of float32 or None
            From `learn`.
        threshold : float, optional
            Probability above which a pixel belongs to the object.
        """
        crop = self._crop(plane, box, pixels)
        before = Prior(box, pixels.astype(np.float32)).seen(crop, crop.shape) > _POSSIBLE
        level = _logit(np.float32(threshold))
        logits = []
        for look in self._looks(plane, box, pixels):
            stop_if(self._cancelled)
            probability = self._predictor.decode(look, variables)
            logits.append(_logit(Prediction(plane.shape, crop, probability, (), State()).crop_probability))
        alone, together = logits[0], np.mean(logits, axis=0)
        mask = _touching(together - _farness(before) > level, before)
        return Sighting(crop, mask, _sharpness(together) * _iou(alone > level, together > level))

    def _crop(self, plane: Plane, box: Crop, pixels: Mask) -> Crop:
        """Return the part of a plane to look at."""
        zoom: Zoom | None = self._predictor.settings.zoom
        return zoom.propose(box, _click(box, pixels), plane.shape) if zoom else Crop.whole(plane.shape)

    def _looks(self, plane: Plane, box: Crop, pixels: Mask) -> list[Features]:
        """Return the features of both looks."""
        crop, clicks = self._crop(plane, box, pixels), _click(box, pixels)
        faint = Prior(box, np.float32(FAINT) * pixels)
        looks = []
        for prior in (None, faint):
            stop_if(self._cancelled)
            looks.append(self._predictor.features(plane, crop, clicks, prior))
        return looks

    def _distance(self, looks: list[Features], wanted: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return one less the soft IoU of what is predicted and what is wanted, plus the price of the variables."""
        values = values.detach().requires_grad_()
        with torch.enable_grad():
            scale, bias = values.chunk(2)
            value = regularisation(scale, bias)
            for look in looks:
                probability = torch.sigmoid(self._predictor.logits(look, scale, bias)[0, 0])
                overlap = (probability * wanted).sum()
                union = probability.sum() + wanted.sum() - overlap
                value = value + (1 - overlap / union.clamp_min(1)) / len(looks)
            (gradient,) = torch.autograd.grad(value, values)
        nothing = torch.zeros((), dtype=torch.bool, device=values.device)
        return value.detach(), gradient, nothing, nothing


def _click(box: Crop, pixels: Mask) -> list[Click]:
    """Return a click in the middle of a mask."""
    row, column = middle(pixels)
    return [Click(row + box.row_min, column + box.column_min)]


def _farness(before: Mask) -> npt.NDArray[np.float64]:
    """Return what a pixel's logit has to exceed for its distance from the mask before: 0 on it, 1 a step from it."""
    step = _STEP * math.sqrt(max(1, int(np.count_nonzero(before))))
    farness: npt.NDArray[np.float64] = (ndimage.distance_transform_edt(~before) / step) ** 2
    return farness


def _touching(mask: Mask, before: Mask) -> Mask:
    """Return the connected parts of a mask that overlap the one before."""
    parts, _ = ndimage.label(mask)
    kept: Mask = np.isin(parts, np.setdiff1d(parts[before], [0]))
    return kept


def _sharpness(logits: npt.NDArray[np.float32]) -> float:
    """Return pixels that surely belong to the object over those that possibly do."""
    sure, possible = (int(np.count_nonzero(logits > _logit(level))) for level in (_SURE, _POSSIBLE))
    return sure / max(1, possible)


def _logit(probability: npt.ArrayLike) -> npt.NDArray[np.float32]:
    kept = np.clip(probability, _LEAST, 1 - _LEAST)
    logit: npt.NDArray[np.float32] = np.log(kept / (1 - kept))
    return logit


def _iou(a: Mask, b: Mask) -> float:
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 0.0
