"""Stand-ins whose answers are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.errors import CancelledError
from napari_fbrs.inference.cache import ByteCache
from napari_fbrs.inference.plane import Crop, Plane, make_plane
from napari_fbrs.inference.prediction import Prediction, State
from napari_fbrs.inference.settings import Method, PredictorSettings
from napari_fbrs.inference.zoom import bounding_box
from napari_fbrs.models.checkpoint import Model, ModelSettings
from napari_fbrs.models.network import Cut, Features, InteractiveNetwork, modulate

CPU = torch.device("cpu")


class BrightNetwork(InteractiveNetwork):
    """Finds what is bright, or what is near positive and far from negative clicks; counts its passes.

    The features are brightness and the two click maps; the logit is a weighted sum of them after scale and bias.
    With `guided` it asks for the mask so far, records what it is shown, and adds `trust` times it to the logit.
    Without `nearness` a click changes nothing but by the optimisation: often the mask is the same after it, bit by bit.
    """

    def __init__(
        self,
        brightness: float = 12.0,
        nearness: float = 0.0,
        radius: float = 40.0,
        *,
        guided: bool = False,
        trust: float = 0.0,
    ) -> None:
        super().__init__(norm_radius=radius)
        self.guided = guided
        self.trust = trust
        self.priors: list[Tensor | None] = []
        self.weights = torch.tensor([brightness, -nearness, nearness])
        self.passes = 0
        self.decodes = 0
        self.points: list[Tensor] = []

    @property
    def takes_prior(self) -> bool:
        return self.guided

    def channels(self, cut: Cut) -> int:
        del cut  # the same everywhere
        return 3

    def features(self, mixed: Tensor, guide: Tensor | None, cut: Cut) -> Features:
        raise NotImplementedError("nothing is mixed here")

    def head_logits(self, features: Features, scale: Tensor | None, bias: Tensor | None) -> Tensor:
        raise NotImplementedError("there is no head here")

    def embed(self, image: Tensor, points: Tensor, cut: Cut = Cut.B, prior: Tensor | None = None) -> Features:
        self.passes += 1
        self.priors.append(prior)
        self.points.append(points.clone())
        size = (image.shape[2], image.shape[3])
        aside = (self.trust * prior,) if self.trust and prior is not None else ()
        return Features(torch.cat((image[:, :1], self.dist_maps(points, size)), dim=1), aside, cut, size)

    def logits(self, features: Features, scale: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        self.decodes += 1
        if features.cut.is_input:
            moved = features.x if bias is None else features.x + bias
        else:
            moved = modulate(features.x, scale, bias)
        weighted = moved * self.weights.reshape(1, -1, 1, 1)
        return weighted.sum(dim=1, keepdim=True) - 0.5 * self.weights[0] + sum(features.aside)


class NaNNetwork(BrightNetwork):
    """A network whose output is not a number."""

    def logits(self, features: Features, scale: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        return super().logits(features, scale, bias) * torch.nan


def model_of(network: InteractiveNetwork, settings: ModelSettings | None = None) -> Model:
    """Return a model of a stand-in; its fingerprint tells it from all others."""
    return Model("stand-in", network.eval(), settings or ModelSettings(64, 16), f"stand-in {id(network)}", CPU)


class DiscPredictor:
    """Sees cones around positive clicks, cut by discs around negative ones; the plane's pixels play no part.

    Every round makes the cones wider, so that a mask tells how many predictions led to it; counts its calls.
    """

    negative_radius = 2.5

    def __init__(self, radius: float = 4.0, growth: float = 0.25) -> None:
        self.radius, self.growth = radius, growth
        self.cache = ByteCache(0)
        self.calls: list[tuple[Click, ...]] = []

    model = SimpleNamespace(name="discs", fingerprint="d15c" * 16, device=CPU)
    method = Method("discs", "d15c" * 16, "NoBRS", PredictorSettings())

    def prepare(self, image: npt.ArrayLike, limits: tuple[float, float] | None = None) -> Plane:
        return make_plane(image, limits)

    def predict(
        self,
        plane: Plane,
        clicks: Sequence[Click],
        state: State | None = None,
        *,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Prediction:
        if cancelled():
            raise CancelledError("called off")
        self.calls.append(tuple(clicks))
        before = 0 if state is None or state.variables is None else int(state.variables[0])
        probability = self._probability(plane.shape, clicks, self.radius + self.growth * before)
        crop = Crop.whole(plane.shape)
        after = State(None, np.array([before + 1], np.float32), bounding_box(probability > 0.5, crop))
        return Prediction(plane.shape, crop, probability, tuple(clicks), after)

    def replayed(self, plane: Plane, clicks: ClickList, threshold: float) -> npt.NDArray[np.bool_]:
        """Return the mask that clicks must give, worked out without a session; no call is counted."""
        if not clicks:
            return np.zeros(plane.shape, dtype=bool)
        radius = self.radius + self.growth * (len(clicks.rounds) - 1)
        return self._probability(plane.shape, clicks.flat, radius) > threshold

    def _probability(self, shape: tuple[int, int], clicks: Sequence[Click], radius: float) -> npt.NDArray[np.float32]:
        probability = np.zeros(shape, dtype=np.float32)
        for click in clicks:
            if click.positive:  # 0.5 at the radius
                probability = np.maximum(probability, 1 - 0.5 * _distance(shape, click) / radius)
        for click in clicks:
            if not click.positive:
                probability[_distance(shape, click) <= self.negative_radius] = 0
        return probability.astype(np.float32)


def _distance(shape: tuple[int, int], click: Click) -> npt.NDArray[np.float64]:
    rows, columns = np.indices(shape)
    return np.hypot(rows - click.row, columns - click.column)
