"""Foams: cells between bright or dark walls, wet or dry."""

from __future__ import annotations

import numpy as np

from napari_fbrs.training.scenes.fields import Field, blurred, log_uniform, smooth_noise
from napari_fbrs.training.scenes.packing import Ellipse, Packing, lattice, warp
from napari_fbrs.training.scenes.specimen import Specimen, objects


def foams(shape: tuple[int, int], rng: np.random.Generator) -> Specimen:
    """Return a foam whose cells are the objects; walls are background."""
    size = log_uniform(rng, 16, 0.5 * min(shape))
    spread = rng.uniform(0.03, 0.3)
    bodies = [
        Ellipse(row, column, 0.55 * size * np.exp(rng.normal(0, spread)), rng.uniform(0.8, 1.25), rng.uniform(0, 7))
        for row, column in lattice(shape, size, rng.uniform(0.3, 1.1), rng)
    ]
    packing = Packing(shape, bodies, 1.6, warp(shape, size, rng.uniform(0.02, 0.2), rng))
    rounding = size * rng.uniform(0.02, 0.09)
    wall = max(1.6, size * log_uniform(rng, 0.03, 0.25))
    depth = blurred(packing.depth, rounding) - np.float32(0.8 * rounding + wall / 2)
    labels = np.where(depth > 0, packing.labels, 0)
    light, contrast = (_solid if rng.random() < 0.6 else _bubbles)(packing, depth, size, rng)
    return Specimen(np.clip(light, 0, 1), objects(labels), contrast, max(wall, 2.0))


def _solid(packing: Packing, depth: Field, size: float, rng: np.random.Generator) -> tuple[Field, float]:
    """Walls of one tone, cells of others, as in a section or under an electron microscope."""
    shape = packing.labels.shape
    contrast = log_uniform(rng, 0.12, 0.6)
    cell = packing.each(0.05, rng.uniform(0.1, 0.35), rng)
    slope = np.float32(rng.uniform(0.0, 0.2)) * np.clip(depth / np.float32(size * 0.3), 0, 1)
    grain = 0.04 * smooth_noise(shape, max(size / 12, 1.2), rng)
    material = np.float32(0.3 + contrast) + rng.uniform(0.01, 0.06) * smooth_noise(shape, rng.uniform(1, 4), rng)
    share = np.clip(depth + np.float32(0.5), 0, 1)
    light: Field = share * (cell + grain + slope) + (1 - share) * material
    return (light if rng.random() < 0.5 else 1 - light), contrast


def _bubbles(packing: Packing, depth: Field, size: float, rng: np.random.Generator) -> tuple[Field, float]:
    """Gas in liquid by transmitted light: a dark rim inside each bubble, a bright middle."""
    shape = packing.labels.shape
    rim = np.float32(max(1.2, size * rng.uniform(0.03, 0.12)))
    contrast = np.float32(rng.uniform(0.2, 0.55))
    ground = np.float32(rng.uniform(0.55, 0.8)) + 0.02 * smooth_noise(shape, 4, rng)
    inside = np.clip(depth + np.float32(0.5), 0, 1)
    glint = np.float32(rng.uniform(0.0, 0.3)) * np.exp(-((packing.level / np.float32(0.25)) ** 2))
    light: Field = ground - contrast * inside * np.exp(-np.maximum(depth, 0) / rim) + glint * inside
    return light, float(contrast)
