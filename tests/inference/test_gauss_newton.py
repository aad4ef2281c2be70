from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize

from napari_fbrs.clicks import Click
from napari_fbrs.inference.gauss_newton import Clicked, Look, approach
from napari_fbrs.inference.objective import ClickMasks
from napari_fbrs.inference.optimizer import Objective, optimise, optimise_with_scipy
from napari_fbrs.models.deeplab import DeepLab, DeepLabArchitecture
from napari_fbrs.models.network import Cut, Features

SIZE = (96, 96)


class Line:
    """An objective whose logits are linear: a step is the solution."""

    def __init__(
        self, rng: np.random.Generator, windows: int, variables: int, *, reachable: bool, steep: float = 1
    ) -> None:
        self.slopes = steep * rng.standard_normal((windows, variables))
        self.origin = steep * rng.standard_normal(windows)
        self.window = np.repeat(np.arange(windows), 3)
        self.signs = rng.integers(0, 2, windows)[self.window]
        positive, negative = ((self.signs == sign) / max(1, (self.signs == sign).sum()) for sign in (1, 0))
        price = np.full(variables, 1e-3)
        self.clicked = Clicked(self.window, positive, negative, price, self.right)
        self.reachable, self.looks = reachable, 0

    def right(self, p: np.ndarray) -> bool:
        return self.reachable and bool(((p > 0.49) == (self.signs == 1)).all())

    def probability(self, x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(self.origin + self.slopes @ x)[self.window]))

    def loss(self, x: np.ndarray) -> float:
        p = self.probability(x)
        return float(self.clicked.positive @ (1 - p) ** 2 + self.clicked.negative @ p**2 + self.clicked.price @ x**2)

    def __call__(self, x: np.ndarray) -> Look:
        self.looks += 1
        p = self.probability(x)
        return Look(self.loss(x), self.right(p), 0, lambda: self.slopes, np.log(p / (1 - p)))


@given(seed=st.integers(0, 1000), windows=st.integers(1, 6), begun=st.booleans())
@settings(max_examples=40)
def test_where_logits_are_linear_it_ends_at_the_least_loss(seed: int, windows: int, begun: bool):
    rng = np.random.default_rng(seed)
    line = Line(rng, windows, 20, reachable=False)
    start = 0.3 * rng.standard_normal(20) * begun
    found, enough = approach(line, line.clicked, start)
    assert not enough
    lowest = min(optimize.minimize(line.loss, x, method="BFGS").fun for x in (start, found))
    assert line.loss(found) <= lowest + 0.01 * (line.loss(start) - lowest) + 1e-6


@given(seed=st.integers(0, 1000), windows=st.integers(1, 6))
@settings(max_examples=40)
def test_one_step_is_enough_for_that_even_from_probabilities_near_0_and_1(seed: int, windows: int):
    line, seen = Line(np.random.default_rng(seed), windows, 20, reachable=False, steep=2), []

    def look(x: np.ndarray) -> Look:
        seen.append(x)
        return line(x)

    approach(look, line.clicked, np.zeros(20))
    start, found, *_ = seen
    assume(np.linalg.norm(found) < 1.99)  # beyond, steps are shortened
    lowest = optimize.minimize(line.loss, found, method="BFGS").fun
    assert line.loss(found) <= lowest + 1e-3 * (line.loss(start) - lowest)


@given(seed=st.integers(0, 1000), windows=st.integers(1, 6))
@settings(max_examples=40)
def test_it_goes_no_further_than_the_clicks_ask(seed: int, windows: int):
    line = Line(np.random.default_rng(seed), windows, 20, reachable=True)
    found, enough = approach(line, line.clicked, np.zeros(20))
    assert enough
    assert line.right(line.probability(found))
    assert line.looks <= 3
    if line.looks > 1:
        assert not line.right(line.probability(0.05 * found))


def test_a_step_uphill_is_shortened():
    line = Line(np.random.default_rng(0), 2, 5, reachable=False)

    def steep(x: np.ndarray) -> Look:
        seen = line(x)
        return Look(seen.loss + 100 * (np.abs(x).max() > 0.5), False, 0, seen.slopes, seen.logits)

    found, _ = approach(steep, line.clicked, np.zeros(5))
    assert 0 < np.abs(found).max() <= 0.5
    assert line.loss(found) < line.loss(np.zeros(5))


def test_no_number_ends_it():
    line = Line(np.random.default_rng(0), 2, 5, reachable=False)
    found, enough = approach(lambda x: Look(np.nan, False, 0, line(x).slopes, np.zeros(6)), line.clicked, np.ones(5))
    assert not enough
    np.testing.assert_array_equal(found, np.ones(5))


