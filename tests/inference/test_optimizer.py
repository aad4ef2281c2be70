from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_fbrs.clicks import Click
from napari_fbrs.errors import CancelledError, PredictionError
from napari_fbrs.inference.objective import ClickMasks, regularisation
from napari_fbrs.inference.optimizer import Objective, optimise, optimise_on_device, optimise_with_scipy
from napari_fbrs.models.network import Cut, Features, InteractiveNetwork, modulate

CPU = torch.device("cpu")
SIZE = (12, 12)


class Sum(InteractiveNetwork):
    """The logit is the sum of the features: what scale and bias do to it is known."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__(norm_radius=1.0)
        self.factor = factor
        self.decodes = 0

    def channels(self, cut: Cut) -> int:
        raise NotImplementedError

    def features(self, mixed: Tensor, guide: Tensor | None, cut: Cut) -> Features:
        raise NotImplementedError

    def head_logits(self, features: Features, scale: Tensor | None, bias: Tensor | None) -> Tensor:
        raise NotImplementedError

    def embed(self, image: Tensor, points: Tensor, cut: Cut = Cut.B, prior: Tensor | None = None) -> Features:
        raise NotImplementedError

    def logits(self, features: Features, scale: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        self.decodes += 1
        return self.factor * modulate(features.x, scale, bias).sum(dim=1, keepdim=True)


def features_of(*channels: Tensor) -> Features:
    return Features(torch.stack(channels)[None], (), Cut.B, SIZE)


def halves(left: float, right: float) -> Tensor:
    channel = torch.full(SIZE, left)
    channel[:, SIZE[1] // 2 :] = right
    return channel


def masks_of(*clicks: Click) -> ClickMasks:
    return ClickMasks(clicks, SIZE, flip=False, device=CPU)


def start(channels: int) -> np.ndarray:
    return np.zeros(2 * channels, np.float32)


def test_loss_and_gradient_by_hand():
    # One channel of -1 everywhere, one positive click: p = sigmoid(-(1 + s) + b) on all nine pixels.
    objective = Objective(Sum(), features_of(torch.full(SIZE, -1.0)), masks_of(Click(5, 5)))
    s, b = 0.2, 0.1
    value, gradient = objective(np.array([s, b]))
    p = 1 / (1 + math.exp(1 + s - b))
    assert value == pytest.approx((1 - p) ** 2 + 1e-3 * (s**2 + 10 * b**2), rel=1e-5)
    slope = -2 * (1 - p) * p * (1 - p)  # of the loss by the logit
    np.testing.assert_allclose(gradient, [-slope + 2e-3 * s, slope + 2e-2 * b], rtol=1e-4)
    (evaluation,) = objective.evaluations
    assert evaluation.loss == value
    assert evaluation.gradient_norm == pytest.approx(np.linalg.norm(gradient))


def test_clicks_are_met_in_the_end():
    # Everything is object at first; only taking channel 1 less seriously can tell the halves apart.
    network, features = Sum(4.0), features_of(halves(1.0, -1.0), torch.full(SIZE, 2.0))
    masks = masks_of(Click(5, 2), Click(5, 9, positive=False))
    assert not masks.met(torch.sigmoid(network.decode(features)))
    objective = Objective(network, features, masks)
    optimum = optimise(objective, start(2))
    probability = torch.sigmoid(optimum.logits)
    assert masks.met(probability)
    assert (probability[0, 0, :, :6] > 0.5).all()
    assert (probability[0, 0, :, 6:] < 0.5).all()
    assert optimum.evaluations[-1].gradient_norm == 0  # that is how it was told to stop
    assert all(evaluation.gradient_norm > 0 for evaluation in optimum.evaluations[:-1])


def test_the_best_of_all_evaluations_is_kept():
    network, features = Sum(4.0), features_of(halves(1.0, -1.0), torch.full(SIZE, 2.0))
    masks = masks_of(Click(5, 2), Click(5, 9, positive=False))
    optimum = optimise(Objective(network, features, masks), start(2))
    assert optimum.variables.dtype == np.float32
    scale, bias = torch.from_numpy(optimum.variables).chunk(2)
    logits = network.decode(features, scale, bias)
    assert torch.equal(logits, optimum.logits)
    loss = float(masks.loss(torch.sigmoid(logits)) + regularisation(scale, bias))
    assert loss == pytest.approx(min(evaluation.loss for evaluation in optimum.evaluations), rel=1e-6)
    assert loss < optimum.evaluations[0].loss


def test_the_best_is_kept_wherever_the_path_ends():
    objective = Objective(Sum(), features_of(torch.full(SIZE, -1.0)), masks_of(Click(5, 5)))
    for bias in (0.2, 0.9, 0.5):  # the loss falls with the bias
        objective(np.array([0.0, bias]))
    loss, variables = objective.best
    assert loss == min(evaluation.loss for evaluation in objective.evaluations)
    np.testing.assert_array_equal(variables, np.array([0, 0.9], np.float32))


class Counted(Objective):
    """An objective whose evaluations have known losses and numbers of pixels wrong."""

    def __init__(self, *script: tuple[float, int]) -> None:
        super().__init__(LocalSum(), features_of(torch.full(SIZE, 3.0)), masks_of(Click(5, 5)), insist=True, local=True)
        self._script = iter(script)

    def _loss(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        loss, self._count = next(self._script)
        return loss + 0 * values.sum(), torch.zeros_like(self._masks.positive)

    def _wrong(self, probability: torch.Tensor) -> torch.Tensor:
        del probability
        return torch.tensor(self._count)


def test_fewer_pixels_wrong_are_better_than_a_lower_loss():
    objective = Counted((5, 3), (1, 2), (4, 1), (3, 1), (2, 2))
    for number in range(5):
        objective(np.array([0.0, number]))
    assert objective.best[0] == 3
    np.testing.assert_array_equal(objective.best[1], np.array([0, 3], np.float32))


def test_what_is_met_already_is_left_alone():
    network, features = Sum(4.0), features_of(halves(1.0, -1.0))
    before = np.array([0.01, -0.02], np.float32)
    optimum = optimise(Objective(network, features, masks_of(Click(5, 2), Click(5, 9, positive=False))), before)
    np.testing.assert_array_equal(optimum.variables, before)
    assert len(optimum.evaluations) == 1


def test_a_mask_that_no_longer_changes_ends_it():
    # No scale or bias tells two clicks on one pixel apart, and the mask is all object throughout.
    network, features = Sum(), features_of(torch.full(SIZE, 3.0))
    objective = Objective(network, features, masks_of(Click(5, 5), Click(5, 5, positive=False)))
    _, first = objective(np.zeros(2))
    _, second = objective(np.array([1e-4, 0.0]))
    assert np.linalg.norm(first) > 0
    assert np.linalg.norm(second) == 0


@pytest.mark.parametrize("at_the_pixel", [3.0, -3.0])
@pytest.mark.parametrize("insist", [False, True])
def test_an_insisting_one_goes_on_while_a_pixel_clicked_is_wrong(insist: bool, at_the_pixel: float):
    channel = torch.full(SIZE, 3.0)
    channel[5, 5] = at_the_pixel  # right if negative, though the rest of the click's square is wrong
    objective = Objective(Sum(), features_of(channel), masks_of(Click(5, 5, positive=False)), insist=insist)
    objective(np.zeros(2))
    objective(np.array([1e-4, 0.0]))  # the same mask
    first, second = objective.evaluations
    assert first.gradient_norm > 0
    assert (second.gradient_norm > 0) is (insist and at_the_pixel > 0)


class LocalSum(Sum):
    """A logit depends on its own features alone."""

    def reach(self, cut: Cut) -> int | None:
        del cut
        return 0


@pytest.mark.parametrize("local", [False, True])
def test_near_the_clicks_it_is_enough_that_their_pixels_are_right(local: bool):
    channel = torch.full(SIZE, 3.0)
    channel[5, 5] = -3.0  # the pixel of the negative click; the rest of its square is wrong
    masks = masks_of(Click(5, 5, positive=False))
    objective = Objective(LocalSum(), features_of(channel), masks, insist=True, local=local)
    objective(np.zeros(2))
    assert (objective.evaluations[0].gradient_norm > 0) is not local


def test_near_the_clicks_a_wrong_pixel_is_not_left():
    objective = Objective(
        LocalSum(), features_of(torch.full(SIZE, 3.0)), masks_of(Click(5, 5, positive=False)), insist=True, local=True
    )
    optimum = optimise(objective, start(1))
    assert optimum.logits[0, 0, 5, 5] < 0
    assert optimum.evaluations[0].gradient_norm > 0


def test_effort_is_bounded():
    generator = torch.Generator().manual_seed(0)
    features = Features(torch.randn((1, 16, *SIZE), generator=generator), (), Cut.B, SIZE)
    clicks = [Click(r, c, (r + c) % 2 == 0) for r in range(1, 12, 3) for c in range(1, 12, 3)]
    optimum = optimise(Objective(Sum(), features, masks_of(*clicks)), start(16))
    assert 2 <= len(optimum.evaluations) <= 21 + 20  # maxfun, and the last line search
    assert min(e.loss for e in optimum.evaluations) < optimum.evaluations[0].loss


def test_it_can_be_called_off_at_every_evaluation():
    network, features = Sum(4.0), features_of(halves(1.0, -1.0), torch.full(SIZE, 2.0))
    masks = masks_of(Click(5, 2), Click(5, 9, positive=False))
    needed = len(optimise(Objective(network, features, masks), start(2)).evaluations)
    assert needed > 1
    for allowed in range(needed):
        network.decodes = 0
        objective = Objective(network, features, masks, lambda allowed=allowed: network.decodes >= allowed)
        with pytest.raises(CancelledError):
            optimise(objective, start(2))
        assert network.decodes == allowed


def test_a_network_that_gives_no_number():
    features = features_of(halves(1.0, -1.0))
    with pytest.raises(PredictionError, match="not a number"):
        optimise(Objective(Sum(math.nan), features, masks_of(Click(5, 2))), start(1))


def test_the_features_are_not_changed():
    features = features_of(halves(1.0, -1.0), torch.full(SIZE, 2.0))
    before = features.x.clone()
    optimise(Objective(Sum(4.0), features, masks_of(Click(5, 2), Click(5, 9, positive=False))), start(2))
    assert torch.equal(features.x, before)


def hard_case(local: bool) -> tuple[Objective, ClickMasks]:
    network, features = LocalSum(4.0), features_of(halves(1.0, -1.0), torch.full(SIZE, 2.0))
    masks = masks_of(Click(5, 2), Click(5, 9, positive=False))
    return Objective(network, features, masks, insist=True, local=local), masks


@pytest.mark.parametrize("local", [False, True])
def test_on_the_device_the_clicks_are_met_like_scipys(local: bool):
    optima = []
    for solve in (optimise_with_scipy, optimise_on_device):
        objective, masks = hard_case(local)
        optima.append(solve(objective, start(2)))
        assert masks.met(torch.sigmoid(optima[-1].logits))
    scipys, ours = optima
    assert ours.variables.dtype == np.float32
    assert ours.evaluations[0].loss == pytest.approx(scipys.evaluations[0].loss, rel=1e-6)
    assert len(ours.evaluations) <= 20
    assert ours.evaluations[-1].gradient_norm == 0  # good enough
    assert torch.equal(ours.logits > 0, scipys.logits > 0)


def test_on_the_device_it_gets_as_far_as_scipys_does():
    generator = torch.Generator().manual_seed(0)
    features = Features(torch.randn((1, 16, *SIZE), generator=generator), (), Cut.B, SIZE)
    clicks = [Click(r, c, (r + c) % 2 == 0) for r in range(1, 12, 3) for c in range(1, 12, 3)]
    scipys, ours = (
        solve(Objective(Sum(), features, masks_of(*clicks), insist=True), start(16))
        for solve in (optimise_with_scipy, optimise_on_device)
    )
    lowest = [min(evaluation.loss for evaluation in optimum.evaluations) for optimum in (scipys, ours)]
    assert lowest[0] < 0.8 * scipys.evaluations[0].loss
    assert lowest[1] <= 1.1 * lowest[0]


@pytest.mark.parametrize("seed", range(4))
def test_on_the_device_of_crowded_clicks_the_fewest_are_left_wrong(seed: int):
    channels = torch.randn((3, *SIZE), generator=torch.Generator().manual_seed(seed))
    rng = np.random.default_rng(seed)
    clicks = [Click(row, column, rng.random() < 0.5) for row in range(2, 10, 2) for column in range(2, 10)]
    masks, counts = masks_of(*clicks), []
    objective = Objective(LocalSum(3.0), features_of(*channels), masks, insist=True, local=True)
    wrong = objective._wrong
    objective._wrong = lambda probability: (counts.append(wrong(probability)), counts[-1])[1]
    optimum = optimise_on_device(objective, start(3))
    left = int(masks.wrong(torch.sigmoid(optimum.logits)))
    assert 0 < left == min(counts) < counts[0]


def test_on_the_device_it_can_be_called_off_and_fails_alike():
    network, features = Sum(4.0), features_of(halves(1.0, -1.0), torch.full(SIZE, 2.0))
    masks = masks_of(Click(5, 2), Click(5, 9, positive=False))
    objective = Objective(network, features, masks, lambda: network.decodes >= 2)
    with pytest.raises(CancelledError):
        optimise_on_device(objective, start(2))
    with pytest.raises(PredictionError, match="not a number"):
        optimise_on_device(Objective(Sum(math.nan), features, masks), start(2))


class Scripted(Objective):
    """An objective whose third evaluation meets the clicks, at a higher loss than the second."""

    def __init__(self) -> None:
        features = features_of(torch.full(SIZE, 3.0))
        super().__init__(LocalSum(), features, masks_of(Click(5, 5, positive=False)), insist=True, local=True)
        self._script = iter([(5.0, False), (1.0, False), (3.0, True), (0.5, False)])

    def _loss(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        loss, self._enough = next(self._script)
        return loss + 0 * values.sum() + values[0] - values[0].detach(), torch.zeros_like(self._masks.positive)

    def _good_enough(self, probability: torch.Tensor) -> torch.Tensor:
        del probability
        return torch.tensor(self._enough)


@pytest.mark.parametrize("solve", [optimise_with_scipy, optimise_on_device])
def test_an_answer_that_meets_the_clicks_is_kept_and_ends_it(solve):
    objective = Scripted()
    optimum = solve(objective, start(1))
    assert [round(evaluation.loss, 3) for evaluation in optimum.evaluations] == [5, 1, 3]
    assert optimum.evaluations[-1].gradient_norm == 0
