"""The mask so far, as networks with a guide are shown it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from napari_fbrs.inference.plane import Crop


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
        # Positions of the wanted pixels in units where this crop's corner pixels are -1 and 1.
        rows, columns = (
            (torch.linspace(a, b, n) - first) * (2 / max(last - first, 1)) - 1
            for a, b, n, first, last in (
                (crop.row_min, crop.row_max, size[0], self.crop.row_min, self.crop.row_max),
                (crop.column_min, crop.column_max, size[1], self.crop.column_min, self.crop.column_max),
            )
        )
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
        source = torch.from_numpy(self.probability)[None, None]
        sampled = functional.grid_sample(source, grid[None], padding_mode="zeros", align_corners=True)
        out: npt.NDArray[np.float32] = sampled[0, 0].numpy()
        return out
