from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_fbrs.clicks import Click
from napari_fbrs.inference.objective import THRESHOLD, ClickMasks, regularisation

CPU = torch.device("cpu")


def masks_of(*clicks: Click, size: tuple[int, int] = (5, 7), flip: bool = False) -> ClickMasks:
    return ClickMasks(clicks, size, flip=flip, device=CPU)


def pixels(mask: torch.Tensor, half: int = 0) -> set[tuple[int, int]]:
    return {(int(r), int(c)) for r, c in mask[half, 0].nonzero()}


def square(rows: range, columns: range) -> set[tuple[int, int]]:
    return {(r, c) for r in rows for c in columns}


def test_a_click_is_a_square_of_nine_pixels():
    masks = masks_of(Click(2, 3), Click(3, 5, positive=False))
    assert masks.positive.shape == masks.negative.shape == (1, 1, 5, 7)
    assert pixels(masks.positive) == square(range(1, 4), range(2, 5))
    assert pixels(masks.negative) == square(range(2, 5), range(4, 7))


@pytest.mark.parametrize(
    ("click", "rows", "columns"),
    [
        (Click(0, 0), range(2), range(2)),
        (Click(0, 3), range(2), range(2, 5)),
        (Click(2, 0), range(1, 4), range(2)),
        (Click(4, 6), range(3, 5), range(5, 7)),
        (Click(4.7, 6.6), range(3, 5), range(5, 7)),  # rounded to beyond the end
        (Click(2.5, 3.5), range(1, 4), range(3, 6)),  # rounded half to even
    ],
)
def test_clicks_at_the_border_keep_what_there_is_of_their_square(click: Click, rows: range, columns: range):
    assert pixels(masks_of(click).positive) == square(rows, columns)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("row", [-50, -3, -1, 2, 5, 50])
@pytest.mark.parametrize("column", [-50, -3, -1, 3, 7, 50])
def test_clicks_outside_the_crop_constrain_nothing(row: int, column: int, flip: bool):
    masks = masks_of(Click(row, column, positive=False), flip=flip)
    assert bool(masks.negative.any()) is ((row, column) == (2, 3))


def test_the_mirrored_half_has_mirrored_clicks():
    masks = masks_of(Click(2, 1), Click(0, 6, positive=False), flip=True)
    assert masks.positive.shape == (2, 1, 5, 7)
    assert pixels(masks.positive, 0) == square(range(1, 4), range(3))
    assert pixels(masks.positive, 1) == square(range(1, 4), range(4, 7))
    assert pixels(masks.negative, 1) == square(range(2), range(2))


def test_the_loss_by_hand():
    probability = torch.full((1, 1, 5, 7), 0.7)
    loss = masks_of(Click(2, 3), Click(0, 0, positive=False)).loss(probability)
    expected = 9 * 0.3**2 / (9 + 1e-5) + 4 * 0.7**2 / (4 + 1e-5)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_the_loss_of_one_wrong_pixel():
    probability = torch.ones((1, 1, 5, 7))
    probability[0, 0, 1, 2] = 0.2  # a corner of the square around (2, 3)
    probability[0, 0, 0, 6] = 0.0  # nobody has clicked there
    assert float(masks_of(Click(2, 3)).loss(probability)) == pytest.approx(0.8**2 / 9, rel=1e-5)


def test_overlapping_clicks_count_their_pixels_once():
    probability = torch.full((1, 1, 5, 7), 0.5)
    twice = masks_of(Click(2, 3), Click(2, 3), Click(2, 4))
    assert float(twice.positive.sum()) == 12
    assert float(twice.loss(probability)) == pytest.approx(0.25, rel=1e-5)


def test_the_loss_of_both_halves():
    probability = torch.cat((torch.full((1, 1, 5, 7), 0.9), torch.full((1, 1, 5, 7), 0.6)))
    loss = masks_of(Click(2, 3), flip=True).loss(probability)
    assert float(loss) == pytest.approx((9 * 0.1**2 + 9 * 0.4**2) / 18, rel=1e-5)


