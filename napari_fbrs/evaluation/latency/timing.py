"""Times taken in turn, so that what slows the machine down slows all alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

Clock = Callable[[], float]
CLOCKS: Mapping[str, Clock] = MappingProxyType({"wall": time.perf_counter, "cpu": time.process_time})


@dataclass(frozen=True)
class Task:
    """Something to be timed.

    Parameters
    ----------
    run : callable
        What is timed.
    prepare : callable, optional
        Done before each run, not timed.
    rounds : int, optional
        Takes part in the first so many rounds.
    """

    run: Callable[[], object]
    prepare: Callable[[], object] = lambda: None
    rounds: int = 1_000_000


@dataclass(frozen=True)
class Spread:
    """The middle of some figures, and the half of them around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return median and quartiles; NaN where there are no figures."""
        if not values:
            return cls(math.nan, math.nan, math.nan)
        low, median, high = np.percentile(values, (25, 50, 75))
        return cls(float(median), float(low), float(high))


def alternate(tasks: Mapping[str, Task], rounds: int, clock: Clock) -> dict[str, list[float]]:
    """Return the seconds that each task took in each round, all tasks in each round, every other round backwards.

    Parameters
    ----------
    tasks : mapping of str to Task
        They have been run before: the first run of a network is slower than all others.
    rounds : int
        How many.
    clock : callable
        Tells seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(rounds):
        for name in list(tasks) if number % 2 == 0 else reversed(list(tasks)):
            task = tasks[name]
            if number < task.rounds:
                task.prepare()
                start = clock()
                task.run()
                seconds[name].append(clock() - start)
    return seconds


def ratios(dividends: Sequence[float], divisors: Sequence[float]) -> list[float]:
    """Return the ratios of what was timed in the same rounds."""
    return [a / b for a, b in zip(dividends, divisors, strict=False) if b > 0]
