"""What a click changes: what is connected with it, and its own pixel whatever the network says."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import BrightNetwork, model_of
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.inference.containment import contained, insisted
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.prediction import Prediction, State
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import MODES, PredictorSettings
from napari_fbrs.models.network import Features
from napari_fbrs.strokes import Stroke

SHAPE = (60, 70)
WHOLE = Crop.whole(SHAPE)


def rectangle(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=np.float32)
    mask[rows, columns] = 1
    return mask


SQUARE = rectangle(slice(15, 45), slice(15, 45))
HERE, THERE = rectangle(slice(20, 30), slice(45, 48)), rectangle(slice(30, 40), slice(12, 15))


def after(before: np.ndarray, new: np.ndarray, *clicks: Click) -> np.ndarray:
    return contained(before, new, WHOLE, clicks, 0.5)


def test_a_change_is_made_where_a_click_asks_for_it_and_nowhere_else():
    new = SQUARE + HERE + THERE
    np.testing.assert_array_equal(after(SQUARE, new, Click(25, 46)), SQUARE + HERE)
    np.testing.assert_array_equal(after(new, SQUARE, Click(35, 13, positive=False)), SQUARE + HERE)
    np.testing.assert_array_equal(after(SQUARE, new, Click(25, 46), Click(35, 13)), new)


def test_a_change_against_a_click_is_not_one_that_it_asks_for():
    np.testing.assert_array_equal(after(SQUARE, SQUARE + HERE, Click(25, 46, positive=False)), SQUARE)


def test_a_stroke_asks_for_what_any_of_it_lies_on():
    stroke = Stroke.of([(25, column) for column in range(40, 60)])
    np.testing.assert_array_equal(after(SQUARE, SQUARE + HERE + THERE, stroke), SQUARE + HERE)


def test_what_changes_the_whole_object_is_taken_as_it_is():
    other = rectangle(slice(20, 58), slice(30, 68))
    np.testing.assert_array_equal(after(SQUARE, other, Click(5, 5)), other)
    seven, nine = (rectangle(slice(15, 15 + 3 * tenths), slice(15, 45)) for tenths in (7, 9))
    np.testing.assert_array_equal(after(SQUARE, seven, Click(5, 5)), seven)
    np.testing.assert_array_equal(after(SQUARE, nine, Click(5, 5)), SQUARE)


def test_where_the_mask_is_the_same_the_newer_probabilities_are_taken():
    np.testing.assert_array_equal(after(SQUARE, 0.9 * SQUARE + THERE, Click(25, 25)), 0.9 * SQUARE)


@st.composite
def crops_and_clicks(draw):
    """A crop of a plane, the size the network sees it at, and clicks on pixels of the plane."""
    rows, columns = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    crop = Crop(5, 5 + rows - 1, 7, 7 + columns - 1)
    size = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    pixels = draw(
        st.lists(st.tuples(st.integers(0, 4 + rows + 5), st.integers(0, 6 + columns + 5), st.booleans()), max_size=6)
    )
    return crop, size, [Click(row, column, sign) for row, column, sign in pixels]


def apart(clicks: list[Click], crop: Crop, size: tuple[int, int]) -> list[Click]:
    """Return the clicks in the crop with no other so near that the network cannot tell them apart."""
    least = [1 + 2 * max(1, extent / n) for extent, n in zip(crop.shape, size, strict=True)]
    return [
        a
        for a in clicks
        if crop.row_min <= a.row <= crop.row_max
        and crop.column_min <= a.column <= crop.column_max
        and all(abs(a.row - b.row) >= least[0] or abs(a.column - b.column) >= least[1] for b in clicks if b is not a)
    ]


@given(crops_and_clicks(), st.floats(0, 1, width=32))
def test_pixels_clicked_are_as_they_were_said_to_be_at_any_size(drawn, value: float):
    crop, size, clicks = drawn
    met = insisted(np.full(size, value, dtype=np.float32), crop, clicks)
    prediction = Prediction((50, 60), crop, met, tuple(clicks), State())
    for threshold in (0.05, 0.5, 0.95):
        mask = prediction.mask(threshold)
        for click in apart(clicks, crop, size):
            assert mask[click.pixel] == click.positive


def test_no_more_is_changed_than_the_pixel_clicked():
    same = insisted(np.zeros(SHAPE, dtype=np.float32), WHOLE, [Click(30, 40)])
    assert [tuple(at) for at in np.argwhere(same)] == [(30, 40)]
    size = (3 * SHAPE[0] - 2, 3 * SHAPE[1] - 2)  # three to each
    larger = insisted(np.zeros(size, dtype=np.float32), WHOLE, [Click(30, 40)])
    assert [tuple(at) for at in np.argwhere(larger)] == [(r, c) for r in (89, 90, 91) for c in (119, 120, 121)]


def test_the_last_of_two_clicks_on_a_pixel_counts_and_strokes_are_left_alone():
    clicks = [Click(30, 40), Click(30, 40, positive=False), Stroke.of([(10, 10), (10, 11)])]
    assert not insisted(np.zeros(SHAPE, dtype=np.float32), WHOLE, clicks).any()


def two_squares() -> np.ndarray:
    image = np.zeros((100, 120), dtype=np.uint8)
    image[25:45, 25:45], image[70:80, 70:80] = 200, 200
    return image


@pytest.mark.parametrize("mode", MODES)
def test_a_predictor_meets_clicks_that_its_network_does_not(mode: str):
    network = BrightNetwork(brightness=2000)  # whatever the clicks say
    predictor = Predictor(model_of(network), mode, settings=PredictorSettings(zoom=None, contained=True))
    clicks = [Click(30, 40), Click(60, 60), Click(40, 30, positive=False)]
    *_, last = predictor.replay(predictor.prepare(two_squares()), ClickList.one_by_one(clicks))
    # The network alone is the network alone.
    assert last.unmet == ((1, 2) if mode == "NoBRS" else ())


def test_a_first_click_that_finds_nothing_is_looked_for_anew():
    predictor = Predictor(model_of(BrightNetwork(brightness=2000)), settings=PredictorSettings(None, contained=True))
    first = predictor.predict(predictor.prepare(np.zeros(SHAPE, dtype=np.uint8), (0, 255)), [Click(30, 30)])
    assert not first.mask().any()
    assert first.state.box is None


class NothingInTheDark(BrightNetwork):
    """Never takes in what is black, whatever scale and bias."""

    def logits(self, features: Features, scale: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        return super().logits(features, scale, bias) - 1e4 * (features.x[:, :1] == 0)


CLICKED, OTHER = (slice(45, 47), slice(25, 45)), (slice(5, 8), slice(90, 100))


def masks_of(clicks: list[Click], **options) -> list[np.ndarray]:
    """Two grey patches a bit too dark: a click on one makes the network take in both."""
    image = two_squares()
    image[CLICKED] = image[OTHER] = 118
    settings = PredictorSettings(zoom=None, **options)
    predictor = Predictor(model_of(NothingInTheDark()), settings=settings)
    predictions = predictor.replay(predictor.prepare(image), ClickList.one_by_one(clicks))
    return [prediction.mask() for prediction in predictions]


@pytest.mark.parametrize("setting", [True, False])
def test_a_predictor_leaves_alone_what_its_clicks_do_not_touch(setting: bool):
    _, second, last = masks_of([Click(30, 40), Click(75, 75), Click(46, 35)], contained=setting)
    assert not second[CLICKED].any()
    assert last[CLICKED].all()
    assert last[OTHER].all() != setting
    assert last[OTHER].any() != setting


def test_what_a_second_click_took_in_unasked_stays():
    # The network is shown two clicks, and the mask after the first: what was there last is another one.
    masks = masks_of([Click(30, 40), Click(46, 35), Click(75, 75)], contained=True, network_clicks=2)
    assert [mask[OTHER].all() for mask in masks] == [False, True, True]
