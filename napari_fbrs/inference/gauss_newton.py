"""Many variables, few clicks: a minimisation in as many numbers as there are windows around clicks.

Around the variables reached so far, the logits in a window are taken to be linear in them, with one slope for all its
pixels (Gauss-Newton). The variables of least loss are then a sum of these slopes, so that no more numbers are looked
for than there are windows. Of the step to them only as much is taken as should make the pixels clicked right: what
goes further would change the mask where nobody has clicked. Where clicks cannot all be met, such as those on both sides
of an outline finer than the map, it ends once it gets no better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]

_EVALUATIONS = 12
_PATIENCE, _PROGRESS = 2, 0.05  # evaluations, and the share of the loss that they must lower it by, or have fewer wrong
_SHORTER = 0.25  # what a step that led uphill is multiplied by, once
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)  # of a step that are tried before all of it
_LONGEST = 2.0  # norm of a step: beyond, what is linear about the network ends, and masks fall apart
_MARGIN = 0.03  # of probability, by which pixels are to be right
_NEWTON_STEPS = 12
_LEAST_GAIN = 1e-5  # of the loss, by a Newton step


@dataclass(frozen=True)
class Look:
    """What is known at some variables.

    Parameters
    ----------
    loss : float
        Value of the objective.
    enough : bool
        Whether it is good enough.
    wrong : int
        How many of the pixels clicked are on the wrong side.
    slopes : callable
        Returns the gradients of the windows' mean logits in the variables, shape (windows, variables).
    logits : ndarray, shape (pixels,)
        At the pixels that clicks weigh.
    """

    loss: float
    enough: bool
    wrong: int
    slopes: Callable[[], _Floats]
    logits: _Floats


@dataclass(frozen=True)
class Clicked:
    """What is asked of the pixels.

    Parameters
    ----------
    window : ndarray of int, shape (pixels,)
        Which window each belongs to.
    positive, negative : ndarray, shape (pixels,)
        What ``(1 - p)^2`` and ``p^2`` weigh in the loss.
    price : ndarray, shape (variables,)
        What the square of each variable costs.
    right : callable
        Whether probabilities, shape (pixels,), are right at the clicks.
    """

    window: npt.NDArray[np.int64]
    positive: _Floats
    negative: _Floats
    price: _Floats
    right: Callable[[_Floats], bool]


def approach(look: Callable[[_Floats], Look], clicked: Clicked, start: _Floats) -> tuple[_Floats, bool]:
    """Go towards variables that meet the clicks.

    Parameters
    ----------
    look : callable
        Evaluates the objective.
    clicked : Clicked
        What is asked.
    start : ndarray, shape (variables,)
        Where to start.

    Returns
    -------
    tuple of ndarray and bool
        The variables with the fewest pixels wrong, and of these those of least loss; and whether they are good enough.
    """
    x, step, before, shortened = start, np.zeros_like(start), np.inf, False
    tried: list[_Tried] = []
    while not _stalled(tried):
        seen = look(x)
        if seen.enough:
            return x, True
        if not np.isfinite(seen.loss):
            break
        tried.append(_Tried(seen.wrong, seen.loss, x))
        if seen.loss > before and not shortened:
            x, step, shortened = x - (1 - _SHORTER) * step, _SHORTER * step, True
            continue
        before, shortened = seen.loss, False
        step = _step(seen, clicked, x)
        x = x + step
    return min(tried, key=lambda one: one[:2], default=_Tried(0, 0.0, start)).x, False


class _Tried(NamedTuple):
    wrong: int
    loss: float
    x: _Floats


def _stalled(tried: Sequence[_Tried]) -> bool:
    """Return whether the last few of what was tried made neither fewer pixels wrong nor the loss much less."""
    before = tried[:-_PATIENCE]
    if not before:
        return False
    fewer = min(one.wrong for one in tried) < min(one.wrong for one in before)
    less = min(one.loss for one in tried) <= (1 - _PROGRESS) * min(one.loss for one in before)
    return len(tried) == _EVALUATIONS or not (fewer or less)


def _step(seen: Look, clicked: Clicked, x: _Floats) -> _Floats:
    """Return the least share, of the step to where the linear model's loss is least, that should meet the clicks."""
    slopes = seen.slopes()
    directions = slopes / clicked.price
    products = directions @ slopes.T
    now = slopes @ x
    step = _coefficients(seen.logits, clicked, products, now) @ directions - x
    step *= min(1.0, _LONGEST / max(float(np.linalg.norm(step)), 1e-12))
    rises = (slopes @ step)[clicked.window]
    margin = _MARGIN * np.where(clicked.positive > 0, 1, -1)
    for share in _SHARES:
        if clicked.right(_sigmoid(seen.logits + share * rises) - margin):
            return share * step
    return step


def _coefficients(logits: _Floats, clicked: Clicked, products: _Floats, now: _Floats) -> _Floats:
    """Return how much of each window's direction makes up the variables of least loss.

    With x = a @ directions the price of x is a @ products @ a, and the windows' logits rise by products @ a - now.
    """
    count = len(now)

    def model(a: _Floats) -> tuple[float, _Floats, _Floats]:
        level = products @ a
        p = _sigmoid(logits + (level - now)[clicked.window])
        loss = clicked.positive @ (1 - p) ** 2 + clicked.negative @ p**2 + a @ level
        bend = p * (1 - p)
        slope = 2 * (clicked.negative * p - clicked.positive * (1 - p)) * bend
        curvature = 2 * (clicked.positive + clicked.negative) * bend**2
        sums = (np.bincount(clicked.window, values, count) for values in (slope, curvature))
        return float(loss), *sums  # type: ignore[return-value]

    a: _Floats = np.linalg.lstsq(products + 1e-9 * np.trace(products) / count * np.eye(count), now, rcond=None)[0]
    loss, slope, curvature = model(a)
    for _ in range(_NEWTON_STEPS):
        change = -np.linalg.solve(curvature[:, None] * products + 2 * np.eye(count), slope + 2 * a)
        tries = ((a + share * change) for share in (1.0, 0.5, 0.25, 0.125))
        found = next(((b, told) for b in tries if (told := model(b))[0] < loss), None)
        if found is None:
            break
        gain = loss - found[1][0]
        a, (loss, slope, curvature) = found
        if gain < _LEAST_GAIN * loss:
            break
    return a


def _sigmoid(logits: _Floats) -> _Floats:
    probability: _Floats = 0.5 + 0.5 * np.tanh(0.5 * logits)
    return probability
