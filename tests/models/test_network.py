from __future__ import annotations

import pytest
import torch

from napari_fbrs.models.deeplab import DeepLab, DeepLabArchitecture
from napari_fbrs.models.network import Cut, Features, modulate, resize

SMALL = DeepLabArchitecture("resnet18", 8, stages=3, output_stride=16, rates=(1, 2, 3))
POINTS = torch.tensor([[[10.0, 12.0], [3.0, 40.0]]])
INSIDE = [cut for cut in Cut if not cut.is_input]


@pytest.fixture(scope="module")
def network() -> DeepLab:
    generator = torch.random.manual_seed(0)
    network = SMALL.build().eval().requires_grad_(False)
    for module in network.modules():  # statistics that are not the identity
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.rand((1, 3, 40, 56), generator=torch.Generator().manual_seed(1))


def test_modulate_by_hand():
    x = torch.tensor([1.0, -2.0]).reshape(1, 2, 1, 1)
    scale, bias = torch.tensor([0.5, 1.0]), torch.tensor([0.25, -1.0])
    assert modulate(x, scale, bias).flatten().tolist() == [1.75, -5.0]
    assert modulate(x, scale, None).flatten().tolist() == [1.5, -4.0]
    assert modulate(x, None, bias).flatten().tolist() == [1.25, -3.0]
    assert modulate(x, None, None) is x


def test_features_taken_apart_and_put_together():
    whole = Features(torch.randn((3, 4, 2, 2)), (torch.randn((3, 1, 2, 2)),), Cut.A, (8, 8))
    parts = [whole.only(i) for i in range(3)]
    assert [part.x.shape for part in parts] == [(1, 4, 2, 2)] * 3
    again = parts[0].followed_by(parts[1]).followed_by(parts[2])
    assert torch.equal(again.x, whole.x)
    assert torch.equal(again.aside[0], whole.aside[0])
    assert torch.equal(whole.unmirrored.x, parts[0].x)


def test_resize_keeps_corners_on_corners():
    x = torch.tensor([[0.0, 2.0], [4.0, 6.0]]).reshape(1, 1, 2, 2)
    assert resize(x, (3, 3))[0, 0].tolist() == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    assert resize(x, (2, 2)) is x


def test_fusion_sees_the_normalised_image_and_both_maps(network: DeepLab):
    conv, seen = network.rgb_conv, []
    hook = conv.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    white = torch.ones((1, 3, 4, 5))
    network.embed(white, torch.tensor([[[1.0, 2.0], [-1.0, -1.0]]]))
    hook.remove()
    (mixed,) = seen
    assert mixed.shape == (1, 5, 4, 5)
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    torch.testing.assert_close(mixed[0, :3, 0, 0], torch.tensor(expected))
    assert mixed[0, 3, 1, 2] == 0
    assert mixed[0, 3, 3, 4] > 0
    assert (mixed[0, 4] == 1).all()


@pytest.mark.parametrize("cut", INSIDE)
def test_zero_variables_leave_the_network_untouched(network: DeepLab, image: torch.Tensor, cut: Cut):
    features = network.embed(image, POINTS, cut)
    zeros = torch.zeros(network.channels(cut))
    assert torch.equal(network.decode(features, zeros, zeros), network.decode(features))
    assert features.x.shape[1] == network.channels(cut)
    assert features.cut is cut


@pytest.mark.parametrize("cut", Cut)
def test_every_cut_gives_the_plain_pass(network: DeepLab, image: torch.Tensor, cut: Cut):
    logits = network.decode(network.embed(image, POINTS, cut))
    assert logits.shape == (1, 1, 40, 56)
    torch.testing.assert_close(logits, network(image, POINTS), rtol=0, atol=1e-5)


@pytest.mark.parametrize("cut", INSIDE)
def test_variables_act_at_the_cut(network: DeepLab, image: torch.Tensor, cut: Cut):
    features = network.embed(image, POINTS, cut)
    scale = torch.linspace(-0.3, 0.3, network.channels(cut))
    bias = torch.linspace(0.2, -0.2, network.channels(cut))
    by_hand = features.x * (1 + scale[None, :, None, None]) + bias[None, :, None, None]
    moved = Features(by_hand, features.aside, cut, features.size)
    torch.testing.assert_close(network.decode(features, scale, bias), network.decode(moved))
    assert not torch.allclose(network.decode(features, scale, bias), network.decode(features))


def test_a_bias_of_the_image_is_another_image(network: DeepLab, image: torch.Tensor):
    other = torch.rand(image.shape, generator=torch.Generator().manual_seed(3))
    here, there = (network.embed(one, POINTS, Cut.RGB) for one in (image, other))
    assert here.x.shape == image.shape
    moved = network.decode(here, bias=there.x - here.x)
    torch.testing.assert_close(moved, network(other, POINTS), rtol=0, atol=1e-5)
    assert torch.equal(network.decode(here, bias=torch.zeros_like(here.x)), network.decode(here))


def test_a_bias_of_the_click_maps_is_other_clicks(network: DeepLab, image: torch.Tensor):
    elsewhere = torch.tensor([[[30.0, 5.0], [20.0, 50.0]]])
    here, there = (network.embed(image, points, Cut.MAPS) for points in (POINTS, elsewhere))
    assert here.x.shape == (1, 2, 40, 56)
    moved = network.decode(here, bias=there.x - here.x)
    torch.testing.assert_close(moved, network(image, elsewhere), rtol=0, atol=1e-5)


def test_embedding_does_not_change_its_features_when_decoded(network: DeepLab, image: torch.Tensor):
    features = network.embed(image, POINTS, Cut.C)
    before = features.x.clone()
    network.decode(features, torch.ones(8), torch.ones(8))
    network.decode(features)
    assert torch.equal(features.x, before)


def test_memory_of_features():
    x, aside = torch.zeros((1, 2, 3, 4)), torch.zeros((1, 5, 3, 4))
    assert Features(x, (aside,), Cut.A, (8, 8)).nbytes == 4 * (24 + 60)
    assert Features(x, (), Cut.B, (8, 8)).nbytes == 4 * 24


@pytest.mark.parametrize("size", [(1, 1), (1, 224), (16, 16), (33, 17)])
def test_any_size_goes_through(network: DeepLab, size: tuple[int, int]):
    logits = network(torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(2)), POINTS)
    assert logits.shape == (1, 1, *size)
    assert torch.isfinite(logits).all()
