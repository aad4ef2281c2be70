"""A chain of separable convolutions that a scale and a bias go into: on a whole feature map, or in a few windows of it.

What comes out of the first depthwise convolution is linear in scale and bias. So it is done once for all (`ahead`), and
they multiply the weights of the pointwise convolution after it, not every position. In windows the gradient is derived
by hand: at such sizes autograd would spend more time on keeping its books than on the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_fbrs.models.folding import gain, narrow, wide

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


@dataclass(frozen=True)
class Layer:
    """A pointwise convolution, with what goes before and after it.

    Parameters
    ----------
    depthwise : Tensor, shape (inputs, 1, 3, 3), or None
        Of the convolution of each channel for itself that precedes it, padded with zeros.
    weight : Tensor, shape (outputs, inputs)
        With the gain of a batch norm in it.
    bias : Tensor, shape (outputs,)
        With the shift of a batch norm in it.
    relu : bool
        Whether negative values become 0.
    """

    depthwise: Tensor | None
    weight: Tensor
    bias: Tensor
    relu: bool


def layers_of(modules: Iterable[nn.Module]) -> tuple[Layer, ...]:
    """Return the layers that modules are, one after the other.

    Parameters
    ----------
    modules : iterable of Module
        Convolutions without stride: 3x3 with as many groups as channels, padding 1 and no bias, or 1x1. A 1x1 one may
        be followed by a batch norm, and by a ReLU.
    """
    steps = [module for module in modules if not isinstance(module, nn.Identity)]
    starts = [i for i, step in enumerate(steps) if is_depthwise(step) or _begins(steps, i)]
    return tuple(_layer(steps[first:last]) for first, last in pairwise([*starts, len(steps)]))


def _begins(steps: Sequence[nn.Module], position: int) -> bool:
    """Return whether a pointwise convolution stands alone."""
    return isinstance(steps[position], nn.Conv2d) and not (position and is_depthwise(steps[position - 1]))


def _layer(steps: Sequence[nn.Module]) -> Layer:
    first, *rest = steps
    assert isinstance(first, nn.Conv2d)
    depthwise = first.weight.detach() if is_depthwise(first) else None
    pointwise, *rest = rest if is_depthwise(first) else steps
    assert isinstance(pointwise, nn.Conv2d)
    assert pointwise.kernel_size == (1, 1)
    weight = pointwise.weight.detach().flatten(1)
    bias = weight.new_zeros(len(weight)) if pointwise.bias is None else pointwise.bias.detach()
    if rest and isinstance(rest[0], nn.BatchNorm2d):
        norm, *rest = rest
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        factors = gain(norm)
        bias = narrow((wide(bias) - wide(norm.running_mean)) * factors + wide(norm.bias), weight)
        weight = narrow(wide(weight) * factors[:, None], weight)
    assert all(isinstance(step, nn.ReLU) for step in rest)
    return Layer(depthwise, weight, bias, bool(rest))


class SeparableChain:
    """Separable convolutions, the first of which takes ``x * (1 + scale) + bias``.

    Parameters
    ----------
    modules : iterable of Module
        See `layers_of`; the first is a depthwise convolution.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self.layers = layers_of(modules)
        first = self.layers[0].depthwise
        assert first is not None
        self.first: Tensor = first

    @property
    def margin(self) -> int:
        """How far, in positions, what decides a position of the output lies from it."""
        return sum(layer.depthwise is not None for layer in self.layers)

    @torch.no_grad()
    def ahead(self, x: Tensor) -> Tensor:
        """Return what the first depthwise convolution makes of a map, shape and dtype as `x`, channels last."""
        seen = functional.conv2d(x, self.first.to(x.dtype), padding=1, groups=len(self.first))
        return seen.contiguous(memory_format=torch.channels_last)

    def moves(self, maps: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return what the first depthwise convolution makes of ones, by kind of position, and each position's kind.

        What lies outside a map is 0, so it is less at the border.

        Returns
        -------
        tuple of Tensor
            Shapes (kinds, channels) and (h, w), of int64.
        """
        rows, columns = (_taken(extent).to(self.first) for extent in maps)
        ones = torch.einsum("ia,cab,jb->ijc", rows, self.first[:, 0], columns).flatten(0, 1)
        row, column = (_kinds(extent, self.first.device) for extent in maps)
        return ones, row[:, None] * len(columns) + column

    def whole(self, seen: Tensor, scale: Tensor | None, bias: Tensor | None) -> Tensor:
        """Return what comes out for a whole map, computed in the map's own dtype; in the weights' own dtype.

        Parameters
        ----------
        seen : Tensor, shape (B, C, h, w)
            From `ahead`.
        scale, bias : Tensor, shape (C,), optional
            None: zeros.

        Returns
        -------
        Tensor, shape (B, outputs, h, w)
        """
        dtype, maps = seen.dtype, (seen.shape[2], seen.shape[3])
        first, *rest = self.layers
        weight = first.weight if scale is None else first.weight * (1 + scale)
        ones, kinds = self.moves(maps)
        added = first.bias.expand(len(ones), -1) if bias is None else (ones * bias) @ first.weight.T + first.bias
        within = added[kinds[maps[0] // 2, maps[1] // 2]]
        x = functional.linear(seen.permute(0, 2, 3, 1), weight.to(dtype), within.to(dtype))
        border = (added - within).to(dtype)
        x[:, [0, -1]] += border[kinds[[0, -1]]]
        x[:, 1:-1, [0, -1]] += border[kinds[1:-1, [0, -1]]]
        x = _rectified(first, x)
        for layer in rest:
            if layer.depthwise is not None:
                x = _convolved(x, layer.depthwise.to(dtype), 1)
            if layer is rest[-1]:  # what comes out at the end is not rounded
                dtype = layer.weight.dtype
            x = _rectified(layer, functional.linear(x.to(dtype), layer.weight.to(dtype), layer.bias.to(dtype)))
        return x.permute(0, 3, 1, 2)

    def near(self, seen: Tensor, starts: Starts, side: tuple[int, int]) -> WindowedChain:
        """Return the chain for some windows of a map alone.

        Parameters
        ----------
        seen : Tensor, shape (B, C, h, w)
            From `ahead`.
        starts, side : see `gather`
            The windows of what comes out.
        """
        return WindowedChain(self, seen, starts, side)


class WindowedChain:
    """A chain in windows of a map, with its gradient; see `SeparableChain.near`.

    Each depthwise convolution needs a position more around what comes out of it, so a window shrinks from one to the
    next and nothing is computed that no one asks for. As in the whole map, what lies outside it is 0 to each of them.
    """

    def __init__(self, chain: SeparableChain, seen: Tensor, starts: Starts, side: tuple[int, int]) -> None:
        self._layers = chain.layers
        self._turned = [None if layer.depthwise is None else layer.depthwise.flip(2, 3) for layer in chain.layers]
        maps = (seen.shape[2], seen.shape[3])
        self._ones, kinds = chain.moves(maps)
        margin = chain.margin - 1  # the first one has been done
        half, rows, columns = _places(starts, side, margin, seen.device)
        inside = _within(rows, maps[0])[:, :, None] & _within(columns, maps[1])[:, None, :]
        rows, columns = rows.clamp(0, maps[0] - 1)[:, :, None], columns.clamp(0, maps[1] - 1)[:, None, :]
        windows = seen.permute(0, 2, 3, 1)[half[:, None, None], rows, columns]
        self._shape = windows.shape[:3]
        kind = functional.one_hot(kinds[rows, columns], len(self._ones))
        dtype = self._layers[0].weight.dtype
        # A bias adds what depends on the kind of a position alone; outside the map there is nothing of any kind.
        told = torch.cat((windows.to(dtype), kind.to(dtype)), dim=3)
        # Where every window lies inside the map there is nothing to blank out.
        self._inside = None if bool(inside.all()) else inside[..., None].to(dtype)
        if self._inside is not None:
            told *= self._inside
        self._told = told.flatten(0, 2)

    @property
    def positions(self) -> int:
        """Positions of the map that are computed with, those of two windows counted twice."""
        return len(self._told)

    def __call__(self, scale: Tensor, bias: Tensor) -> Tensor:
        """Return what comes out of ``x * (1 + scale) + bias``, shape (windows, outputs, rows, columns)."""
        out: Tensor = _Windows.apply(scale, bias, self)  # type: ignore[no-untyped-call]
        return out

    def forward(self, scale: Tensor, bias: Tensor) -> list[Tensor]:
        """Return what comes out of each layer, shapes (windows, rows, columns, channels)."""
        first = self._layers[0]
        added = (self._ones * bias) @ first.weight.T + first.bias
        x = functional.linear(self._told, torch.cat((first.weight * (1 + scale), added.T), dim=1))
        done = [_rectified(first, x.view(*self._shape, -1))]
        for number, layer in self._rest():
            x = done[-1]
            if layer.depthwise is not None:
                x = _convolved(x if number == 1 else self._blanked(x), layer.depthwise, 0)
            done.append(_rectified(layer, functional.linear(x, layer.weight, layer.bias)))
        return done

    def backward(self, done: Sequence[Tensor], gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient in scale and in bias.

        Parameters
        ----------
        done : sequence of Tensor
            From `forward`.
        gradient : Tensor, shape (windows, rows, columns, outputs)
            In what comes out.
        """
        scale, bias = self.slopes(done, gradient)
        return scale.sum(dim=0), bias.sum(dim=0)

    def slopes(self, done: Sequence[Tensor], gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient of each window for itself, shapes (windows, channels); see `backward`."""
        weight = self._layers[0].weight
        inputs = self._first_gradient(done, gradient).flatten(1, 2) @ weight
        told = self._told.view(*inputs.shape[:2], -1)
        seen, kinds = told[..., : weight.shape[1]], told[..., weight.shape[1] :]
        return (inputs * seen).sum(dim=1), (kinds.transpose(1, 2) @ inputs * self._ones).sum(dim=1)

    def _first_gradient(self, done: Sequence[Tensor], gradient: Tensor) -> Tensor:
        """Return the gradient in what the first pointwise convolution gives."""
        for number, layer in reversed(list(self._rest())):
            gradient = _through(layer, done[number], gradient) @ layer.weight
            turned = self._turned[number]
            if turned is not None:
                gradient = _convolved(gradient, turned, 2)
                gradient = gradient if number == 1 else self._blanked(gradient)
        return _through(self._layers[0], done[0], gradient)

    def _rest(self) -> Iterator[tuple[int, Layer]]:
        return enumerate(self._layers[1:], 1)

    def _blanked(self, x: Tensor) -> Tensor:
        """Return windows with zeros where they lie outside the map."""
        if self._inside is None:
            return x
        ring = (self._shape[1] - x.shape[1]) // 2
        return x * self._inside[:, ring : ring + x.shape[1], ring : ring + x.shape[2]]


class _Windows(torch.autograd.Function):
    """A chain in windows, for autograd."""

    @staticmethod
    def forward(ctx: Any, scale: Tensor, bias: Tensor, chain: WindowedChain) -> Tensor:
        ctx.chain, ctx.done = chain, chain.forward(scale, bias)
        out: Tensor = ctx.done[-1].permute(0, 3, 1, 2)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        return *ctx.chain.backward(ctx.done, gradients[0].permute(0, 2, 3, 1)), None


def _kinds(extent: int, device: torch.device) -> Tensor:
    """Return 0 for the first position, 2 for the last and 1 between (of two: 0 and 1), int64."""
    kinds = torch.ones(extent, dtype=torch.int64, device=device)
    kinds[-1] = min(extent, 3) - 1
    kinds[0] = 0
    return kinds


def _taken(extent: int) -> Tensor:
    """Return which of three taps lie inside at each kind of position."""
    before, after = torch.tensor([[0.0, 1, 1]]), torch.tensor([[1.0, 1, 0]])
    kinds = before * after if extent == 1 else torch.cat((before, after))
    return kinds if extent < 3 else torch.cat((before, torch.ones((1, 3)), after))


def _places(starts: Starts, side: tuple[int, int], margin: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the half of each window, and its rows and columns, shape (windows, side + 2 * margin)."""
    half, row, column = torch.from_numpy(starts).to(device).T
    rows, columns = (torch.arange(-margin, extent + margin, device=device) for extent in side)
    return half, row[:, None] + rows, column[:, None] + columns


def _within(positions: Tensor, extent: int) -> Tensor:
    return (positions >= 0) & (positions < extent)


def _rectified(layer: Layer, x: Tensor) -> Tensor:
    """Return what a layer's ReLU makes of what its pointwise convolution gave; in place."""
    return x.relu_() if layer.relu else x


def _through(layer: Layer, done: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient before a layer's ReLU from that after it."""
    return torch.ops.aten.threshold_backward(gradient, done, 0) if layer.relu else gradient


def _convolved(x: Tensor, depthwise: Tensor, padding: int) -> Tensor:
    """Return what a depthwise convolution makes of maps, shape (B, rows, columns, channels)."""
    out = functional.conv2d(x.permute(0, 3, 1, 2), depthwise, padding=padding, groups=len(depthwise))
    return out.permute(0, 2, 3, 1).contiguous()


def is_depthwise(layer: nn.Module) -> bool:
    """Whether a layer is a convolution of each channel for itself."""
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
