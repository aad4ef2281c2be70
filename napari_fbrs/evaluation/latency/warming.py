"""What is gained by work done ahead of the first click, each time in a process that has computed nothing yet."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import numpy.typing as npt
import torch

from napari_fbrs.clicks import Click
from napari_fbrs.errors import CancelledError
from napari_fbrs.evaluation.latency.timing import CLOCKS
from napari_fbrs.inference.plane import Plane
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.models.zoo import load_model

COLD, WARM, MEANWHILE = "nothing done ahead", "after the warm-up", "made during the warm-up"
_HEAD_START: Mapping[str, float] = MappingProxyType({COLD: 0.0, MEANWHILE: 0.05})  # seconds of warm-up before the click


def measure_warm_up(
    model: tuple[str, str], pixels: npt.NDArray[Any], clicks: Sequence[Click], *, rounds: int, clock: str, threads: int
) -> dict[str, list[float]]:
    """Return the seconds from a first click to its mask, by what was done before it.

    Parameters
    ----------
    model : tuple of str
        Name and device, for `load_model`.
    pixels : ndarray, shape (H, W) or (H, W, 3)
        What is clicked on.
    clicks : sequence of Click
        The first round.
    rounds : int
        How often; a process each time.
    clock : str
        A key of `CLOCKS`.
    threads : int
        Of torch.
    """
    seconds: dict[str, list[float]] = {how: [] for how in (COLD, WARM, MEANWHILE)}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for _ in range(rounds):
            for how, times in seconds.items():
                times.append(pool.apply(first_click, (how, model, pixels, tuple(clicks), clock, threads)))
    return seconds


def first_click(
    how: str, model: tuple[str, str], pixels: npt.NDArray[Any], clicks: Sequence[Click], clock: str, threads: int
) -> float:
    """Return the seconds of a first click in this process; see `measure_warm_up`."""
    torch.set_num_threads(threads)
    predictor = Predictor(load_model(*model))
    plane = predictor.prepare(pixels)
    called_off = threading.Event()
    ahead = threading.Thread(target=_warm_up, args=(predictor, plane, called_off))
    if how != COLD:
        ahead.start()
        ahead.join(_HEAD_START.get(how))
    start = CLOCKS[clock]()
    called_off.set()  # as in the window: a click calls the warm-up off, and comes after it
    if how != COLD:
        ahead.join()
    predictor.predict(plane, clicks).mask()
    return CLOCKS[clock]() - start


def _warm_up(predictor: Predictor, plane: Plane, called_off: threading.Event) -> None:
    with suppress(CancelledError):
        predictor.warm_up(plane, cancelled=called_off.is_set)
