"""The optimisation inside f-BRS: scales and biases that make the network agree with the clicks."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import optimize
from torch import Tensor

from napari_fbrs.errors import PredictionError
from napari_fbrs.inference.gauss_newton import Clicked, Look, approach
from napari_fbrs.inference.interruption import stop_if
from napari_fbrs.inference.lbfgs import minimise
from napari_fbrs.inference.neighbourhoods import Neighbourhoods
from napari_fbrs.inference.objective import THRESHOLD, ClickMasks, prices, regularisation
from napari_fbrs.models.network import Features, InteractiveNetwork, resize

_UNCHANGED_IOU = 0.99
_UNCHANGED = 0.02  # of probabilities at the clicks
_EVALUATIONS = 20
_UNASKED = 4  # evaluations of a GPU between two questions of the host
_NO_NUMBER = "the network's output was not a number; choose another model or device"

Variables = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of the objective.

    Parameters
    ----------
    loss : float
        Value of the objective.
    gradient_norm : float
        L2 norm of the gradient handed to the optimiser; 0 where it was told to stop, NaN where it asked for none.
    """

    loss: float
    gradient_norm: float


@dataclass(frozen=True)
class Optimum:
    """Where an optimisation ended.

    Parameters
    ----------
    logits : Tensor, shape (B, 1, rows, columns)
        Of the best evaluation; see `Objective`.
    variables : ndarray of float32, one axis
        Scales, then biases, of that evaluation; of an input cut, the bias of every pixel.
    evaluations : tuple of Evaluation
        In order.
    """

    logits: Tensor
    variables: Variables
    evaluations: tuple[Evaluation, ...]


