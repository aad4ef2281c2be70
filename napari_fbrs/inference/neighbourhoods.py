"""The few places of a feature map that decide what the network says at the clicks.

The objective reads the probability at the clicks alone. What a convolutional decoder says there depends on the features
within its reach, so that an evaluation costs what the clicks cost and not what the crop does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_fbrs.inference.objective import ClickMasks
from napari_fbrs.models.network import Features, InteractiveNetwork
from napari_fbrs.models.windows import WindowedChain

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


class Neighbourhoods:
    """Decodes the windows of a map that the pixels of the clicks' squares are interpolated from.

    The logits are those of the whole map to rounding. Where the windows together are larger than the map, there is one
    window, the map.

    Parameters
    ----------
    network : InteractiveNetwork
        Decodes the features.
    features : Features
        Of the whole map.
    masks : ClickMasks
        Of the whole network input; those that belong to the logits read here are `masks`.
    """

    def __init__(self, network: InteractiveNetwork, features: Features, masks: ClickMasks) -> None:
        squares = masks.patches
        lengths = [len(square) for square in squares]
        pixels, first = _different(np.concatenate(squares), features.size)
        self.masks = masks.at(pixels)
        maps = (features.x.shape[2], features.x.shape[3])
        corners, weights = _corners(pixels[:, 1:], np.array(features.size), np.array(maps))
        starts, side = _windows(squares, lengths, features, np.array(maps))
        if len(starts) * side.prod() >= features.x.shape[0] * np.prod(maps):
            windows, own = np.unique(pixels[:, 0], return_inverse=True)
            starts, side = np.pad(windows[:, None], ((0, 0), (0, 2))), np.array(maps)
        else:
            # A window for each click, though several may coincide: what they ask of the map differs.
            whose, own = np.unique(np.repeat(np.arange(len(squares)), lengths)[first], return_inverse=True)
            starts = starts[whose]
        corners = corners - starts[own][:, None, 1:]
        flat = (own[:, None] * side[0] + corners[..., 0]) * side[1] + corners[..., 1]
        device = features.x.device
        self._index = torch.from_numpy(flat).to(device)
        self._weights = torch.from_numpy(weights.astype(np.float32)).to(device)
        self.windows = len(starts)
        self.positions = int(len(starts) * side.prod())
        self._is_map = tuple(side) == maps
        self._window_size = int(side.prod())
        self._places = _places(starts, side, device)
        self._decode = network.near(features, starts, (int(side[0]), int(side[1])))

    def windows_logits(self, scale: Tensor, bias: Tensor) -> Tensor:
        """Return the logits at the positions of the map that the pixels are interpolated from, by window."""
        return self._decode(scale, bias)

    def logits(self, windows: Tensor) -> Tensor:
        """Return the logits at the pixels that `masks` is of, from `windows_logits`."""
        return (windows.flatten()[self._index] * self._weights).sum(dim=1)

    @property
    def linear(self) -> bool:
        """Whether `slopes` can tell, window by window, how logits follow the variables."""
        return isinstance(self._decode, WindowedChain) and not self._is_map

    @property
    def window(self) -> _Ints:
        """Which window each pixel of `masks` belongs to."""
        which: _Ints = (self._index[:, 0] // self._window_size).cpu().numpy()
        return which

    @torch.no_grad()
    def slopes(self, scale: Tensor, bias: Tensor) -> tuple[Tensor, Callable[[], _Floats]]:
        """Return `windows_logits`, and what gives the gradients of the windows' mean logits at their pixels.

        These have the shape (windows, scales and biases).
        """
        chain = self._decode
        assert isinstance(chain, WindowedChain)
        done = chain.forward(scale, bias)
        pixels = np.bincount(self.window, minlength=self.windows)
        mean = torch.zeros(self.positions, dtype=done[-1].dtype, device=scale.device)
        mean.index_add_(0, self._index.flatten(), self._weights.flatten().to(mean))
        mean = mean.view(self.windows, -1) / torch.from_numpy(pixels).to(mean)[:, None]

        def slopes() -> _Floats:
            told = torch.cat(chain.slopes(done, mean.view(done[-1].shape)), dim=1)
            return told.cpu().numpy().astype(np.float64)

        return done[-1].permute(0, 3, 1, 2), slopes

    def put(self, windows: Tensor, logits: Tensor) -> None:
        """Write `windows_logits` into a map, shape (B, 1, h, w), that was decoded in fewer bits.

        So the mask is right where the optimisation found it right.
        """
        logits[:, 0].index_put_(self._places, windows[:, 0].to(logits))


def _different(places: _Ints, extents: tuple[int, int]) -> tuple[_Ints, _Ints]:
    """Return the different ones of places (half, row, column), and where each is first."""
    code = (places[:, 0] * extents[0] + places[:, 1]) * extents[1] + places[:, 2]
    _, first = np.unique(code, return_index=True)
    return places[first], first


def _places(starts: _Ints, side: _Ints, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return half, rows and columns of the positions of windows, to index a map with."""
    half, row, column = torch.from_numpy(starts).to(device).T
    rows, columns = (torch.arange(int(extent), device=device) for extent in side)
    return half[:, None, None], (row[:, None] + rows)[:, :, None], (column[:, None] + columns)[:, None, :]


def _windows(squares: Sequence[_Ints], lengths: Sequence[int], features: Features, maps: _Ints) -> tuple[_Ints, _Ints]:
    """Return half, first row and first column of the window of every click's square, and the size of all."""
    pixels, at = np.concatenate(squares), np.cumsum([0, *lengths[:-1]])
    corners, _ = _corners(pixels[:, 1:], np.array(features.size), maps)
    first = np.minimum.reduceat(corners.min(axis=1), at)
    last = np.maximum.reduceat(corners.max(axis=1), at)
    side = (last - first).max(axis=0) + 1
    return np.column_stack((pixels[at, 0], np.clip(first, 0, maps - side))), side


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
