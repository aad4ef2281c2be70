"""Click maps: how a network is told where the user clicked (METHOD: distance-map fusion)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_FAR = 1e6  # squared distance where there is no click of a sign; tanh makes a map of ones of it


class DistanceMaps(nn.Module):
    """Two maps of the distance to the nearest positive and the nearest negative click.

    Parameters
    ----------
    norm_radius : float, optional
        Distance in pixels that counts as 1 before the hyperbolic tangent.
    """

    def __init__(self, norm_radius: float = 260.0) -> None:
        super().__init__()
        self.norm_radius = norm_radius

    def forward(self, points: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the click maps.

        Parameters
        ----------
        points : Tensor of float, shape (B, 2N, 2)
            (row, column) in pixels: N positive, then N negative; a point is absent when both are negative.
        size : tuple of int
            Rows and columns of the maps.

        Returns
        -------
        Tensor of float32, shape (B, 2, rows, columns)
            ``tanh(2 d)`` with d the distance to the nearest click in units of `norm_radius`; positive map first.
        """
        return torch.tanh(2 * squared_distances(points, size, self.norm_radius).sqrt())


def squared_distances(points: Tensor, size: tuple[int, int], unit: float = 1.0) -> Tensor:
    """Return the squared distance to the nearest positive and the nearest negative click.

    Parameters
    ----------
    points : Tensor of float, shape (B, 2N, 2)
        As `DistanceMaps.forward` takes them.
    size : tuple of int
        Rows and columns of the maps.
    unit : float, optional
        Pixels that count as 1.

    Returns
    -------
    Tensor of float32, shape (B, 2, rows, columns)
        Positive map first; 1e6 where there is no click of a sign.
    """
    batch, count, _ = points.shape
    rows = torch.arange(size[0], device=points.device, dtype=torch.float32)
    columns = torch.arange(size[1], device=points.device, dtype=torch.float32)
    by_sign = points.float().reshape(batch, 2, count // 2, 2)
    absent = by_sign.amax(dim=3) < 0
    squared = torch.full((batch, 2, *size), _FAR, device=points.device)
    # One click at a time: memory stays that of the maps however many clicks there are.
    for index in range(count // 2):
        d_rows = ((rows - by_sign[:, :, index, 0, None]) / unit).square()
        d_columns = ((columns - by_sign[:, :, index, 1, None]) / unit).square()
        distance = d_rows[..., :, None] + d_columns[..., None, :]
        distance = distance.masked_fill(absent[:, :, index, None, None], _FAR)
        squared = torch.minimum(squared, distance)
    return squared
