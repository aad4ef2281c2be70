from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.training.losses import IGNORE, jaccard_distance, normalised_focal_loss


def loss_of(logits: list[float], target: list[int]) -> torch.Tensor:
    return normalised_focal_loss(
        torch.tensor(logits).reshape(1, 1, 1, -1), torch.tensor(target, dtype=torch.uint8).reshape(1, 1, -1)
    )[0]


def test_value_by_hand():
    # Probabilities 0.8 (object), 0.4 (object), 0.3 (background): pt 0.8, 0.4, 0.7; w 0.04, 0.36, 0.09; sum 0.49.
    logits = [math.log(p / (1 - p)) for p in (0.8, 0.4, 0.3)]
    by_hand = -0.5 * (0.04 * math.log(0.8) + 0.36 * math.log(0.4) + 0.09 * math.log(0.7)) / 0.49
    assert loss_of(logits, [1, 1, 0]).item() == pytest.approx(by_hand, rel=1e-5)


def test_the_normalising_factor_passes_no_gradient():
    logit = torch.tensor([0.3, -0.7], dtype=torch.float32, requires_grad=True)
    normalised_focal_loss(logit.reshape(1, 1, 1, 2), torch.tensor([[[1, 0]]], dtype=torch.uint8)).sum().backward()
    free = logit.detach().clone().requires_grad_(True)
    pt = torch.stack((torch.sigmoid(free[0]), 1 - torch.sigmoid(free[1])))
    w = (1 - pt) ** 2
    (-0.5 * w * (2 / w.sum()).detach() * pt.log()).mean().backward()
    torch.testing.assert_close(logit.grad, free.grad)


def test_ignored_pixels_count_for_nothing():
    logits = torch.tensor([0.5, -1.0, 30.0], requires_grad=True)
    target = torch.tensor([[[1, 0, IGNORE]]], dtype=torch.uint8)
    loss = normalised_focal_loss(logits.reshape(1, 1, 1, 3), target)[0]
    loss.backward()
    assert loss.item() == pytest.approx(loss_of([0.5, -1.0], [1, 0]).item())
    assert logits.grad is not None
    assert logits.grad[2] == 0


def test_nothing_valid_is_no_loss():
    assert loss_of([1.0, 2.0], [IGNORE, IGNORE]) == 0


@given(st.lists(st.tuples(st.floats(-200, 200), st.sampled_from([0, 1, IGNORE])), min_size=1, max_size=8))
def test_finite_and_downhill(pixels: list[tuple[float, int]]):
    logits = torch.tensor([logit for logit, _ in pixels], requires_grad=True)
    target = torch.tensor([value for _, value in pixels], dtype=torch.uint8)
    loss = normalised_focal_loss(logits.reshape(1, 1, 1, -1), target.reshape(1, 1, -1)).sum()
    loss.backward()
    assert logits.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert loss >= 0
    # Less certainty of the truth never lowers the loss of a pixel: the slope points to the true class.
    towards = torch.where(target == 1, 1.0, -1.0)
    assert (logits.grad * towards <= 1e-7).all()


def test_samples_are_independent():
    logits, target = torch.randn(3, 1, 4, 5), torch.randint(0, 2, (3, 4, 5), dtype=torch.uint8)
    together = normalised_focal_loss(logits, target)
    alone = torch.cat([normalised_focal_loss(logits[i : i + 1], target[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone)


def test_jaccard_by_hand():
    # Probabilities 0.8 and 0.4 on the object, 0.3 off it; the last pixel does not matter.
    logits = torch.tensor([math.log(p / (1 - p)) for p in (0.8, 0.4, 0.3, 0.9)]).reshape(1, 1, 1, 4)
    target = torch.tensor([[[1, 1, 0, IGNORE]]], dtype=torch.uint8)
    assert jaccard_distance(logits, target).item() == pytest.approx(1 - 1.2 / 2.3, rel=1e-5)


def test_jaccard_of_certain_masks_is_one_less_iou():
    truth = torch.zeros(2, 8, 8, dtype=torch.uint8)
    truth[:, 2:6, 2:6] = 1
    found = torch.zeros(2, 1, 8, 8)
    found[0, 0, 2:6, 2:6] = 1
    found[1, 0, 2:6, 3:7] = 1
    torch.testing.assert_close(jaccard_distance(found * 200 - 100, truth), torch.tensor([0.0, 1 - 12 / 20]))


def test_what_is_likely_is_taken_in():
    """Of two equally large parts one belongs surely; the other is taken in where it mostly belongs, too."""
    for likely, sign in ((0.6, 1), (0.3, -1)):
        logit = torch.zeros(1, requires_grad=True)
        logits = torch.stack((torch.full((1,), 50.0), logit), dim=1).reshape(1, 1, 1, 2)
        both, one = (torch.tensor([[[1, b]]], dtype=torch.uint8) for b in (1, 0))
        (likely * jaccard_distance(logits, both) + (1 - likely) * jaccard_distance(logits, one)).sum().backward()
        assert logit.grad is not None
        assert -logit.grad.item() * sign > 0


@given(st.lists(st.tuples(st.floats(-200, 200), st.sampled_from([0, 1, IGNORE])), min_size=1, max_size=8))
def test_jaccard_is_a_distance_and_finite(pixels: list[tuple[float, int]]):
    logits = torch.tensor([logit for logit, _ in pixels], requires_grad=True)
    target = torch.tensor([value for _, value in pixels], dtype=torch.uint8).reshape(1, 1, -1)
    distance = jaccard_distance(logits.reshape(1, 1, 1, -1), target).sum()
    distance.backward()
    assert 0 <= distance <= 1
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    if 1 not in [value for _, value in pixels]:
        assert distance == 0
