from __future__ import annotations

import dataclasses

import pytest
import torch

from napari_fbrs.models.deeplab import DeepLab, DeepLabArchitecture
from napari_fbrs.models.guide import Guide, disks

ABSENT = [-1.0, -1.0]
PLAIN = DeepLabArchitecture("resnet18", 8, stages=2, output_stride=16, rates=(1, 2, 3))
POINTS = torch.tensor([[[10.0, 12.0], [3.0, 30.0]]])


def test_disks_by_hand():
    positive, negative = disks(torch.tensor([[[2.0, 3.0], ABSENT]]), (8, 9), radius=2)[0]
    rows, columns = torch.nonzero(positive, as_tuple=True)
    assert {*zip(rows.tolist(), columns.tolist(), strict=True)} == {
        (r, c) for r in range(8) for c in range(9) if (r - 2) ** 2 + (c - 3) ** 2 <= 4
    }
    assert not negative.any()


def test_disks_of_several_clicks_are_joined():
    points = torch.tensor([[[0.0, 0.0], [6.0, 6.0], [3.0, 3.0], ABSENT]])
    maps = disks(points, (7, 7), radius=0)[0]
    assert torch.nonzero(maps).tolist() == [[0, 0, 0], [0, 6, 6], [1, 3, 3]]


def test_a_new_guide_is_silent():
    prior = torch.rand((1, 1, 32, 40))
    out = Guide(16)(POINTS, (32, 40), prior)
    assert out.shape == (1, 16, 16, 20)
    assert not out.any()


@pytest.fixture
def guided() -> DeepLab:
    torch.manual_seed(0)
    network = dataclasses.replace(PLAIN, guided=True).build().eval().requires_grad_(False)
    torch.nn.init.normal_(network.guide.project.weight, std=0.2)
    return network


def test_a_guided_network_sees_the_prior(guided: DeepLab):
    image = torch.rand((1, 3, 32, 40))
    nothing = guided(image, POINTS)
    assert torch.equal(nothing, guided(image, POINTS, torch.zeros(1, 1, 32, 40)))
    assert not torch.allclose(nothing, guided(image, POINTS, torch.ones(1, 1, 32, 40)))


def test_without_a_guide_the_prior_changes_nothing():
    network, image = PLAIN.build().eval().requires_grad_(False), torch.rand((1, 3, 32, 40))
    assert not network.takes_prior
    assert torch.equal(network(image, POINTS), network(image, POINTS, torch.ones(1, 1, 32, 40)))
    assert not [key for key in network.state_dict() if key.startswith("guide")]
