"""How far long work is, on the standard error."""

from __future__ import annotations

import sys
import time

_PARTS = 20  # lines in a log, where nobody is looking


class Progress:
    """How far it is, and how long it may take.

    Parameters
    ----------
    total : int
        How much there is to do.
    what : str
        Of what, in the plural.
    logged : bool, optional
        Whether a line is written now and then where the standard error is no terminal; nothing is by default.
    """

    def __init__(self, total: int, what: str, *, logged: bool = False) -> None:
        self._total, self._what, self._logged = total, what, logged
        self._done, self._start = 0, time.monotonic()
        self._shown = sys.stderr.isatty()

    def step(self) -> None:
        """Count one that is finished."""
        self._done += 1
        left = (time.monotonic() - self._start) / self._done * (self._total - self._done)
        line = f"{self._done} of {self._total} {self._what}, {duration(left)} left"
        if self._shown:
            line = line if self._done < self._total else ""
            sys.stderr.write(f"\r{line:<60}" + ("" if line else "\r"))
            sys.stderr.flush()
        elif self._logged and self._is_due():
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    def say(self, line: str) -> None:
        """Write a line above."""
        sys.stderr.write(f"\r{line:<60}\n" if self._shown else f"{line}\n")
        sys.stderr.flush()

    def _is_due(self) -> bool:
        return self._done * _PARTS // self._total > (self._done - 1) * _PARTS // self._total


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
