from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_fbrs.models.deeplab import DeepLabArchitecture
from napari_fbrs.models.hrnet import HRNetArchitecture
from napari_fbrs.models.network import Architecture, Cut, InteractiveNetwork

ARCHITECTURES = {
    "guided": DeepLabArchitecture("resnet18", 16, stages=3, output_stride=16, rates=(1, 2, 3), guided=True),
    "late": DeepLabArchitecture("resnet18", 16, stages=2, output_stride=8, rates=(1, 2, 3), guided=True, late=True),
    "deep stem": DeepLabArchitecture("resnet50", 16, stages=2, output_stride=8, rates=(1, 2, 3)),
    "hrnet": HRNetArchitecture(2, 4, small=True),
}


def network_of(architecture: Architecture) -> InteractiveNetwork:
    """Return a random network in which no batch norm, and no guide, is silent."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = architecture.build()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                module.weight.data.uniform_(-1.5, 1.5)
                module.bias.data.normal_()
        if getattr(network, "guide", None) is not None:
            network.guide.project.weight.data.normal_()
    return network.eval()


@pytest.fixture(params=ARCHITECTURES)
def network(request: pytest.FixtureRequest) -> InteractiveNetwork:
    return network_of(ARCHITECTURES[request.param])


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image, prior = (torch.rand((2, c, 40, 48), generator=generator) for c in (3, 1))
    points = torch.tensor([[[10.0, 12], [30, 40]], [[10, 35], [-1, -1]]])
    return image, points, prior


@pytest.mark.parametrize("cut", [Cut.A, Cut.B, Cut.C])
def test_it_is_the_same_network(network: InteractiveNetwork, cut: Cut):
    image, points, prior = inputs()
    folded = network.folded()
    with torch.no_grad():
        scale, bias = 0.1 * torch.ones(2, network.channels(cut))
        wanted, found = (n.decode(n.embed(image, points, cut, prior), scale, bias) for n in (network, folded))
    assert wanted.std() > 0
    assert (found - wanted).abs().max() < 1e-4 * wanted.std()


def test_no_batch_norm_is_left(network: InteractiveNetwork):
    assert not [module for module in network.folded().modules() if isinstance(module, nn.BatchNorm2d)]


def test_the_network_itself_is_not_changed(network: InteractiveNetwork):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.folded()
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_weights_stay_in_the_format_they_were_in(network: InteractiveNetwork):
    last = network.to(memory_format=torch.channels_last).folded()
    kernels = [m.weight for m in last.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]
    assert kernels
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels)
