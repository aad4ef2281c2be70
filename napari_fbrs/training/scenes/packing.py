"""Bodies laid out in the plane: where two meet, a pixel belongs to the one whose centre is relatively nearer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_fbrs.training.scenes.fields import Field, log_uniform, smooth_noise
from napari_fbrs.training.scenes.specimen import Labels

_MOST = 220  # bodies a scene: more take time and teach nothing
_NEIGHBOURHOOD = 0.4  # a body is felt as far beyond its reach, in radii: depth has no step that would show
_FAR = np.float32(9)  # a level no body reaches


@dataclass(frozen=True)
class Ellipse:
    """An ellipse; lengths in pixels.

    Parameters
    ----------
    row, column : float
        Its centre.
    radius : float
        Geometric mean of its half axes.
    aspect : float
        Their ratio.
    angle : float
        Of the longer one from the columns, in radians.
    """

    row: float
    column: float
    radius: float
    aspect: float = 1.0
    angle: float = 0.0

    def box(self, shape: tuple[int, int], reach: float, slack: float = 0.0) -> tuple[slice, slice]:
        """Return the part of the plane within `reach` times its longer half axis, and `slack` pixels, of its centre."""
        far = reach * self.radius * np.sqrt(max(self.aspect, 1 / self.aspect)) + 1 + slack
        low = [int(min(max(at - far, 0), size)) for at, size in zip((self.row, self.column), shape, strict=True)]
        high = [int(min(max(at + far + 1, 0), size)) for at, size in zip((self.row, self.column), shape, strict=True)]
        return slice(low[0], high[0]), slice(low[1], high[1])

    def level(self, rows: Field, columns: Field) -> Field:
        """Return 0 at its centre, 1 on its outline, more outside, in proportion to the distance from the centre."""
        rows, columns = rows - np.float32(self.row), columns - np.float32(self.column)
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        long, short = self.radius * np.sqrt(self.aspect), self.radius / np.sqrt(self.aspect)
        along = columns * np.float32(cos / long) + rows * np.float32(sin / long)
        across = rows * np.float32(cos / short) - columns * np.float32(sin / short)
        level: Field = np.sqrt(along * along + across * across)
        return level


class Packing:
    """Which body each pixel belongs to, and how deep inside it lies.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    bodies : iterable of Ellipse
        Numbered from 1 in this order.
    reach : float
        Level at which a body ends where nothing else ends it.
    warp : tuple of Field, optional
        Displacement of rows and columns that makes outlines irregular.

    Attributes
    ----------
    labels : ndarray of int32
        0 where no body reaches.
    level : Field
        Of the body that the pixel belongs to.
    depth : Field
        About the distance to the body's outline in pixels; negative outside.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        bodies: Iterable[Ellipse],
        reach: float,
        warp: tuple[Field, Field] | None = None,
    ) -> None:
        self.bodies = list(bodies)
        rows, columns = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij")
        slack = 0.0
        if warp is not None:
            slack = float(max(np.abs(displacement).max() for displacement in warp))
            rows, columns = rows + warp[0], columns + warp[1]
        nearest = np.zeros(shape, dtype=np.int32)
        self.level = np.full(shape, _FAR)
        second = np.full(shape, _FAR)
        for label, body in enumerate(self.bodies, start=1):
            box = body.box(shape, reach + _NEIGHBOURHOOD, slack)
            level = body.level(rows[box], columns[box])
            here = self.level[box]
            mine = level < here
            np.minimum(second[box], np.maximum(level, here), out=second[box])
            np.copyto(nearest[box], label, where=mine)
            np.minimum(here, level, out=here)
        radii = np.array([1.0, *(b.radius / np.sqrt(b.aspect) for b in self.bodies)], dtype=np.float32)[nearest]
        self.depth: Field = np.minimum((second - self.level) / 2, np.float32(reach) - self.level) * radii
        self.labels: Labels = np.where(self.level < reach, nearest, 0).astype(np.int32)

    def each(self, low: float, high: float, rng: np.random.Generator) -> Field:
        """Return a picture in which every body has its own value between two; `low` off the bodies."""
        values = np.concatenate(([low], rng.uniform(low, high, len(self.bodies)))).astype(np.float32)
        picture: Field = values[self.labels]
        return picture


def warp(shape: tuple[int, int], size: float, strength: float, rng: np.random.Generator) -> tuple[Field, Field]:
    """Return displacements that bend outlines of `size` pixels by about `strength` of it."""
    sigma = max(size * 0.22, 2.0)
    amplitude = np.float32(strength * size * 0.25)
    return amplitude * smooth_noise(shape, sigma, rng), amplitude * smooth_noise(shape, sigma, rng)


def scattered(
    shape: tuple[int, int], size: float, distance: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return where bodies of `size` pixels lie, evenly or around a few points: rows and columns, shape (N, 2).

    None is nearer than `distance` to another.
    """
    coverage = log_uniform(rng, 0.08, 0.9)
    count = int(np.clip(coverage * shape[0] * shape[1] / (0.8 * size**2), 2, 160))
    if rng.random() < 0.5:
        return _apart(rng.uniform(0, 1, (count, 2)) * shape, distance)
    middles = rng.uniform(0, 1, (max(count // 12, 1), 2)) * shape
    reach = size * np.sqrt(12) * rng.uniform(0.4, 0.8)
    points = middles[rng.integers(len(middles), size=count)] + rng.normal(0, reach, (count, 2))
    return _apart(np.clip(points, 0, shape), distance)


def _apart(points: npt.NDArray[np.float64], distance: float) -> npt.NDArray[np.float64]:
    squares = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    kept = np.ones(len(points), dtype=bool)
    for index in range(1, len(points)):
        kept[index] = not (squares[index, :index] < distance**2)[kept[:index]].any()
    apart: npt.NDArray[np.float64] = points[kept]
    return apart


def lattice(shape: tuple[int, int], spacing: float, jitter: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return points of a jittered hexagonal lattice, some beyond the edges: rows and columns, shape (N, 2).

    Where there would be too many they fill only a patch of the plane.
    """
    extent = np.array(shape) + 2 * spacing
    count = np.ceil(extent / (spacing * np.array([0.87, 1.0]))).astype(int) + 1
    rows, columns = np.mgrid[: count[0], : count[1]].astype(float)
    points = np.stack([rows * 0.87, columns + 0.5 * (rows % 2)], axis=-1).reshape(-1, 2) * spacing
    points += rng.uniform(-0.5, 0.5, points.shape) * jitter * spacing - spacing * rng.uniform(0.5, 1.0, 2)
    inside = ((points > -0.7 * spacing) & (points < np.array(shape) + 0.7 * spacing)).all(axis=1)
    points = points[inside]
    middle = rng.uniform(0.2, 0.8, 2) * shape
    nearest = np.argsort(((points - middle) ** 2).sum(axis=1), kind="stable")
    chosen: npt.NDArray[np.float64] = points[nearest[:_MOST]]
    return chosen
