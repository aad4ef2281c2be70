"""What every network offers: features of an image and its clicks, and logits decoded from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_fbrs.models.distance_maps import DistanceMaps
from napari_fbrs.models.windows import Decode, Starts, gather

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class Cut(Enum):
    """Where a network is divided into `embed` and `decode` (METHOD section 5)."""

    RGB = "RGB"
    MAPS = "DistMap"
    A = "A"
    B = "B"
    C = "C"

    @property
    def is_input(self) -> bool:
        """Whether it lies before the network: the variables are a bias of every pixel, and there is no scale."""
        return self in (Cut.RGB, Cut.MAPS)


@dataclass(frozen=True)
class Features:
    """What `embed` hands to `decode`.

    Parameters
    ----------
    x : Tensor, shape (B, channels, h, w)
        The features that scale and bias act on.
    aside : tuple of Tensor
        What goes around the cut (the skip connection of cut A, the rest of the input of an input cut).
    cut : Cut
        Where they were taken.
    size : tuple of int
        Rows and columns of the network's input, and of the logits.
    ahead : bool
        Whether what is linear in scale and bias has been done with `x`; see `InteractiveNetwork.ahead`.
    """

    x: Tensor
    aside: tuple[Tensor, ...]
    cut: Cut
    size: tuple[int, int]
    ahead: bool = False

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(tensor.nbytes for tensor in (self.x, *self.aside))

    @property
    def unmirrored(self) -> Features:
        """The first half of the batch: without that of the mirror image."""
        return self.only(0)

    def only(self, position: int) -> Features:
        """Return the features of one image of the batch."""
        chosen = slice(position, position + 1)
        return replace(self, x=self.x[chosen], aside=tuple(tensor[chosen] for tensor in self.aside))

    def followed_by(self, other: Features) -> Features:
        """Return features with those of other images, taken at the same cut, behind them in the batch."""
        aside = tuple(torch.cat(pair) for pair in zip(self.aside, other.aside, strict=True))
        return replace(self, x=torch.cat((self.x, other.x)), aside=aside)


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return `x` (B, C, h, w) interpolated bilinearly to `size`, corners on corners."""
    if x.shape[-2:] == size:
        return x
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=True)


