"""What a plugin built on a SAM pays: the ViT-B image encoder once an image, the prompt decoder at every click."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

_SIDE = 1024  # pixels of its input


def sam_is_there() -> bool:
    """Whether the package that the network comes from is installed."""
    return importlib.util.find_spec("transformers") is not None


class Sam:
    """SAM ViT-B with random weights, which is as fast as with trained ones; from ``transformers``.

    Parameters
    ----------
    device : torch.device
        Where it computes.
    """

    def __init__(self, device: torch.device) -> None:
        from transformers import SamConfig, SamModel

        network: Any = SamModel(SamConfig())
        self._network: Any = network.eval().to(device)
        self._image = torch.rand((1, 3, _SIDE, _SIDE), device=device)
        self._point = torch.full((1, 1, 1, 2), _SIDE / 2, device=device)
        self._sign = torch.ones((1, 1, 1), dtype=torch.long, device=device)
        self._embeddings: Any = None

    @torch.inference_mode()
    def encode(self) -> None:
        """Encode an image."""
        self._embeddings = self._network.get_image_embeddings(self._image)
        self._embeddings[0, 0, 0, 0].item()  # on a GPU: wait for it

    @torch.inference_mode()
    def decode(self) -> None:
        """Decode a mask from one point; an image must have been encoded."""
        out = self._network(
            image_embeddings=self._embeddings, input_points=self._point, input_labels=self._sign, multimask_output=False
        )
        out.pred_masks.cpu()
