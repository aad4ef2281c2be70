"""What a mask contradicts of the clicks it was made from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_fbrs.clicks import Click
from napari_fbrs.inference.plane import Crop

STROKE_SLACK = 0.1  # of a stroke's pixels: hands are not as exact as outlines


def contradicted(
    clicks: Sequence[Click], mask: npt.NDArray[np.bool_], crop: Crop, drawn: float = STROKE_SLACK
) -> tuple[int, ...]:
    """Return the positions of the clicks that a mask contradicts.

    Parameters
    ----------
    clicks : sequence of Click
        In pixels of the plane.
    mask : ndarray of bool, shape of `crop`
        Which pixels of the crop belong to the object; those outside it do not.
    crop : Crop
        Where the mask lies.
    drawn : float, optional
        Share of a stroke's pixels that may be wrong.
    """
    return tuple(i for i, click in enumerate(clicks) if _wrong_share(click, mask, crop) > drawn)


def _wrong_share(click: Click, mask: npt.NDArray[np.bool_], crop: Crop) -> float:
    pixels = click.pixels - (crop.row_min, crop.column_min)
    pixels = pixels[((pixels >= 0) & (pixels < crop.shape)).all(axis=1)]
    share = np.count_nonzero(mask[tuple(pixels.T)]) / len(click.pixels)
    return 1 - share if click.positive else share
