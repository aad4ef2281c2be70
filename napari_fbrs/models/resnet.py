"""Residual backbones, dilated to keep resolution (He et al. 2016; dilation as in METHOD section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn


class Dilation(NamedTuple):
    """Stride and dilation of one stage: the first block's first 3x3 may be dilated less than the rest."""

    stride: int
    first: int
    rest: int


def _conv3x3(inputs: int, outputs: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (ResNet-18 and -34)."""

    expansion = 1

    def __init__(
        self, inputs: int, width: int, stride: int, dilation: int, previous_dilation: int, shortcut: nn.Module | None
    ) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, width, stride, previous_dilation)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, 1, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, width, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        summed: Tensor = self.relu(self.bn2(self.conv2(out)) + shortcut)
        return summed


class Bottleneck(nn.Module):
    """1x1, 3x3 (carrying the stride) and 1x1 convolutions and a shortcut (ResNet-50 and -101)."""

    expansion = 4

    def __init__(
        self, inputs: int, width: int, stride: int, dilation: int, previous_dilation: int, shortcut: nn.Module | None
    ) -> None:
        super().__init__()
        del dilation  # the only 3x3 is the block's first
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, stride, previous_dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, 4 * width, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        summed: Tensor = self.relu(self.bn3(self.conv3(out)) + shortcut)
        return summed


_LAYERS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], Sequence[int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}
_DILATIONS = {
    8: (Dilation(1, 1, 1), Dilation(2, 1, 1), Dilation(1, 1, 2), Dilation(1, 2, 4)),
    16: (Dilation(1, 1, 1), Dilation(2, 1, 1), Dilation(2, 1, 1), Dilation(1, 1, 2)),
}
BACKBONES = tuple(_LAYERS)
OUTPUT_STRIDES = tuple(_DILATIONS)


class ResNet(nn.Module):
    """A residual network without its classifier.

    Parameters
    ----------
    name : {"resnet18", "resnet34", "resnet50", "resnet101"}
        Depth. The two deeper ones have three 3x3 convolutions for a stem ("v1s"), the others one 7x7.
    stages : {1, 2, 3, 4}
        How many of the four stages there are.
    output_stride : {8, 16}
        Pixels of the input per pixel of the last stage's output.
    """

    def __init__(self, name: str, stages: int = 4, output_stride: int = 8) -> None:
        super().__init__()
        block, counts = _LAYERS[name]
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        if block is Bottleneck:
            self.conv1: nn.Module = _deep_stem()
            inputs = 128
        else:
            self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
            inputs = 64
        self.bn1 = nn.BatchNorm2d(inputs)
        self.stem_channels = inputs
        self.stages = stages
        for index, (count, dilation) in enumerate(zip(counts, _DILATIONS[output_stride], strict=True)):
            if index == stages:
                break
            width = 64 * 2**index
            self.add_module(f"layer{index + 1}", residual_stage(block, inputs, width, count, dilation))
            inputs = width * block.expansion
        self.skip_channels = 64 * block.expansion
        self.channels = inputs

    def forward(self, x: Tensor, guide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the first stage's output (stride 4) and the last one's.

        Parameters
        ----------
        x : Tensor, shape (B, 3, H, W)
        guide : Tensor, shape (B, `stem_channels`, H/2, W/2), optional
            Added to the stem's output.

        Returns
        -------
        tuple of Tensor
            (B, `skip_channels`, H/4, W/4) and (B, `channels`, H/`output_stride`, W/`output_stride`).
        """
        x = self.conv1(x)
        if guide is not None:
            x = x + guide
        x = self.maxpool(self.relu(self.bn1(x)))
        first = x = self.get_submodule("layer1")(x)
        for index in range(2, self.stages + 1):
            x = self.get_submodule(f"layer{index}")(x)
        return first, x


def _deep_stem() -> nn.Sequential:
    return nn.Sequential(
        _conv3x3(3, 64, 2, 1),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        _conv3x3(64, 64, 1, 1),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        _conv3x3(64, 128, 1, 1),
    )


def residual_stage(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, width: int, count: int, dilation: Dilation
) -> nn.Sequential:
    """Return residual blocks in a row: (B, inputs, h, w) to (B, width * expansion, h / stride, w / stride).

    Parameters
    ----------
    block : type
        `BasicBlock` or `Bottleneck`.
    inputs, width : int
        Channels of what comes in, and within the blocks.
    count : int
        Number of blocks.
    dilation : Dilation
        Stride and dilation.
    """
    outputs = width * block.expansion
    shortcut = None
    if dilation.stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=dilation.stride, bias=False), nn.BatchNorm2d(outputs)
        )
    blocks = [block(inputs, width, dilation.stride, dilation.rest, dilation.first, shortcut)]
    blocks += [block(outputs, width, 1, dilation.rest, dilation.rest, None) for _ in range(count - 1)]
    return nn.Sequential(*blocks)
