"""Stained sections: regions of tissue told apart by nuclei, fibres and fat rather than by a tone, and glands."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_fbrs.training.scenes.fields import Field, log_uniform, smooth_noise, streaks
from napari_fbrs.training.scenes.packing import Ellipse, Packing, scattered, warp
from napari_fbrs.training.scenes.specimen import Labels, Specimen, objects

# Optical density of stains in red, green and blue: Ruifrok and Johnston, Anal Quant Cytol Histol 23 (2001), table 1.
_HAEMATOXYLIN, _EOSIN, _DAB = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78)
_Stains = tuple[Field, Field]  # of nuclei and of what lies between them, about 0 to 1


def tissue(shape: tuple[int, int], rng: np.random.Generator) -> Specimen:
    """Return regions of two or three textures, or glands in stroma."""
    make = _glands if rng.random() < 0.4 else _regions
    labels, stains, contrast, grain = make(shape, rng)
    # A texture needs some room to be recognised.
    return Specimen(_section(stains, rng), objects(labels, (8 * grain) ** 2), contrast, grain)


def _regions(shape: tuple[int, int], rng: np.random.Generator) -> tuple[Labels, _Stains, float, float]:
    size = log_uniform(rng, 60, 0.9 * min(shape))
    packing = _outlines(shape, size, rng)
    kinds = int(rng.integers(1, 3))
    which = np.concatenate(([0], rng.integers(1, kinds + 1, len(packing.bodies))))[packing.labels]
    grain = log_uniform(rng, 1.2, max(1.5, min(size / 25, 4)))
    densities = rng.permutation([0.04, 0.14, 0.35])
    matched = rng.random() < 0.5
    nuclei, between = _texture(shape, grain, densities[0], rng)
    for kind in range(1, kinds + 1):
        own = _texture(shape, grain * rng.uniform(0.8, 1.4), densities[kind], rng)
        nuclei, between = (np.where(which == kind, a, b) for a, b in zip(own, (nuclei, between), strict=True))
    stains = _matched((nuclei, between), which) if matched else (nuclei, between)
    return which.astype(np.int32), stains, 0.15, 1.5 * grain


def _outlines(shape: tuple[int, int], size: float, rng: np.random.Generator) -> Packing:
    bodies = []
    for row, column in scattered(shape, size, 0.8 * size, rng):
        radius = 0.5 * size * rng.uniform(0.7, 1.2)
        bodies.append(Ellipse(row, column, radius, log_uniform(rng, 1, 2), rng.uniform(0, 7)))
    return Packing(shape, bodies, 1.0, warp(shape, size, rng.uniform(0.1, 0.8), rng))


def _matched(stains: _Stains, which: npt.NDArray[np.int64]) -> _Stains:
    """Return stains such that every kind of region takes up as much of them: nothing but texture is left to tell."""
    total = (stains[0] + stains[1]).ravel()
    sums, areas = np.bincount(which.ravel(), total), np.maximum(np.bincount(which.ravel()), 1)
    means = np.maximum(sums / areas, 0.05)
    scale = (total.mean() / means).astype(np.float32)[which]
    return stains[0] * scale, stains[1] * scale


def _texture(shape: tuple[int, int], grain: float, density: float, rng: np.random.Generator) -> _Stains:
    """Return nuclei that take a share of the area, in a ground that is even, fibrous or full of fat."""
    angle, long = rng.uniform(0, np.pi), rng.uniform(1.0, 2.5)
    spots = streaks(shape, grain, grain * long, angle, rng)
    nuclei = np.clip((spots - np.float32(np.quantile(spots[::4, ::4], 1 - density))) * 3, 0, 1)
    nuclei *= np.float32(rng.uniform(0.6, 1.0))
    draw = rng.random()
    if draw < 0.4:
        ground = 1 + 0.3 * smooth_noise(shape, grain * 2, rng)
    elif draw < 0.75:
        ground = 1 + 0.45 * streaks(shape, grain, grain * 8, angle, rng)
    else:
        holes = smooth_noise(shape, grain * 3, rng) > rng.uniform(0.2, 0.9)
        ground = np.where(holes, np.float32(0.1), np.float32(1.1))
        nuclei *= ~holes
    return nuclei.astype(np.float32), (np.float32(rng.uniform(0.3, 0.6)) * np.maximum(ground, 0)).astype(np.float32)


def _glands(shape: tuple[int, int], rng: np.random.Generator) -> tuple[Labels, _Stains, float, float]:
    """Return rings of epithelium around a lumen."""
    size = log_uniform(rng, 40, 0.7 * min(shape))
    packing = _outlines(shape, size, rng)
    grain = max(1.2, size / rng.uniform(25, 45))
    thick = np.float32(size * rng.uniform(0.12, 0.2))
    inside = packing.labels > 0
    basal = np.exp(-(((packing.depth - 0.3 * thick) / (0.3 * thick)) ** 2)) * inside
    lumen = np.clip((packing.depth - thick) / 2, 0, 1) * inside
    stroma, between = _texture(shape, grain, float(rng.choice([0.03, 0.1])), rng)
    crowd = np.clip(1.5 + smooth_noise(shape, grain, rng), 0, 2) / 2
    cytoplasm = np.float32(rng.uniform(0.3, 0.8)) * (1 + 0.15 * smooth_noise(shape, grain, rng))
    nuclei = np.where(inside, basal * crowd, stroma)
    ground = np.where(inside, cytoplasm * (1 - 0.9 * lumen), between)
    return packing.labels, (nuclei.astype(np.float32), ground.astype(np.float32)), 0.2, 1.5 * grain


def _section(stains: _Stains, rng: np.random.Generator) -> Field:
    """Return the light that passes: Beer and Lambert's law, stains of slightly different hue each time."""
    second = _EOSIN if rng.random() < 0.75 else _DAB
    vectors = np.array([_HAEMATOXYLIN, second]) * np.exp(rng.normal(0, 0.15, (2, 3)))
    strength = rng.uniform(0.6, 1.6, 2) * (1.2, 0.9)
    densities = (vectors * strength[:, None]).astype(np.float32)
    light = np.exp(-(stains[0][..., None] * densities[0] + stains[1][..., None] * densities[1]))
    return _grey(light) if rng.random() < 0.1 else light.astype(np.float32)


def _grey(light: npt.NDArray[np.float32]) -> Field:
    grey: Field = light.mean(axis=2, dtype=np.float32)
    return grey
