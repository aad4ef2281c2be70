"""Imported before torch: its worker threads sleep while they wait, and are no more than there are processors to use.

By default they spin, which on a busy machine makes two threads slower than one (several times, measured beside another
torch process); and in a container that may use two processors of sixty-four there would be sixty-four of them. What the
user has set is left alone; where torch is loaded already it is too late, and harmless.
"""

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of Linux: microseconds of processor time, and in how many


def processors(quota: Path = _QUOTA) -> int | None:
    """Return how many processors' time a container may use, at least 1; None where nothing limits it."""
    try:
        limit, period = quota.read_text().split()
        return max(1, int(limit) // int(period))
    except (OSError, ValueError):  # no such file, or "max"
        return None


os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
_allowed = processors()
if _allowed is not None and _allowed < (os.cpu_count() or 1):
    os.environ.setdefault("OMP_NUM_THREADS", str(_allowed))
