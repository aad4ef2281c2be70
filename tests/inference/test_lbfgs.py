from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from torch import Tensor

from napari_fbrs.inference.lbfgs import minimise

NEVER, NONE = torch.tensor(False), torch.tensor(0)


def with_gradient(formula):
    """Return a function of tensors that also gives its gradient, and is never good enough."""

    def function(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = x.detach().requires_grad_()
        value = formula(x)
        (gradient,) = torch.autograd.grad(value, x)
        return value.detach(), gradient, NEVER, NONE

    return function


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1].square()).square() + (1 - x[:-1]).square()).sum()


@given(seed=st.integers(0, 1000), size=st.integers(1, 30))
@settings(max_examples=30)
def test_a_bowl_is_climbed_down_like_scipy_does(seed: int, size: int):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((size, size)) + 2 * np.eye(size)
    bowl, lowest = torch.from_numpy(root @ root.T / size), torch.from_numpy(rng.standard_normal(size))
    function = with_gradient(lambda x: (x - lowest) @ bowl @ (x - lowest) + 3)
    found = minimise(function, torch.zeros(size, dtype=torch.float64), evaluations=60, every=1)

    def told(x):
        value, gradient, *_ = function(torch.from_numpy(x))
        return float(value), gradient.numpy()

    _, scipys, _ = optimize.fmin_l_bfgs_b(told, np.zeros(size), m=20, factr=0, maxfun=60)
    start = float(function(torch.zeros(size, dtype=torch.float64))[0])
    assert float(found.value) - 3 <= 1.05 * (scipys - 3) + 0.01 * (start - 3)


def test_a_curved_valley():
    found = minimise(with_gradient(rosenbrock), torch.tensor([-1.2, 1.0], dtype=torch.float64), evaluations=80, every=1)
    assert torch.allclose(found.x, torch.ones(2, dtype=torch.float64), atol=1e-3)


def test_the_best_is_kept_and_all_are_told():
    found = minimise(with_gradient(rosenbrock), torch.tensor([-1.2, 1.0]), evaluations=12, every=5)
    assert len(found.values) == len(found.norms) == 12
    assert float(found.value) == float(found.values.min()) == pytest.approx(float(rosenbrock(found.x)))
    assert float(found.values[0]) == pytest.approx(24.2)


@pytest.mark.parametrize("every", [1, 4, 100])
def test_what_comes_after_good_enough_counts_for_nothing(every: int):
    calls = []

    def function(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        calls.append(x)
        value, gradient, *_ = with_gradient(rosenbrock)(x)
        return value, gradient, torch.tensor(len(calls) >= 6), NONE

    found = minimise(function, torch.tensor([-1.2, 1.0]), evaluations=20, every=every)
    assert len(found.values) == 6
    assert found.norms[5] == 0
    assert (found.norms[:5] > 0).all()
    assert len(calls) == {1: 6, 4: 8, 100: 20}[every]
    assert float(found.value) == float(found.values.min())


def test_no_number_at_all():
    nowhere = with_gradient(lambda x: x.sum() * torch.nan)
    assert not torch.isfinite(minimise(nowhere, torch.zeros(3), evaluations=5, every=1).value)


def test_a_cliff_is_stepped_back_from():
    cliff = with_gradient(lambda x: torch.where(x[0] > 0.5, torch.inf, (x[0] - 0.4).square()))
    found = minimise(cliff, torch.tensor([-3.0]), evaluations=20, every=1)
    assert float(found.x) == pytest.approx(0.4, abs=0.05)


def test_a_pause_can_end_it():
    class CalledError(Exception):
        pass

    def pause() -> None:
        raise CalledError

    with pytest.raises(CalledError):
        minimise(with_gradient(rosenbrock), torch.zeros(2), evaluations=5, every=1, pause=pause)


@pytest.mark.parametrize("decisive", [False, True])
def test_what_is_good_enough_may_be_the_best_whatever_its_value(decisive: bool):
    values = iter([5.0, 1.0, 3.0, 0.5])

    def function(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        value = next(values)
        return torch.tensor(value), torch.ones(1), torch.tensor(value == 3), NONE

    found = minimise(function, torch.zeros(1), evaluations=4, every=10, decisive=decisive)
    assert float(found.value) == (3 if decisive else 1)


@pytest.mark.parametrize(
    ("values", "wrong", "best"),
    [
        ([5.0, 4, 1, 3], [3, 1, 2, 2], 1),  # fewer wrong, whatever the value
        ([5.0, 4, 3, 3.5], [2, 2, 2, 2], 2),  # of as many wrong the lowest value
        ([5.0, torch.nan, 6, -torch.inf], [3, 0, 2, 0], 2),  # what is no number is no answer
    ],
)
def test_the_fewest_wrong_are_the_best(values: list[float], wrong: list[int], best: int):
    trials: list[Tensor] = []

    def function(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        number = len(trials)
        trials.append(x)
        return torch.tensor(values[number]), torch.ones(1), NEVER, torch.tensor(wrong[number])

    found = minimise(function, torch.zeros(1), evaluations=4, every=10, decisive=True)
    assert float(found.value) == values[best]
    assert torch.equal(found.x, trials[best])