class InteractiveNetwork(nn.Module, ABC):
    """A segmentation network that is told clicks, divided at a cut of choice.

    Parameters
    ----------
    norm_radius : float
        Radius of the click maps in pixels of the network's input.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, norm_radius: float) -> None:
        super().__init__()
        self.dist_maps = DistanceMaps(norm_radius)
        self.rgb_conv = nn.Sequential(nn.Conv2d(5, 8, 1), nn.LeakyReLU(0.2), nn.BatchNorm2d(8), nn.Conv2d(8, 3, 1))
        # No file holds them: they have values even in a network built without ("meta"), for a file's to be put in.
        self.register_buffer("mean", torch.tensor(_MEAN, device="cpu").reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD, device="cpu").reshape(1, 3, 1, 1), persistent=False)

    @property
    def takes_prior(self) -> bool:
        """Whether `embed` makes use of a mask that is already there."""
        return False

    @abstractmethod
    def channels(self, cut: Cut) -> int:
        """Return the number of channels at a cut inside the network: scale and bias have that many entries each."""

    @abstractmethod
    def features(self, mixed: Tensor, guide: Tensor | None, cut: Cut) -> Features:
        """Return the features at a cut inside the network.

        Parameters
        ----------
        mixed : Tensor, shape (B, 3, H, W)
            The backbone's input: image and click maps mixed.
        guide : Tensor or None
            From `guidance`.
        cut : Cut
            Where to stop.
        """

    @abstractmethod
    def head_logits(self, features: Features, scale: Tensor | None, bias: Tensor | None) -> Tensor:
        """Return logits, shape (B, 1, h, w), from features of a cut inside the network, at their resolution."""

    def guidance(self, points: Tensor, size: tuple[int, int], prior: Tensor | None) -> Tensor | None:
        """Return what else the backbone is told of the clicks and the mask so far; None: nothing."""
        del points, size, prior
        return None

    def embed(self, image: Tensor, points: Tensor, cut: Cut = Cut.B, prior: Tensor | None = None) -> Features:
        """Return the features at `cut`: the expensive part.

        Parameters
        ----------
        image : Tensor, shape (B, 3, H, W)
            RGB in [0, 1].
        points : Tensor, shape (B, 2N, 2)
            Clicks as `napari_fbrs.clicks.network_points` gives them.
        cut : Cut, optional
            Where to stop.
        prior : Tensor, shape (B, 1, H, W), optional
            The object's probability so far, in [0, 1]; None: nothing is known of it. Without `takes_prior` it changes
            nothing.
        """
        size = (image.shape[2], image.shape[3])
        normalised = (image - self.mean) / self.std
        maps = self.dist_maps(points, size).to(image.dtype)
        guide = self.guidance(points, size, prior)
        if not cut.is_input:
            return self.features(self._mixed(normalised, maps), guide, cut)
        x, other = (normalised, maps) if cut is Cut.RGB else (maps, normalised)
        return Features(x, (other,) if guide is None else (other, guide), cut, size)

    def logits(self, features: Features, scale: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Return logits, shape (B, 1, h, w), at the features' resolution; see `decode`."""
        if not features.cut.is_input:
            return self.head_logits(features, scale, bias)
        x = features.x if bias is None else features.x + bias
        other, *guide = features.aside
        image, maps = (x, other) if features.cut is Cut.RGB else (other, x)
        inside = self.features(self._mixed(image, maps), guide[0] if guide else None, Cut.C)
        return self.head_logits(inside, None, None)

    def _mixed(self, image: Tensor, maps: Tensor) -> Tensor:
        """Return the backbone's input: image and click maps mixed by two 1x1 convolutions."""
        mixed: Tensor = self.rgb_conv(torch.cat((image, maps), dim=1))
        return mixed

    def reach(self, cut: Cut) -> int | None:
        """Return how far, in positions of the features, what decides a logit lies from it; None: anywhere."""
        del cut
        return None

    def ahead(self, features: Features) -> Features:
        """Return features with what is linear in scale and bias done, where there is such; they are decoded alike.

        In bfloat16 the map is decoded in it, while windows (`near`) are always decoded in the network's own dtype.
        """
        return features

    def near(self, features: Features, starts: Starts, side: tuple[int, int]) -> Decode:
        """Return what gives the logits in some windows of the map alone; only at cuts that have a `reach`.

        Parameters
        ----------
        features : Features
            Of the whole map.
        starts : ndarray of int, shape (windows, 3)
            Half of the batch, first row and first column of each window.
        side : tuple of int
            Rows and columns of all windows; each lies within the map.
        """
        assert self.reach(features.cut) == 0, "what decides a logit lies around it: a network says how to decode it"
        windows = replace(features, x=gather(features.x, starts, side))
        return lambda scale, bias: self.logits(windows, scale, bias)

    def folded(self) -> InteractiveNetwork:
        """Return a network for prediction alone that gives the same with less to do; it may be this one."""
        return self

    def decode(self, features: Features, scale: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Return logits, shape (B, 1, H, W), from ``x * (1 + scale) + bias``: all that BRS repeats.

        Parameters
        ----------
        features : Features
            From `embed`.
        scale, bias : Tensor, shape (channels,), optional
            The auxiliary variables of f-BRS, shared by the batch. None: the untouched network. At an input cut there
            is no scale, and the bias has the shape of ``features.x``.
        """
        return resize(self.logits(features, scale, bias), features.size)

    def forward(self, image: Tensor, points: Tensor, prior: Tensor | None = None) -> Tensor:
        """Return logits, shape (B, 1, H, W), of a plain pass."""
        return self.decode(self.embed(image, points, prior=prior))


class Architecture(Protocol):
    """Everything that decides the shapes and the computation of a network: a frozen dataclass for each family."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def build(self) -> InteractiveNetwork:
        """Return an untrained network of this architecture."""
        ...


def modulate(x: Tensor, scale: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return ``x * (1 + scale) + bias`` per channel (f-BRS, section 4)."""
    if scale is not None:
        x = x * (1 + scale).reshape(1, -1, 1, 1)
    if bias is not None:
        x = x + bias.reshape(1, -1, 1, 1)
    return x
