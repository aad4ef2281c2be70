"""Nuclei as fluorescence shows them: bright, textured, touching, some over others."""

from __future__ import annotations

import numpy as np

from napari_fbrs.training.scenes.fields import Field, log_uniform, smooth_noise
from napari_fbrs.training.scenes.packing import Ellipse, Packing, scattered, warp
from napari_fbrs.training.scenes.specimen import Specimen, objects


def nuclei(shape: tuple[int, int], rng: np.random.Generator) -> Specimen:
    """Return nuclei, scattered or in clusters."""
    size = log_uniform(rng, 11, 0.7 * min(shape))
    spread, aspect = rng.uniform(0.05, 0.3), log_uniform(rng, 1.0, 1.7)
    bodies = []
    for row, column in scattered(shape, size, size * rng.uniform(0.6, 0.85), rng):
        radius = 0.5 * size * float(np.exp(rng.normal(0, spread)))
        bodies.append(Ellipse(row, column, radius, aspect * rng.uniform(0.8, 1.25), rng.uniform(0, 7)))
    packing = Packing(shape, bodies, 1.0, warp(shape, size, rng.uniform(0.05, 0.35), rng))
    low = log_uniform(rng, 0.12, 0.7)
    light = _chromatin(packing, size, low, rng)
    ground = rng.uniform(0.0, 0.08) * (1 + 0.4 * smooth_noise(shape, max(size / 2, 3), rng))
    return Specimen(np.clip(light + ground, 0, 1).astype(np.float32), objects(packing.labels), 0.7 * low, size / 4)


def _chromatin(packing: Packing, size: float, low: float, rng: np.random.Generator) -> Field:
    shape = packing.labels.shape
    edge = np.clip(packing.depth / max(size * 0.12, 1.0), 0, 1)
    round_off = np.float32(rng.uniform(0.15, 0.55))
    texture = 1 + rng.uniform(0.05, 0.3) * smooth_noise(shape, max(size / rng.uniform(8, 16), 1.0), rng)
    nucleoli = np.where(smooth_noise(shape, max(size / 10, 1.2), rng) > rng.uniform(1.2, 2.5), 0.6, 1).astype(
        np.float32
    )
    bright = packing.each(low, min(low * rng.uniform(1.1, 3), 0.95), rng) * (packing.labels > 0)
    light: Field = bright * (1 - round_off * (1 - edge)) * np.maximum(texture, 0.3) * nucleoli
    return light
