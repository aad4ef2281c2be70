"""The images of napari's menu of samples, as the layers napari makes of them."""

from __future__ import annotations

from typing import Any

from skimage import data

from napari_fbrs.samples.nuclei import NUCLEI_SCALE, generate_nuclei

LayerData = tuple[Any, dict[str, Any], str]


def coins() -> list[LayerData]:
    """Return a grey photograph of 24 coins under uneven light, 303 x 384."""
    return [(data.coins(), {"name": "coins"}, "image")]


def tissue() -> list[LayerData]:
    """Return a colour micrograph of stained tissue, 512 x 512."""
    return [(data.immunohistochemistry(), {"name": "tissue", "rgb": True}, "image")]


def nuclei_stack() -> list[LayerData]:
    """Return a generated stack of touching nuclei, 24 x 192 x 192, and, hidden, the labels it was made from."""
    image, labels = generate_nuclei()
    return [
        (image, {"name": "nuclei", "scale": NUCLEI_SCALE}, "image"),
        (labels, {"name": "nuclei truth", "scale": NUCLEI_SCALE, "visible": False}, "labels"),
    ]
