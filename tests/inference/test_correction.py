"""Masks corrected by clicks: what of a prediction is taken over, and what the network is told of the mask."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import BrightNetwork, model_of

from napari_fbrs.clicks import Click
from napari_fbrs.inference.correction import corrected, state_from
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.prediction import State
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import PredictorSettings

SHAPE = (60, 70)
WHOLE = Crop.whole(SHAPE)


def rectangle(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[rows, columns] = True
    return mask


SQUARE = rectangle(slice(20, 40), slice(20, 40))


def after_clicks(old: np.ndarray, new: np.ndarray, *clicks: Click) -> np.ndarray:
    crop, mask = corrected(WHOLE, old, WHOLE, new, clicks)
    assert crop == WHOLE
    return mask


def test_a_part_is_taken_over_where_a_click_wants_it_and_no_other():
    piece, other = rectangle(slice(20, 40), slice(41, 50)), rectangle(slice(2, 12), slice(2, 12))
    new = SQUARE | piece | other
    np.testing.assert_array_equal(after_clicks(SQUARE, new, Click(30, 45)), SQUARE | piece)
    np.testing.assert_array_equal(after_clicks(SQUARE, new, Click(30, 45, positive=False)), SQUARE)


def test_what_touches_at_a_corner_is_one_part():
    here, there = rectangle(slice(2, 12), slice(45, 55)), rectangle(slice(12, 22), slice(55, 65))
    new = SQUARE | here | there
    np.testing.assert_array_equal(after_clicks(SQUARE, new, Click(7, 50)), new)


@pytest.mark.parametrize(("first", "last", "thin"), [(20, 40, False), (8, 52, True)])
def test_strips_are_thin_in_relation_to_the_object(first: int, last: int, thin: bool):
    columns = slice(first + 2, last - 2)
    old, above, below = (
        rectangle(slice(first, last), slice(first, last)),
        rectangle(slice(first - 3, first), columns),
        rectangle(slice(last, last + 3), columns),
    )
    new = old | above | below
    np.testing.assert_array_equal(after_clicks(old, new, Click(first - 2, 30)), new if thin else old | above)


@pytest.mark.parametrize("positive", [True, False])
def test_a_click_on_a_border_that_is_off_moves_all_pieces_of_it_that_the_network_moves(positive):
    strips = (slice(19, 20), slice(22, 38)), (slice(40, 41), slice(22, 38)), (slice(22, 38), slice(19, 20))
    grown = SQUARE | np.any([rectangle(*strip) for strip in strips], axis=0)
    old, new = (SQUARE, grown) if positive else (grown, SQUARE)
    np.testing.assert_array_equal(after_clicks(old, new, Click(19, 30, positive=positive)), new)


def test_a_click_on_a_border_moves_it_the_way_it_says_and_takes_no_piece_that_is_deep():
    out, in_, deep = (
        rectangle(slice(19, 20), slice(22, 38)),
        rectangle(slice(39, 40), slice(22, 38)),
        rectangle(slice(22, 38), slice(41, 50)),
    )
    new = (SQUARE | out | deep) & ~in_
    np.testing.assert_array_equal(after_clicks(SQUARE, new, Click(19, 30)), SQUARE | out)


def test_a_click_in_a_deep_part_leaves_the_border_elsewhere():
    deep, strip = rectangle(slice(22, 38), slice(40, 50)), rectangle(slice(19, 20), slice(22, 36))
    np.testing.assert_array_equal(after_clicks(SQUARE, SQUARE | deep | strip, Click(30, 45)), SQUARE | deep)


def test_masks_of_different_crops_meet_in_one_that_holds_both():
    before, after = Crop(20, 39, 20, 39), Crop(10, 29, 30, 59)
    pixels = np.ones(after.shape, dtype=bool)
    crop, mask = corrected(before, np.ones(before.shape, dtype=bool), after, pixels, [Click(12, 50)])
    assert crop == Crop(10, 39, 20, 59)
    assert mask.sum() == 400 + 600 - 100


class Listening(Predictor):
    """Remembers what the network was told."""

    def _features(self, plane, crop, size, clicks, *others):
        self.told = [(click.pixel, click.positive) for click in clicks]
        return super()._features(plane, crop, size, clicks, *others)


@pytest.mark.parametrize(("click", "told"), [((30, 24), True), ((31, 28), False)])
def test_the_middle_of_a_mask_counts_as_clicked_unless_a_negative_click_is_there(click, told):
    predictor = Listening(model_of(BrightNetwork()), mode="NoBRS", settings=PredictorSettings(flip=False, zoom=None))
    plane = predictor.prepare(np.where(SQUARE, 200, 0).astype(np.uint8))
    state = state_from(Crop(20, 39, 20, 39), np.ones((20, 20), dtype=bool))
    clicks = [Click(*click, positive=False)]
    prediction = predictor.predict(plane, clicks, state)
    assert prediction.clicks == tuple(clicks)  # what nobody has clicked is nowhere else
    assert predictor.told[told:] == [(click, False)]
    if told:
        (row, column), positive = predictor.told[0]
        assert positive
        assert 28 <= row <= 31
        assert 28 <= column <= 31
    again = predictor.predict(plane, [*clicks, Click(22, 22)], prediction.state)
    assert len(predictor.told) == len(again.clicks) + told


def test_what_starts_from_nothing_is_told_no_more_than_the_clicks():
    predictor = Listening(model_of(BrightNetwork()), mode="NoBRS", settings=PredictorSettings(flip=False, zoom=None))
    predictor.predict(predictor.prepare(np.where(SQUARE, 200, 0).astype(np.uint8)), [Click(30, 30)], State())
    assert predictor.told == [((30, 30), True)]
