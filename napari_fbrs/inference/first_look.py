"""How large to look at the first click, when nothing is known of the object's size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_fbrs.clicks import Click
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.zoom import Zoom


def candidate_crops(shape: tuple[int, int], clicks: Sequence[Click], zoom: Zoom) -> list[Crop]:
    return [Crop.whole(shape)]


def choose_look(crops, looks, shape, clicks, zoom) -> Crop:
    return crops[-1]
