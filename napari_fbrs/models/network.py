"""What every network offers: features of an image and its clicks, and logits decoded from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_fbrs.models.distance_maps import DistanceMaps

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class Cut(Enum):
    """Where a network is divided into `embed` and `decode` (METHOD section 5)."""

    A = "A"
    B = "B"
    C = "C"


@dataclass(frozen=True)
class Features:
    """What `embed` hands to `decode`.

    Parameters
    ----------
    x : Tensor, shape (B, channels, h, w)
        The features that scale and bias act on.
    aside : Tensor or None
        What goes around the cut (the skip connection of cut A).
    cut : Cut
        Where they were taken.
    size : tuple of int
        Rows and columns of the network's input, and of the logits.
    """

    x: Tensor
    aside: Tensor | None
    cut: Cut
    size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(t.nbytes for t in (self.x, self.aside) if t is not None)


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

    def fuse(self, image: Tensor, points: Tensor) -> Tensor:
        """Return the backbone's input, shape (B, 3, H, W): image and click maps mixed by two 1x1 convolutions."""
        size = (image.shape[2], image.shape[3])
        maps = self.dist_maps(points, size).to(image.dtype)
        mixed: Tensor = self.rgb_conv(torch.cat(((image - self.mean) / self.std, maps), dim=1))
        return mixed

    @property
    def takes_prior(self) -> bool:
        """Whether `embed` makes use of a mask that is already there."""
        return False

    @abstractmethod
    def channels(self, cut: Cut) -> int:
        """Return the number of channels at `cut`: scale and bias have that many entries each."""

    @abstractmethod
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

    @abstractmethod
    def logits(self, features: Features, scale: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Return logits, shape (B, 1, h, w), at the features' resolution; see `decode`."""

    def reach(self, cut: Cut) -> int | None:
        """Return how far, in positions of the features, what decides a logit lies from it; None: anywhere."""
        del cut
        return None

    def decode(self, features: Features, scale: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Return logits, shape (B, 1, H, W), from ``x * (1 + scale) + bias``: all that BRS repeats.

        Parameters
        ----------
        features : Features
            From `embed`.
        scale, bias : Tensor, shape (channels,), optional
            The auxiliary variables of f-BRS, shared by the batch. None: the untouched network.
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
