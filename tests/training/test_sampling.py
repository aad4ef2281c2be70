from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_fbrs.training.sampling import MAX_CLICKS, centred_click, correcting_click, initial_clicks

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))
seeds = st.integers(0, 2**32 - 1)


def disc(size: int, centre: tuple[int, int], radius: int) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2


@given(masks.filter(np.any), st.data(), seeds)
@settings(deadline=None)
def test_initial_clicks_lie_where_they_must(mask, data, seed):
    others = data.draw(hnp.arrays(bool, mask.shape)) & ~mask
    clicks = initial_clicks(mask, others, np.random.default_rng(seed))
    assert clicks[0].positive
    assert all(click.inside(mask.shape) and mask[click.pixel] == click.positive for click in clicks)
    counts = [sum(click.positive is sign for click in clicks) for sign in (True, False)]
    assert 1 <= counts[0] <= MAX_CLICKS
    assert counts[1] <= MAX_CLICKS


def test_the_first_click_alone_is_frequent_and_deep():
    mask = disc(80, (40, 40), 30)
    drawn = [initial_clicks(mask, np.zeros_like(mask), np.random.default_rng(seed)) for seed in range(300)]
    alone = [clicks[0] for clicks in drawn if len(clicks) == 1]
    assert 0.35 < len(alone) / len(drawn) < 0.7
    # Most of a disc's area lies near its rim: uniform clicks would be at two thirds of the radius on average.
    assert np.mean([np.hypot(c.row - 40, c.column - 40) for c in alone]) < 12


def test_negatives_lie_near_on_others_and_far():
    mask, others = disc(120, (30, 30), 15), disc(120, (90, 90), 15)
    clicks = [c for s in range(400) for c in initial_clicks(mask, others, np.random.default_rng(s)) if not c.positive]
    near = np.mean([np.hypot(c.row - 30, c.column - 30) < 34 for c in clicks])
    on_others = np.mean([others[c.pixel] for c in clicks])
    assert 0.4 < near < 0.65
    assert 0.3 < on_others < 0.5


@given(masks, st.data(), seeds)
@settings(deadline=None)
def test_a_correction_lies_in_an_error_and_says_which(prediction, data, seed):
    truth = data.draw(hnp.arrays(bool, prediction.shape))
    valid = data.draw(hnp.arrays(bool, prediction.shape))
    click = correcting_click(prediction, truth, np.random.default_rng(seed), valid)
    if click is not None:
        assert valid[click.pixel]
        assert prediction[click.pixel] != truth[click.pixel]
        assert click.positive == truth[click.pixel]


def test_the_deeper_error_is_corrected():
    truth, surplus = disc(100, (30, 30), 20), disc(100, (80, 80), 6)
    for seed in range(20):
        click = correcting_click(surplus, truth, np.random.default_rng(seed))
        assert click is not None
        assert click.positive
        assert np.hypot(click.row - 30, click.column - 30) < 20 * 0.75
    assert correcting_click(truth, truth, np.random.default_rng(0)) is None


def test_evaluation_clicks_the_centre():
    truth = disc(100, (40, 60), 20)
    click = centred_click(np.zeros_like(truth), truth)
    assert click is not None
    assert abs(click.row - 40) <= 2
    assert abs(click.column - 60) <= 2
    assert centred_click(truth, truth) is None
