from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.clicks import Click, ClickList, network_points
from napari_fbrs.strokes import Stroke

# Distinct by their rows, so that a click says where in the list it was.
positions = st.integers(0, 99)
clicks = st.builds(Click, positions, positions, st.booleans())
click_lists = st.lists(st.lists(clicks, min_size=1, max_size=3).map(tuple), max_size=5).map(
    lambda rounds: ClickList(tuple(rounds))
)


def test_a_click_rounds_half_to_even():
    assert Click(0.5, 1.5).pixel == (0, 2)
    assert Click(2.5, -0.4).pixel == (2, 0)
    assert Click(1, 2).positive


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_coordinates_are_finite(bad: float):
    with pytest.raises(ValueError, match="finite"):
        Click(bad, 0)
    with pytest.raises(ValueError, match="finite"):
        Click(0, bad)


@pytest.mark.parametrize("sign", [np.True_, np.False_, 1, 0, np.int64(1), np.uint8(0)])
def test_truth_values_of_other_kinds_are_signs(sign: Any):
    click = Click(1, 2, sign)
    assert click.positive is bool(sign)
    assert network_points([click]).max() == 2  # the network is shown it
    assert dataclasses.replace(click, positive=np.bool_(not sign)).positive is not click.positive
    assert Stroke.of([[1, 2]], positive=sign).points == (click,)


@pytest.mark.parametrize("sign", [None, "False", "", 2, -1, 1.0, math.nan, np.array([True])])
def test_what_is_no_truth_value_is_no_sign(sign: Any):
    with pytest.raises(ValueError, match=r"positive \(True\) or negative \(False\), got"):
        Click(1, 2, sign)
    with pytest.raises(ValueError, match=r"positive \(True\) or negative \(False\), got"):
        Stroke(1, 2, sign, ((1, 2, 2),))


def test_a_click_is_a_value():
    assert Click(1, 2) == Click(1.0, 2.0)
    assert len({Click(1, 2), Click(1, 2), Click(1, 2, positive=False)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Click(1, 2).row = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("click", "inside"),
    [
        (Click(0, 0), True),
        (Click(9, 19), True),
        (Click(9.5, 19), False),  # rounds to 10
        (Click(9.4, 19.4), True),
        (Click(-0.5, 0), True),  # rounds to 0
        (Click(-0.6, 0), False),
        (Click(10, 0), False),
        (Click(0, 20), False),
        (Click(0, -1), False),
    ],
)
def test_inside_means_on_a_pixel(click: Click, inside: bool):
    assert click.inside((10, 20)) is inside


def test_rounds_are_never_empty():
    with pytest.raises(ValueError, match="empty"):
        ClickList(((Click(1, 1),), ()))


def test_a_list_is_a_sequence_of_its_clicks():
    a, b, c = Click(1, 1), Click(2, 2), Click(3, 3)
    known = ClickList(((a, b), (c,)))
    assert (len(known), list(known), known[-1], known[1:]) == (3, [a, b, c], c, (b, c))
    assert ClickList.one_by_one([a, b]) == ClickList(((a,), (b,)))
    assert not ClickList()
    assert known != ClickList.one_by_one([a, b, c])  # the rounds count


def test_added_to_a_round_or_as_one():
    a, b, c = Click(1, 1), Click(2, 2), Click(3, 3)
    known = ClickList().added([a])
    assert known.added([b, c]).rounds == ((a,), (b, c))
    assert known.added([b, c], to_last_round=True).rounds == ((a, b, c),)
    assert ClickList().added([a], to_last_round=True).rounds == ((a,),)
    assert known.added([]) is known


@given(click_lists, st.lists(clicks, max_size=3), st.booleans())
def test_added_keeps_what_was_there(known: ClickList, new: list[Click], to_last_round: bool):
    longer = known.added(new, to_last_round=to_last_round)
    assert longer.flat == (*known.flat, *new)
    assert longer.rounds[: len(known.rounds) - 1] == known.rounds[:-1]
    assert len(longer.rounds) - len(known.rounds) == (bool(new) and not (to_last_round and bool(known)))


@given(click_lists, st.data())
def test_removed_keeps_order_and_rounds(known: ClickList, data: st.DataObject):
    gone = data.draw(st.sets(st.integers(0, len(known) - 1)) if known else st.just(set()))
    shorter = known.removed(gone)
    assert shorter.flat == tuple(click for index, click in enumerate(known.flat) if index not in gone)
    # Two clicks that stay share a round exactly if they did before.
    before = [number for number, clicks_ in enumerate(known.rounds) for _ in clicks_]
    after = [number for number, clicks_ in enumerate(shorter.rounds) for _ in clicks_]
    stayed = [number for index, number in enumerate(before) if index not in gone]
    assert [stayed.count(n) for n in sorted(set(stayed))] == [after.count(n) for n in sorted(set(after))]


@given(click_lists.filter(len), clicks, st.data())
def test_replaced_changes_one_click_only(known: ClickList, click: Click, data: st.DataObject):
    index = data.draw(st.integers(-len(known), len(known) - 1))
    other = known.replaced(index, click)
    assert other[index] == click
    assert [len(r) for r in other.rounds] == [len(r) for r in known.rounds]
    place = index % len(known)
    assert (*other.flat[:place], *other.flat[place + 1 :]) == (*known.flat[:place], *known.flat[place + 1 :])


def test_positions_outside_the_list():
    known = ClickList.one_by_one([Click(1, 1)])
    with pytest.raises(IndexError):
        known.removed([1])
    with pytest.raises(IndexError):
        known.replaced(1, Click(0, 0))


def test_network_points_are_positive_then_negative_padded():
    shown = [Click(1, 2), Click(3, 4, positive=False), Click(5, 6)]
    points = network_points(shown)
    assert points.dtype == np.float32
    assert points.tolist() == [[1, 2], [5, 6], [3, 4], [-1, -1]]
    assert network_points([]).tolist() == [[-1, -1], [-1, -1]]
    assert network_points([Click(7, 8, positive=False)]).tolist() == [[-1, -1], [7, 8]]


def test_only_the_first_clicks_are_shown():
    shown = [Click(1, 2), Click(3, 4, positive=False), Click(5, 6)]
    assert network_points(shown, 2).tolist() == [[1, 2], [3, 4]]
    assert network_points(shown, 1).tolist() == [[1, 2], [-1, -1]]
    assert network_points(shown, 8).tolist() == network_points(shown).tolist()


@given(st.lists(clicks, max_size=12), st.none() | st.integers(0, 12))
def test_network_points_hold_every_click_shown_once(known: list[Click], limit: int | None):
    points = network_points(known, limit)
    half = len(points) // 2
    for part, sign in ((points[:half], True), (points[half:], False)):
        expected = [[c.row, c.column] for c in known[:limit] if c.positive is sign]
        assert part.tolist() == expected + [[-1, -1]] * (half - len(expected))
    assert half >= 1
