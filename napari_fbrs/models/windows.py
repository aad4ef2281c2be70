"""A chain of convolutions run in a few windows of a feature map instead of all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

Decode = Callable[[Tensor, Tensor], Tensor]  # scale and bias to logits, shape (windows, 1, rows, columns)
Starts = npt.NDArray[np.int64]  # half of the batch, first row and first column of each window, shape (windows, 3)


def gather(x: Tensor, starts: Starts, side: tuple[int, int]) -> Tensor:
    """Return windows of a map, shape (windows, C, rows, columns) in the channels-last format.

    Parameters
    ----------
    x : Tensor, shape (B, C, h, w)
        The map.
    starts : ndarray of int, shape (windows, 3)
        Half of the batch, first row, first column.
    side : tuple of int
        Rows and columns of all windows; each lies within the map.
    """
    half, row, column = torch.from_numpy(starts).to(x.device).T
    rows = row[:, None] + torch.arange(side[0], device=x.device)
    columns = column[:, None] + torch.arange(side[1], device=x.device)
    windows = x.permute(0, 2, 3, 1)[half[:, None, None], rows[:, :, None], columns[:, None, :]]
    return windows.permute(0, 3, 1, 2)


class WindowedChain:
    """A depthwise 3x3 and a pointwise convolution, then more of both, for windows of a map.

    Each depthwise convolution needs a position more around what comes out of it, so a window shrinks from one to the
    next and nothing is computed that no one asks for. As in the whole map, what lies outside it is 0 to each of them.
    The first depthwise convolution is linear in scale and bias: it is done ahead of time, and they multiply the
    weights of the pointwise one after it instead of every position.

    Parameters
    ----------
    x : Tensor, shape (B, C, h, w)
        The map, before scale and bias.
    layers : sequence of Module
        In order. Depthwise ones are `nn.Conv2d` with as many groups as channels, 3x3, padding 1, without bias; all
        others act on each position for itself.
    starts, side : see `gather`
        The windows of what comes out.
    """

    def __init__(self, x: Tensor, layers: Sequence[nn.Module], starts: Starts, side: tuple[int, int]) -> None:
        first, second, *self._rest = layers
        assert isinstance(first, nn.Conv2d)
        assert isinstance(second, nn.Conv2d)
        assert is_depthwise(first)
        self._second, self._weight = second, _matrix(second)
        margin = sum(is_depthwise(layer) for layer in layers)
        wide = side[0] + 2 * margin, side[1] + 2 * margin
        frame = (margin,) * 4
        inside = gather(functional.pad(x.new_ones((1, 1, *x.shape[2:])), frame), starts * (0, 1, 1), wide)
        # Where every window lies inside the map there is nothing to blank out, and a bias is the same everywhere.
        self._inside = None if bool(inside.all()) else inside
        with torch.no_grad():
            seen = _valid(first, gather(functional.pad(x, frame), starts, wide))
            if self._inside is not None:
                seen = torch.cat((seen, _valid(first, inside.expand(-1, x.shape[1], -1, -1))), dim=1)
            self._shape = seen.shape[0], *seen.shape[2:]
            self._seen = seen.permute(0, 2, 3, 1).reshape(-1, seen.shape[1])
            self._sums = first.weight.sum(dim=(1, 2, 3))

    @property
    def positions(self) -> int:
        """Positions of the map that are computed with, those of two windows counted twice."""
        return len(self._seen)

    def __call__(self, scale: Tensor, bias: Tensor) -> Tensor:
        """Return what comes out of ``x * (1 + scale) + bias``, shape (windows, channels, rows, columns)."""
        x = self._modulated(scale, bias).reshape(*self._shape, -1).permute(0, 3, 1, 2)
        ring = 1
        for layer in self._rest:
            if is_depthwise(layer):
                assert isinstance(layer, nn.Conv2d)
                if self._inside is not None:
                    x = x * self._inside[:, :, ring:-ring, ring:-ring]
                x = _valid(layer, x)
                ring += 1
            else:
                x = layer(x)
        return x

    def _modulated(self, scale: Tensor, bias: Tensor) -> Tensor:
        """Return what comes out of the first pointwise convolution, shape (positions, channels)."""
        constant, weight = self._second.bias, self._weight * (1 + scale)
        if self._inside is not None:
            return functional.linear(self._seen, torch.cat((weight, self._weight * bias), dim=1), constant)
        moved = self._weight @ (self._sums * bias)
        return functional.linear(self._seen, weight, moved if constant is None else moved + constant)


def _matrix(conv: nn.Conv2d) -> Tensor:
    """Return the weights of a 1x1 convolution, shape (outputs, inputs)."""
    return conv.weight.flatten(1)


def is_depthwise(layer: nn.Module) -> bool:
    """Whether a layer is a convolution of each channel for itself."""
    return isinstance(layer, nn.Conv2d) and layer.groups > 1


def _valid(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve without a frame of zeros."""
    return functional.conv2d(x, layer.weight, groups=layer.groups)
