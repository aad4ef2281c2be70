"""Cells packed against each other: sheets and islands, by their membranes, their cytoplasm or their relief."""

from __future__ import annotations

import numpy as np

from napari_fbrs.training.scenes.fields import Field, blurred, log_uniform, smooth_noise
from napari_fbrs.training.scenes.packing import Ellipse, Packing, lattice, warp
from napari_fbrs.training.scenes.specimen import Specimen, objects


def cells(shape: tuple[int, int], rng: np.random.Generator) -> Specimen:
    """Return a sheet of cells, or islands of them."""
    size = log_uniform(rng, 14, 0.55 * min(shape))
    packing = _sheet(shape, size, rng)
    stain = (_membranes, _cytoplasm, _cytoplasm, _relief, _phase)[int(rng.integers(5))]
    light, contrast, detail = stain(packing, size, rng)
    if rng.random() < 0.5:
        light = _with_nuclei(light, packing, size, rng)
    return Specimen(np.clip(light, 0, 1), objects(packing.labels), contrast, detail)


def _sheet(shape: tuple[int, int], size: float, rng: np.random.Generator) -> Packing:
    points = lattice(shape, size, rng.uniform(0.3, 1.0), rng)
    points = points[rng.random(len(points)) < rng.choice([1.0, 0.85, 0.5])]
    stretch, angle = log_uniform(rng, 1.0, 1.8), rng.uniform(0, np.pi)
    bodies = []
    for row, column in points:
        radius, turn = size * rng.uniform(0.45, 0.65), angle + rng.normal(0, 0.3)
        bodies.append(Ellipse(row, column, radius, stretch * rng.uniform(0.85, 1.2), turn))
    reach = float(rng.choice([1.0, 1.3, 1.6]))
    return Packing(shape, bodies, reach, warp(shape, size, rng.uniform(0.1, 0.45), rng))


def _membranes(packing: Packing, size: float, rng: np.random.Generator) -> tuple[Field, float, float]:
    width = max(1.0, size * rng.uniform(0.02, 0.06))
    inside = packing.each(0.03, rng.uniform(0.05, 0.25), rng)
    patches = 1 + 0.25 * smooth_noise(packing.labels.shape, max(size / 4, 2), rng)
    wall = np.exp(-((packing.depth / width) ** 2))
    bright = np.float32(rng.uniform(0.4, 0.75))
    grain = 1 + 0.2 * smooth_noise(packing.labels.shape, max(size / 20, 1.2), rng)
    light: Field = inside * grain + bright * wall * patches
    return light, float(bright), 2 * width


def _cytoplasm(packing: Packing, size: float, rng: np.random.Generator) -> tuple[Field, float, float]:
    seam = max(1.2, size * rng.uniform(0.03, 0.12))
    dome = 1 - np.exp(-np.maximum(packing.depth, 0) / np.float32(seam))
    low = rng.uniform(0.3, 0.6)
    grain = 1 + rng.uniform(0.05, 0.25) * smooth_noise(packing.labels.shape, max(size / rng.uniform(8, 25), 1.2), rng)
    ground = np.float32(rng.uniform(0.02, 0.15))
    light: Field = ground + packing.each(low, rng.uniform(low, 0.9), rng) * dome * grain
    return light, low / 2, 2 * seam


def _relief(packing: Packing, size: float, rng: np.random.Generator) -> tuple[Field, float, float]:
    """Differential interference contrast: light is the slope of the surface along one direction."""
    scale = np.float32(size * 0.25)
    grain = np.float32(rng.uniform(0.01, 0.05)) * smooth_noise(packing.labels.shape, max(size / 15, 1.5), rng)
    height = blurred(np.sqrt(np.clip(packing.depth / scale, 0, 1)) + grain, max(1.0, size * 0.015))
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.gradient(height)
    slope = np.float32(np.cos(angle)) * columns + np.float32(np.sin(angle)) * rows
    steepest = max(float(np.quantile(np.abs(slope), 0.98)), 1e-3)
    amplitude = rng.uniform(0.2, 0.45)
    light: Field = np.asarray(0.5 + amplitude / steepest * slope, dtype=np.float32)
    return light, amplitude / 2, max(2.0, size * 0.05)


def _phase(packing: Packing, size: float, rng: np.random.Generator) -> tuple[Field, float, float]:
    """Phase contrast: cells darker than the medium, with a bright halo."""
    width = max(1.5, size * rng.uniform(0.03, 0.08))
    dark, bright = rng.uniform(0.12, 0.3), rng.uniform(0.15, 0.45)
    dome = 1 - np.exp(-np.maximum(packing.depth, 0) / np.float32(1.5 * width))
    halo = np.exp(-(((packing.depth + width * 0.7) / width) ** 2))
    grain = rng.uniform(0.03, 0.1) * smooth_noise(packing.labels.shape, max(size / 18, 1.2), rng) * (0.2 + dome)
    tone = packing.each(0.8, 1.2, rng)
    light: Field = 0.5 - dark * dome * tone + bright * halo + grain
    return light, dark, width


def _with_nuclei(light: Field, packing: Packing, size: float, rng: np.random.Generator) -> Field:
    extent = rng.uniform(0.25, 0.5)
    inside = np.minimum((extent - packing.level) * 12, (packing.depth - 0.06 * size) * 12 / size)
    nucleus = np.clip(inside, 0, 1) * (packing.labels > 0)
    grain = 1 + 0.2 * smooth_noise(packing.labels.shape, max(size / 12, 1.2), rng)
    tone = np.float32(rng.choice([0.15, 0.5, 1.6, 2.2]))
    stained: Field = light * (1 + (tone * grain - 1) * nucleus)
    return stained
