"""The predictor as it is measured, and how it is named in tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from napari_fbrs.clicks import Click
from napari_fbrs.evaluation.simulation import THRESHOLD, Attempt, Mask
from napari_fbrs.inference.plane import Plane
from napari_fbrs.inference.prediction import Prediction, State
from napari_fbrs.inference.settings import PredictorSettings
from napari_fbrs.inference.zoom import Zoom


class Predicts(Protocol):
    """What `Predictor` offers here."""

    def predict(
        self, plane: Plane, clicks: Sequence[Click], state: State | None = None, *, cancelled: Callable[[], bool] = ...
    ) -> Prediction:
        """Return the prediction for some clicks; see `Predictor`."""


class Predicting:
    """A predictor, as a subject.

    Parameters
    ----------
    predictor : Predictor
        Every prediction continues from the one before.
    threshold : float, optional
        Probability above which a pixel belongs to the mask.
    cancelled : callable, optional
        When it answers True, `CancelledError` is raised.
    """

    def __init__(
        self, predictor: Predicts, threshold: float = THRESHOLD, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        self._predictor, self._threshold, self._cancelled = predictor, threshold, cancelled

    def start(self, plane: Plane) -> Attempt:
        """Return what gives the mask of one object after each click."""
        state: State | None = None

        def attempt(clicks: Sequence[Click]) -> Mask:
            nonlocal state
            prediction = self._predictor.predict(plane, clicks, state, cancelled=self._cancelled)
            state = prediction.state
            return prediction.mask(self._threshold)

        return attempt


def published_settings(zoom: int = 400) -> PredictorSettings:
    """Return the settings of the published evaluation, whose crops are brought to `zoom` pixels."""
    return PredictorSettings(zoom=Zoom(target_size=zoom))
