"""Shapes of no particular kind, with bays and holes, told apart by brightness, colour, texture or an edge alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_fbrs.training.scenes.fields import Field, blurred, log_uniform, smooth_noise, streaks
from napari_fbrs.training.scenes.packing import Ellipse, Packing, warp
from napari_fbrs.training.scenes.specimen import Specimen, objects

_Mask = npt.NDArray[np.bool_]
_Look = tuple[Field, float, float]  # light, contrast, detail


def blobs(shape: tuple[int, int], rng: np.random.Generator) -> Specimen:
    """Return one shape or several that do not touch."""
    size = log_uniform(rng, 24, 0.9 * min(shape))
    mask = (_islands if rng.random() < 0.5 else _bent)(shape, size, rng)
    if rng.random() < 0.3:
        mask &= smooth_noise(shape, max(size / 10, 2), rng) < rng.uniform(1.2, 2.0)
    look = (_by_brightness, _by_colour, _by_texture, _by_texture, _by_edge)[int(rng.integers(5))]
    # A texture needs some room to be recognised.
    labels = objects(mask, (0.4 * size) ** 2 if look is _by_texture else 0)
    light, contrast, detail = look(labels > 0, size, rng)
    return Specimen(np.clip(light, 0, 1), labels, contrast, detail)


def _islands(shape: tuple[int, int], size: float, rng: np.random.Generator) -> _Mask:
    islands: _Mask = smooth_noise(shape, size / 3.5, rng) > rng.uniform(0.3, 1.2)
    return islands


def _bent(shape: tuple[int, int], size: float, rng: np.random.Generator) -> _Mask:
    count = int(np.clip(log_uniform(rng, 0.1, 0.6) * shape[0] * shape[1] / size**2, 1, 40))
    bodies = []
    for row, column in rng.uniform(0, 1, (count, 2)) * shape:
        radius = 0.5 * size * rng.uniform(0.7, 1.1)
        bodies.append(Ellipse(row, column, radius, log_uniform(rng, 1, 2.5), rng.uniform(0, np.pi)))
    packing = Packing(shape, bodies, 1.0, warp(shape, size, rng.uniform(0.3, 0.9), rng))
    bent: _Mask = packing.labels > 0
    return bent


def _by_brightness(mask: _Mask, size: float, rng: np.random.Generator) -> _Look:
    contrast = log_uniform(rng, 0.06, 0.5)
    inside, outside = (_material(mask.shape, rng, 0.25 * contrast) for _ in range(2))
    low = rng.uniform(0.05, 0.95 - contrast)
    light = (low + np.where(mask, contrast + inside, outside)).astype(np.float32)
    return (light if rng.random() < 0.5 else 1 - light), contrast, size / 3


def _by_colour(mask: _Mask, size: float, rng: np.random.Generator) -> _Look:
    contrast = log_uniform(rng, 0.08, 0.4)
    direction = rng.normal(0, 1, 3)
    direction -= direction.mean()
    direction *= contrast / np.abs(direction).max()
    ground = rng.uniform(0.3, 0.7, 3).astype(np.float32)
    grain = _material(mask.shape, rng, 0.4 * contrast)[..., None]
    light: Field = ground + grain + mask[..., None] * direction.astype(np.float32)
    return light, contrast, size / 3


def _by_texture(mask: _Mask, size: float, rng: np.random.Generator) -> _Look:
    """Two textures of one mean: finer and coarser, of two directions, or strong and faint."""
    amplitude = rng.uniform(0.07, 0.16)
    grain = log_uniform(rng, 1.2, max(size / 14, 1.5))
    draw = rng.random()
    if draw < 0.4:
        fields = [smooth_noise(mask.shape, g, rng) for g in (grain, grain * rng.uniform(2.2, 4))]
    elif draw < 0.7:
        angle = rng.uniform(0, np.pi)
        fields = [streaks(mask.shape, grain, 5 * grain, a, rng) for a in (angle, angle + rng.uniform(0.9, 2.2))]
    else:
        fields = [smooth_noise(mask.shape, grain, rng) * a for a in (1, np.float32(rng.uniform(0.0, 0.4)))]
    if rng.random() < 0.5:
        fields.reverse()
    light = rng.uniform(0.4, 0.6) + np.float32(amplitude) * np.where(mask, *fields)
    return light.astype(np.float32), amplitude, grain


def _by_edge(mask: _Mask, size: float, rng: np.random.Generator) -> _Look:
    width = max(0.8, size * rng.uniform(0.008, 0.03))
    contrast = log_uniform(rng, 0.12, 0.4)
    soft = blurred(mask.astype(np.float32), width)
    rim = 4 * soft * (1 - soft)
    light = 0.3 + _material(mask.shape, rng, 0.2 * contrast) + np.float32(contrast) * rim
    return (light if rng.random() < 0.5 else 1 - light), 0.8 * contrast, 2.5 * width


def _material(shape: tuple[int, ...], rng: np.random.Generator, amplitude: float) -> Field:
    """Return the faint irregularities of one material."""
    field: Field = np.float32(amplitude * rng.uniform(0.1, 1)) * smooth_noise(
        (shape[0], shape[1]), log_uniform(rng, 1.2, 15), rng
    )
    return field
