"""The mask so far, as networks with a guide are shown it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from napari_fbrs.clicks import Click
from napari_fbrs.inference.plane import Crop

FAINT = 0.5  # strength at which a mask is shown that may be wrong: at full strength its errors would be kept


@dataclass(frozen=True)
class Implied:
    """A click that nobody has made: a mask that was there before the first one stands for it.

    Parameters
    ----------
    click : Click
        In the middle of the mask.
    reach : float
        Pixels; a negative click as near as that says that the middle is not on the object.
    """

    click: Click
    reach: float

    def before(self, clicks: Sequence[Click]) -> tuple[Click, ...]:
        """Return clicks with it in front of them, or without it where one of them says otherwise."""
        against = (click.pixels - self.click.pixel for click in clicks if not click.positive)
        denied = any((np.hypot(*offsets.T) <= self.reach).any() for offsets in against)
        return tuple(clicks) if denied else (self.click, *clicks)


@dataclass(frozen=True, eq=False)
class Prior:
    """Probabilities of a part of a plane; 0 outside it.

    Parameters
    ----------
    crop : Crop
        The part.
    probability : ndarray of float32, two axes
        In [0, 1], at any resolution; the corner pixels lie on those of the crop.
    """

    crop: Crop
    probability: npt.NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self.probability.nbytes

    @cached_property
    def token(self) -> bytes:
        """What tells it from others."""
        return hashlib.blake2b(repr(self.crop).encode() + self.probability.tobytes(), digest_size=16).digest()

    def seen(self, crop: Crop, size: tuple[int, int]) -> npt.NDArray[np.float32]:
        """Return the probabilities, float32, of another part of the plane.

        Parameters
        ----------
        crop : Crop
            The part.
        size : tuple of int
            Rows and columns wanted.
        """
        if crop == self.crop and size == self.probability.shape:
            return self.probability
        rows = torch.linspace(crop.row_min, crop.row_max, size[0])
        columns = torch.linspace(crop.column_min, crop.column_max, size[1])
        down = _relative(rows, self.crop.row_min, self.crop.row_max)
        across = _relative(columns, self.crop.column_min, self.crop.column_max)
        grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
        source = torch.from_numpy(self.probability)[None, None]
        sampled = functional.grid_sample(source, grid[None], padding_mode="zeros", align_corners=True)[0, 0]
        # Of a single row or column grid_sample takes the same everywhere, and knows no outside.
        if len(self.probability) == 1:
            sampled = sampled * _inside(rows, self.crop.row_min, self.crop.row_max)[:, None]
        if self.probability.shape[1] == 1:
            sampled = sampled * _inside(columns, self.crop.column_min, self.crop.column_max)
        out: npt.NDArray[np.float32] = sampled.numpy()
        return out


def _relative(positions: Tensor, first: int, last: int) -> Tensor:
    """Return positions in units where `first` is -1 and `last` is 1."""
    return (positions - first) * (2 / max(last - first, 1)) - 1


def _inside(positions: Tensor, first: int, last: int) -> Tensor:
    """Return 1 from `first` to `last`, and from there on less and less, down to 0 a pixel away."""
    return (1 - torch.maximum(first - positions, positions - last)).clamp(0, 1)
