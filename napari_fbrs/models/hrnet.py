"""HRNetV2 with object-contextual representations (METHOD section 4; Wang et al. 2020, Yuan et al. 2020)."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_fbrs.models.folding import fold_batch_norms
from napari_fbrs.models.network import Cut, Features, InteractiveNetwork, modulate, resize
from napari_fbrs.models.resnet import BasicBlock, Bottleneck, Dilation, residual_stage

_STEM_CHANNELS = 64
_MAX_WIDTH = 256
_MAX_OCR = 1024


@dataclass(frozen=True)
class HRNetArchitecture:
    """Everything that decides the shapes and the computation of an `HRNet`.

    Parameters
    ----------
    width : int
        Channels of the branch of highest resolution (the first number in the published names: hrnet18); the other
        three have twice, four and eight times as many.
    ocr : int
        Key channels of the object attention (the second number: ocr64); its features have twice as many.
    small : bool
        Whether residual stages have 2 blocks instead of 4, and the last two stages a module less (hrnet18s).
    norm_radius : float
        Radius of the click maps, in input pixels.

    Raises
    ------
    ValueError
        If there is no such network.
    """

    width: int
    ocr: int
    small: bool = False
    norm_radius: float = 260.0

    def __post_init__(self) -> None:
        if not (isinstance(self.width, int) and 1 <= self.width <= _MAX_WIDTH):
            raise ValueError(f"a branch cannot have {self.width!r} channels")
        if not (isinstance(self.ocr, int) and 1 <= self.ocr <= _MAX_OCR):
            raise ValueError(f"an object attention cannot have {self.ocr!r} key channels")
        if not isinstance(self.small, bool):
            raise ValueError(f"a network is small or it is not, {self.small!r} is neither")  # noqa: TRY004
        if not (isinstance(self.norm_radius, int | float) and 0 < self.norm_radius < math.inf):
            raise ValueError(f"click maps cannot have a radius of {self.norm_radius!r}")

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Channels of the four branches, from the highest resolution to the lowest."""
        return self.width, 2 * self.width, 4 * self.width, 8 * self.width

    @property
    def blocks(self) -> int:
        """Residual blocks of the first stage, and of every branch of a module."""
        return 2 if self.small else 4

    @property
    def modules(self) -> tuple[int, int, int]:
        """Modules of the second, third and fourth stage."""
        return (1, 3, 2) if self.small else (1, 4, 3)

    def build(self) -> HRNet:
        """Return an untrained network of this architecture."""
        return HRNet(self)


class HRNet(InteractiveNetwork):
    """HRNetV2 + OCR whose end can be re-run from two places; cuts A and B are the same one.

    Parameters
    ----------
    architecture : HRNetArchitecture
        What to build.
    """

    def __init__(self, architecture: HRNetArchitecture) -> None:
        super().__init__(architecture.norm_radius)
        self.architecture = architecture
        self.feature_extractor = _FeatureExtractor(architecture)

    def channels(self, cut: Cut) -> int:
        """Return the number of channels at `cut`."""
        return 2 * self.architecture.ocr if cut is Cut.C else sum(self.architecture.widths)

    def features(self, mixed: Tensor, guide: Tensor | None, cut: Cut) -> Features:
        """Return the features at a cut; see `InteractiveNetwork.features`."""
        del guide  # there is none
        x = self.feature_extractor.join(mixed)
        if cut is Cut.C:
            x = self.feature_extractor.attend(x)
        return Features(x, (), cut, (mixed.shape[2], mixed.shape[3]))

    def reach(self, cut: Cut) -> int | None:
        """Return how far a logit's features lie: a 1x1 convolution, or an attention to the whole map, between."""
        return 0 if cut is Cut.C else None

    def folded(self) -> HRNet:
        """Return a copy for prediction, whose batch norms are in its convolutions."""
        network = copy.deepcopy(self)
        fold_batch_norms(network)
        return network.requires_grad_(False)

    def head_logits(self, features: Features, scale: Tensor | None, bias: Tensor | None) -> Tensor:
        """Return logits from features; see `InteractiveNetwork.head_logits`."""
        x = modulate(features.x, scale, bias)
        if features.cut is not Cut.C:
            x = self.feature_extractor.attend(x)
        out: Tensor = self.feature_extractor.cls_head(x)
        return out