@pytest.fixture(scope="module")
def network() -> DeepLab:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DeepLabArchitecture("resnet18", 16, stages=1, output_stride=16, rates=(1, 2, 3)).build().eval()
    network.head.layers[-1].weight.data *= 100  # untrained, it says nearly the same everywhere
    return network.folded()


def objective_of(network: DeepLab, clicks: list[Click]) -> Objective:
    x = torch.randn((2, network.channels(Cut.B), 24, 24), generator=torch.Generator().manual_seed(1))
    masks = ClickMasks(clicks, SIZE, flip=True, device=torch.device("cpu"))
    return Objective(network, Features(x, (), Cut.B, SIZE), masks, insist=True, local=True)


CLICKS = [Click(20, 20), Click(60, 70, positive=False), Click(70, 20), Click(1, 95, positive=False)]


def test_what_is_looked_at_is_the_objective(network: DeepLab):
    objective = objective_of(network, CLICKS)
    assert objective.linear
    x = 0.2 * np.random.default_rng(0).standard_normal(len(objective.zeros()))
    (loss, _), seen, clicked = objective(x), objective.look(x), objective.clicked
    assert seen.loss == pytest.approx(loss, rel=1e-6)
    p = 1 / (1 + np.exp(-seen.logits))
    by_hand = clicked.positive @ (1 - p) ** 2 + clicked.negative @ p**2 + clicked.price @ x**2
    assert by_hand == pytest.approx(loss, rel=1e-5)


def test_slopes_are_those_of_the_mean_logits(network: DeepLab):
    objective = objective_of(network, CLICKS)
    window = objective.clicked.window
    x = 0.2 * np.random.default_rng(0).standard_normal(len(objective.zeros()))
    slopes = objective.look(x).slopes()
    assert slopes.shape == (2 * len(CLICKS), len(x))
    along = np.random.default_rng(1).standard_normal(len(x))
    there, here = (objective.look(x + step * along).logits for step in (1e-3, -1e-3))
    rises = np.bincount(window, there - here) / np.bincount(window) / 2e-3
    np.testing.assert_allclose(slopes @ along, rises, rtol=0.02, atol=0.02 * np.abs(rises).max())


def test_the_clicks_are_met_in_fewer_evaluations_than_scipys(network: DeepLab):
    ours, scipys = (
        solve(fresh := objective_of(network, CLICKS), fresh.zeros()) for solve in (optimise, optimise_with_scipy)
    )
    assert len(ours.evaluations) < len(scipys.evaluations)
    assert ours.evaluations[-1].gradient_norm == 0
    for click in CLICKS:
        for half, column in enumerate((int(click.column), SIZE[1] - 1 - int(click.column))):
            assert (ours.logits[half, 0, int(click.row), column] > np.log(0.49 / 0.51)) == click.positive


def test_where_it_cannot_get_there_it_soon_gives_up_and_keeps_the_best(network: DeepLab):
    contradictory = [Click(20, 20), Click(20, 21, positive=False)]
    objective = objective_of(network, contradictory)
    optimum = optimise(objective, objective.zeros())
    losses = [evaluation.loss for evaluation in optimum.evaluations]
    assert len(losses) == 3
    assert objective.best is not None
    assert objective.best[0] == min(losses) < losses[0]
    np.testing.assert_array_equal(optimum.variables, objective.best[1])


@pytest.mark.parametrize(
    ("losses", "wrong", "looks", "taken"),
    [
        ([5, 5, 5, 5], [3] * 4, 3, 0),  # no progress twice
        ([5, 4.95, 4.9, 4], [3] * 4, 3, 2),  # nearly none
        ([5, 5, 4, 4, 3, 3, 3, 3, 3], [3] * 9, 7, 4),  # a loss that falls every other time
        ([5, 4, 3, 3, 3, 3, 3], [2, 2, 1, 2, 2, 2, 2], 5, 2),  # of equal losses that with fewest wrong
        ([5, 6, 6, 6, 6, 6], [3, 2, 2, 2, 2, 2], 4, 1),  # fewer wrong, though uphill
        (list(range(100, 1, -5)), [3] * 20, 12, 11),  # no more than a dozen
    ],
)
def test_when_it_gives_up(losses: list[float], wrong: list[int], looks: int, taken: int):
    line, seen = Line(np.random.default_rng(0), 2, 5, reachable=False), []

    def look(x: np.ndarray) -> Look:
        seen.append(x)
        told = line(x)
        return Look(losses[len(seen) - 1], False, wrong[len(seen) - 1], told.slopes, told.logits)

    found, enough = approach(look, line.clicked, np.zeros(5))
    assert not enough
    assert len(seen) == looks
    assert found is seen[taken]
