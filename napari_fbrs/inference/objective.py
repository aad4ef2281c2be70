"""What BRS minimises: disagreement with the clicks, and distance from the untouched network (METHOD section 5)."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_fbrs.clicks import Click
from napari_fbrs.inference.contradictions import STROKE_SLACK

THRESHOLD = 0.49  # a click is met when its pixel's probability is on its side of this
_REGULARISATION = 1e-3
_BIAS_WEIGHT = 10.0
_EPSILON = 1e-5
_RADIUS = 1
_STROKE_WEIGHT = 36  # pixels, or a click made after a long stroke would count for nothing
_TILE = 8  # pixels; the sides of what a stroke is cut into
_SQUARE = np.array(
    [(0, row, column) for row in range(-_RADIUS, _RADIUS + 1) for column in range(-_RADIUS, _RADIUS + 1)]
)
_MASKS = ("positive", "negative", "_positive_pixels", "_negative_pixels", "_positive_strokes", "_negative_strokes")


class ClickMasks:
    """The pixels around positive and negative clicks, for an image and its mirror image.

    `positive` and `negative` say how much each pixel weighs in the loss: 1 around clicks; those of a stroke weigh no
    more than four clicks together.

    Parameters
    ----------
    clicks : sequence of Click
        All clicks, in pixels of the network's input; those outside it constrain nothing.
    size : tuple of int
        Rows and columns of the network's input.
    flip : bool
        Whether the batch holds a mirrored half.
    device : torch.device
        Where the masks are to be.
    strokes : sequence of (ndarray of int, bool), optional
        Pixels in the network's input, shape (N, 2), and sign of each stroke.
    """

    def __init__(
        self,
        clicks: Sequence[Click],
        size: tuple[int, int],
        *,
        flip: bool,
        device: torch.device,
        strokes: Sequence[tuple[npt.NDArray[np.int64], bool]] = (),
    ) -> None:
        masks = np.zeros((2, 2 if flip else 1, *size), dtype=np.float32)
        pixels, drawn = np.zeros_like(masks), np.zeros_like(masks)
        self.patches: list[npt.NDArray[np.int64]] = []  # half, row, column of pixels close together, shape (N, 3)
        for click in clicks:
            if not (0 <= click.row < size[0] and 0 <= click.column < size[1]):
                continue  # outside the crop, where the probability is 0
            for half, column in enumerate([click.column, size[1] - 1 - click.column][: 1 + flip]):
                # Less than a pixel before the end may be rounded to it.
                centre = half, min(round(click.row), size[0] - 1), min(max(round(column), 0), size[1] - 1)
                sign = 0 if click.positive else 1
                square = _square(centre, size)
                masks[sign, *square.T] = 1
                pixels[sign, *centre] = 1
                self.patches.append(square)
        for covered, positive in strokes:
            sign, weight = 0 if positive else 1, min(1.0, _STROKE_WEIGHT / max(1, len(covered)))
            for half, part in enumerate([covered, (0, size[1] - 1) + covered * (1, -1)][: 1 + flip]):
                where = (sign, half, *part.T)
                masks[where] = masks[where].clip(min=weight)
                drawn[where] = 1
                self.patches += _tiles(np.insert(part, 0, half, axis=1))
        self.positive, self.negative = torch.from_numpy(masks[:, :, None]).to(device)
        self._positive_pixels, self._negative_pixels = torch.from_numpy(pixels[:, :, None]).to(device)
        self._positive_strokes, self._negative_strokes = torch.from_numpy(drawn[:, :, None]).to(device)

    def at(self, pixels: npt.NDArray[np.int64]) -> ClickMasks:
        """Return the same for some pixels only (half, row and column, shape (N, 3)): masks of shape (N,)."""
        chosen = copy.copy(self)
        half, row, column = torch.from_numpy(pixels).to(self.positive.device).T
        for name in _MASKS:
            setattr(chosen, name, getattr(self, name)[half, 0, row, column])
        return chosen

    @property
    def weights(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """What ``(1 - p)^2`` and ``p^2`` of each pixel weigh in the loss."""
        masks = (mask.cpu().numpy().astype(np.float64) for mask in (self.positive, self.negative))
        positive, negative = (mask / (mask.sum() + _EPSILON) for mask in masks)
        return positive, negative

    def loss(self, probability: Tensor) -> Tensor:
        """Return the disagreement of probabilities, shape (B, 1, rows, columns), with the clicks: a scalar."""
        off = ((1 - probability).square() * self.positive).sum() / (self.positive.sum() + _EPSILON)
        on = (probability.square() * self.negative).sum() / (self.negative.sum() + _EPSILON)
        loss: Tensor = off + on
        return loss

    def met(self, probability: Tensor) -> bool:
        """Whether every pixel of every click's square, and of every stroke, is on its side of the threshold."""
        return bool(self.judged(probability)[0])

    def pixels_met(self, probability: Tensor) -> bool:
        """Whether every pixel clicked, and most of those drawn on, are on their side of the threshold."""
        return bool(self.judged(probability)[1])

    def judged(self, probability: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `met` and `pixels_met` say, without waiting for the device."""
        pixels = _on_their_sides(probability, self._positive_pixels, self._negative_pixels)
        strokes = _mostly((1 - probability) >= 1 - THRESHOLD, self._positive_strokes) & _mostly(
            probability >= THRESHOLD, self._negative_strokes
        )
        return _on_their_sides(probability, self.positive > 0, self.negative > 0), pixels & strokes

    def wrong(self, probability: Tensor) -> Tensor:
        """Return how many of the pixels clicked are on the wrong side: a scalar; a mirrored half counts as well."""
        off = ((1 - probability) >= 1 - THRESHOLD) & (self._positive_pixels > 0)
        on = (probability >= THRESHOLD) & (self._negative_pixels > 0)
        count: Tensor = off.sum() + on.sum()
        return count


def _square(centre: tuple[int, int, int], size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Return half, row and column, shape (N, 3), of the pixels around a click's; fewer at the border."""
    square = _SQUARE + np.array(centre)
    inside = np.logical_and(square[:, 1:] >= 0, square[:, 1:] < size).all(axis=1)
    chosen: npt.NDArray[np.int64] = square[inside]
    return chosen


def _on_their_sides(probability: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    off = ((1 - probability) * positive).amax()
    on = (probability * negative).amax()
    return (off < 1 - THRESHOLD) & (on < THRESHOLD)


def _mostly(wrong: Tensor, drawn: Tensor) -> Tensor:
    return (wrong * drawn).sum() <= STROKE_SLACK * drawn.sum()


def _tiles(places: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Return places (half, row, column) of one half in groups that lie close together."""
    _, tile = np.unique(places // _TILE, axis=0, return_inverse=True)
    order = np.argsort(tile.ravel(), kind="stable")
    ends = np.flatnonzero(np.diff(tile.ravel()[order])) + 1
    return np.split(places[order], ends) if len(places) else []


def prices(channels: int) -> npt.NDArray[np.float64]:
    """Return what the square of each scale, then of each bias, costs in `regularisation`."""
    return np.repeat([_REGULARISATION, _REGULARISATION * _BIAS_WEIGHT], channels)


def regularisation(scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the price of leaving the untouched network, ``1e-3 * (sum(s^2) + 10 * sum(b^2))``: a scalar.

    The bias of an input is priced like a scale, alone.
    """
    square = scale.square().sum()
    if bias is not None:
        square = square + _BIAS_WEIGHT * bias.square().sum()
    price: Tensor = _REGULARISATION * square
    return price