class _FeatureExtractor(nn.Module):
    def __init__(self, architecture: HRNetArchitecture) -> None:
        super().__init__()
        widths, blocks, ocr = architecture.widths, architecture.blocks, architecture.ocr
        self.conv1 = nn.Conv2d(3, _STEM_CHANNELS, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM_CHANNELS)
        self.conv2 = nn.Conv2d(_STEM_CHANNELS, _STEM_CHANNELS, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(_STEM_CHANNELS)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = residual_stage(Bottleneck, _STEM_CHANNELS, _STEM_CHANNELS, blocks, Dilation(1, 1, 1))
        before: tuple[int, ...] = (_STEM_CHANNELS * Bottleneck.expansion,)
        for stage, modules in enumerate(architecture.modules, start=2):
            after = widths[:stage]
            self.add_module(f"transition{stage - 1}", _transition(before, after))
            self.add_module(f"stage{stage}", nn.Sequential(*(_Exchange(after, blocks) for _ in range(modules))))
            before = after
        joined = sum(widths)
        self.aux_head = nn.Sequential(
            nn.Conv2d(joined, joined, 1), nn.BatchNorm2d(joined), nn.ReLU(inplace=True), nn.Conv2d(joined, 1, 1)
        )
        self.conv3x3_ocr = nn.Sequential(
            nn.Conv2d(joined, 2 * ocr, 3, padding=1), nn.BatchNorm2d(2 * ocr), nn.ReLU(inplace=True)
        )
        self.ocr_distri_head = _Distribution(ocr)
        self.cls_head = nn.Conv2d(2 * ocr, 1, 1)

    def join(self, x: Tensor) -> Tensor:
        """Return the branches' output at stride 4, concatenated: (B, 3, H, W) to (B, 15 * width, H/4, W/4)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        streams = [self.layer1(x)]
        for stage in (2, 3, 4):
            transition = self.get_submodule(f"transition{stage - 1}")
            # Branches go on as they are; a new one begins from the last.
            streams = [module(streams[min(i, len(streams) - 1)]) for i, module in enumerate(transition.children())]
            streams = self.get_submodule(f"stage{stage}")(streams)
        size = (streams[0].shape[2], streams[0].shape[3])
        return torch.cat([resize(stream, size) for stream in streams], dim=1)

    def attend(self, x: Tensor) -> Tensor:
        """Return features that know the object's (Yuan et al. 2020, section 3.2): (B, 2 * ocr, h, w)."""
        likely = functional.softmax(self.aux_head(x).flatten(2), dim=2)
        pixels: Tensor = self.conv3x3_ocr(x)
        regions = torch.bmm(pixels.flatten(2), likely.transpose(1, 2))[..., None]
        out: Tensor = self.ocr_distri_head(pixels, regions)
        return out


class _Exchange(nn.Module):
    """Parallel branches of residual blocks, each of which then takes up what the others found."""

    def __init__(self, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(residual_stage(BasicBlock, w, w, blocks, Dilation(1, 1, 1)) for w in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_fusion(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, streams: Sequence[Tensor]) -> list[Tensor]:
        """Map branches (B, widths[i], h / 2^i, w / 2^i) to branches of the same shapes."""
        streams = [branch(x) for branch, x in zip(self.branches, streams, strict=True)]
        sizes = [(x.shape[2], x.shape[3]) for x in streams]
        return [
            self.relu(sum(resize(layer(x), size) for layer, x in zip(layers.children(), streams, strict=True)))
            for layers, size in zip(self.fuse_layers, sizes, strict=True)
        ]


class _Distribution(nn.Module):
    """Adds to every pixel's features those of the object."""

    def __init__(self, ocr: int) -> None:
        super().__init__()
        self.object_context_block = _Attention(ocr)
        self.conv_bn_dropout = nn.Sequential(
            nn.Conv2d(4 * ocr, 2 * ocr, 1, bias=False), _bn_relu(2 * ocr), nn.Dropout2d(0.05)
        )

    def forward(self, pixels: Tensor, regions: Tensor) -> Tensor:
        """Map (B, 2 * ocr, h, w) and (B, 2 * ocr, 1, 1) to (B, 2 * ocr, h, w)."""
        context = self.object_context_block(regions).expand(-1, -1, *pixels.shape[2:])
        out: Tensor = self.conv_bn_dropout(torch.cat((context, pixels), dim=1))
        return out


class _Attention(nn.Module):
    """Attention of pixels to object regions, of which there is one: the softmax over one object is 1 everywhere.

    What would compare pixels (`f_pixel`) with objects (`f_object`) is there for the files and decides nothing, so that
    every pixel's context is the same.
    """

    def __init__(self, ocr: int) -> None:
        super().__init__()
        self.f_pixel = nn.Sequential(*_conv_bn_relu(2 * ocr, ocr), *_conv_bn_relu(ocr, ocr))
        self.f_object = nn.Sequential(*_conv_bn_relu(2 * ocr, ocr), *_conv_bn_relu(ocr, ocr))
        self.f_down = nn.Sequential(*_conv_bn_relu(2 * ocr, ocr))
        self.f_up = nn.Sequential(*_conv_bn_relu(ocr, 2 * ocr))

    def forward(self, regions: Tensor) -> Tensor:
        """Map (B, 2 * ocr, 1, 1) to (B, 2 * ocr, 1, 1)."""
        out: Tensor = self.f_up(self.f_down(regions))
        return out


def _transition(before: Sequence[int], after: Sequence[int]) -> nn.ModuleList:
    """Return what brings branches to the widths of the next stage; a new one at half the resolution."""
    branches = nn.ModuleList()
    for index, width in enumerate(after):
        if index >= len(before):
            branches.append(nn.Sequential(_conv3x3(before[-1], width, stride=2)))
        elif before[index] != width:
            branches.append(_conv3x3(before[index], width, stride=1))
        else:
            branches.append(nn.Identity())
    return branches


def _fusion(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """Return what brings a branch to another's width, and to its resolution if that is lower."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(nn.Conv2d(widths[source], widths[target], 1, bias=False), nn.BatchNorm2d(widths[target]))
    steps = [_conv3x3(widths[source], widths[source], stride=2) for _ in range(source + 1, target)]
    return nn.Sequential(*steps, _conv3x3(widths[source], widths[target], stride=2)[:2])  # no ReLU before the sum


def _conv3x3(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _conv_bn_relu(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, 1, bias=False), _bn_relu(outputs)


def _bn_relu(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
