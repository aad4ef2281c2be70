from __future__ import annotations

import json

import pytest
import torch
from fakes import BrightNetwork

from napari_fbrs.errors import ModelFileError
from napari_fbrs.models.architectures import FAMILIES, describe, parse, recognise
from napari_fbrs.models.deeplab import DeepLabArchitecture
from napari_fbrs.models.hrnet import HRNetArchitecture
from napari_fbrs.models.network import Architecture
from napari_fbrs.models.zoo import PUBLISHED

SMALL = DeepLabArchitecture("resnet18", 8, stages=2, output_stride=16, rates=(1, 2, 3), norm_radius=100.0)
TINY = HRNetArchitecture(2, 3, small=True, norm_radius=5.0)
KNOWN = {
    "resnet34_dh128": DeepLabArchitecture("resnet34", 128),
    "resnet50_dh128": DeepLabArchitecture("resnet50", 128),
    "resnet101_dh256": DeepLabArchitecture("resnet101", 256),
    "hrnet18_ocr64": HRNetArchitecture(18, 64),
    "hrnet32_ocr128": HRNetArchitecture(32, 128),
    "hrnet48_ocr128": HRNetArchitecture(48, 128),
}
State = dict[str, torch.Tensor]


def shapes(architecture: Architecture) -> State:
    with torch.device("meta"):
        return architecture.build().state_dict()


def of_shape(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


@pytest.fixture(scope="module")
def hrnet() -> State:
    return shapes(TINY)


@pytest.mark.parametrize("name", KNOWN)
def test_published_architectures_are_recognised(manifest, name: str):
    state = {key: of_shape(*shape) for key, shape in manifest[name].items()}
    assert recognise(state, name) == KNOWN[name]


def test_all_published_files_have_architectures_of_the_manifest(manifest):
    assert set(manifest) == set(KNOWN)
    assert {name: file.architecture for name, file in PUBLISHED.items()} == {
        name: KNOWN[name.rpartition("_")[0]] for name in PUBLISHED
    }


@pytest.mark.parametrize(
    "architecture",
    [
        DeepLabArchitecture("resnet34", 64),
        DeepLabArchitecture("resnet50", 16),
        DeepLabArchitecture("resnet101", 8),
        HRNetArchitecture(18, 48, small=True),
        HRNetArchitecture(3, 5),
    ],
    ids=repr,
)
def test_built_architectures_are_recognised(architecture: Architecture):
    assert recognise(shapes(architecture), "x") == architecture


@pytest.mark.parametrize("architecture", [SMALL, TINY], ids=FAMILIES)
def test_descriptions_are_read_back(architecture: Architecture):
    with torch.device("meta"):
        description = describe(architecture.build())
    assert FAMILIES[json.loads(description)["family"]] is type(architecture)
    assert parse(description, "x") == architecture


def test_networks_of_no_family_are_not_described():
    with pytest.raises(TypeError, match="a BrightNetwork belongs to no family"):
        describe(BrightNetwork())


def test_other_families_are_refused():
    with pytest.raises(ModelFileError, match="x holds a 'unet' network, which this version does not know"):
        parse('{"family": "unet"}', "x")


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ({}, "0 entries, the first ones none"),
        ({f"encoder.{i}.weight": of_shape(3) for i in range(9)}, r"9 entries, the first ones encoder\.0\.weight, enc"),
    ],
)
def test_foreign_weights_are_refused_with_what_was_found(state: State, found: str):
    with pytest.raises(ModelFileError, match=rf"x\.pth is neither DeepLabV3\+ nor HRNet.*: {found}"):
        recognise(state, "x.pth")


def test_unpublished_depths_are_refused(hrnet: State):
    with pytest.raises(ModelFileError, match=r"x has a backbone with \(2, 2\) blocks"):
        recognise(shapes(SMALL), "x")
    shallow = {key: value for key, value in hrnet.items() if ".stage4.1." not in key}
    with pytest.raises(ModelFileError, match=r"x is an HRNet with 2 blocks in its first stage, \(1, 3, 1\) modules"):
        recognise(shallow, "x")


@pytest.mark.parametrize(
    ("weight", "found"),
    [
        (of_shape(), r"of shape \(\) and not 4-dimensional, its feature_extractor\.transition1"),
        (of_shape(0, 1, 1, 1), "a branch cannot have 0 channels"),
        (of_shape(10**9, 1, 1, 1), "a branch cannot have 1000000000 channels"),
        (None, r"no feature_extractor\.transition1"),
    ],
)
def test_damaged_networks_are_refused(hrnet: State, weight: torch.Tensor | None, found: str):
    state = {key: value for key, value in hrnet.items() if key != "feature_extractor.transition1.0.0.weight"}
    if weight is not None:
        state["feature_extractor.transition1.0.0.weight"] = weight
    with pytest.raises(ModelFileError, match=f"x .*{found}"):
        recognise(state, "x")
