"""The few places of a feature map that decide what the network says at the clicks.

The objective reads the probability at the clicks alone. What a convolutional decoder says there depends on the features
within its reach, so that an evaluation costs what the clicks cost and not what the crop does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_fbrs.inference.objective import ClickMasks
from napari_fbrs.models.network import Features, InteractiveNetwork

_Ints = npt.NDArray[np.int64]


class Neighbourhoods:
    """Decodes windows of features around clicks, and reads the logits at the pixels of the clicks' squares.

    A window lies within the map, so that where the decoder pads the map with zeros it pads the window; everywhere else
    the needed positions are farther from the window's edge than the decoder reaches. The logits are those of the whole
    map to rounding. Where the windows together are larger than the map, there is one window, the map.

    Parameters
    ----------
    network : InteractiveNetwork
        Decodes the features.
    features : Features
        Of the whole map.
    masks : ClickMasks
        Of the whole network input; those that belong to the logits read here are `masks`.
    reach : int
        From ``network.reach``.
    """

    def __init__(self, network: InteractiveNetwork, features: Features, masks: ClickMasks, reach: int) -> None:
        self._network = network
        squares = masks.patches
        pixels, first = np.unique(np.concatenate(squares), axis=0, return_index=True)
        self.masks = masks.at(pixels)
        of_square = np.repeat(np.arange(len(squares)), [len(square) for square in squares])
        maps = np.array(features.x.shape[2:])
        corners, weights = _corners(pixels[:, 1:], np.array(features.size), maps)
        starts, side = _windows(squares, features, maps, reach)
        if len(starts) * side.prod() >= features.x.shape[0] * maps.prod():
            windows, own = np.unique(pixels[:, 0], return_inverse=True)
            starts, side = np.pad(windows[:, None], ((0, 0), (0, 2))), maps
        else:
            starts, of_window = np.unique(starts, axis=0, return_inverse=True)
            own = of_window.ravel()[of_square[first]]
        corners = corners - starts[own][:, None, 1:]
        flat = (own[:, None] * side[0] + corners[..., 0]) * side[1] + corners[..., 1]
        device = features.x.device
        self._index = torch.from_numpy(flat).to(device)
        self._weights = torch.from_numpy(weights.astype(np.float32)).to(device)
        parts = [features.x[h, :, r : r + side[0], c : c + side[1]] for h, r, c in starts.tolist()]
        self._features = replace(features, x=torch.stack(parts).contiguous(memory_format=torch.channels_last))

    def logits(self, scale: Tensor, bias: Tensor) -> Tensor:
        """Return the logits at the pixels that `masks` is of."""
        coarse = self._network.logits(self._features, scale, bias).flatten()
        return (coarse[self._index] * self._weights).sum(dim=1)


def _windows(squares: Sequence[_Ints], features: Features, maps: _Ints, reach: int) -> tuple[_Ints, _Ints]:
    """Return half, first row and first column of the window of every click's square, and the size of all."""
    halves, needed = [square[0, 0] for square in squares], []
    for square in squares:
        corners, _ = _corners(square[:, 1:], np.array(features.size), maps)
        needed.append((corners.min(axis=(0, 1)), corners.max(axis=(0, 1))))
    first, last = np.array(needed).transpose(1, 0, 2)
    side = np.minimum((last - first).max(axis=0) + 1 + 2 * reach, maps)
    starts = np.clip(first - reach, 0, maps - side)
    return np.column_stack((halves, starts)), side


def _corners(pixels: _Ints, size: _Ints, maps: _Ints) -> tuple[_Ints, npt.NDArray[np.float64]]:
    """Return the four positions of a map that each pixel is interpolated from, corners on corners, and their weights.

    Parameters
    ----------
    pixels : ndarray of int, shape (N, 2)
        Rows and columns.
    size, maps : ndarray of int, shape (2,)
        Of the image the pixels belong to, and of the map.

    Returns
    -------
    tuple of ndarray
        Shapes (N, 4, 2) and (N, 4).
    """
    exact = pixels * ((maps - 1) / np.maximum(size - 1, 1))
    low = np.minimum(exact.astype(np.int64), np.maximum(maps - 2, 0))
    share = exact - low
    high = np.minimum(low + 1, maps - 1)
    rows, columns = (np.stack((low[:, axis], high[:, axis]), axis=1) for axis in (0, 1))
    row_weights, column_weights = (np.stack((1 - share[:, axis], share[:, axis]), axis=1) for axis in (0, 1))
    corners = np.stack((np.repeat(rows, 2, axis=1), np.tile(columns, 2)), axis=2)
    return corners, np.repeat(row_weights, 2, axis=1) * np.tile(column_weights, 2)
