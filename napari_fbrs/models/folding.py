"""Batch norms taken into the convolutions beside them: the same network for prediction, with less to do.

Only for copies that predict: what is trained or saved keeps its batch norms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn


def gain(norm: nn.BatchNorm2d) -> Tensor:
    """Return what a batch norm multiplies each channel by when predicting, float64 on the CPU."""
    assert norm.running_var is not None
    return wide(norm.weight) / (wide(norm.running_var) + norm.eps).sqrt()


def wide(values: Tensor) -> Tensor:
    """Return values in float64 on the CPU: not every device knows it (Apple's GPU does not)."""
    return values.detach().cpu().double()


def narrow(values: Tensor, like: Tensor) -> Tensor:
    """Return values, on the CPU, in the dtype and the memory format of a weight, and on its device."""
    alike = values.shape == like.shape
    cast = torch.empty_like(like, device="cpu") if alike else torch.empty_like(values, dtype=like.dtype)
    return cast.copy_(values).to(like.device)


@torch.no_grad()
def scale_outputs(conv: nn.Conv2d, factors: Tensor) -> None:
    """Multiply each output channel of a convolution by a factor of `gain`, in place."""
    conv.weight.data = narrow(wide(conv.weight) * factors.reshape(-1, 1, 1, 1), conv.weight)
    if conv.bias is not None:
        conv.bias.data = narrow(wide(conv.bias) * factors, conv.bias)


@torch.no_grad()
def fold_batch_norms(network: nn.Module) -> None:
    """Take every batch norm that follows, or precedes, a convolution into it, in place.

    A norm follows a convolution in an `nn.Sequential`, or where a module calls them ``conv1`` and ``bn1``. One that
    precedes a convolution is taken into it if that has a 1x1 kernel and no norm of its own.
    """
    done: set[nn.Module] = set()
    for module in network.modules():
        for conv, norm in _pairs(module):
            if norm not in done:
                _into_before(conv, norm)
                done.add(norm)
    for module in network.modules():
        for norm, conv in _pairs_reversed(module):
            if norm not in done:
                _into_after(norm, conv)
                done.add(norm)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if child in done:
                setattr(parent, name, nn.Identity())


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    """Yield what sequences within sequences do, in order."""
    if isinstance(module, nn.Sequential):
        for child in module:
            yield from _leaves(child)
    else:
        yield module


def _pairs(module: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Yield each convolution of a module with the batch norm right after it."""
    steps = list(_leaves(module)) if isinstance(module, nn.Sequential) else []
    candidates = list(pairwise(steps))
    for name, child in module.named_children():
        numbered = re.fullmatch(r"conv(\d+)", name)
        norm = getattr(module, f"bn{numbered[1]}", None) if numbered else None
        if norm is not None:
            candidates.append((list(_leaves(child))[-1], norm))
    for conv, norm in candidates:
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            yield conv, norm


def _pairs_reversed(module: nn.Module) -> Iterator[tuple[nn.BatchNorm2d, nn.Conv2d]]:
    """Yield each batch norm of a sequence with the 1x1 convolution right after it."""
    steps = list(_leaves(module)) if isinstance(module, nn.Sequential) else []
    for norm, conv in pairwise(steps):
        if isinstance(norm, nn.BatchNorm2d) and isinstance(conv, nn.Conv2d) and conv.kernel_size == (1, 1):
            yield norm, conv


def _into_before(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    factors = gain(norm)
    scale_outputs(conv, factors)
    assert norm.running_mean is not None
    shift = wide(norm.bias) - wide(norm.running_mean) * factors
    bias = shift if conv.bias is None else wide(conv.bias) + shift
    conv.bias = nn.Parameter(narrow(bias, conv.weight), requires_grad=False)


def _into_after(norm: nn.BatchNorm2d, conv: nn.Conv2d) -> None:
    factors = gain(norm)
    assert norm.running_mean is not None
    shift = wide(norm.bias) - wide(norm.running_mean) * factors
    added = (wide(conv.weight) * shift.reshape(1, -1, 1, 1)).sum(dim=(1, 2, 3))
    bias = added if conv.bias is None else wide(conv.bias) + added
    conv.weight.data = narrow(wide(conv.weight) * factors.reshape(1, -1, 1, 1), conv.weight)
    conv.bias = nn.Parameter(narrow(bias, conv.weight), requires_grad=False)