class Objective:
    """The function that L-BFGS-B minimises, remembering the best it has seen.

    Parameters
    ----------
    network : InteractiveNetwork
        Decodes the features.
    features : Features
        Of the image and its clicks.
    masks : ClickMasks
        What the prediction is to agree with.
    cancelled : callable, optional
        Asked at every evaluation; when it answers True the optimisation ends with `CancelledError`.
    insist : bool, optional
        Whether to go on while a pixel clicked is on the wrong side, although the mask hardly changes any more.
    local : bool, optional
        Whether to decode only what the clicks depend on, where the network can; it is then good enough once the pixels
        clicked are right, or (unless it insists) hardly change, whatever the mask does.

    Attributes
    ----------
    decisive : bool
        Whether what is good enough is the answer, even if what came before it had a lower loss; and where nothing is,
        what has the fewest of the pixels clicked wrong.
    settled : bool
        Whether such an answer has been found.
    """

    def __init__(
        self,
        network: InteractiveNetwork,
        features: Features,
        masks: ClickMasks,
        cancelled: Callable[[], bool] = lambda: False,
        *,
        insist: bool = False,
        local: bool = False,
    ) -> None:
        self._network, self._features, self._cancelled, self._insist = network, features, cancelled, insist
        can = local and masks.patches and network.reach(features.cut) is not None
        self._near = Neighbourhoods(network, features, masks) if can else None
        self._masks = self._near.masks if self._near else masks
        self._last: Tensor | None = None
        self._windows: Tensor | None = None  # logits of the last evaluation, and of the best
        self._best_windows: Tensor | None = None
        self.decisive = insist and self._near is not None
        self.settled = False
        self.best: tuple[float, Variables] | None = None
        self._least = (math.inf, math.inf)  # pixels wrong and loss, of the best
        self.evaluations: list[Evaluation] = []

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._features.x.device

    def zeros(self) -> Variables:
        """Return the variables that leave the network untouched."""
        x, cut = self._features.x, self._features.cut
        return np.zeros(x[0].numel() if cut.is_input else 2 * x.shape[1], dtype=np.float32)

    def logits(self, values: Tensor) -> Tensor:
        """Return the logits of the whole map, shape (B, 1, rows, columns), with these variables."""
        return self._network.decode(self._features, *self._modulation(values))

    def final_logits(self, values: Tensor) -> Tensor:
        """Return the logits of the whole map; at the clicks they are those that were optimised, to the last bits."""
        if self._near is None or self._features.x.dtype != torch.bfloat16:
            return self.logits(values)
        scale, bias = values.chunk(2)
        logits = self._network.logits(self._features, scale, bias)
        windows = self._near.windows_logits(scale, bias) if self._best_windows is None else self._best_windows
        self._near.put(windows, logits)
        return resize(logits, self._features.size)

    def _modulation(self, values: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return variables as scale and bias."""
        x = self._features.x
        if not self._features.cut.is_input:
            scale, bias = values.chunk(2)
            return scale, bias
        bias = values.reshape(1, *x.shape[1:])
        return None, torch.cat((bias, bias.flip(3))) if len(x) == 2 else bias

    def __call__(self, x: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        """Return loss and gradient at `x`, scales then biases (or the input's bias); zeros where it is good enough."""
        self.stop_if_cancelled()
        values = torch.from_numpy(x.astype(np.float32)).to(self.device).requires_grad_()
        loss, probability = self._loss(values)
        value, enough = float(loss.detach()), bool(self._good_enough(probability))
        self._learn(x, value, enough, int(self._wrong(probability)))
        if enough:
            gradient = np.zeros_like(x)
        else:
            (derivative,) = torch.autograd.grad(loss, values)
            gradient = derivative.cpu().numpy().astype(np.float64)
        self.evaluations.append(Evaluation(value, float(np.linalg.norm(gradient))))
        return value, gradient

    def _wrong(self, probability: Tensor) -> Tensor:
        """Return how many pixels clicked are on the wrong side, where that decides; else 0."""
        return self._masks.wrong(probability) if self.decisive else probability.new_zeros(())

    def _learn(self, x: npt.NDArray[np.float64], value: float, enough: bool, wrong: int) -> None:
        """Take note of an evaluation."""
        self.settled = self.decisive and enough
        if math.isfinite(value) and (self.settled or (wrong, value) < self._least):
            self._least, self.best = (wrong, value), (value, x.astype(np.float32))
            self._best_windows = self._windows

    @property
    def linear(self) -> bool:
        """Whether `look` can be asked."""
        return self.decisive and self._near is not None and self._near.linear

    @property
    def clicked(self) -> Clicked:
        """What the clicks ask of the pixels that decide."""
        assert self._near is not None
        positive, negative = self._masks.weights
        right = lambda p: self._masks.pixels_met(torch.from_numpy(p.astype(np.float32)).to(self.device))  # noqa: E731
        return Clicked(self._near.window, positive, negative, prices(self._features.x.shape[1]), right)

    @torch.no_grad()
    def look(self, x: npt.NDArray[np.float64]) -> Look:
        """Return the loss at `x`, and how the logits at the clicks follow the variables there."""
        assert self._near is not None
        self.stop_if_cancelled()
        values = torch.from_numpy(x.astype(np.float32)).to(self.device)
        scale, bias = values.chunk(2)
        self._windows, slopes = self._near.slopes(scale, bias)
        logits = self._near.logits(self._windows)
        probability = torch.sigmoid(logits)
        loss = float(self._masks.loss(probability) + regularisation(scale, bias))
        enough, wrong = bool(self._good_enough(probability)), int(self._wrong(probability))
        self._learn(x, loss, enough, wrong)
        self.evaluations.append(Evaluation(loss, 0.0 if enough else math.nan))
        return Look(loss, enough, wrong, slopes, logits.cpu().numpy().astype(np.float64))

    def tensors(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return loss, gradient, whether it is good enough and how many are wrong, without waiting for the device."""
        values = values.detach().requires_grad_()
        loss, probability = self._loss(values)
        enough = self._good_enough(probability)
        (gradient,) = torch.autograd.grad(loss, values)
        return loss.detach(), gradient, enough, self._wrong(probability)

    def stop_if_cancelled(self) -> None:
        """Raise `CancelledError` where somebody has said so."""
        stop_if(self._cancelled)

    @torch.enable_grad()
    def _loss(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, and the probabilities it was computed from."""
        if self._near:
            windows = self._near.windows_logits(*values.chunk(2))
            logits, self._windows = self._near.logits(windows), windows.detach()
        else:
            logits = self.logits(values)
        probability = torch.sigmoid(logits)
        price = regularisation(values) if self._features.cut.is_input else regularisation(*values.chunk(2))
        return self._masks.loss(probability) + price, probability.detach()

    def _good_enough(self, probability: Tensor) -> Tensor:
        met, right = self._masks.judged(probability)
        if self._near:
            # Once the pixels clicked are right, a wrong one beside them is not worth what a step may do elsewhere.
            met = met | right
        previous, self._last = self._last, probability
        if previous is None:
            return met
        if self._near:
            unchanged = (probability - previous).abs().max() < _UNCHANGED
        else:
            unchanged = _iou(probability > THRESHOLD, previous > THRESHOLD) > _UNCHANGED_IOU
        return met | (unchanged & right if self._insist else unchanged)


def optimise(objective: Objective, start: Variables) -> Optimum:
    """Minimise an objective: on a GPU with L-BFGS on the device, else with SciPy's and the published settings.

    Where one can tell how the logits at the clicks follow the variables, a few steps of Gauss-Newton take its place.

    Parameters
    ----------
    objective : Objective
        Fresh.
    start : ndarray of float32
        Where to start: zeros, or the optimum of the click before.
    """
    if objective.device.type == "cuda":
        return optimise_on_device(objective, start)
    if not objective.linear:
        return optimise_with_scipy(objective, start)
    approach(objective.look, objective.clicked, start.astype(np.float64))
    return _optimum(objective)


def optimise_with_scipy(objective: Objective, start: npt.NDArray[np.floating[Any]]) -> Optimum:
    """Minimise an objective with SciPy's L-BFGS-B, with the published settings; see `optimise`."""
    with suppress(_Settled):
        optimize.fmin_l_bfgs_b(
            _until_settled(objective),
            start.astype(np.float64),
            m=20,
            factr=0,
            pgtol=1e-8,
            maxfun=_EVALUATIONS,
            maxiter=40,
        )
    return _optimum(objective)


def _optimum(objective: Objective) -> Optimum:
    """Return the best of all that was evaluated."""
    if objective.best is None:
        raise PredictionError(_NO_NUMBER)
    _, variables = objective.best
    with torch.no_grad():
        logits = objective.final_logits(torch.from_numpy(variables).to(objective.device))
    return Optimum(logits, variables, tuple(objective.evaluations))


class _Settled(Exception):  # noqa: N818 - not an error
    """The answer has been found; a gradient of zeros alone would not end a line search."""


def _until_settled(objective: Objective) -> Callable[[npt.NDArray[np.float64]], tuple[float, npt.NDArray[np.float64]]]:
    def evaluate(x: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        value, gradient = objective(x)
        if objective.settled:
            raise _Settled
        return value, gradient

    return evaluate


def optimise_on_device(objective: Objective, start: Variables) -> Optimum:
    """Minimise an objective where it is computed, without a round trip to the host an evaluation; see `optimise`."""
    minimum = minimise(
        objective.tensors,
        torch.from_numpy(start).to(objective.device),
        evaluations=_EVALUATIONS,
        every=_UNASKED if objective.device.type == "cuda" else 1,
        decisive=objective.decisive,
        pause=objective.stop_if_cancelled,
    )
    with torch.no_grad():
        logits = objective.final_logits(minimum.x)
    if not math.isfinite(float(minimum.value)):
        raise PredictionError(_NO_NUMBER)
    told = torch.stack((minimum.values, minimum.norms), dim=1).tolist()
    return Optimum(logits, minimum.x.cpu().numpy(), tuple(Evaluation(value, norm) for value, norm in told))


def _iou(a: Tensor, b: Tensor) -> Tensor:
    union = (a | b).sum()
    return torch.where(union > 0, (a & b).sum() / union.clamp_min(1), 1.0)
