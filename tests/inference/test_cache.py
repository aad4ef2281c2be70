from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from napari_fbrs.inference.cache import ByteCache


@dataclass(frozen=True)
class Value:
    nbytes: int


BUDGET = 10
keys = st.integers(0, 5)
values = st.integers(0, BUDGET + 2).map(Value)


class CacheMachine(RuleBasedStateMachine):
    """The cache beside the plainest one there is."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = ByteCache(BUDGET)
        self.model: OrderedDict[int, Value] = OrderedDict()
        self.hits = self.misses = 0

    def put(self, key: int, value: Value) -> None:
        self.model.pop(key, None)
        if value.nbytes <= BUDGET:
            self.model[key] = value
        while sum(v.nbytes for v in self.model.values()) > BUDGET:
            self.model.popitem(last=False)

    @rule(key=keys, value=values)
    def put_value(self, key: int, value: Value) -> None:
        self.cache.put(key, value)
        self.put(key, value)

    @rule(key=keys, value=values)
    def get(self, key: int, value: Value) -> None:
        made: list[Value] = []
        found = self.cache.get(key, lambda: made.append(value) or value)
        if key in self.model:
            assert not made
            assert found is self.model[key]
            self.model.move_to_end(key)
            self.hits += 1
        else:
            assert made == [value]
            assert found is value
            self.put(key, value)
            self.misses += 1

    @rule(key=keys)
    def peek(self, key: int) -> None:
        assert self.cache.peek(key) is self.model.get(key)
        if key in self.model:
            self.model.move_to_end(key)

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.model.clear()

    @invariant()
    def within_the_budget(self) -> None:
        assert self.cache.nbytes == sum(v.nbytes for v in self.model.values()) <= BUDGET
        assert len(self.cache) == len(self.model)
        assert (self.cache.hits, self.cache.misses) == (self.hits, self.misses)


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(stateful_step_count=20)


def test_the_longest_unused_goes_first():
    cache = ByteCache(3)
    for key in "abc":
        cache.put(key, Value(1))
    cache.get("a", lambda: Value(1))
    cache.peek("b")
    cache.put("d", Value(1))
    assert cache.peek("c") is None
    assert all(cache.peek(key) for key in "abd")


def test_what_is_larger_than_the_budget_pushes_nothing_out():
    cache = ByteCache(3)
    cache.put("a", Value(3))
    assert cache.get("b", lambda: Value(4)) == Value(4)
    assert cache.peek("a")
    assert cache.peek("b") is None


@given(st.lists(st.tuples(keys, values), max_size=30))
def test_threads_agree_on_the_budget(work: list[tuple[int, Value]]):
    cache = ByteCache(BUDGET)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda item: cache.get(item[0], lambda: item[1]), work))
    assert all(value in {v for k, v in work if k == key} for (key, _), value in zip(work, found, strict=True))
    assert cache.nbytes <= BUDGET
    assert cache.hits + cache.misses == len(work)


def test_ten_thousand_planes_stay_within_the_budget():
    cache, most = ByteCache(1_000_000), 0
    for plane in range(10_000):
        for crop in range(2):
            cache.get((plane, crop), lambda: Value(3_000))
            cache.get((plane, crop), lambda: Value(3_000))
            most = max(most, cache.nbytes)
    assert 990_000 < most <= 1_000_000
    assert len(cache) == 333
    assert (cache.hits, cache.misses) == (20_000, 20_000)
