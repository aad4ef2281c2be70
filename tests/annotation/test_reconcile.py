from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.annotation.reconcile import Edit, Point, click_of, point_of, reconcile
from napari_fbrs.clicks import Click, ClickList

AXES = (1, 2)
A, B = PlaneIndex((0,), AXES), PlaneIndex((7,), AXES)
SIDE = PlaneIndex((4,), (0, 2))  # another cut through the same volume


def points_of(clicks: dict[PlaneIndex, ClickList]) -> list[Point]:
    return [point_of(plane, click) for plane, known in clicks.items() for click in known]


KNOWN = {
    A: ClickList(((Click(1, 2),), (Click(3, 4), Click(5, 6, positive=False)))),
    B: ClickList(((Click(1, 2, positive=False),),)),
}


def test_points_and_clicks():
    assert point_of(A, Click(3.4, 4.6)) == Point((0, 3, 5), positive=True)
    assert point_of(SIDE, Click(3, 5, positive=False)) == Point((3, 4, 5), positive=False)
    assert point_of(PlaneIndex((4,), (2, 0)), Click(5, 3)) == Point((3, 4, 5), positive=True)
    assert click_of(Point((3, 4, 5), positive=False), (0, 2)) == (SIDE, Click(3, 5, positive=False))
    assert click_of(Point((3, 4, 5), positive=True), (2, 0)) == (PlaneIndex((4,), (2, 0)), Click(5, 3))


def test_nothing_has_happened():
    assert reconcile(KNOWN, points_of(KNOWN), AXES) == {}
    assert reconcile({}, [], AXES) == {}


def test_a_new_point():
    new = Point((0, 9, 9), positive=True)
    assert reconcile(KNOWN, [*points_of(KNOWN), new], AXES) == {A: Edit(KNOWN[A], (Click(9, 9),))}


def test_new_points_lie_on_the_displayed_axes():
    new = [Point((3, 4, 5), positive=True), Point((3, 8, 5), positive=False)]
    assert reconcile(KNOWN, [*points_of(KNOWN), *new], (0, 2)) == {
        SIDE: Edit(ClickList(), (Click(3, 5),)),
        PlaneIndex((8,), (0, 2)): Edit(ClickList(), (Click(3, 5, positive=False),)),
    }


def test_a_removed_point():
    points = points_of(KNOWN)
    del points[1]
    kept = ClickList(((Click(1, 2),), (Click(5, 6, positive=False),)))
    assert reconcile(KNOWN, points, AXES) == {A: Edit(kept)}


def test_a_moved_point_keeps_its_round():
    points = points_of(KNOWN)
    points[0] = Point((0, 8, 8), positive=True)
    kept = ClickList(((Click(8, 8),), (Click(3, 4), Click(5, 6, positive=False))))
    assert reconcile(KNOWN, points, AXES) == {A: Edit(kept)}


def test_several_moved_points_are_taken_in_order():
    points = points_of(KNOWN)
    points[0], points[1] = Point((0, 8, 8), positive=True), Point((0, 9, 9), positive=True)
    assert reconcile(KNOWN, points, AXES)[A].kept.flat[:2] == (Click(8, 8), Click(9, 9))


def test_a_point_moved_to_another_plane():
    points = points_of(KNOWN)
    points[0] = Point((7, 1, 2), positive=True)
    edits = reconcile(KNOWN, points, AXES)
    assert edits == {A: Edit(ClickList((KNOWN[A].rounds[1],))), B: Edit(KNOWN[B], (Click(1, 2),))}


def test_a_point_that_changes_its_sign():
    points = points_of(KNOWN)
    points[0] = Point((0, 1, 2), positive=False)
    kept = ClickList((KNOWN[A].rounds[1],))
    assert reconcile(KNOWN, points, AXES) == {A: Edit(kept, (Click(1, 2, positive=False),))}


def test_more_lost_than_new_is_no_move():
    points = points_of(KNOWN)[2:]  # both positive points of A gone
    new = Point((0, 8, 8), positive=True)
    kept = ClickList(((Click(5, 6, positive=False),),))
    assert reconcile(KNOWN, [*points, new], AXES) == {A: Edit(kept, (Click(8, 8),))}


def test_the_last_point_of_a_plane():
    assert reconcile(KNOWN, points_of(KNOWN)[:3], AXES) == {B: Edit(ClickList())}


def test_two_points_on_one_pixel():
    twice = {A: ClickList.one_by_one([Click(1, 2), Click(1, 2), Click(1, 2, positive=False)])}
    point = Point((0, 1, 2), positive=True)
    other = Point((0, 1, 2), positive=False)
    assert reconcile(twice, [other, point, point], AXES) == {}
    assert reconcile(twice, [point, other], AXES)[A].kept.flat == (Click(1, 2), Click(1, 2, positive=False))
    assert reconcile(twice, [point, point, point, other], AXES) == {A: Edit(twice[A], (Click(1, 2),))}


def test_clicks_between_pixels_are_kept_as_they_are():
    known = {A: ClickList.one_by_one([Click(1.3, 2.4)])}
    assert reconcile(known, [Point((0, 1, 2), positive=True)], AXES) == {}


def test_planes_that_cross():
    # The same pixel clicked on two planes through it is two points.
    known = {PlaneIndex((3,), AXES): ClickList.one_by_one([Click(4, 5)]), SIDE: ClickList.one_by_one([Click(3, 5)])}
    point = Point((3, 4, 5), positive=True)
    assert reconcile(known, [point, point], AXES) == {}
    assert len(reconcile(known, [point], AXES)) == 1


pixels = st.integers(0, 3)
clicks = st.builds(Click, pixels, pixels, st.booleans())
click_lists = st.lists(st.lists(clicks, min_size=1, max_size=3).map(tuple), max_size=4).map(
    lambda r: ClickList(tuple(r))
)
documents = st.dictionaries(st.sampled_from([A, B, SIDE]), click_lists, max_size=3)


@given(documents, st.randoms(use_true_random=False))
def test_the_order_of_points_says_nothing(known: dict[PlaneIndex, ClickList], random):
    points = points_of(known)
    random.shuffle(points)
    assert reconcile(known, points, AXES) == {}


@given(
    st.dictionaries(st.sampled_from([A, B]), click_lists, max_size=2),
    st.lists(st.builds(Point, st.tuples(st.sampled_from([0, 7]), pixels, pixels), st.booleans()), max_size=6),
)
def test_afterwards_there_is_a_click_for_every_point(known: dict[PlaneIndex, ClickList], points: list[Point]):
    edits = reconcile(known, points, AXES)
    result = dict(known)
    for plane, edit in edits.items():
        result[plane] = edit.kept.added(edit.added)
        assert result[plane] != known.get(plane, ClickList())  # something did happen
    key = lambda point: (point.pixel, point.positive)  # noqa: E731
    assert sorted(points_of(result), key=key) == sorted(points, key=key)
    assert reconcile(result, points, AXES) == {}
