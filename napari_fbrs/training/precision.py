"""On what, and in which number format, a network is trained."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_fbrs.errors import InputError
from napari_fbrs.models.precision import fast_bfloat16
from napari_fbrs.models.zoo import choose_device


@dataclass(frozen=True)
class Precision:
    """Device and number format of a run.

    Parameters
    ----------
    device : torch.device
        Where.
    mixed : bool
        Whether convolutions compute in bfloat16.
    """

    device: torch.device
    mixed: bool

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which to run the network."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.mixed)

    def image(self, image: Tensor) -> Tensor:
        """Return 8-bit images on the device, in [0, 1], channels last in memory."""
        on_device = image.to(self.device, non_blocking=True).float().div_(255)
        return on_device.contiguous(memory_format=torch.channels_last)

    def prior(self, prior: Tensor) -> Tensor:
        """Return 8-bit probabilities, shape (B, H, W), on the device, in [0, 1], shape (B, 1, H, W)."""
        return prior.to(self.device, non_blocking=True)[:, None].float().div_(255)


def choose_precision(device: str, precision: str) -> Precision:
    """Return what ``TrainingConfig.device`` and ``TrainingConfig.precision`` ask for.

    Raises
    ------
    InputError
        If there is no such device or format.
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise InputError(f"precision is auto, float32 or bfloat16, not {precision!r}")
    chosen = choose_device(device)
    return Precision(chosen, precision == "bfloat16" or (precision == "auto" and fast_bfloat16(chosen)))
