from __future__ import annotations

import math

import pytest

from napari_fbrs.evaluation.latency.timing import Spread, Task, alternate, ratios


class Clock:
    """Goes on only when somebody works."""

    def __init__(self) -> None:
        self.now, self.log = 0.0, []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: float) -> None:
        self.log.append(name)
        self.now += seconds


def test_tasks_take_turns_backwards_every_other_round():
    clock = Clock()
    tasks = {
        "a": Task(lambda: clock.work("a", 1)),
        "b": Task(lambda: clock.work("b", 2), lambda: clock.work("before b", 10)),
        "slow": Task(lambda: clock.work("slow", 30), rounds=1),
    }
    seconds = alternate(tasks, 2, clock)
    assert seconds == {"a": [1, 1], "b": [2, 2], "slow": [30]}  # without what came before
    assert clock.log == ["a", "before b", "b", "slow", "before b", "b", "a"]


def test_spread():
    assert Spread.of([4, 1, 2, 3, 5]) == Spread(3, 2, 4)
    assert math.isnan(Spread.of([]).median)


@pytest.mark.parametrize(("a", "b", "wanted"), [([2, 6], [1, 2], [2, 3]), ([2], [1, 2], [2]), ([1, 1], [0, 2], [0.5])])
def test_ratios_are_those_of_the_same_round(a, b, wanted):
    assert ratios(a, b) == wanted
