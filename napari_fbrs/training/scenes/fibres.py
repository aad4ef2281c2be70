"""Fibres, filaments and rods: bent tubes that cross, the top one in sight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_fbrs.training.scenes.fields import Field, log_uniform, smooth_noise
from napari_fbrs.training.scenes.specimen import Labels, Specimen, objects

_Places = npt.NDArray[np.int32]

_STEP_ALONG, _STEP_ACROSS = 0.6, 0.5  # pixels: close enough for no pixel of a tube to be missed
_TIGHTEST = 0.4  # curvature times half width
_SHADOW = 1.25  # half widths from the axis at which a tube's shadow ends
_MOST = 120


@dataclass(frozen=True)
class _Style:
    """How tubes look, all in units of light but `period`, in widths."""

    bright: tuple[float, float]
    ground: float
    rim: float
    round_off: float
    shadow: float
    banding: float
    period: float


def fibres(shape: tuple[int, int], rng: np.random.Generator) -> Specimen:
    """Return tubes as long as the picture, or rods."""
    width = log_uniform(rng, 4, 0.22 * min(shape))
    rods = rng.random() < 0.35
    length = width * rng.uniform(2.5, 8) if rods else rng.uniform(0.5, 1.6) * max(shape)
    length = max(length, 12.0)
    coverage = log_uniform(rng, 0.12, 0.8)
    count = int(np.clip(coverage * shape[0] * shape[1] / (width * min(length, max(shape))), 2, _MOST))
    style = _style(rng)
    canvas = _Canvas(shape, style.ground)
    bent, heading, order = rng.uniform(0.05, 1.0), rng.uniform(0, 2 * np.pi), rng.choice([0.15, 3.0])
    for label in range(1, count + 1):
        own = width * float(np.exp(rng.normal(0, 0.25)))
        tube = _tube(shape, own, length * rng.uniform(0.6, 1.4), heading + order * rng.normal(), bent, rng)
        canvas.draw(tube, label, style, rng.uniform(*style.bright))
    grain = 1 + rng.uniform(0.02, 0.15) * smooth_noise(shape, max(width / rng.uniform(3, 10), 1.0), rng)
    light = np.clip(canvas.light * grain, 0, 1)
    contrast = 0.7 * max(style.bright[0] - style.ground, 0.5 * style.rim)
    return Specimen(light, objects(canvas.labels), contrast, width / 2)


def _style(rng: np.random.Generator) -> _Style:
    ground = rng.uniform(0.03, 0.3)
    low = ground + log_uniform(rng, 0.12, 0.5)
    return _Style(
        bright=(low, min(low * rng.uniform(1.1, 1.6), 0.95)),
        ground=ground,
        rim=float(rng.choice([0.0, 0.0, 0.3])),
        round_off=rng.uniform(0.2, 0.7),
        shadow=float(rng.choice([1.0, 0.5])),
        banding=float(rng.choice([0.0, 0.0, 0.25])),
        period=log_uniform(rng, 0.4, 3),
    )


@dataclass(frozen=True, eq=False)
class _Tube:
    """Points on the axis of a tube, the directions across it, its half widths there; pixels."""

    axis: npt.NDArray[np.float64]
    across: npt.NDArray[np.float64]
    half_widths: npt.NDArray[np.float64]

    def near(self, shape: tuple[int, ...]) -> _Tube:
        """Return the parts of it that can be seen in a picture of some rows and columns."""
        reach = _SHADOW * self.half_widths.max() + 1
        seen = ((self.axis > -reach) & (self.axis < np.array(shape) + reach)).all(axis=1)
        return _Tube(self.axis[seen], self.across[seen], self.half_widths[seen])


def _tube(
    shape: tuple[int, int], width: float, length: float, heading: float, bent: float, rng: np.random.Generator
) -> _Tube:
    count = max(int(length / _STEP_ALONG), 8)
    bend = _line_noise(count, max(width * 3, length / 12) / _STEP_ALONG, rng)
    curvature = bent * min(_TIGHTEST / (0.75 * width), 4 / length) * np.clip(bend, -2, 2) / 2
    angles = heading + np.cumsum(curvature * _STEP_ALONG)
    axis = np.cumsum(np.stack([np.sin(angles), np.cos(angles)], axis=1) * _STEP_ALONG, axis=0)
    axis += rng.uniform(0, 1, 2) * shape - axis[rng.integers(count)]
    across = np.stack([np.cos(angles), -np.sin(angles)], axis=1)
    half = width / 2 * (1 + 0.12 * _line_noise(count, 4 * width / _STEP_ALONG, rng))
    to_end = np.minimum(np.arange(count), np.arange(count)[::-1]) * _STEP_ALONG
    caps = np.sqrt(1 - np.clip(1 - to_end / (width / 2), 0, 1) ** 2)
    return _Tube(axis, across, np.maximum(half, 1.5) * caps)


def _line_noise(count: int, sigma: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return smooth noise along a line, of mean 0 and deviation about 1."""
    knots = rng.standard_normal(int(count / sigma) + 4)
    noise: npt.NDArray[np.float64] = ndimage.zoom(knots, count / (len(knots) - 1) + 1, order=3)[:count]
    return noise


