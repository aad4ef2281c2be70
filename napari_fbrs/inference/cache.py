"""Results kept while there is room for them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Protocol, TypeVar, cast


class Sized(Protocol):
    """What knows how much memory it holds."""

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""


T = TypeVar("T", bound=Sized)


class ByteCache:
    """The most recently used values whose sizes add up to at most a budget; safe to share between threads.

    Parameters
    ----------
    budget : int
        Bytes. A value larger than that is not kept.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._values: OrderedDict[Hashable, Sized] = OrderedDict()
        self._nbytes = 0
        self._lock = Lock()
        self.hits = 0
        self.misses = 0

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._nbytes

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of `key`, made now if it is not there."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                self.hits += 1
                return cast(T, self._values[key])
            self.misses += 1
        value = make()
        self.put(key, value)
        return value

    def peek(self, key: Hashable) -> Sized | None:
        """Return the value of `key`, or None; counts as a use but not as a hit or miss."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: Sized) -> None:
        """Keep `value`, and let go of the values longest unused until the budget is met."""
        with self._lock:
            old = self._values.pop(key, None)
            self._nbytes -= old.nbytes if old is not None else 0
            if value.nbytes > self.budget:
                return
            self._values[key] = value
            self._nbytes += value.nbytes
            while self._nbytes > self.budget:
                _, gone = self._values.popitem(last=False)
                self._nbytes -= gone.nbytes

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._values.clear()
            self._nbytes = 0
