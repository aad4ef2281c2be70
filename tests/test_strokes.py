from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.strokes import Stroke, outline, shown

pixels = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=40)


def line(row: int, first: int, last: int, thickness: int = 1, *, positive: bool = True) -> Stroke:
    rows, columns = np.mgrid[row : row + thickness, first : last + 1]
    return Stroke.of(np.column_stack((rows.ravel(), columns.ravel())), positive=positive)


@given(pixels, st.booleans())
def test_a_stroke_is_its_pixels_in_any_order(places: list[tuple[int, int]], positive: bool):
    stroke = Stroke.of(places, positive=positive)
    assert [tuple(pixel) for pixel in stroke.pixels.tolist()] == sorted(set(places))
    assert stroke == Stroke.of(places[::-1] + places[:3], positive=positive)
    assert hash(stroke) == hash(Stroke.of(places[::-1], positive=positive))
    assert stroke.pixel in set(places)
    assert Stroke.parse(stroke.text, positive=positive) == stroke
    assert stroke.inside((13, 13))
    assert stroke.inside((max(r for r, _ in places) + 1, max(c for _, c in places) + 1))
    assert not stroke.inside((max(r for r, _ in places), 13))
    assert not stroke.inside((13, max(c for _, c in places)))


@given(pixels)
def test_the_points_shown_belong_to_it_and_lie_apart(places: list[tuple[int, int]]):
    points = Stroke.of(places, positive=False).points
    assert 1 <= len(points) <= 4
    assert {point.pixel for point in points} <= set(places)
    assert len(set(points)) == len(points)
    assert not any(point.positive for point in points)


def test_a_line_is_shown_by_its_middle_and_its_ends():
    assert {point.pixel for point in line(5, 0, 40).points[:3]} == {(5, 20), (5, 0), (5, 40)}


def test_a_thick_line_is_shown_by_points_along_its_middle():
    for point in line(10, 0, 60, thickness=9).points:
        assert 12 <= point.row <= 16


def test_a_ring_is_shown_all_around():
    rows, columns = np.indices((41, 41))
    ring = np.abs(np.hypot(rows - 20, columns - 20) - 18) < 1.5
    points = np.array([point.pixel for point in Stroke.of(np.argwhere(ring)).points])
    assert len(points) == 4
    angles = np.sort(np.arctan2(*(points - 20).T))
    assert np.diff(np.append(angles, angles[0] + 2 * np.pi)).max() < np.radians(130)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_dab_is_one_click(size: int):
    assert len(line(5, 5, 4 + size, thickness=size).points) == 1


def test_a_stroke_across_a_huge_image_is_shown_too():
    diagonal = Stroke.of(np.repeat(np.arange(5000)[:, None], 2, axis=1))
    assert {point.pixel for point in diagonal.points[1:3]} == {(0, 0), (4999, 4999)}


def test_a_stroke_is_no_click_and_stands_among_clicks():
    dot = Stroke.of([(3, 4)])
    assert dot.pixel == (3, 4)
    assert dot != Click(3, 4)
    clicks = ClickList.one_by_one([Click(1, 1), line(2, 0, 30), Click(9, 9, positive=False)])
    assert shown(clicks)[0] == Click(1, 1)
    assert shown(clicks)[1:-1] == list(clicks[1].points)
    assert shown(clicks)[-1] == Click(9, 9, positive=False)
    assert clicks.removed([1]).flat == (Click(1, 1), Click(9, 9, positive=False))


def test_the_outline_reaches_as_far():
    stroke = Stroke.of([(4, 9), (5, 2), (6, 7), (8, 3)], positive=False)
    ends = outline([stroke, Click(0, 0)])
    assert {click.pixel for click in ends} == {(4, 9), (5, 2), (8, 3), (0, 0)}
    assert [click.positive for click in ends] == [False] * 3 + [True]


@pytest.mark.parametrize(
    "runs",
    [
        (),
        ((0, 5, 3),),
        ((-1, 0, 0),),
        ((0, -1, 0),),
        ((1, 0, 3), (0, 0, 3)),
        ((0, 0, 3), (0, 4, 5)),
        ((0, 0, 3), (0, 2, 5)),
    ],
)
def test_runs_that_are_no_stroke(runs: tuple[tuple[int, int, int], ...]):
    with pytest.raises(ValueError, match="stroke"):
        Stroke(0, 0, True, runs)
    with pytest.raises(ValueError, match="at least a pixel"):
        Stroke.of(np.zeros((0, 2), int))


@pytest.mark.parametrize(
    "text",
    ["", "5", "1:2", "1:5-2", "a:1-2", "-1:1-2", "1:1-2,2:1-2", "1:0-99999999999", "0:0-999999999", "\u0661:1-2"],
)
def test_texts_that_are_no_stroke(text: str):
    with pytest.raises(ValueError, match="a stroke"):
        Stroke.parse(text)


def test_the_text_of_a_stroke():
    stroke = Stroke.of([(3, 4), (3, 5), (3, 7), (10, 0)])
    assert stroke.text == "3:4-5 3:7-7 10:0-0"


def array_of(places: npt.ArrayLike) -> npt.NDArray[np.int64]:
    return np.asarray(places, dtype=np.int64)


def test_a_click_has_pixels_too():
    np.testing.assert_array_equal(Click(2.4, 3.6).pixels, array_of([[2, 4]]))
