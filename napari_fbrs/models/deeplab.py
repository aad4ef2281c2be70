"""DeepLabV3+ with distance-map fusion (METHOD section 3; Chen et al. 2018)."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from napari_fbrs.models.folding import fold_batch_norms, gain, scale_outputs
from napari_fbrs.models.guide import Guide, guiding_maps
from napari_fbrs.models.network import Cut, Features, InteractiveNetwork, modulate, resize
from napari_fbrs.models.prompts import Prompts
from napari_fbrs.models.resnet import BACKBONES, OUTPUT_STRIDES, ResNet
from napari_fbrs.models.windows import Decode, SeparableChain, Starts

_SKIP_CHANNELS = 32
_MAX_CHANNELS = 4096


@dataclass(frozen=True)
class DeepLabArchitecture:
    """Everything that decides the shapes and the computation of a `DeepLab`.

    Parameters
    ----------
    backbone : {"resnet18", "resnet34", "resnet50", "resnet101"}
        Residual network.
    channels : int
        Channels of the pyramid pooling and the decoder (the number in the published names: dh128).
    stages : {1, 2, 3, 4}
        Stages of the backbone.
    output_stride : {8, 16}
        Input pixels per pixel of the backbone's output.
    rates : tuple of int
        Dilations of the three 3x3 convolutions of the pyramid pooling.
    norm_radius : float
        Radius of the click maps, in input pixels.
    guided : bool
        Whether the clicks, as small disks, and the mask so far also enter at the stem (Sofiiuk et al. 2021); not so in
        the published models.
    late : bool
        Whether clicks and mask join the image's features after the backbone instead of before it (after SegNext, Liu
        et al. 2024): what the backbone makes of the image then holds for all clicks. Only where `guided`.

    Raises
    ------
    ValueError
        If there is no such network.
    """

    backbone: str
    channels: int = 128
    stages: int = 4
    output_stride: int = 8
    rates: tuple[int, int, int] = (12, 24, 36)
    norm_radius: float = 260.0
    guided: bool = False
    late: bool = False

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise ValueError(f"no backbone is called {self.backbone!r}, only {', '.join(BACKBONES)}")
        if self.stages not in range(1, 5) or self.output_stride not in OUTPUT_STRIDES:
            raise ValueError(f"no backbone has {self.stages!r} stages and an output stride of {self.output_stride!r}")
        if not (isinstance(self.channels, int) and 2 <= self.channels <= _MAX_CHANNELS):
            raise ValueError(f"a decoder cannot have {self.channels!r} channels")
        if self.late and not self.guided:
            raise ValueError("a network told of the clicks late is guided as well")
        if len(self.rates) != 3 or not all(isinstance(rate, int) and rate >= 1 for rate in self.rates):
            raise ValueError(f"dilations of the pyramid pooling must be three numbers, not {self.rates!r}")
        if not (isinstance(self.norm_radius, int | float) and 0 < self.norm_radius < math.inf):
            raise ValueError(f"click maps cannot have a radius of {self.norm_radius!r}")

    def build(self) -> DeepLab:
        """Return an untrained network of this architecture."""
        return DeepLab(self)


class DeepLab(InteractiveNetwork):
    """DeepLabV3+ whose decoder can be re-run from three places.

    Parameters
    ----------
    architecture : DeepLabArchitecture
        What to build.
    """

    def __init__(self, architecture: DeepLabArchitecture) -> None:
        super().__init__(architecture.norm_radius)
        self.architecture = architecture
        self.feature_extractor = _FeatureExtractor(architecture)
        self.head = _SeparableHead(architecture.channels)
        backbone, late = self.feature_extractor.backbone, architecture.late
        self.guide = Guide(backbone.stem_channels) if architecture.guided and not late else None
        self.prompts = Prompts(backbone.channels, _SKIP_CHANNELS, architecture.output_stride) if late else None
        if late:
            self.rgb_conv = nn.Sequential()  # nothing is mixed with the image
        self._chains: dict[Cut, SeparableChain] = {}  # where weights no longer change: of the folded copy

    @property
    def takes_prior(self) -> bool:
        """Whether `embed` makes use of a mask that is already there."""
        return self.architecture.guided

    def channels(self, cut: Cut) -> int:
        """Return the number of channels at `cut`."""
        decoder = self.architecture.channels
        return {Cut.A: self.feature_extractor.backbone.channels, Cut.B: decoder + _SKIP_CHANNELS, Cut.C: decoder}[cut]

    def guidance(self, points: Tensor, size: tuple[int, int], prior: Tensor | None) -> Tensor | None:
        """Return what is added to the stem's output, see `Guide`; or what `Prompts` makes use of."""
        if self.prompts is not None:
            return guiding_maps(points, size, prior)
        return self.guide(points, size, prior) if self.guide is not None else None

    def features(self, mixed: Tensor, guide: Tensor | None, cut: Cut) -> Features:
        """Return the features at a cut; see `InteractiveNetwork.features`."""
        size = (mixed.shape[2], mixed.shape[3])
        skip, x = self._early(mixed, guide) if self.prompts is None else self._late(mixed, guide)
        if cut is Cut.A:
            return Features(x, (skip,), cut, size)
        x = self.feature_extractor.pool(x, skip)
        if cut is Cut.C:
            x = self.feature_extractor.head(x)
        return Features(x, (), cut, size)

    def _early(self, mixed: Tensor, guide: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return what passes by the pyramid pooling and what enters it, where the backbone sees the clicks."""
        first, x = self.feature_extractor.backbone(mixed, guide)
        return self.feature_extractor.skip_project(first), x

    def _late(self, image_and_maps: Tensor, guide: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the same, where it sees the image alone."""
        assert self.prompts is not None
        assert guide is not None
        image, maps = image_and_maps[:, :3], image_and_maps[:, 3:]
        first, x = self.feature_extractor.backbone(image)
        skip = self.feature_extractor.skip_project(first)
        joined: tuple[Tensor, Tensor] = self.prompts(skip, x, torch.cat((maps, guide), dim=1))
        return joined

    def reach(self, cut: Cut) -> int | None:
        """Return how far a logit's features lie: a position for each 3x3 convolution between."""
        return {Cut.B: 4, Cut.C: 2}.get(cut)

    def near(self, features: Features, starts: Starts, side: tuple[int, int]) -> Decode:
        """Return what gives the logits in some windows of the map alone; see `InteractiveNetwork.near`."""
        features = self.ahead(features)
        return self._chain(features.cut).near(features.x, starts, side)

    def ahead(self, features: Features) -> Features:
        """Return features with the first depthwise convolution done; see `InteractiveNetwork.ahead`."""
        if features.ahead or self.reach(features.cut) is None:
            return features
        return replace(features, x=self._chain(features.cut).ahead(features.x), ahead=True)

    def _chain(self, cut: Cut) -> SeparableChain:
        """Return what follows a cut in the decoder."""
        return self._chains.get(cut) or self._new_chain(cut)

    def _new_chain(self, cut: Cut) -> SeparableChain:
        first = [] if cut is Cut.C else self.feature_extractor.head.chain()
        return SeparableChain([*first, *self.head.chain()])

    def folded(self) -> DeepLab:
        """Return a copy for prediction, whose batch norms are in its convolutions."""
        network = copy.deepcopy(self)
        if network.guide is not None:  # it joins in before the stem's norm
            scale_outputs(network.guide.project, gain(network.feature_extractor.backbone.bn1))
        fold_batch_norms(network)
        network.requires_grad_(False)
        network._chains = {cut: network._new_chain(cut) for cut in (Cut.B, Cut.C)}
        return network

    def head_logits(self, features: Features, scale: Tensor | None, bias: Tensor | None) -> Tensor:
        """Return logits from features; see `InteractiveNetwork.head_logits`."""
        if features.ahead:
            return self._chain(features.cut).whole(features.x, scale, bias)
        x = modulate(features.x, scale, bias)
        if features.cut is Cut.A:
            x = self.feature_extractor.pool(x, *features.aside)
        if features.cut is not Cut.C:
            x = self.feature_extractor.head(x)
        out: Tensor = self.head(x)
        return out


class _FeatureExtractor(nn.Module):
    def __init__(self, architecture: DeepLabArchitecture) -> None:
        super().__init__()
        channels = architecture.channels
        self.backbone = ResNet(architecture.backbone, architecture.stages, architecture.output_stride)
        self.aspp = _PyramidPooling(self.backbone.channels, channels, architecture.rates)
        self.skip_project = _SkipProject(self.backbone.skip_channels)
        self.head = _DecoderHead(channels)

    def pool(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return pyramid-pooled features at the skip connection's resolution, joined with it."""
        pooled = resize(self.aspp(x), (skip.shape[2], skip.shape[3]))
        return torch.cat((pooled, skip), dim=1)


class _SkipProject(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.skip_project = _conv_bn_relu(inputs, _SKIP_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.skip_project(x)
        return out


class _PyramidPooling(nn.Module):
    """Atrous spatial pyramid pooling; `concurent` is spelled as in the published files."""

    def __init__(self, inputs: int, channels: int, rates: tuple[int, int, int]) -> None:
        super().__init__()
        branches: list[nn.Module] = [_conv_bn_relu(inputs, channels)]
        branches += [_conv_bn_relu(inputs, channels, 3, rate) for rate in rates]
        branches.append(_GlobalPooling(inputs, channels))
        self.concurent = nn.ModuleList(branches)
        self.project = nn.Sequential(*_conv_bn_relu(len(branches) * channels, channels), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(torch.cat([branch(x) for branch in self.concurent], dim=1))
        return out


class _GlobalPooling(nn.Module):
    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.gap = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_conv_bn_relu(inputs, channels))

    def forward(self, x: Tensor) -> Tensor:
        # Interpolating one pixel repeats it.
        out: Tensor = self.gap(x)
        return out.expand(-1, -1, *x.shape[2:])


class _DecoderHead(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            _Separable(channels + _SKIP_CHANNELS, channels),
            _Separable(channels, channels),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        return out

    def chain(self) -> list[nn.Module]:
        """Return what it does, one after the other."""
        return _chain(self.block)


class _SeparableHead(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.layers = nn.Sequential(_Separable(channels, half), _Separable(half, half), nn.Conv2d(half, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out

    def chain(self) -> list[nn.Module]:
        """Return what it does, one after the other."""
        return _chain(self.layers)


def _chain(layers: nn.Sequential) -> list[nn.Module]:
    """Return single layers, those within separable convolutions too."""
    return [step for layer in layers for step in (layer.body if isinstance(layer, _Separable) else [layer])]


class _Separable(nn.Module):
    """Depthwise 3x3, pointwise 1x1, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out


def _conv_bn_relu(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation if kernel == 3 else 0
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
