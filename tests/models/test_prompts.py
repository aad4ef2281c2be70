from __future__ import annotations

import pytest
import torch
from torch import Tensor

from napari_fbrs.models.architectures import describe, parse
from napari_fbrs.models.deeplab import DeepLab, DeepLabArchitecture
from napari_fbrs.models.network import Cut

LATE = DeepLabArchitecture("resnet18", 16, stages=3, output_stride=16, rates=(1, 2, 3), guided=True, late=True)
POINTS = torch.tensor([[[10.0, 12.0], [-1.0, -1.0]]])


@pytest.fixture
def late() -> DeepLab:
    torch.manual_seed(0)
    return LATE.build().eval().requires_grad_(False)


def test_what_the_backbone_sees_is_the_image_alone(late: DeepLab):
    seen: list[Tensor] = []
    late.feature_extractor.backbone.register_forward_hook(lambda *arguments: seen.extend(arguments[2]))
    image = torch.rand(1, 3, 32, 48)
    one = late(image, POINTS)
    other = late(image, POINTS + 5, torch.ones(1, 1, 32, 48))
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (17, 90)])
@pytest.mark.parametrize("stride", [8, 16])
def test_any_size_and_every_cut(size: tuple[int, int], stride: int):
    torch.manual_seed(0)
    stages = 3 if stride == 16 else 2
    network = DeepLabArchitecture("resnet18", 8, stages, stride, (1, 2, 3), guided=True, late=True).build().eval()
    image = torch.rand(1, 3, *size)
    with torch.no_grad():
        wanted = network(image, POINTS)
        assert wanted.shape == (1, 1, *size)
        for cut in Cut:
            torch.testing.assert_close(network.decode(network.embed(image, POINTS, cut)), wanted, rtol=0, atol=1e-5)


def test_each_thing_said_matters(late: DeepLab):
    image, nothing = torch.rand(1, 3, 32, 48), torch.zeros(1, 1, 32, 48)
    start = late(image, POINTS, nothing)
    assert torch.equal(start, late(image, POINTS))
    said = {
        "a negative click": (torch.tensor([[[10.0, 12.0], [20.0, 40.0]]]), nothing),
        "a positive click elsewhere": (torch.tensor([[[20.0, 30.0], [-1.0, -1.0]]]), nothing),
        "a mask": (POINTS, torch.ones(1, 1, 32, 48)),
    }
    assert not [name for name, (points, prior) in said.items() if torch.allclose(start, late(image, points, prior))]


def test_a_file_describes_it(late: DeepLab):
    assert parse(describe(late), "late") == LATE


def test_a_late_network_is_guided():
    with pytest.raises(ValueError, match="guided as well"):
        DeepLabArchitecture("resnet18", late=True)
