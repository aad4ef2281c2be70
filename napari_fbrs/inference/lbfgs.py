"""L-BFGS that stays where the objective is computed: on a GPU nothing waits for the host between evaluations.

SciPy's, which takes every value and gradient to the host, is what it is tested against.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_SUFFICIENT = 1e-4  # of the decrease that the slope promises (Armijo)
_SHORTEST, _LONGEST = 0.1, 0.5  # what a step that was too long is multiplied by, at least and at most
_CURVED = 1e-10  # least curvature, relative, of a pair that is learnt from

# Value, gradient, whether it is good enough, and how much is wrong whatever the value.
Function = Callable[[Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Minimum:
    """Where a minimisation ended.

    Parameters
    ----------
    x : Tensor, shape (n,)
        The best of all that was evaluated: where the least is wrong, and of these that of the lowest value.
    value : Tensor, scalar
        There; infinite where no value was a number.
    values, norms : Tensor, shape (evaluations,)
        All values, and the norms of their gradients, 0 from where it was good enough on.
    """

    x: Tensor
    value: Tensor
    values: Tensor
    norms: Tensor


def minimise(
    function: Function,
    start: Tensor,
    *,
    evaluations: int,
    every: int,
    decisive: bool = False,
    pause: Callable[[], object] = lambda: None,
) -> Minimum:
    """Minimise a function by L-BFGS with backtracking, all decisions made on the device.

    Parameters
    ----------
    function : callable
        Returns value, gradient, whether it is good enough and how much is wrong, as tensors.
    start : Tensor, shape (n,)
        Where to start.
    evaluations : int
        At most.
    every : int
        The host asks only after so many evaluations whether it is over; what is evaluated beyond that counts for
        nothing.
    decisive : bool, optional
        Whether what is good enough is the best, even if what came before it had a lower value.
    pause : callable, optional
        Called as often; what it raises ends the minimisation.
    """
    x, step, trial = start, None, start
    memory = _Memory(start)
    best, least = start, torch.full((), torch.inf, device=start.device, dtype=start.dtype)
    fewest = least
    over = torch.zeros((), dtype=torch.bool, device=start.device)
    values, norms, lasting = [], [], []
    value = gradient = direction = slope = start  # replaced by the first evaluation
    for number in range(evaluations):
        if number % every == 0:
            pause()
            if number and bool(over):
                break
        tried, its_gradient, enough, wrong = function(trial)
        values.append(tried)
        norms.append(torch.where(over | enough, 0, its_gradient.norm()))
        lasting.append(~over)
        lower = (wrong < fewest) | ((wrong == fewest) & (tried < least))
        better = (lower | (enough & decisive)) & torch.isfinite(tried) & ~over
        best, least = torch.where(better, trial, best), torch.where(better, tried, least)
        fewest = torch.where(better, wrong, fewest)
        over = over | enough
        if step is None:
            x, value, gradient = trial, tried, its_gradient
            direction = -gradient
            step = 1 / gradient.norm().clamp_min(1e-12)  # as SciPy's first
        else:
            taken = tried <= value + _SUFFICIENT * step * slope
            memory.learn(trial - x, its_gradient - gradient, taken)
            shorter = _interpolated(step, slope, tried - value)
            x, value = torch.where(taken, trial, x), torch.where(taken, tried, value)
            gradient = torch.where(taken, its_gradient, gradient)
            direction = torch.where(taken, -memory.times(gradient), direction)
            step = torch.where(taken, torch.ones_like(step), shorter)
        slope = direction @ gradient
        trial = x + step * direction
    counted = torch.stack(lasting)
    return Minimum(best, least, torch.stack(values)[counted], torch.stack(norms)[counted])


def _interpolated(step: Tensor, slope: Tensor, rise: Tensor) -> Tensor:
    """Return a shorter step: where the parabola through two values and a slope is lowest, within bounds."""
    lowest = -slope * step.square() / (2 * (rise - slope * step))
    bounded = torch.where(torch.isfinite(lowest), lowest, _LONGEST * step)
    return torch.minimum(torch.maximum(bounded, _SHORTEST * step), _LONGEST * step)


class _Memory:
    """The inverse of the Hessian as it is known from steps taken (Byrd, Nocedal & Schnabel 1994, theorem 2.2)."""

    def __init__(self, like: Tensor) -> None:
        self._steps, self._changes = like.new_zeros((2, 0, like.numel()))
        self._useful = torch.zeros(0, dtype=torch.bool, device=like.device)
        self._size = like.new_ones(())

    def learn(self, step: Tensor, change: Tensor, taken: Tensor) -> None:
        """Take in a step and the gradient's change over it, if it was taken and the function is convex along it."""
        curvature, length = step @ change, change @ change
        useful = taken & (curvature > _CURVED * length) & torch.isfinite(length)
        # A pair of no use keeps its place: shapes that depended on values would have the host wait for them.
        self._steps = torch.cat((self._steps, torch.where(useful, step, 0)[None]))
        self._changes = torch.cat((self._changes, torch.where(useful, change, 0)[None]))
        self._useful = torch.cat((self._useful, useful[None]))
        self._size = torch.where(useful, curvature / length, self._size)

    def times(self, x: Tensor) -> Tensor:
        """Return the inverse of the Hessian times a vector."""
        steps, changes, size = self._steps, self._changes, self._size
        products = steps @ changes.T
        upper = products.triu() + torch.diag((~self._useful).to(x.dtype))
        middle = torch.diag(products.diagonal()) + size * (changes @ changes.T)
        inner = torch.linalg.solve_triangular(upper, (steps @ x)[:, None], upper=True)
        outer = torch.linalg.solve_triangular(upper.T, middle @ inner - size * (changes @ x)[:, None], upper=False)
        product: Tensor = size * x + steps.T @ outer[:, 0] - size * (changes.T @ inner[:, 0])
        return product
