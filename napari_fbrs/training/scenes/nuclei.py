"""Nuclei as fluorescence shows them: bright, textured, touching, some over others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_fbrs.training.scenes.fields import Field, log_uniform, smooth_noise
from napari_fbrs.training.scenes.packing import Ellipse, Packing, warp
from napari_fbrs.training.scenes.specimen import Specimen, objects


def nuclei(shape: tuple[int, int], rng: np.random.Generator) -> Specimen:
    """Return nuclei, scattered or in clusters."""
    size = log_uniform(rng, 11, 0.7 * min(shape))
    spread, aspect = rng.uniform(0.05, 0.3), log_uniform(rng, 1.0, 1.7)
    bodies = [
        Ellipse(
            row, column, size / 2 * np.exp(rng.normal(0, spread)), aspect * rng.uniform(0.8, 1.25), rng.uniform(0, 7)
        )
        for row, column in _centres(shape, size, rng)
    ]
    packing = Packing(shape, bodies, 1.0, warp(shape, size, rng.uniform(0.05, 0.35), rng))
    low = log_uniform(rng, 0.12, 0.7)
    light = _chromatin(packing, size, low, rng)
    ground = rng.uniform(0.0, 0.08) * (1 + 0.4 * smooth_noise(shape, max(size / 2, 3), rng))
    return Specimen(np.clip(light + ground, 0, 1).astype(np.float32), objects(packing.labels), 0.7 * low, size / 4)


def _centres(shape: tuple[int, int], size: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return where nuclei lie: evenly, or around a few points."""
    coverage = log_uniform(rng, 0.08, 0.9)
    count = int(np.clip(coverage * shape[0] * shape[1] / (0.8 * size**2), 2, 160))
    if rng.random() < 0.5:
        return rng.uniform(0, 1, (count, 2)) * shape
    middles = rng.uniform(0, 1, (max(count // 12, 1), 2)) * shape
    reach = size * np.sqrt(12) * rng.uniform(0.4, 0.8)
    return middles[rng.integers(len(middles), size=count)] + rng.normal(0, reach, (count, 2))


def _apart(points: npt.NDArray[np.float64], distance: float) -> npt.NDArray[np.float64]:
    """Return points without those nearer than a distance to an earlier one."""
    squares = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    apart: npt.NDArray[np.float64] = points[~np.tril(squares < distance**2, -1).any(axis=1)]
    return apart


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
