"""How errors that say that memory has run out are told apart from defects."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import torch

from napari_fbrs.errors import MemoryShortageError

# What the messages of devices without an exception of their own have in common; all in lower case.
_TOLD = ("out of memory", "can't allocate memory", "not enough memory", "status_alloc_failed")


class Placed(Protocol):
    """What computes on a device."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""


P = ParamSpec("P")
R = TypeVar("R")
Self = TypeVar("Self", bound=Placed)


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that a device, or the machine, has no memory left."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(told in str(error).lower() for told in _TOLD)


def shortage(error: BaseException, device: torch.device) -> MemoryShortageError:
    """Return what is told of an error that is one."""
    reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
    memory = "the computer's memory" if device.type == "cpu" else f"the memory of the device {device}"
    way = "" if device.type == "cpu" else ", or compute on the CPU"
    return MemoryShortageError(f"{memory} has run out ({reason[0][:200]}): close what else takes it up{way}")


def tells_shortage(method: Callable[Concatenate[Self, P], R]) -> Callable[Concatenate[Self, P], R]:
    """Have a method raise `MemoryShortageError` where memory runs out."""

    def told(self: Self, /, *args: P.args, **options: P.kwargs) -> R:
        try:
            return method(self, *args, **options)
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
            found = shortage(error, self.device)
        raise found  # from here, so that it holds on to no tensor of the computation that has failed

    update_wrapper(told, method)
    return told
