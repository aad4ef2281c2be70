from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.training.losses import IGNORE, normalised_focal_loss


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
