from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.zoom import (
    Zoom,
    bounding_box,
    crop_iou,
    holds_positives,
    resized_shape,
    stroke_to_crop,
    to_crop,
)
from napari_fbrs.strokes import Stroke

BOX = Crop(100, 149, 200, 299)
SHAPE = (500, 600)


def test_reference_crops(parity_tables):
    for row in parity_tables["zoom_in_roi"]:
        clicks = [Click(r, c, positive) for positive, r, c in row["clicks"]]
        zoom = Zoom(expansion_ratio=row["expansion_ratio"], min_crop_size=row["min_crop_size"])
        other = Crop(*row["other"])
        assert zoom.propose(Crop(*row["box"]), clicks, tuple(row["shape"])) == Crop(*row["roi"])
        assert crop_iou(Crop(*row["roi"]), other) == pytest.approx(row["iou_with_other"], rel=1e-12)
        assert holds_positives(other, clicks) is row["positives_inside_other"]


def test_the_published_numbers():
    zoom = Zoom()
    assert (zoom.target_size, zoom.min_crop_size, zoom.expansion_ratio) == (400, 200, 1.4)
    assert (zoom.recompute_iou, zoom.threshold) == (0.5, 0.5)


def test_crops_are_brought_to_one_size_as_published():
    assert {Zoom().side(Crop(0, last, 0, 9)) for last in (9, 399, 4000)} == {400}


def test_crops_keep_the_pixels_they_have_up_to_the_largest_size():
    zoom = Zoom(224, 64, largest_size=320)
    sides = [zoom.side(Crop(50, 50 + last, 7, 69)) for last in (20, 223, 224, 300, 319, 320, 5000)]
    assert sides == [224, 224, 225, 301, 320, 320, 320]


def test_a_small_object_gets_the_smallest_crop():
    # Centres 124.5 and 249.5, side 200: 24.5 and 224.5 round to 24 and 224, 149.5 and 349.5 to 150 and 350.
    assert Zoom().propose(BOX, [], SHAPE) == Crop(24, 224, 150, 350)


def test_a_larger_object_is_expanded_about_its_centre():
    # Sides 1.4 * 50 = 70 and 1.4 * 100 = 140.
    zoom = Zoom(min_crop_size=10)
    assert zoom.propose(BOX, [], SHAPE) == Crop(90, 160, 180, 320)


def test_positive_clicks_belong_to_the_object():
    # Rows 100 to 300: centre 200, side 281.4. Columns 10 to 299: centre 154.5, side 406, clamped.
    clicks = [Click(300, 10), Click(499, 599, positive=False)]
    assert Zoom().propose(BOX, clicks, SHAPE) == Crop(59, 341, 0, 358)


def test_crops_end_with_the_plane():
    assert Zoom().propose(Crop(0, 3, 95, 99), [], (100, 100)) == Crop(0, 99, 0, 99)
    assert Zoom(min_crop_size=20).propose(Crop(0, 3, 95, 99), [], (100, 100)) == Crop(0, 12, 87, 99)


shapes = st.tuples(st.integers(1, 60), st.integers(1, 60))


@given(shapes, st.data(), st.integers(1, 40))
def test_a_crop_holds_the_object_and_lies_in_the_plane(shape: tuple[int, int], data: st.DataObject, smallest: int):
    pixels = st.tuples(st.integers(0, shape[0] - 1), st.integers(0, shape[1] - 1))
    (a, b), (c, d) = data.draw(pixels), data.draw(pixels)
    box = Crop(min(a, c), max(a, c), min(b, d), max(b, d))
    clicks = [Click(*pixel) for pixel in data.draw(st.lists(pixels, max_size=3))]
    crop = Zoom(min_crop_size=smallest).propose(box, clicks, shape)
    assert Crop.whole(shape).contains(crop)
    assert crop.contains(box)
    assert all(crop.contains(Crop(*click.pixel[:1] * 2, *click.pixel[1:] * 2)) for click in clicks)


def test_there_is_no_crop_to_keep_at_first():
    assert Zoom().choose(None, BOX, [], SHAPE) == Zoom().propose(BOX, [], SHAPE)


def test_a_crop_is_kept_while_it_fits():
    current = Crop(20, 230, 140, 340)
    assert Zoom().choose(current, BOX, [Click(120, 250)], SHAPE) == current


def test_a_positive_click_outside_means_a_new_crop():
    current = Crop(20, 230, 140, 340)
    outside = [Click(229, 250), Click(230, 250)]  # the last row counts as outside, as published
    assert Zoom().choose(current, BOX, outside[:1], SHAPE) == current
    assert Zoom().choose(current, BOX, outside, SHAPE) == Zoom().propose(BOX, outside, SHAPE)
    negative = [Click(400, 400, positive=False)]
    assert Zoom().choose(current, BOX, negative, SHAPE) == current


