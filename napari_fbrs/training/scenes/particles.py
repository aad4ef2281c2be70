"""Particles: spheres, pebbles and crystals with lit sides and bright edges, alone, heaped or in chains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_fbrs.training.scenes.fields import Field, log_uniform, smooth_noise
from napari_fbrs.training.scenes.packing import Ellipse, scattered
from napari_fbrs.training.scenes.specimen import Labels, Specimen, objects

_CORNER = 1.6  # radii from the centre at which corners end
_MOST = 90


@dataclass(frozen=True, eq=False)
class _Crystal:
    """A convex polygon: the half planes it is the meeting of, by direction and distance in radii."""

    row: float
    column: float
    radius: float
    angles: npt.NDArray[np.float64]
    distances: npt.NDArray[np.float64]

    def faces(self, rows: Field, columns: Field) -> tuple[Field, npt.NDArray[np.intp]]:
        """Return levels (0 at the centre, 1 on the outline) and the side each pixel belongs to."""
        size = np.float32(self.radius)
        rows, columns = (rows - np.float32(self.row)) / size, (columns - np.float32(self.column)) / size
        level: Field = np.asarray(np.sqrt(rows * rows + columns * columns) / np.float32(_CORNER), dtype=np.float32)
        side: npt.NDArray[np.intp] = np.zeros(level.shape, dtype=np.intp)
        for index, (angle, distance) in enumerate(zip(self.angles, self.distances, strict=True)):
            reached = rows * np.float32(np.sin(angle) / distance) + columns * np.float32(np.cos(angle) / distance)
            np.copyto(side, index, where=reached > level)
            np.maximum(level, reached, out=level)
        return level, side


@dataclass(frozen=True)
class _Lighting:
    """Where light comes from, and what an electron microscope adds.

    Parameters
    ----------
    angle : float
        Of the light in the plane, in radians.
    side_share : float
        Difference between lit and dark sides.
    rim : float
        How much brighter steep slopes are.
    shadow : float
        Share of light left next to a particle.
    plateau : float
        Level up to which a crystal is flat.
    """

    angle: float
    side_share: float
    rim: float
    shadow: float
    plateau: float


def particles(shape: tuple[int, int], rng: np.random.Generator) -> Specimen:
    """Return particles painted one over the other."""
    size = log_uniform(rng, 12, 0.7 * min(shape))
    crystals = rng.random() < 0.5
    points = _chain(shape, size, rng) if rng.random() < 0.4 else scattered(shape, size, size * rng.uniform(0.5, 1), rng)
    ground, low = rng.uniform(0.03, 0.3), log_uniform(rng, 0.15, 0.5)
    lighting = _Lighting(
        angle=rng.uniform(0, 2 * np.pi),
        side_share=rng.uniform(0.2, 0.7),
        rim=rng.uniform(0.15, 0.6),
        shadow=rng.uniform(0.3, 0.8),
        plateau=rng.uniform(0.3, 0.85),
    )
    light = ground + 0.3 * ground * smooth_noise(shape, log_uniform(rng, 1.5, 20), rng)
    painting = _Painting(light.astype(np.float32), lighting)
    paint, spread = (painting.crystal if crystals else painting.ball), rng.uniform(0.0, 0.45)
    for row, column in points[:_MOST]:
        radius = max(min(0.5 * size * float(np.exp(rng.normal(0, spread))), 0.5 * min(shape)), 5.0)
        paint(row, column, radius, ground + low * rng.uniform(0.9, 1.4), rng)
    grain = 1 + rng.uniform(0.02, 0.12) * smooth_noise(shape, max(size / rng.uniform(10, 25), 1.0), rng)
    return Specimen(np.clip(painting.light * grain, 0, 1), objects(painting.labels), 0.6 * low, max(size / 6, 2))


def _chain(shape: tuple[int, int], size: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return points each of which lies about `size` from an earlier one: an agglomerate."""
    count = int(np.clip(log_uniform(rng, 3, _MOST), 3, 0.8 * shape[0] * shape[1] / size**2 + 3))
    points = np.empty((count, 2))
    points[0] = rng.uniform(0.2, 0.8, 2) * shape
    for index in range(1, count):
        angle = rng.uniform(0, 2 * np.pi)
        step = size * rng.uniform(0.7, 1.0) * np.array([np.sin(angle), np.cos(angle)])
        points[index] = np.clip(points[rng.integers(index)] + step, 0, shape)
    return points


class _Painting:
    """What has been painted, the last on top.

    Parameters
    ----------
    light : Field
        Of the ground; painted over.
    lighting : _Lighting
        Of all particles.
    """

    def __init__(self, light: Field, lighting: _Lighting) -> None:
        self.light = light
        self.labels: Labels = np.zeros(light.shape, dtype=np.int32)
        self._lighting = lighting
        self._count = 0
        rows, columns = (np.arange(n, dtype=np.float32) for n in light.shape)
        self._rows, self._columns = rows[:, None], columns[None]

    def ball(self, row: float, column: float, radius: float, bright: float, rng: np.random.Generator) -> None:
        """Paint an ellipsoid."""
        body = Ellipse(row, column, radius, log_uniform(rng, 1.0, 1.5), rng.uniform(0, np.pi))
        box = body.box(self.labels.shape, 1.3)
        rows, columns = self._rows[box[0]], self._columns[:, box[1]]
        level = body.level(rows, columns)
        toward = self._toward(rows - row, columns - column) / np.float32(radius)
        slope = 1 - np.sqrt(np.clip(1 - level * level, 0, 1))
        shade = 1 + self._lighting.side_share * 0.6 * toward + self._lighting.rim * slope
        self._put(box, level, bright * shade)

    def crystal(self, row: float, column: float, radius: float, bright: float, rng: np.random.Generator) -> None:
        """Paint a polygon, flat on top, with bevelled sides."""
        sides = int(rng.integers(4, 9))
        angles = (np.arange(sides) + rng.uniform(-0.2, 0.2, sides)) * 2 * np.pi / sides + rng.uniform(0, 2 * np.pi)
        body = _Crystal(row, column, radius, angles, rng.uniform(0.7, 1.1, sides))
        box = Ellipse(row, column, radius * _CORNER).box(self.labels.shape, 1.3)
        level, side = body.faces(self._rows[box[0]], self._columns[:, box[1]])
        facets = self._lighting.side_share * 0.8 * np.cos(angles - self._lighting.angle) + rng.normal(0, 0.06, sides)
        edge = self._lighting.rim * np.exp(-(((level - 0.95) * np.float32(radius / 2.5)) ** 2))
        shade = 1 + np.where(level > self._lighting.plateau, facets[side], np.float32(0.1)) + edge
        self._put(box, level, bright * shade)

    def _toward(self, rows: Field, columns: Field) -> Field:
        return rows * np.float32(np.sin(self._lighting.angle)) + columns * np.float32(np.cos(self._lighting.angle))

    def _put(self, box: tuple[slice, slice], level: Field, light: Field) -> None:
        self._count += 1
        inside = level < 1
        reach = np.clip((level - 1) * 4, 0, 1)
        shadow = self._lighting.shadow + (1 - self._lighting.shadow) * reach
        self.light[box] = np.where(inside, light, self.light[box] * shadow)
        self.labels[box][inside] = self._count
