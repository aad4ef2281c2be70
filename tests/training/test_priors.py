from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.evaluation.simulation import iou
from napari_fbrs.training.batches import draw_example
from napari_fbrs.training.crops import Crop
from napari_fbrs.training.priors import damaged, half_corrected

SHAPE = (60, 72)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Return a disc, and a disc that touches it."""
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    mask = (rows - 30) ** 2 + (columns - 24) ** 2 < 14**2
    return mask, ((rows - 30) ** 2 + (columns - 50) ** 2 < 13**2) & ~mask


@given(st.integers(0, 2**32))
def test_what_is_damaged_is_still_recognised(seed: int):
    mask, others = scene()
    out = damaged(mask, others, np.random.default_rng(seed))
    assert out.shape == mask.shape
    assert out.dtype == bool
    assert iou(mask.astype(int), out) > 0.15
    assert np.array_equal(out, damaged(mask, others, np.random.default_rng(seed)))


def test_both_kinds_of_error_are_made_and_most_are_mild():
    mask, others = scene()
    drawn = [damaged(mask, others, np.random.default_rng(seed)) for seed in range(200)]
    assert sum((mask & ~one).sum() > 20 for one in drawn) > 60
    assert sum((one & ~mask).sum() > 20 for one in drawn) > 60
    assert 0.6 < np.median([iou(mask.astype(int), one) for one in drawn]) < 0.95
    assert sum((one & others).sum() > 20 for one in drawn) > 20


@pytest.mark.parametrize(
    "mask", [np.eye(9, dtype=bool), np.ones((9, 9), bool), np.eye(9, dtype=bool) & (np.arange(9) == 4)]
)
def test_odd_objects(mask: np.ndarray):
    for seed in range(50):
        assert damaged(mask, np.zeros_like(mask), np.random.default_rng(seed)).shape == mask.shape


def test_an_example_corrects_what_is_damaged():
    mask, others = scene()
    crop = Crop(np.zeros((*SHAPE, 3), np.uint8), mask, others, mask)
    for seed in range(20):
        example = draw_example(crop, np.random.default_rng(seed), 1.0, 0.0)
        if not example.prior.any():
            continue  # hardly a pixel was wrong
        (click,) = example.clicks
        assert mask[click.pixel] == click.positive
        assert example.prior[click.pixel] != click.positive


def test_the_first_clicks_have_no_prior():
    mask, others = scene()
    crop = Crop(np.zeros((*SHAPE, 3), np.uint8), mask, others, mask)
    assert not any(draw_example(crop, np.random.default_rng(seed), 0.0, 0.0).prior.any() for seed in range(20))


@given(st.integers(0, 2**32))
def test_the_last_correction_is_still_to_be_made(seed: int):
    mask, _ = scene()
    start = np.roll(mask, 4, axis=1)
    clicks, prior = half_corrected(start, mask, np.random.default_rng(seed))
    *earlier, last = clicks
    assert prior[last.pixel] != mask[last.pixel]
    assert all(mask[click.pixel] == click.positive for click in clicks)
    assert all(prior[click.pixel] == click.positive for click in earlier)
    assert np.array_equal(prior, start) == (not earlier)
    assert not ((prior != start) & (prior != mask)).any()


def test_corrections_act_around_their_clicks_alone():
    mask, _ = scene()
    start = np.roll(mask, 4, axis=1)
    drawn = [half_corrected(start, mask, np.random.default_rng(seed)) for seed in range(60)]
    rows, columns = np.indices(SHAPE)
    for clicks, prior in drawn:
        far = np.all([np.hypot(rows - c.row, columns - c.column) > 0.35 * np.sqrt(mask.sum()) for c in clicks], axis=0)
        np.testing.assert_array_equal(prior[far], start[far])
    assert {len(clicks) for clicks, _ in drawn} >= {1, 2, 3, 4}


def test_nothing_to_correct():
    mask, _ = scene()
    clicks, prior = half_corrected(mask, mask, np.random.default_rng(0))
    assert not clicks
    np.testing.assert_array_equal(prior, mask)


def test_an_example_corrects_a_mask_click_by_click():
    mask, others = scene()
    crop = Crop(np.zeros((*SHAPE, 3), np.uint8), mask, others, np.roll(mask, 4, axis=1))
    examples = [draw_example(crop, np.random.default_rng(seed), 0.0, 1.0) for seed in range(40)]
    examples = [example for example in examples if example.prior.any()]  # in the others hardly a pixel was wrong
    assert len(examples) > 30
    assert all(example.clicks[0].positive and len(example.clicks) > 1 for example in examples)
    assert all(example.prior[example.clicks[-1].pixel] != mask[example.clicks[-1].pixel] for example in examples)
    as_labelled = [not ((e.prior != crop.labelled) & (e.prior != mask)).any() for e in examples]
    assert 0.4 < np.mean(as_labelled) < 1


def test_shares_of_examples_add_up():
    mask, others = scene()
    crop = Crop(np.zeros((*SHAPE, 3), np.uint8), mask, others, np.roll(mask, 4, axis=1))
    examples = [draw_example(crop, np.random.default_rng(seed), 0.2, 0.3) for seed in range(400)]
    assert 0.4 < np.mean([example.prior.any() for example in examples]) < 0.6