def test_an_object_that_has_changed_much_means_a_new_crop():
    proposed = Zoom().propose(BOX, [], SHAPE)  # 201 x 201
    assert Zoom().choose(Crop(24, 224, 150, 551), BOX, [], SHAPE) == Crop(24, 224, 150, 551)  # IoU 201 / 402
    assert Zoom().choose(Crop(24, 224, 150, 552), BOX, [], SHAPE) == proposed


def test_iou_of_crops_by_hand():
    assert crop_iou(Crop(0, 9, 0, 9), Crop(5, 14, 0, 9)) == pytest.approx(5 / 15)
    assert crop_iou(Crop(0, 9, 0, 9), Crop(5, 14, 8, 11)) == pytest.approx(5 / 15 * 2 / 12)
    assert crop_iou(Crop(0, 9, 0, 9), Crop(10, 19, 0, 9)) == 0
    assert crop_iou(Crop(3, 3, 4, 4), Crop(3, 3, 4, 4)) == 1


def test_holding_positives():
    crop = Crop(10, 20, 30, 40)
    assert holds_positives(crop, [Click(10, 30), Click(19, 39), Click(0, 0, positive=False)])
    for click in (Click(9, 35), Click(20, 35), Click(15, 29), Click(15, 40)):
        assert not holds_positives(crop, [click])
    assert holds_positives(crop, [])


def test_resized_shapes():
    assert resized_shape((300, 400), 200) == (150, 200)
    assert resized_shape((10, 5), 224) == (224, 112)
    assert resized_shape((3, 5000), 224) == (1, 224)


def test_clicks_in_a_crop():
    clicks = [Click(10, 20), Click(15, 30, positive=False), Click(19, 39)]
    # Crop of 10 x 20 pixels brought to 20 x 60: 2 and 3 times as large.
    assert to_crop(clicks, Crop(10, 19, 20, 39), (20, 60)) == [
        Click(0, 0),
        Click(10, 30, positive=False),
        Click(18, 57),
    ]


def test_the_outer_half_of_a_crops_first_pixels_is_inside():
    crop = Crop(10, 19, 20, 39)
    assert to_crop([Click(9.6, 19.5), Click(9.25, 19.25)], crop, (20, 40)) == [Click(0, 0), Click(-1.5, -1.5)]


def test_bounding_boxes():
    mask = np.zeros((6, 8), bool)
    assert bounding_box(mask, Crop(10, 15, 20, 27)) is None
    mask[2, 3] = mask[4, 6] = True
    assert bounding_box(mask, Crop(10, 15, 20, 27)) == Crop(12, 14, 23, 26)
    assert bounding_box(np.ones((2, 2), bool), Crop(0, 1, 0, 1)) == Crop(0, 1, 0, 1)


@given(
    st.lists(st.tuples(st.integers(0, 19), st.integers(0, 29)), min_size=1, max_size=30),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_strokes_in_a_crop(places: list[tuple[int, int]], size: tuple[int, int]):
    stroke, crop = Stroke.of(places), Crop(4, 15, 6, 25)
    covered = {tuple(pixel) for pixel in stroke_to_crop(stroke, crop, size).tolist()}
    assert all(0 <= row < size[0] and 0 <= column < size[1] for row, column in covered)
    inside = [(r, c) for r, c in places if 4 <= r <= 15 and 6 <= c <= 25]
    assert bool(covered) is bool(inside)  # thin strokes are not lost, what lies outside is
    for click in to_crop([Click(r, c) for r, c in inside], crop, size):
        assert (min(click.pixel[0], size[0] - 1), min(click.pixel[1], size[1] - 1)) in covered


def test_an_enlarged_stroke_has_no_gaps():
    crop = Crop(10, 19, 20, 39)
    covered = stroke_to_crop(Stroke.of([(12, column) for column in range(25, 35)]), crop, (50, 100))
    rows, columns = covered[:, 0], covered[:, 1]
    assert set(rows.tolist()) == set(range(rows.min(), rows.max() + 1))
    assert len(set(rows.tolist())) in (5, 6)
    assert set(columns[rows == 10].tolist()) == set(range(columns.min(), columns.max() + 1))
    assert 48 <= len(set(columns.tolist())) <= 52


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"target_size": 0}, "target_size is a number of pixels, got 0"),
        ({"min_crop_size": 64.0}, "min_crop_size is a number of pixels, got 64.0"),
        ({"largest_size": 320}, "largest_size is a number of pixels from 400 on, or None, got 320"),
        ({"expansion_ratio": 0.5}, "expansion_ratio is a number from 1 on, got 0.5"),
        ({"expansion_ratio": float("nan")}, "expansion_ratio is a number from 1 on, got nan"),
        ({"recompute_iou": 2}, "recompute_iou is a number from 0 to 1, got 2"),
        ({"threshold": -0.1}, "threshold is a number from 0 to 1, got -0.1"),
    ],
)
def test_what_cannot_be_is_refused(chosen: dict[str, float], message: str):
    with pytest.raises(InputError, match=message):
        Zoom(**chosen)
