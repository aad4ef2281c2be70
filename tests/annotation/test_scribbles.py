from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.annotation.labels import LabelChange
from napari_fbrs.annotation.reconcile import Edit, reconcile
from napari_fbrs.annotation.scribbles import repainted, strokes_of, value_of
from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.errors import InputError
from napari_fbrs.strokes import Stroke

AXES = (1, 2)
PLANE, SIDE = PlaneIndex((3,), AXES), PlaneIndex((5,), (0, 2))
Pixels = list[tuple[int, ...]]


def change(pixels: Pixels, values: int | list[int]) -> LabelChange:
    table = np.array(pixels).reshape(len(pixels), -1)
    after = np.broadcast_to(np.array(values), (len(pixels),))
    return LabelChange(tuple(table.T), np.zeros(len(pixels), int), after)


def stroke(*pixels: tuple[int, int], positive: bool = True) -> Stroke:
    return Stroke.of(pixels, positive=positive)


def test_what_is_painted_at_once_is_a_stroke():
    painted = change([(3, 5, 6), (3, 5, 7), (3, 8, 8)], [1, 1, 2])
    assert repainted({}, painted, AXES) == {
        PLANE: Edit(ClickList(), (stroke((5, 6), (5, 7)), stroke((8, 8), positive=False)))
    }


def test_points_are_left_alone():
    known = ClickList.one_by_one([Click(5, 6), Click(9, 9, positive=False)])
    edits = repainted({PLANE: known}, change([(3, 5, 6)], 2), AXES)
    assert edits == {PLANE: Edit(known, (stroke((5, 6), positive=False),))}
    assert repainted({PLANE: known}, change([(3, 5, 6)], 0), AXES) == {}


def test_erasing_takes_from_strokes():
    known = ClickList(((stroke((5, 6), (5, 7)), Click(1, 1)), (stroke((9, 9), positive=False),)))
    edits = repainted({PLANE: known}, change([(3, 5, 7), (3, 9, 9)], 0), AXES)
    assert edits == {PLANE: Edit(ClickList(((stroke((5, 6)), Click(1, 1)),)))}


def test_painting_over_takes_from_the_other_sign():
    known = ClickList(((stroke((5, 6), (5, 7)),),))
    edits = repainted({PLANE: known}, change([(3, 5, 7), (3, 5, 8)], 2), AXES)
    assert edits == {PLANE: Edit(ClickList(((stroke((5, 6)),),)), (stroke((5, 7), (5, 8), positive=False),))}


def test_other_labels_erase():
    known = ClickList(((stroke((5, 6), (5, 7)),),))
    assert repainted({PLANE: known}, change([(3, 5, 7)], 9), AXES) == {PLANE: Edit(ClickList(((stroke((5, 6)),),)))}


def test_strokes_of_planes_that_cross():
    known = {SIDE: ClickList(((stroke((3, 7), (4, 7)),),))}  # rows of axis 0, columns of axis 2, at 5 of axis 1
    edits = repainted(known, change([(3, 5, 7), (3, 5, 8)], 2), AXES)
    assert edits == {
        SIDE: Edit(ClickList(((stroke((4, 7)),),))),
        PLANE: Edit(ClickList(), (stroke((5, 7), (5, 8), positive=False),)),
    }


def test_several_planes_at_once():
    edits = repainted({}, change([(3, 5, 6), (4, 5, 6)], 1), AXES)
    assert edits == {PlaneIndex((z,), AXES): Edit(ClickList(), (stroke((5, 6)),)) for z in (3, 4)}


def test_a_plane_whose_rows_come_after_its_columns():
    edits = repainted({}, change([(3, 5, 6), (3, 5, 7)], 1), (2, 1))
    assert edits == {PlaneIndex((3,), (2, 1)): Edit(ClickList(), (stroke((6, 5), (7, 5)),))}


def test_points_on_a_canvas_say_nothing_of_strokes():
    known = {PLANE: ClickList.one_by_one([stroke((5, 6), (5, 7)), Click(1, 1)])}
    assert reconcile(known, [], AXES) == {PLANE: Edit(ClickList(((stroke((5, 6), (5, 7)),),)))}


def test_strokes_painted_before():
    labels = np.zeros((12, 12), int)
    labels[2, 2:6] = 1
    labels[3, 6] = 1  # touches at a corner
    labels[8, 1:3] = 1
    labels[10, 10] = 2
    assert strokes_of(labels) == [
        stroke((2, 2), (2, 3), (2, 4), (2, 5), (3, 6)),
        stroke((8, 1), (8, 2)),
        stroke((10, 10), positive=False),
    ]
    assert strokes_of(np.zeros((4, 4), int)) == []


@pytest.mark.parametrize("value", [3, -1])
def test_labels_that_are_no_strokes(value: int):
    with pytest.raises(InputError, match="painted as 1"):
        strokes_of(np.full((3, 3), value))


brush = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=20, unique=True)


@given(st.lists(st.tuples(brush, st.sampled_from([0, 1, 2])), max_size=8))
def test_strokes_are_what_is_painted(gestures: list[tuple[Pixels, int]]):
    plane, canvas = PlaneIndex((), (0, 1)), np.zeros((8, 8), int)
    known = ClickList()
    for pixels, value in gestures:
        painted = [pixel for pixel in pixels if canvas[pixel] != value]  # napari reports what has changed
        if painted:
            edit = repainted({plane: known}, change(painted, value), (0, 1)).get(plane, Edit(known))
            known = edit.kept.added(edit.added)
        canvas[tuple(np.array(pixels).T)] = value
    np.testing.assert_array_equal(drawn(known), canvas)


def drawn(known: ClickList) -> npt.NDArray[np.int_]:
    """Return strokes painted; they never share a pixel."""
    canvas = np.zeros((8, 8), int)
    for each in known:
        assert isinstance(each, Stroke)
        canvas[tuple(each.pixels.T)] += value_of(each)
    return canvas
