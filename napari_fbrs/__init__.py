"""Interactive segmentation by clicks: f-BRS on cached features, for napari and for scripts."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_fbrs import _threads  # noqa: F401  before torch
from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.errors import CancelledError, FBRSError, InputError, ModelFileError, PredictionError

if TYPE_CHECKING:
    from napari_fbrs.annotation.replaying import replay
    from napari_fbrs.annotation.segmenting import segment
    from napari_fbrs.annotation.session import Session
    from napari_fbrs.batching.running import batch
    from napari_fbrs.inference.prediction import Prediction
    from napari_fbrs.inference.predictor import Predictor
    from napari_fbrs.inference.settings import PredictorSettings
    from napari_fbrs.models.zoo import load_model
    from napari_fbrs.strokes import Stroke

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
    "Stroke",
    "batch",
    "load_model",
    "replay",
    "segment",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch, which takes seconds, only when it is asked for."""
    rooms = {
        "Prediction": "napari_fbrs.inference.prediction",
        "Predictor": "napari_fbrs.inference.predictor",
        "PredictorSettings": "napari_fbrs.inference.settings",
        "Session": "napari_fbrs.annotation.session",
        "Stroke": "napari_fbrs.strokes",
        "batch": "napari_fbrs.batching.running",
        "load_model": "napari_fbrs.models.zoo",
        "replay": "napari_fbrs.annotation.replaying",
        "segment": "napari_fbrs.annotation.segmenting",
    }
    if name not in rooms:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(rooms[name]), name)


def __dir__() -> list[str]:
    return __all__
