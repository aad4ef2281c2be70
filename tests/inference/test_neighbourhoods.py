from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fbrs.clicks import Click
from napari_fbrs.inference.neighbourhoods import Neighbourhoods
from napari_fbrs.inference.objective import ClickMasks
from napari_fbrs.inference.optimizer import Objective
from napari_fbrs.models.deeplab import DeepLab, DeepLabArchitecture
from napari_fbrs.models.network import Cut, Features
from napari_fbrs.models.windows import Decode, Starts

CPU = torch.device("cpu")
CHANNELS = 8


@pytest.fixture(scope="module")
def network() -> DeepLab:
    """Return a random network in double precision, whose batch norms shift: a padded position would be noticed."""
    architecture = DeepLabArchitecture("resnet18", CHANNELS, stages=1, output_stride=16, rates=(1, 2, 3))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = architecture.build()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.bias.data.normal_()
    return network.eval().requires_grad_(False).double()


class AsDouble:
    """Hands double-precision variables to a network, so that sums in another order cannot hide an error."""

    def __init__(self, network: DeepLab) -> None:
        self.network = network
        self.reach = network.reach

    def logits(self, features: Features, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return self.network.logits(features, scale.double(), bias.double())

    def near(self, features: Features, starts: Starts, side: tuple[int, int]) -> Decode:
        decode = self.network.near(features, starts, side)
        return lambda scale, bias: decode(scale.double(), bias.double())

    def decode(self, features: Features, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return self.network.decode(features, scale.double(), bias.double())


def features_of(network: DeepLab, cut: Cut, maps: tuple[int, int], size: tuple[int, int], flip: bool) -> Features:
    generator = torch.Generator().manual_seed(1)
    shape = (1 + flip, network.channels(cut), *maps)
    return Features(torch.randn(shape, generator=generator, dtype=torch.float64), (), cut, size)


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int], list[Click]]:
    maps = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    stride = draw(st.sampled_from([1, 2, 4]))
    size = (max(1, maps[0] * stride - draw(st.integers(0, stride - 1))), maps[1] * stride)
    click = st.builds(
        Click, st.integers(-2, size[0] + 1), st.integers(-2, size[1] + 1), st.booleans()
    )  # some are out of view
    return maps, size, draw(st.lists(click, min_size=1, max_size=6))


@pytest.mark.parametrize("cut", [Cut.B, Cut.C])
@given(case=cases(), flip=st.booleans(), seed=st.integers(0, 100))
@settings(max_examples=60)
def test_loss_and_gradient_are_those_of_the_whole_map(network: DeepLab, cut: Cut, case, flip: bool, seed: int):
    maps, size, clicks = case
    features = features_of(network, cut, maps, size, flip)
    masks = ClickMasks(clicks, size, flip=flip, device=CPU)
    whole, near = (Objective(AsDouble(network), features, masks, local=local) for local in (False, True))
    x = 0.3 * np.random.default_rng(seed).standard_normal(2 * network.channels(cut))
    (loss, gradient), (near_loss, near_gradient) = whole(x), near(x)
    assert near_loss == pytest.approx(loss, rel=1e-6, abs=1e-9)
    np.testing.assert_allclose(near_gradient, gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("count", [1, 3])
def test_the_cost_is_that_of_the_clicks_not_of_the_map(network: DeepLab, count: int):
    positions = []
    for maps in ((40, 50), (80, 90)):
        size = (4 * maps[0], 4 * maps[1])
        masks = ClickMasks([Click(30 + 40 * i, 60) for i in range(count)], size, flip=False, device=CPU)
        near = Neighbourhoods(network, features_of(network, Cut.B, maps, size, flip=False), masks)
        positions.append(near.positions)
    assert positions[0] == positions[1] <= count * 3 * 3


def test_clicks_on_one_pixel_share_a_window(network: DeepLab):
    masks = ClickMasks([Click(100, 100), Click(100, 100, positive=False)], (200, 200), flip=False, device=CPU)
    near = Neighbourhoods(network, features_of(network, Cut.B, (50, 50), (200, 200), flip=False), masks)
    assert near.windows == 1


def test_many_clicks_cost_no_more_than_the_map(network: DeepLab):
    clicks = [Click(r, c) for r in range(0, 80, 7) for c in range(0, 80, 7)]
    masks = ClickMasks(clicks, (80, 80), flip=True, device=CPU)
    near = Neighbourhoods(network, features_of(network, Cut.B, (20, 20), (80, 80), flip=True), masks)
    assert near.windows == 2
    assert near.positions == 2 * 20 * 20


def test_before_the_pyramid_everything_decides(network: DeepLab):
    assert network.reach(Cut.A) is None