@pytest.mark.parametrize(
    ("value", "positive_met", "negative_met"),
    [(0.48, False, True), (0.4999, True, False), (0.489, False, True), (0.5, True, False)],
)
def test_a_click_is_met_on_its_side_of_the_threshold(value: float, positive_met: bool, negative_met: bool):
    assert THRESHOLD == 0.49
    probability = torch.full((1, 1, 5, 7), value)
    assert masks_of(Click(2, 3)).met(probability) is positive_met
    assert masks_of(Click(2, 3, positive=False)).met(probability) is negative_met
    assert not masks_of(Click(1, 1), Click(3, 5, positive=False)).met(probability)


def test_every_pixel_of_the_square_must_be_met():
    probability = torch.ones((1, 1, 5, 7))
    assert masks_of(Click(2, 3)).met(probability)
    probability[0, 0, 3, 4] = 0.4
    assert not masks_of(Click(2, 3)).met(probability)
    assert masks_of(Click(2, 1)).met(probability)


def test_pixels_clicked_that_are_wrong_are_counted():
    probability = torch.ones((2, 1, 5, 7))
    clicks = Click(2, 3), Click(0, 0, positive=False), Click(4, 6, positive=False)
    assert masks_of(*clicks, flip=True).wrong(probability) == 4
    probability[0, 0, 0, 0] = 0.48
    probability[1, 0, 2, 3] = 0.49
    assert masks_of(*clicks, flip=True).wrong(probability) == 4
    probability[1, 0, 2, 3] = 0.5
    assert masks_of(*clicks, flip=True).wrong(probability) == 3


def test_pixels_clicked_are_met_whatever_is_around_them():
    probability = torch.zeros((1, 1, 5, 7))
    probability[0, 0, 2, 3] = 1
    masks = masks_of(Click(2, 3), Click(0, 0, positive=False))
    assert not masks.met(probability)
    assert masks.pixels_met(probability)
    probability[0, 0, 0, 0] = 0.6
    assert not masks.pixels_met(probability)
    assert not masks_of(Click(2, 4)).pixels_met(probability)
    assert not masks_of(Click(2, 3), flip=True).pixels_met(torch.cat((probability, torch.zeros_like(probability))))


def test_numbers_that_are_none_meet_nothing():
    assert not masks_of(Click(2, 3)).met(torch.full((1, 1, 5, 7), torch.nan))


def test_regularisation_by_hand():
    scale, bias = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 0.0])
    assert float(regularisation(scale, bias)) == pytest.approx(1e-3 * (1 + 4 + 10 * 9), rel=1e-6)
    assert float(regularisation(torch.zeros(2), torch.zeros(2))) == 0


def test_a_stroke_constrains_all_its_pixels():
    drawn = np.array([[1, 1], [1, 2], [2, 2]])
    masks = ClickMasks([], (5, 7), flip=True, device=CPU, strokes=[(drawn, True), (np.array([[4, 6]]), False)])
    assert pixels(masks.positive, 0) == {(1, 1), (1, 2), (2, 2)}
    assert pixels(masks.positive, 1) == {(1, 5), (1, 4), (2, 4)}
    assert pixels(masks.negative, 1) == {(4, 0)}
    assert {tuple(place) for patch in masks.patches for place in patch.tolist()} == {
        (half, int(row), int(column))
        for half in (0, 1)
        for mask in (masks.positive, masks.negative)
        for row, column in mask[half, 0].nonzero()
    }


def test_a_long_stroke_weighs_no_more_than_four_clicks():
    everywhere = np.argwhere(np.ones((30, 40)))
    masks = ClickMasks([Click(5, 5)], (30, 40), flip=False, device=CPU, strokes=[(everywhere, True)])
    assert masks.positive[0, 0, 5, 5] == 1
    assert float(masks.positive.sum()) == pytest.approx(9 + (1200 - 9) * 36 / 1200)
    probability = torch.ones((1, 1, 30, 40))
    probability[0, 0, 4:7, 4:7] = 0  # the click's square alone is wrong
    assert float(masks.loss(probability)) == pytest.approx(9 / float(masks.positive.sum()), rel=1e-4)


def test_most_of_a_stroke_is_enough():
    drawn = np.argwhere(np.ones((4, 10)))
    masks = ClickMasks([], (10, 10), flip=False, device=CPU, strokes=[(drawn, False)])
    probability = torch.zeros((1, 1, 10, 10))
    assert masks.met(probability)
    probability[0, 0, 0, :4] = 1  # a tenth of it
    assert masks.pixels_met(probability)
    assert not masks.met(probability)
    probability[0, 0, 0, 4] = 1
    assert not masks.pixels_met(probability)
