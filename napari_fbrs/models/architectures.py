"""Families of networks: described in a model file, or recognised from the weights alone."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor

from napari_fbrs.errors import ModelFileError
from napari_fbrs.models.deeplab import DeepLabArchitecture
from napari_fbrs.models.hrnet import HRNetArchitecture
from napari_fbrs.models.network import Architecture, InteractiveNetwork

FAMILIES: Mapping[str, type[DeepLabArchitecture] | type[HRNetArchitecture]] = MappingProxyType(
    {"deeplab": DeepLabArchitecture, "hrnet": HRNetArchitecture}
)
_PUBLISHED_BACKBONES: Mapping[tuple[bool, tuple[int, ...]], str] = MappingProxyType(
    {  # (has bottlenecks, blocks of each stage)
        (False, (3, 4, 6, 3)): "resnet34",
        (True, (3, 4, 6, 3)): "resnet50",
        (True, (3, 4, 23, 3)): "resnet101",
    }
)
_SMALL: Mapping[tuple[int, ...], bool] = MappingProxyType(
    {(4, 1, 4, 3, 4): False, (2, 1, 3, 2, 2): True}  # blocks of the first stage, modules of the others, blocks a branch
)


def describe(network: InteractiveNetwork) -> str:
    """Return what `parse` reads, for a network that knows its architecture.

    Raises
    ------
    TypeError
        If the network is of no family known here.
    """
    architecture = getattr(network, "architecture", None)
    for family, kind in FAMILIES.items():
        if isinstance(architecture, kind):
            return json.dumps({"family": family} | dataclasses.asdict(architecture))
    raise TypeError(f"a {type(network).__name__} belongs to no family of networks that can be saved")


def parse(description: str, name: str) -> Architecture:
    """Return the architecture that a model file describes.

    Parameters
    ----------
    description : str
        From `describe`.
    name : str
        File name, for messages.

    Raises
    ------
    ModelFileError
        If it is of a family that is not known here.
    TypeError, ValueError
        If it describes nothing.
    """
    described = dict(json.loads(description))
    family = described.pop("family", None)
    if family not in FAMILIES:
        raise ModelFileError(f"{name} holds a {family!r} network, which this version does not know")
    # JSON has no tuples.
    described = {key: tuple(value) if isinstance(value, list) else value for key, value in described.items()}
    return FAMILIES[family](**described)


def recognise(state: Mapping[str, Tensor], name: str) -> Architecture:
    """Return the published architecture that a bare state dict belongs to, from its keys and shapes.

    Whether all tensors are there, and fit, is not checked.

    Parameters
    ----------
    state : mapping of str to Tensor
        Weights by key.
    name : str
        File name, for messages.

    Raises
    ------
    ModelFileError
        If it belongs to none; says what was found.
    """
    try:
        if "feature_extractor.aspp.concurent.0.0.weight" in state:
            return _deeplab(state, name)
        if "feature_extractor.conv3x3_ocr.0.weight" in state:
            return _hrnet(state, name)
    except ValueError as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{name} holds no network that can be built: {error}") from error
    raise ModelFileError(
        f"{name} is neither DeepLabV3+ nor HRNet + OCR with click maps: {len(state)} entries, the first ones "
        f"{', '.join(list(state)[:3]) or 'none'}. Use a model saved by this package or a published resnet*_dh* or "
        "hrnet*_ocr* file"
    )


def _deeplab(state: Mapping[str, Tensor], name: str) -> DeepLabArchitecture:
    stages = _children(state, "feature_extractor.backbone.layer")
    counts = tuple(_count(state, f"feature_extractor.backbone.layer{stage}.") for stage in stages)
    bottleneck = "feature_extractor.backbone.layer1.0.conv3.weight" in state
    backbone = _PUBLISHED_BACKBONES.get((bottleneck, counts))
    if backbone is None:
        raise ModelFileError(
            f"{name} has a backbone with {counts} blocks, which is none of the published ResNet-34, -50 and -101; "
            "its dilations cannot be told from the weights: save it with this package's save_model"
        )
    return DeepLabArchitecture(backbone, channels=_outputs(state, "feature_extractor.aspp.concurent.0.0.weight", name))


def _hrnet(state: Mapping[str, Tensor], name: str) -> HRNetArchitecture:
    stages = tuple(_count(state, f"feature_extractor.stage{stage}.") for stage in (2, 3, 4))
    blocks = _count(state, "feature_extractor.stage2.0.branches.0.")
    found = (_count(state, "feature_extractor.layer1."), *stages, blocks)
    if found not in _SMALL:
        raise ModelFileError(
            f"{name} is an HRNet with {found[0]} blocks in its first stage, {stages} modules in the others and "
            f"{blocks} blocks a branch: neither the published network (4, (1, 4, 3), 4) nor its small variant "
            "(2, (1, 3, 2), 2)"
        )
    width = _outputs(state, "feature_extractor.transition1.0.0.weight", name)
    ocr = _outputs(state, "feature_extractor.ocr_distri_head.object_context_block.f_down.0.weight", name)
    return HRNetArchitecture(width, ocr, small=_SMALL[found])


def _outputs(state: Mapping[str, Tensor], key: str, name: str) -> int:
    """Return the output channels of a convolution."""
    weight = state.get(key)
    if weight is None or weight.ndim != 4:
        found = "no" if weight is None else f"of shape {tuple(weight.shape)} and not 4-dimensional, its"
        raise ModelFileError(f"{name} is damaged or of another kind: {found} {key}")
    return int(weight.shape[0])


def _children(state: Mapping[str, Tensor], prefix: str) -> list[str]:
    """Return the different numbers, in order, that follow a prefix of keys."""
    pattern = re.compile(re.escape(prefix) + r"(\d{1,4})\.")
    return sorted({match[1] for match in map(pattern.match, state) if match})


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len(_children(state, prefix))
