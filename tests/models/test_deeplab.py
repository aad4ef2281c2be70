from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_fbrs.models.deeplab import DeepLabArchitecture
from napari_fbrs.models.network import Cut

PUBLISHED = {
    "resnet34_dh128": DeepLabArchitecture("resnet34", 128),
    "resnet50_dh128": DeepLabArchitecture("resnet50", 128),
    "resnet101_dh256": DeepLabArchitecture("resnet101", 256),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_keys_and_shapes_are_the_published_ones(manifest, name: str):
    with torch.device("meta"):
        state = PUBLISHED[name].build().state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == manifest[name]


@pytest.mark.parametrize("cut", Cut)
def test_logits_are_the_published_ones(parity_resnet34, cut: Cut):
    data, network = parity_resnet34.data, parity_resnet34.model.network
    image = torch.from_numpy(data["image"].astype(np.float32) / 255).permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = network.decode(network.embed(image, torch.from_numpy(data["points"]).float(), cut))
    np.testing.assert_allclose(logits.numpy(), data["logits"], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("architecture", "channels"),
    [
        (DeepLabArchitecture("resnet18", 64, stages=3, output_stride=16), {"A": 256, "B": 96, "C": 64}),
        (DeepLabArchitecture("resnet34", 128), {"A": 512, "B": 160, "C": 128}),
        (DeepLabArchitecture("resnet50", 128), {"A": 2048, "B": 160, "C": 128}),
        (DeepLabArchitecture("resnet101", 256), {"A": 2048, "B": 288, "C": 256}),
    ],
    ids=lambda value: value.backbone if isinstance(value, DeepLabArchitecture) else None,
)
def test_channels_at_the_cuts(architecture: DeepLabArchitecture, channels: dict[str, int]):
    with torch.device("meta"):
        network = architecture.build()
    assert {cut.value: network.channels(cut) for cut in Cut if not cut.is_input} == channels


@pytest.mark.parametrize(
    ("backbone", "stages", "stride"), [("resnet18", 3, 16), ("resnet34", 4, 8), ("resnet50", 3, 8)]
)
def test_resolution_at_the_cuts(backbone: str, stages: int, stride: int):
    network = DeepLabArchitecture(backbone, 8, stages=stages, output_stride=stride).build().eval()
    with torch.no_grad():
        for cut in (Cut.A, Cut.B, Cut.C):
            features = network.embed(torch.zeros((1, 3, 64, 96)), torch.zeros((1, 2, 2)), cut)
            by = stride if cut is Cut.A else 4
            assert tuple(features.x.shape) == (1, network.channels(cut), 64 // by, 96 // by)
            assert tuple(network.decode(features).shape) == (1, 1, 64, 96)


def test_dilations_as_in_the_paper():
    with torch.device("meta"):
        backbone = DeepLabArchitecture("resnet34").build().feature_extractor.backbone
    dilations = [
        [(block.conv1.dilation[0], block.conv2.dilation[0]) for block in backbone.get_submodule(f"layer{stage}")]
        for stage in (1, 2, 3, 4)
    ]
    assert dilations == [[(1, 1)] * 3, [(1, 1)] * 4, [(1, 2)] + [(2, 2)] * 5, [(2, 4)] + [(4, 4)] * 2]
    strides = [backbone.get_submodule(f"layer{stage}")[0].conv1.stride[0] for stage in (1, 2, 3, 4)]
    assert strides == [1, 2, 1, 1]


def test_bottlenecks_carry_stride_and_dilation_in_the_middle():
    with torch.device("meta"):
        backbone = DeepLabArchitecture("resnet50").build().feature_extractor.backbone
    blocks = [backbone.get_submodule(f"layer{stage}") for stage in (1, 2, 3, 4)]
    assert [stage[0].conv2.stride[0] for stage in blocks] == [1, 2, 1, 1]
    assert [[block.conv2.dilation[0] for block in stage] for stage in blocks[2:]] == [[1] + [2] * 5, [2, 4, 4]]
    assert [module.kernel_size for module in backbone.conv1 if isinstance(module, torch.nn.Conv2d)] == [(3, 3)] * 3
