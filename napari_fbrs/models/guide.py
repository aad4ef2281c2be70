"""What else a network may be told of the clicks: where exactly they are, and the mask so far (Sofiiuk et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_fbrs.models.distance_maps import squared_distances

_RADIUS = 5.0  # pixels of the network's input, that of the paper
_HIDDEN = 16


class Guide(nn.Module):
    """Clicks as disks and the mask so far, for the stem of a backbone.

    Untrained it is silent (all zeros), so that it can be given to a trained network.

    Parameters
    ----------
    channels : int
        Of the stem's output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Conv2d(3, _HIDDEN, 1), nn.LeakyReLU(0.2))
        self.project = nn.Conv2d(_HIDDEN, channels, 3, stride=2, padding=1, bias=False)
        nn.init.zeros_(self.project.weight)

    def forward(self, points: Tensor, size: tuple[int, int], prior: Tensor | None = None) -> Tensor:
        """Return what is added to the stem's output, shape (B, channels, rows / 2, columns / 2).

        Parameters
        ----------
        points : Tensor, shape (B, 2N, 2)
            Clicks as `napari_fbrs.clicks.network_points` gives them.
        size : tuple of int
            Rows and columns of the network's input.
        prior : Tensor, shape (B, 1, rows, columns), optional
            The object's probability so far; None: zeros.
        """
        out: Tensor = self.project(self.mix(guiding_maps(points, size, prior)))
        return out


def guiding_maps(points: Tensor, size: tuple[int, int], prior: Tensor | None = None) -> Tensor:
    """Return clicks as `disks` and the mask so far, shape (B, 3, rows, columns); see `Guide.forward`."""
    maps = disks(points, size)
    if prior is None:
        prior = maps.new_zeros((maps.shape[0], 1, *size))
    return torch.cat((maps, prior.to(maps.dtype)), dim=1)


def disks(points: Tensor, size: tuple[int, int], radius: float = _RADIUS) -> Tensor:
    """Return maps that are 1 within `radius` pixels of a positive, and of a negative, click; 0 elsewhere.

    Parameters
    ----------
    points : Tensor of float, shape (B, 2N, 2)
        (row, column) in pixels: N positive, then N negative; a point is absent when both are negative.
    size : tuple of int
        Rows and columns.
    radius : float, optional
        In pixels.

    Returns
    -------
    Tensor of float32, shape (B, 2, rows, columns)
        Positive map first.
    """
    return (squared_distances(points, size) <= radius**2).float()
