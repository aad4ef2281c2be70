"""Several cores without several threads an operation.

torch's operations make their threads wait for one another, which on cores shared with other work costs more than it
gains. Parts of a batch need not wait: each has a thread and a copy of the network that shares its weights.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch

from napari_fbrs.models.deeplab import DeepLab

_Result = TypeVar("_Result")


class Shards:
    """A network, and copies of it that share its parameters (and their gradients) but not its buffers.

    Parameters
    ----------
    network : DeepLab
        The first shard.
    count : int
        How many shards there are.
    """

    def __init__(self, network: DeepLab, count: int) -> None:
        # A deep copy takes what it finds in its memory for already copied: the parameters stay shared.
        shared = {id(parameter): parameter for parameter in network.parameters()}
        self.networks = [network, *(copy.deepcopy(network, dict(shared)) for _ in range(count - 1))]
        self._pool = ThreadPoolExecutor(count) if count > 1 else None

    def run(self, work: Callable[[DeepLab, slice], _Result], size: int) -> list[_Result]:
        """Return ``work(network, part)`` for the parts of a batch, at the same time.

        Parameters
        ----------
        work : callable
            Takes a network and the part of the batch it is to work on.
        size : int
            Samples in the batch.
        """
        ends = np.linspace(0, size, len(self.networks) + 1).round().astype(int)
        parts = [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]
        return list((self._pool.map if self._pool else map)(work, self.networks, parts))

    def train(self, *, frozen_backbone: bool) -> None:
        """Put all networks into training mode."""
        for network in self.networks:
            network.train()
            if frozen_backbone:
                # Its batch norms must not follow the few images either.
                network.feature_extractor.backbone.eval()

    def eval(self) -> None:
        """Put all networks into evaluation mode."""
        for network in self.networks:
            network.eval()

    def share_statistics(self) -> None:
        """Give all networks the mean of their batch norms' running statistics."""
        if len(self.networks) == 1:
            return
        with torch.no_grad():
            for buffers in zip(*(network.buffers() for network in self.networks), strict=True):
                if buffers[0].is_floating_point():
                    mean = torch.stack(buffers).mean(dim=0)
                    for buffer in buffers:
                        buffer.copy_(mean)
