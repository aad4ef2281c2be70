from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.training.outlines import moved_outline, spread_over


def square(size: int) -> np.ndarray:
    mask = np.zeros((60, 60), bool)
    mask[30 - size // 2 : 30 + size // 2, 30 - size // 2 : 30 + size // 2] = True
    return mask


def test_inwards_and_outwards():
    np.testing.assert_array_equal(moved_outline(square(20), -2), square(16))
    grown = moved_outline(square(20), 2)
    assert grown.sum() == 20 * 20 + 4 * 20 * 2 + 4  # two rows a side, and of each corner the pixel that is 2 ** .5 away
    assert (grown & square(20)).sum() == 400


@pytest.mark.parametrize("pixels", [-0.9, 0.0, 0.9])
def test_less_than_a_pixel_is_nothing(pixels):
    np.testing.assert_array_equal(moved_outline(square(20), pixels), square(20))


def test_not_into_others():
    others = np.zeros((60, 60), bool)
    others[:, 40:] = True
    grown = moved_outline(square(20), 3, others)
    assert not (grown & others).any()
    assert grown[30, 17]


def test_an_object_of_which_little_would_be_left_stays():
    np.testing.assert_array_equal(moved_outline(square(6), -2), square(6))


def test_an_image_edge_is_no_outline():
    mask = np.zeros((60, 60), bool)
    mask[:, :30] = True
    assert moved_outline(mask, -4).sum() == 60 * 26


@given(st.integers(0, 2**32 - 1), st.floats(0, 6))
def test_growing_and_shrinking_are_nested(seed, pixels):
    mask = np.random.default_rng(seed).random((20, 20)) > 0.6
    assert (moved_outline(mask, -pixels) <= mask).all()
    assert (moved_outline(mask, pixels) >= mask).all()


def test_out_here_and_in_there():
    pixels = np.where(np.arange(60) < 30, -2.0, 2.0)[None].repeat(60, axis=0)
    moved = moved_outline(square(20), pixels)
    assert np.flatnonzero(moved[30])[[0, -1]].tolist() == [22, 41]
    assert np.flatnonzero(moved[:, 25])[[0, -1]].tolist() == [22, 37]
    assert np.flatnonzero(moved[:, 35])[[0, -1]].tolist() == [18, 41]


def test_a_single_value_is_spread_everywhere():
    np.testing.assert_allclose(spread_over(np.array([[0.7]]), square(20)), 0.7)


def test_values_are_spread_over_the_object():
    spread = spread_over(np.array([[0.0, 1.0], [2.0, 3.0]]), square(20))
    assert spread.shape == (60, 60)
    for place, value in {(20, 20): 0, (20, 39): 1, (39, 20): 2, (39, 39): 3, (0, 0): 0, (59, 59): 3}.items():
        assert spread[place] == pytest.approx(value)
    assert spread[20, 29] == pytest.approx(9 / 19)
    np.testing.assert_allclose(np.diff(spread[25, 20:40]), 1 / 19)


@pytest.mark.parametrize("cells", [1, 2, 5])
def test_a_pixel_is_an_object_as_well(cells: int):
    mask = np.zeros((5, 7), bool)
    mask[4, 6] = True
    values = np.random.default_rng(0).uniform(-1, 1, (cells, cells))
    spread = spread_over(values, mask)
    assert np.isfinite(spread).all()
    assert spread[4, 6] == pytest.approx(values[0, 0])
