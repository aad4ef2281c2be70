"""Vesicles and droplets: seen by their outline alone, or nearly."""

from __future__ import annotations

import numpy as np

from napari_fbrs.training.scenes.fields import log_uniform, smooth_noise
from napari_fbrs.training.scenes.packing import Ellipse, Packing, scattered, warp
from napari_fbrs.training.scenes.specimen import Specimen, objects


def vesicles(shape: tuple[int, int], rng: np.random.Generator) -> Specimen:
    """Return round bodies with a thin rim, bright or dark, and an inside much like the outside."""
    size = log_uniform(rng, 14, 0.8 * min(shape))
    spread = rng.uniform(0.05, 0.45)
    bodies = []
    for row, column in scattered(shape, size, size * rng.uniform(0.7, 1.1), rng):
        radius = min(0.5 * size * float(np.exp(rng.normal(0, spread))), 0.6 * max(shape))
        bodies.append(Ellipse(row, column, max(radius, 5.0), log_uniform(rng, 0.8, 1.25), rng.uniform(0, 7)))
    packing = Packing(shape, bodies, 1.0, warp(shape, size, rng.uniform(0.0, 0.2), rng))
    width = max(1.2, size * rng.uniform(0.015, 0.06))
    rim = np.exp(-(((packing.depth - width) / width) ** 2)) * packing.each(0.6, 1.0, rng)
    contrast = log_uniform(rng, 0.12, 0.5)
    inside = (packing.labels > 0) * packing.each(0.0, rng.uniform(0.0, 0.12), rng)
    grain = rng.uniform(0.0, 0.25) * contrast * smooth_noise(shape, rng.uniform(1.5, 12), rng)
    light = np.clip(rng.uniform(0.08, 0.4) + inside + contrast * rim + grain, 0, 1)
    light = light if rng.random() < 0.5 else 1 - light
    return Specimen(light.astype(np.float32), objects(packing.labels), 0.8 * contrast, 2 * width)
