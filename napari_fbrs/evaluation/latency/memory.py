"""How much memory something takes at its peak, where the system tells."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"  # see proc(5)


def peak_bytes(run: Callable[[], object], device: torch.device) -> int | None:
    """Return by how much memory in use grew at most while something ran; on a GPU, the GPU's. None: cannot be told."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    try:
        _give_back()
        _RESET.write_text(_FORGET_PEAK)
        before = _from_status("VmRSS")
        run()
        return max(0, _from_status("VmHWM") - before)
    except OSError:
        return None


def _give_back() -> None:
    """Have the C library return what it holds but does not use, which would hide what is taken now."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)


def _from_status(field: str) -> int:
    """Return a size that Linux tells of this process, in bytes."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return 1024 * int(line.split()[1])
