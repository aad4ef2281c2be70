"""Clicks that the mask contradicts are shown at the points themselves."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fbrs.clicks import Click

YELLOW = (255, 214, 10)
SHAPE = (80, 100)


def yellow(layer):
    """Return which points of a layer are shown as contradicted, by face and border alike."""
    face, border = (
        (np.rint(255 * colour[:, :3]) == YELLOW).all(axis=1) for colour in (layer.face_color, layer.border_color)
    )
    np.testing.assert_array_equal(face, border)
    return face.tolist()


@pytest.fixture
def contradicted(disc_bench):
    """Two positive clicks, and a negative one on the first of them."""
    for at in ((40, 20), (40, 70)):
        disc_bench.click(*at)
        disc_bench.settle()
    disc_bench.press("T")
    disc_bench.click(40, 20)
    disc_bench.settle()
    return disc_bench


def test_the_points_that_are_not_met_change_their_colour(contradicted):
    layers = contradicted.annotator.layers
    assert yellow(layers.positive) == [True, False]
    assert yellow(layers.negative) == [False]
    assert set(layers.positive.symbol) != set(layers.negative.symbol)  # the sign stays to be seen


def test_undo_and_redo_show_what_was_not_met_then(contradicted, discs):
    layers, calls = contradicted.annotator.layers, len(discs.calls)
    contradicted.press("Control-Z")
    contradicted.settle()
    assert yellow(layers.positive) == [False, False]
    contradicted.press("Control-Shift-Z")
    contradicted.settle()
    assert yellow(layers.positive) == [True, False]
    assert len(discs.calls) == calls


def test_points_added_afterwards_have_the_layer_s_own_colour(contradicted):
    positive = contradicted.annotator.layers.positive
    own = positive.face_color[1]
    contradicted.press("T")
    contradicted.click(60, 80)
    contradicted.settle()
    assert yellow(positive) == [True, False, False]
    np.testing.assert_array_equal(positive.face_color[2], own)


def test_a_contradicted_point_that_is_selected_colours_no_other(contradicted, qtbot):
    positive = contradicted.annotator.layers.positive
    contradicted.press("T")
    positive.mode = "select"
    contradicted.click(40, 20)
    assert set(positive.selected_data) == {0}  # napari has made its colour that of points to come
    positive.mode = "add"
    contradicted.click(60, 80)
    contradicted.settle()
    assert yellow(positive) == [True, False, False]
    contradicted.wait(lambda: not positive.selected_data)
    np.testing.assert_array_equal(positive.face_color[2], positive.face_color[1])
    positive.add([[10.0, 10.0]])
    assert yellow(positive)[-1] is False


def test_a_contradicted_point_that_is_moved_is_met(contradicted, discs):
    positive = contradicted.annotator.layers.positive
    contradicted.press("T")
    positive.mode = "select"
    contradicted.drag((40, 20), (20, 50))
    contradicted.settle()
    assert yellow(positive) == [False, False]
    np.testing.assert_allclose(positive.data[0], (20, 50), atol=1)
    contradicted.press("Control-Z")
    contradicted.settle()
    assert yellow(positive) == [True, False]


def test_deleting_a_point_leaves_the_marks_with_theirs(contradicted):
    positive = contradicted.annotator.layers.positive
    positive.selected_data = {1}
    positive.remove_selected()
    contradicted.settle()
    assert yellow(positive) == [True]
    contradicted.annotator.undo()
    contradicted.settle()
    assert yellow(positive) == [True, False]


def test_the_next_object_begins_without_marks_and_going_back_shows_them(contradicted):
    layers = contradicted.annotator.layers
    contradicted.press("N")
    contradicted.press("T")
    contradicted.click(20, 80)
    contradicted.settle()
    assert yellow(layers.positive) == [False]
    contradicted.press("Control-Z")
    contradicted.press("Control-Z")  # into the first object
    contradicted.settle()
    contradicted.press("Control-Shift-Z")
    contradicted.settle()
    assert yellow(layers.positive) == [True, False]


def test_the_threshold_decides_what_is_met(disc_bench):
    disc_bench.click(40, 50)
    disc_bench.settle()
    disc_bench.widget.threshold.setValue(0.93)  # above all there is
    disc_bench.settle()
    assert yellow(disc_bench.annotator.layers.positive) == [True]
    disc_bench.widget.threshold.setValue(0.5)
    disc_bench.settle()
    assert yellow(disc_bench.annotator.layers.positive) == [False]


def test_colours_of_a_layer_of_one_s_own_come_back(bench, discs):
    bench.add_image(np.zeros(SHAPE, dtype=np.uint8))
    points = bench.viewer.add_points([[40.0, 20.0], [40.0, 70.0]], face_color=["blue", "magenta"], border_color="white")
    points.features = {"who": ["a", "b"]}
    before = points.face_color.copy(), points.border_color.copy()
    bench.widget._existing["positive"].value = points
    bench.start()
    bench.settle()
    bench.press("T")
    bench.click(40, 70)
    bench.settle()
    assert yellow(points) == [False, True]
    np.testing.assert_array_equal(points.face_color[0], before[0][0])
    assert points.features["who"].tolist() == ["a", "b"]
    bench.widget.close()
    assert yellow(points) == [False, False]
    np.testing.assert_array_equal(points.border_color, before[1])


def test_a_hundred_points_are_marked_one_by_one(disc_bench, discs):
    clicks = [Click(int(r), int(c)) for r, c in np.random.default_rng(0).integers(0, 80, (100, 2))]
    disc_bench.annotator.layers.positive.add([[click.row, click.column] for click in clicks])
    disc_bench.settle()
    disc_bench.press("T")
    disc_bench.annotator.layers.negative.add([[40.0, 40.0]])
    disc_bench.settle()
    mask = discs.mask(SHAPE, [*clicks, Click(40, 40, positive=False)])
    assert yellow(disc_bench.annotator.layers.positive) == [not mask[click.pixel] for click in clicks]
    assert any(yellow(disc_bench.annotator.layers.positive))
