"""Freehand strokes: clicks that are more than a point.

A stroke stands among the clicks of an object like any other. What optimises reads all its pixels; the network, which
knows points alone, is shown a few of them that lie far from each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_fbrs.clicks import Click

Run = tuple[int, int, int]  # row, first and last column
_MOST_POINTS = 4
_LARGEST_FOR_DEPTH = 2**20  # pixels of a bounding box; the width of a longer stroke is nothing beside its length
_MOST_PIXELS = 2**24  # in a file that may have been made by anybody
_RUN = re.compile(r"(\d{1,9}):(\d{1,9})-(\d{1,9})", re.ASCII)


@dataclass(frozen=True)
class Stroke(Click):
    """A freehand stroke on a plane; its row and column are a pixel in its middle. Made by `Stroke.of`.

    Parameters
    ----------
    row, column : float
        A pixel of it.
    positive : bool, optional
        True on the object (the default), False off it.
    runs : tuple of (int, int, int)
        Row, first and last column of its pixels, from the top left to the bottom right, none touching another in its
        row.

    Raises
    ------
    ValueError
        If there are no runs, or they are in another order, overlap, or begin before 0; or as for a `Click`.
    """

    runs: tuple[Run, ...] = ()

    def __post_init__(self) -> None:
        Click.__post_init__(self)
        if not self.runs:
            raise ValueError("a stroke needs at least a pixel")
        if any(row < 0 or not 0 <= first <= last for row, first, last in self.runs):
            raise ValueError("the runs of a stroke begin at 0 and end where they began or later")
        if any((a[0], a[2] + 1) >= (b[0], b[1]) for a, b in pairwise(self.runs)):
            raise ValueError("the runs of a stroke must be in order and apart")

    @classmethod
    def of(cls, pixels: npt.ArrayLike, *, positive: bool = True) -> Stroke:
        """Return the stroke that covers some pixels.

        Parameters
        ----------
        pixels : array_like of int, shape (N, 2)
            Rows and columns, not negative, in any order; at least one.
        positive : bool, optional
            Whether it lies on the object.
        """
        unique = np.unique(np.asarray(pixels, dtype=np.int64).reshape(-1, 2), axis=0)
        if not len(unique):
            raise ValueError("a stroke needs at least a pixel")
        breaks = (np.diff(unique[:, 0]) != 0) | (np.diff(unique[:, 1]) != 1)
        first, last = unique[np.append(True, breaks)], unique[np.append(breaks, True)]
        runs = tuple(map(tuple, np.column_stack((first, last[:, 1])).tolist()))
        middle = unique[_nearest(unique, unique.mean(axis=0))].tolist()
        return cls(middle[0], middle[1], positive, runs)

    @classmethod
    def parse(cls, text: str, *, positive: bool = True) -> Stroke:
        """Return the stroke that `text` describes; see `text`.

        Raises
        ------
        ValueError
            If it describes none.
        """
        runs = []
        for part in text.split():
            match = _RUN.fullmatch(part)
            if match is None or int(match[2]) > int(match[3]):
                raise ValueError(f"a stroke is written ROW:FIRST-LAST ROW:FIRST-LAST ..., found {part[:40]!r}")
            runs.append((int(match[1]), int(match[2]), int(match[3])))
        if sum(last - first + 1 for _, first, last in runs) > _MOST_PIXELS:
            raise ValueError(f"a stroke of more than {_MOST_PIXELS} pixels is no stroke")
        return cls.of(_pixels(runs), positive=positive)

    @property
    def text(self) -> str:
        """Its pixels as text: ``12:30-41`` for columns 30 to 41 of row 12, and so on, with spaces between."""
        return " ".join(f"{row}:{first}-{last}" for row, first, last in self.runs)

    @cached_property
    def pixels(self) -> npt.NDArray[np.int64]:
        """Rows and columns of its pixels, shape (N, 2)."""
        return _pixels(self.runs)

    def inside(self, shape: tuple[int, int]) -> bool:
        """Whether all its pixels lie in a plane of `shape` (rows, columns)."""
        return self.runs[-1][0] < shape[0] and max(last for _, _, last in self.runs) < shape[1]

    @cached_property
    def points(self) -> tuple[Click, ...]:
        """One to four of its pixels as clicks: the middle, and what is farthest from all before."""
        pixels, depth = self._deep()
        chosen = [_nearest(pixels, pixels.mean(axis=0))]
        distance = np.full(len(pixels), np.inf)
        while len(chosen) < _MOST_POINTS:
            distance = np.minimum(distance, np.hypot(*(pixels - pixels[chosen[-1]]).T))
            farthest = int(distance.argmax())
            if distance[farthest] <= 2 * depth:  # a dab is one click
                break
            chosen.append(farthest)
        return tuple(Click(row, column, self.positive) for row, column in pixels[chosen].tolist())

    def _deep(self) -> tuple[npt.NDArray[np.int64], float]:
        """Return the pixels far from its edge, and how far the farthest one is."""
        pixels = self.pixels
        corner = pixels.min(axis=0) - 1
        extent = pixels.max(axis=0) - corner + 2
        if extent.prod() > _LARGEST_FOR_DEPTH:
            return pixels, 1.0
        mask = np.zeros(extent, dtype=bool)
        mask[tuple((pixels - corner).T)] = True
        depth = ndimage.distance_transform_edt(mask)[tuple((pixels - corner).T)]
        return pixels[depth > 0.5 * depth.max()], float(depth.max())


def shown(clicks: Iterable[Click]) -> list[Click]:
    """Return clicks as the network is shown them: strokes as a few points."""
    return [point for click in clicks for point in (click.points if isinstance(click, Stroke) else (click,))]


def outline(clicks: Iterable[Click]) -> list[Click]:
    """Return clicks for what asks how far they reach: strokes as their outermost pixels."""
    return [point for click in clicks for point in (_outermost(click) if isinstance(click, Stroke) else [click])]


def _outermost(stroke: Stroke) -> list[Click]:
    pixels = stroke.pixels
    ends = {int(index) for index in (*pixels.argmin(axis=0), *pixels.argmax(axis=0))}
    return [Click(row, column, stroke.positive) for row, column in pixels[sorted(ends)].tolist()]


def _pixels(runs: Sequence[Run]) -> npt.NDArray[np.int64]:
    table = np.array(runs, dtype=np.int64).reshape(-1, 3)
    lengths = table[:, 2] - table[:, 1] + 1
    starts = np.cumsum(lengths) - lengths
    columns = np.arange(lengths.sum()) - np.repeat(starts - table[:, 1], lengths)
    return np.column_stack((np.repeat(table[:, 0], lengths), columns))


def _nearest(pixels: npt.NDArray[np.int64], to: npt.NDArray[np.float64]) -> int:
    return int(np.square(pixels - to).sum(axis=1).argmin())