class _Canvas:
    """What has been drawn, the last on top.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    ground : float
        Light where nothing is.
    """

    def __init__(self, shape: tuple[int, int], ground: float) -> None:
        self.light: Field = np.full(shape, ground, dtype=np.float32)
        self.labels: Labels = np.zeros(shape, dtype=np.int32)

    def draw(self, tube: _Tube, label: int, style: _Style, bright: float) -> None:
        """Draw a tube and its shadow."""
        lanes = int(2 * _SHADOW * tube.half_widths.max() / _STEP_ACROSS) + 2
        offsets = np.linspace(-_SHADOW, _SHADOW, lanes)
        tube = tube.near(self.labels.shape)
        if len(tube.axis) == 0:
            return
        shade = _shade(offsets, tube, style) * np.float32(bright)
        rows, columns = self._pixels(tube, offsets)
        inside = (rows >= 0) & (rows < self.labels.shape[0]) & (columns >= 0) & (columns < self.labels.shape[1])
        places, core = rows * self.labels.shape[1] + columns, np.abs(offsets) <= 1
        light, labels = self.light.reshape(-1), self.labels.reshape(-1)
        if style.shadow < 1:
            around = places[inside & ~core]
            light[around] = light[around] * np.float32(style.shadow)
        labels[places[inside & core]] = label
        light[places[inside & core]] = shade[inside & core]

    @staticmethod
    def _pixels(tube: _Tube, offsets: npt.NDArray[np.float64]) -> tuple[_Places, _Places]:
        """Return rows and columns at every offset of every point of the axis."""
        to_side = (tube.half_widths[:, None] * tube.across).astype(np.float32)
        rows, columns = (
            np.rint(tube.axis[:, a, None].astype(np.float32) + offsets.astype(np.float32) * to_side[:, a, None])
            for a in range(2)
        )
        return rows.astype(np.int32), columns.astype(np.int32)


def _shade(offsets: npt.NDArray[np.float64], tube: _Tube, style: _Style) -> Field:
    """Return brightness along a tube and across it, around 1."""
    height = np.sqrt(np.clip(1 - offsets**2, 0, 1))
    profile = 1 - style.round_off * (1 - height) + style.rim * np.exp(-(((np.abs(offsets) - 0.9) / 0.12) ** 2))
    at = np.arange(len(tube.axis)) * _STEP_ALONG
    width = 2 * tube.half_widths.max()
    bands = 1 + style.banding * np.sin(2 * np.pi * at / (style.period * width))
    shade: Field = bands[:, None].astype(np.float32) * profile.astype(np.float32)
    return shade
