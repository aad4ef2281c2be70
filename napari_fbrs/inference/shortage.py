"""When memory runs out in mid computation: what takes less of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import PredictorSettings

_LEAST_SIDE = 100  # pixels of the network's input, below which nothing would be made out
_SMALLER = "what it looks at is shown to the network at half the size, which may cost detail"
_ON_CPU = "masks are computed on the CPU"


def lighter_ones(predictor: Predictor) -> Iterator[tuple[Predictor, str]]:
    """Yield predictors in the place of one whose memory has run out, each for when the one before fails as well.

    Yields
    ------
    predictor : Predictor
        First of half the resolution on the same device, then as before on the CPU, then of half the resolution there.
    told : str
        What it does otherwise, for people.
    """
    model, mode, settings = predictor.model, predictor.mode, predictor.settings
    smaller = _smaller(settings)
    release(predictor)
    if smaller != settings:
        yield Predictor(model, mode, settings=smaller), _SMALLER
    if model.device.type == "cpu":
        return
    release(predictor)
    model = model.on(torch.device("cpu"))
    yield Predictor(model, mode, settings=settings), _ON_CPU
    if smaller != settings:
        yield Predictor(model, mode, settings=smaller), f"{_ON_CPU}, and {_SMALLER}"


def release(predictor: Predictor) -> None:
    """Let go of what a predictor keeps in case it is needed again."""
    predictor.cache.clear()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    if predictor.device.type == "mps":
        torch.mps.empty_cache()


def _smaller(settings: PredictorSettings) -> PredictorSettings:
    """Return settings with half the resolution, where there is enough of it."""
    zoom, size = settings.zoom, settings.input_size
    if zoom is not None:
        zoom = replace(zoom, target_size=_half(zoom.target_size), largest_size=None)
    return replace(settings, zoom=zoom, input_size=None if size is None else _half(size))


def _half(side: int) -> int:
    return max(side // 2, min(side, _LEAST_SIDE))
