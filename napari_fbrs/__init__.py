"""Interactive segmentation by clicks: f-BRS on cached features, for napari and for scripts."""

from napari_fbrs import _threads  # noqa: F401  before torch

# isort: split
from napari_fbrs.annotation.session import Session
from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.errors import CancelledError, FBRSError, InputError, ModelFileError, PredictionError
from napari_fbrs.inference.predictor import Prediction, Predictor, PredictorSettings
from napari_fbrs.models.zoo import load_model

__all__ = [
    "CancelledError",
    "Click",
    "ClickList",
    "FBRSError",
    "InputError",
    "ModelFileError",
    "Prediction",
    "PredictionError",
    "Predictor",
    "PredictorSettings",
    "Session",
    "load_model",
]
