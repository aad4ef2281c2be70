"""Clicks and mask so far as dense maps that join an image's features (after SegNext, Liu et al. 2024)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from napari_fbrs.models.resnet import BasicBlock, Dilation, residual_stage

_MAPS = 5  # distances to positive and negative clicks, disks of both, the mask so far
_WIDTHS = (32, 64)  # at strides 2 and 4
_DEEP = 128
_SKIP_STRIDE = 4


class Prompts(nn.Module):
    """Joins what the user said with what a backbone made of the image, at two resolutions.

    Parameters
    ----------
    channels : int
        Of the backbone's output.
    skip_channels : int
        Of the features at stride 4 that pass the backbone's deeper stages by.
    stride : {8, 16}
        Input pixels per pixel of the backbone's output.
    """

    def __init__(self, channels: int, skip_channels: int, stride: int) -> None:
        super().__init__()
        first, second = _WIDTHS
        self.stem = nn.Sequential(*_halved(_MAPS, first), *_halved(first, second))
        self.near = nn.Conv2d(second, skip_channels, 1)
        deep = [_DEEP] * round(math.log2(stride // _SKIP_STRIDE))
        steps = [
            step for inputs, outputs in zip([second, *deep], deep, strict=False) for step in _halved(inputs, outputs)
        ]
        self.far = nn.Sequential(*steps, nn.Conv2d(_DEEP, channels, 1))
        self.joint = residual_stage(BasicBlock, channels, channels, 2, Dilation(1, 1, 1))

    def forward(self, skip: Tensor, x: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return both features with the clicks in them.

        Parameters
        ----------
        skip : Tensor, shape (B, `skip_channels`, H/4, W/4)
        x : Tensor, shape (B, `channels`, H/`stride`, W/`stride`)
        maps : Tensor, shape (B, 5, H, W)
            Click maps, disks and the mask so far.

        Returns
        -------
        tuple of Tensor
            As `skip` and `x`.
        """
        told = self.stem(maps)
        return skip + self.near(told), self.joint(x + self.far(told))


def _halved(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    """Return layers that halve the resolution; odd sizes are rounded up, as a backbone does."""
    return (
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
