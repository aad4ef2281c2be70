"""Strokes: painted with napari's brush, brought in layers of one's own, and in step with everything else."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from napari_fbrs.clicks import Click
from napari_fbrs.strokes import Stroke

SHAPE = (80, 100)
LINES = [np.array([[10, 10], [10, 40]]), np.array([[40, 10], [40, 40]])]


@pytest.fixture
def drawing(disc_bench):
    disc_bench.press("D")
    return disc_bench


def strokes(bench):
    session = bench.annotator.session
    clicks = [click for place in session.places(session.object) for click in session.refinement(place).clicks]
    return [click for click in clicks if isinstance(click, Stroke)]


def canvas_of(bench):
    return np.asarray(bench.annotator.strokes.layer.data)


def test_a_stroke_is_painted_and_becomes_a_mask(drawing, discs):
    layer = drawing.annotator.strokes.layer
    assert drawing.viewer.layers.selection.active == layer
    assert layer.mode == "paint"
    assert drawing.widget.draw_button.isChecked()
    layer.brush_size = 3
    drawing.drag((40, 20), (40, 60))
    drawing.settle()
    (stroke,) = strokes(drawing)
    assert stroke.positive
    np.testing.assert_array_equal(np.argwhere(canvas_of(drawing)), stroke.pixels)
    assert canvas_of(drawing)[40, 22:59].all()
    assert not canvas_of(drawing)[[36, 44]].any()
    assert discs.calls == [(stroke,)]
    np.testing.assert_array_equal(drawing.labels == 1, discs.mask(SHAPE, [stroke]))
    assert "1 click on" in drawing.widget.status.text()


def test_undo_and_redo_take_strokes_in_their_turn(drawing, discs):
    drawing.drag((20, 20), (20, 60))
    drawing.settle()
    first = canvas_of(drawing).copy()
    drawing.press("T")
    drawing.drag((50, 20), (50, 60))
    drawing.settle()
    both, mask = canvas_of(drawing).copy(), drawing.labels.copy()
    assert set(np.unique(both)) == {0, 1, 2}
    assert [stroke.positive for stroke in strokes(drawing)] == [True, False]
    calls = len(discs.calls)
    for expected in (first, np.zeros_like(first)):
        drawing.press("Control-Z")
        drawing.settle()
        np.testing.assert_array_equal(canvas_of(drawing), expected)
    assert not drawing.labels.any()
    for _ in range(2):
        drawing.press("Control-Shift-Z")
        drawing.settle()
    np.testing.assert_array_equal(canvas_of(drawing), both)
    np.testing.assert_array_equal(drawing.labels, mask)
    assert len(discs.calls) == calls


def test_clicks_and_strokes_are_one_list(drawing, discs):
    drawing.drag((20, 20), (20, 60))
    drawing.settle()
    drawing.press("D")
    assert not drawing.widget.draw_button.isChecked()
    drawing.click(60, 50)
    drawing.settle()
    (stroke,) = strokes(drawing)
    assert discs.calls[-1] == (stroke, Click(60, 50))
    positive = drawing.annotator.layers.positive
    np.testing.assert_allclose(positive.data, [[60, 50]], atol=0.1)  # a stroke is no point
    positive.data = positive.data + 5
    drawing.settle()
    assert discs.calls[-1] == (stroke, Click(65, 55))
    positive.selected_data = {0}
    positive.remove_selected()
    drawing.settle()
    np.testing.assert_array_equal(drawing.labels == 1, discs.mask(SHAPE, [stroke]))
    assert canvas_of(drawing).any()


def test_erasing_and_painting_over_take_from_strokes_in_one_step(drawing):
    drawing.drag((40, 20), (40, 60))
    drawing.settle()
    before, layer = canvas_of(drawing).copy(), drawing.annotator.strokes.layer
    layer.mode = "erase"
    drawing.drag((40, 55), (40, 65))
    drawing.settle()
    erased = canvas_of(drawing).copy()
    assert not erased[40, 57:].any()
    np.testing.assert_array_equal(np.argwhere(erased), strokes(drawing)[0].pixels)
    drawing.annotator.set_sign(False)
    drawing.drag((40, 20), (40, 30))
    drawing.settle()
    positive, negative = strokes(drawing)
    assert canvas_of(drawing)[40, 25] == 2
    assert not set(map(tuple, positive.pixels)) & set(map(tuple, negative.pixels))
    for expected in (erased, before):
        drawing.press("Control-Z")
        drawing.settle()
        np.testing.assert_array_equal(canvas_of(drawing), expected)


def test_the_next_object_begins_with_none(drawing, discs):
    drawing.drag((20, 20), (20, 60))
    drawing.settle()
    first = canvas_of(drawing).copy()
    drawing.press("N")
    assert not canvas_of(drawing).any()
    assert drawing.annotator.drawing
    drawing.drag((60, 20), (60, 60))
    drawing.settle()
    assert drawing.labels[60, 40] == 2
    drawing.press("Control-Z")
    drawing.press("Control-Z")
    drawing.press("Control-Shift-Z")
    drawing.settle()
    assert drawing.annotator.session.object == 1
    np.testing.assert_array_equal(canvas_of(drawing), first)


def test_t_turns_the_brush_and_stays_with_strokes(drawing):
    layer = drawing.annotator.strokes.layer
    for sign in (False, True):
        drawing.press("T")
        assert drawing.annotator.drawing
        assert layer.selected_label == (1 if sign else 2)
        assert drawing.widget.signs[sign].isChecked()
    drawing.press("T")
    drawing.press("D")  # the sign stays
    assert drawing.viewer.layers.selection.active == drawing.annotator.layers.negative


def test_the_layer_of_strokes_comes_back(drawing):
    drawing.drag((20, 20), (20, 60))
    drawing.settle()
    before, layer = canvas_of(drawing).copy(), drawing.annotator.strokes.layer
    drawing.press("D")
    drawing.viewer.layers.remove(layer)
    drawing.press("D")
    assert layer in drawing.viewer.layers
    np.testing.assert_array_equal(layer.data, before)


def test_closing_and_opening_the_widget_keeps_strokes(drawing, discs):
    drawing.drag((20, 20), (20, 60))
    drawing.drag((24, 20), (24, 60))  # next to the first: painted, they look like one
    drawing.settle()
    before, known = canvas_of(drawing).copy(), strokes(drawing)
    count = len(drawing.viewer.layers)
    drawing.open_widget()
    drawing.start()
    drawing.settle()
    assert len(drawing.viewer.layers) == count
    assert strokes(drawing) == known
    np.testing.assert_array_equal(canvas_of(drawing), before)
    drawing.annotator.undo()
    drawing.settle()
    assert strokes(drawing) == known[:1]


def test_strokes_of_a_plane_of_a_stack(bench, discs):
    bench.add_image(np.zeros((6, 80, 100), dtype=np.uint8))
    bench.start()
    bench.viewer.dims.set_point(0, 4)
    bench.annotator.set_drawing(True)
    bench.drag((4, 40, 20), (4, 40, 60))
    bench.settle()
    painted = canvas_of(bench)
    assert painted[4, 40, 40] == 1
    assert not painted[:4].any()
    assert (bench.labels == 1).any(axis=(1, 2)).tolist() == [False] * 4 + [True, False]


def test_painting_in_3d_view_is_refused_and_nothing_is_left(bench, discs):
    bench.add_image(np.zeros((6, 80, 100), dtype=np.uint8))
    bench.start()
    bench.annotator.set_drawing(True)
    bench.viewer.dims.ndisplay = 3
    with bench.refusal("2D view"):
        bench.annotator.strokes.layer.paint((3, 40, 50), 1)
        assert canvas_of(bench).any()
        bench.wait(lambda: not canvas_of(bench).any())
    assert strokes(bench) == []
    bench.viewer.dims.ndisplay = 2


def test_a_locked_object_takes_no_strokes(drawing):
    drawing.drag((20, 20), (20, 60))
    drawing.settle()
    before = canvas_of(drawing).copy()
    drawing.annotator.session.locked = {1}
    with drawing.refusal("is locked"):
        drawing.drag((50, 20), (50, 60))
    np.testing.assert_array_equal(canvas_of(drawing), before)


def test_a_scribble_painted_before_becomes_strokes(bench, discs):
    image = bench.add_image(np.zeros(SHAPE, dtype=np.uint8))
    scribble = np.zeros(SHAPE, dtype=np.uint8)
    scribble[20, 20:50], scribble[30, 20:50], scribble[60, 70:90] = 1, 1, 2
    layer = bench.viewer.add_labels(scribble.copy(), name="scribble")
    bench.viewer.add_labels(np.zeros(SHAPE, dtype=int))
    bench.widget.strokes.value = layer
    bench.widget.image.value = image
    bench.start()
    bench.settle()
    assert [stroke.positive for stroke in strokes(bench)] == [True, True, False]
    assert discs.calls == [tuple(strokes(bench))]  # given at once
    np.testing.assert_array_equal(layer.data, scribble)
    bench.annotator.set_drawing(True)
    assert bench.viewer.layers.selection.active == layer
    bench.annotator.undo()
    bench.settle()
    assert not layer.data.any()


def test_shapes_become_strokes_and_stay_as_they_are(bench, discs):
    image = bench.add_image(np.zeros(SHAPE, dtype=np.uint8), scale=(2, 2))
    shapes = bench.viewer.add_shapes(scale=(4, 4))  # a pixel of the image is half a pixel here
    shapes.add_paths(np.array([[10, 10], [10, 20], [20, 20]]), edge_width=1)
    shapes.add_ellipses(np.array([[25, 25], [25, 35], [35, 35], [35, 25]]))
    shapes.features = {"positive": [True, False]}
    before = [vertices.copy() for vertices in shapes.data]
    bench.widget.strokes.value = shapes
    bench.widget.image.value = image
    bench.start()
    bench.settle()
    line, ellipse = strokes(bench)
    assert (line.positive, ellipse.positive) == (True, False)
    covered = set(map(tuple, line.pixels.tolist()))
    assert {(20, column) for column in range(20, 41)} | {(row, 40) for row in range(20, 41)} <= covered
    assert len(ellipse.pixels) == pytest.approx(np.pi * 10 * 10, rel=0.1)
    assert ellipse.pixel == (60, 60)
    for now, then in zip(shapes.data, before, strict=True):
        np.testing.assert_array_equal(now, then)
    shapes.add_lines(np.array([[5, 5], [5, 8]]))
    bench.start()  # takes what has been drawn since
    bench.settle()
    assert len(strokes(bench)) == 3


@pytest.mark.parametrize("leading", [(), (3,)])  # shapes of a plane lie on the first of a stack
def test_lines_are_as_wide_as_they_are_drawn_on_the_image(bench, discs, leading):
    image = bench.add_image(np.zeros((*leading, *SHAPE), dtype=np.uint8), scale=(*leading, 0.1, 0.1))
    lines = [np.array([[row, 1.0], [row, 4.0]]) for row in (1.0, 3.0, 5.0)]
    bench.widget.strokes.value = bench.viewer.add_shapes(lines, shape_type="line", edge_width=[0.01, 0.2, 0.5])
    bench.widget.image.value = image
    bench.start()
    bench.settle()
    for stroke, wide in zip(strokes(bench), (1, 2, 5), strict=True):
        assert np.unique(stroke.pixels[stroke.pixels[:, 1] == 25, 0]).size == wide


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda viewer: viewer.add_shapes(LINES, shape_type="line", features={"positive": ["yes", "no"]}), "'yes'"),
        (lambda viewer: viewer.add_shapes(LINES, shape_type="line", features={"positive": [1, 2]}), "shape 2"),
        (lambda viewer: viewer.add_labels(np.full(SHAPE, 7)), "painted as 1"),
        (lambda viewer: viewer.add_labels(np.zeros((10, 10), dtype=int)), "has shape (10, 10)"),
        (lambda viewer: viewer.add_shapes([np.array([[500, 500], [510, 510]])], shape_type="line"), "lies outside"),
    ],
)
def test_layers_that_hold_no_strokes_are_refused(bench, discs, make, message):
    image = bench.add_image(np.zeros(SHAPE, dtype=np.uint8))
    layer = make(bench.viewer)
    bench.widget.strokes.value = layer
    bench.widget.image.value = image
    with bench.refusal(message):
        bench.start()
    assert strokes(bench) == []
    bench.click(40, 50)  # work goes on
    bench.settle()
    assert bench.labels.any()


def test_a_stroke_on_a_coin_selects_the_coin(bench):
    bench.add_image(data.coins(), name="coins")
    bench.start()
    bench.press("D")
    bench.drag((118, 96), (118, 118))
    bench.settle()
    mask = bench.labels == 1
    assert 800 < mask.sum() < 1600
    (stroke,) = strokes(bench)
    assert mask[tuple(stroke.pixels.T)].mean() > 0.9
    assert "all clicks met" in bench.widget.status.text()
