"""What a mask costs in each mode, on this machine and with a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import numpy.typing as npt

from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import MODES
from napari_fbrs.models.checkpoint import Model


def measure_costs(
    model: Model, told: Callable[[str, float], None], cancelled: Callable[[], bool] = lambda: False
) -> None:
    """Predict the same clicks on a picture of two discs in every mode, and tell what a mask takes.

    Parameters
    ----------
    model : Model
        The picture has the size that it brings images to.
    told : callable
        Given each mode and the median time of its masks from the second click on, in milliseconds.
    cancelled : callable, optional
        Asked in between; when it answers True, `CancelledError` is raised.

    Raises
    ------
    CancelledError
        If `cancelled` said so.
    """
    image, clicks = _two_discs(model.settings.target_size)
    for mode in MODES:
        predictor = Predictor(model, mode)
        plane, state, seconds = predictor.prepare(image), None, []
        for count in range(1, len(clicks) + 1):
            start = time.perf_counter()
            state = predictor.predict(plane, clicks[:count], state, cancelled=cancelled).state
            seconds.append(time.perf_counter() - start)
        told(mode, 1000 * median(seconds[1:]))


def _two_discs(side: int) -> tuple[npt.NDArray[np.uint8], ClickList]:
    """Return a picture of two discs that look alike, and clicks for one of them alone."""
    rows, columns = np.indices((side, side)) / side
    image = np.random.default_rng(0).integers(20, 60, (side, side), dtype=np.uint8)
    for column in (0.3, 0.7):
        image[np.hypot(rows - 0.5, columns - column) < 0.18] += 120
    places = ((0.5, 0.3, True), (0.5, 0.7, False), (0.4, 0.3, True), (0.3, 0.5, False))
    return image, ClickList.one_by_one(Click(int(side * r), int(side * c), sign) for r, c, sign in places)
