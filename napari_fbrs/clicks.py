"""Clicks: the words everyone uses.

Rows and columns are in pixels of the plane that was clicked, the centre of the first pixel being (0, 0).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import overload

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Click:
    """One point a user has put on a plane.

    Parameters
    ----------
    row, column : float
        Position in pixels; whole numbers lie on pixel centres.
    positive : bool, optional
        True on the object (the default), False off it. A truth value of NumPy, 1 or 0 becomes one of these.

    Raises
    ------
    ValueError
        If a coordinate is NaN or infinite, or the sign is anything else.
    """

    row: float
    column: float
    positive: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.row) and math.isfinite(self.column)):
            raise ValueError(f"a click needs finite coordinates, got row {self.row}, column {self.column}")
        if not isinstance(self.positive, (int, np.integer, np.bool_)) or self.positive not in (0, 1):
            raise ValueError(f"a click is positive (True) or negative (False), got {self.positive!r}")
        object.__setattr__(self, "positive", bool(self.positive))

    @property
    def pixel(self) -> tuple[int, int]:
        """Row and column of the pixel clicked, rounded half to even as in the published code."""
        return round(self.row), round(self.column)

    @property
    def pixels(self) -> npt.NDArray[np.int64]:
        """All pixels clicked, shape (N, 2): one, but of a stroke."""
        return np.array([self.pixel], dtype=np.int64)

    def inside(self, shape: tuple[int, int]) -> bool:
        """Whether the pixel clicked lies in a plane of `shape` (rows, columns)."""
        row, column = self.pixel
        return 0 <= row < shape[0] and 0 <= column < shape[1]


@dataclass(frozen=True)
class ClickList(Sequence[Click]):
    """The ordered clicks of one object on one plane; immutable.

    Clicks come in rounds: a round holds the clicks that were predicted together (usually one; more when several were
    added at once, or before a prediction was finished). The prediction after a round starts from the state of the round
    before, so the rounds are what another program needs to get the same mask.

    Parameters
    ----------
    rounds : tuple of tuple of Click, optional
        The rounds in order. Empty rounds are not allowed.
    """

    rounds: tuple[tuple[Click, ...], ...] = ()

    def __post_init__(self) -> None:
        if any(len(clicks) == 0 for clicks in self.rounds):
            raise ValueError("a round of clicks cannot be empty")

    @classmethod
    def one_by_one(cls, clicks: Iterable[Click]) -> ClickList:
        """Return the list in which every click is a round of its own."""
        return cls(tuple((click,) for click in clicks))

    @property
    def flat(self) -> tuple[Click, ...]:
        """All clicks in order, without the rounds."""
        return tuple(self)

    def __len__(self) -> int:
        return sum(map(len, self.rounds))

    def __iter__(self) -> Iterator[Click]:  # what a Sequence has would make `flat` for every click
        return chain.from_iterable(self.rounds)

    @overload
    def __getitem__(self, index: int) -> Click: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Click, ...]: ...
    def __getitem__(self, index: int | slice) -> Click | tuple[Click, ...]:
        return self.flat[index]

    def added(self, clicks: Iterable[Click], *, to_last_round: bool = False) -> ClickList:
        """Return the list with `clicks` at its end, as a new round or as part of the last one."""
        new = tuple(clicks)
        if not new:
            return self
        if to_last_round and self.rounds:
            return ClickList((*self.rounds[:-1], (*self.rounds[-1], *new)))
        return ClickList((*self.rounds, new))

    def removed(self, indices: Iterable[int]) -> ClickList:
        """Return the list without the clicks at `indices` (positions in `flat`)."""
        gone = {range(len(self))[index] for index in indices}
        return self._rebuilt([None if index in gone else click for index, click in enumerate(self.flat)])

    def replaced(self, index: int, click: Click) -> ClickList:
        """Return the list with the click at `index` exchanged for `click`, in the same round."""
        index = range(len(self))[index]
        return self._rebuilt([click if i == index else old for i, old in enumerate(self.flat)])

    def _rebuilt(self, clicks: Sequence[Click | None]) -> ClickList:
        remaining = iter(clicks)
        rounds = (tuple(c for c in (next(remaining) for _ in clicks_) if c is not None) for clicks_ in self.rounds)
        return ClickList(tuple(clicks_ for clicks_ in rounds if clicks_))


def network_points(clicks: Sequence[Click], limit: int | None = None) -> npt.NDArray[np.float32]:
    """Return clicks as the networks read them.

    Parameters
    ----------
    clicks : sequence of Click
        In order; only the first `limit` are used.
    limit : int, optional
        How many clicks, both signs together, the network sees. None: all.

    Returns
    -------
    ndarray of float32, shape (2N, 2)
        (row, column): N rows of positive, then N of negative clicks, padded with (-1, -1); N is the larger of
        the two counts, at least 1.
    """
    shown = clicks[:limit]
    by_sign = [[(c.row, c.column) for c in shown if c.positive is sign] for sign in (True, False)]
    count = max(1, *map(len, by_sign))
    points = np.full((2, count, 2), -1, dtype=np.float32)
    for row, positions in zip(points, by_sign, strict=True):
        row[: len(positions)] = np.reshape(positions, (-1, 2))
    return points.reshape(-1, 2)
