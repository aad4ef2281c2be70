"""Stopping a network in the middle of a pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from napari_fbrs.errors import CancelledError


class Interruptible(TorchFunctionMode):
    """Within it, every convolution in this thread, and in no other, first asks whether to go on.

    They are what takes time; and none of them is what torch does to end a state (gradients, autocast) again.

    Parameters
    ----------
    cancelled : callable
        When it answers True, `CancelledError` is raised.
    """

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        super().__init__()
        self._cancelled = cancelled

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Do an operation, unless it has been called off."""
        if func is torch.conv2d:
            stop_if(self._cancelled)
        return func(*args, **(kwargs or {}))


def stop_if(cancelled: Callable[[], bool]) -> None:
    """Raise `CancelledError` where somebody has said so."""
    if cancelled():
        raise CancelledError("a newer click came")
