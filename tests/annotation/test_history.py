from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.annotation.history import History, Place, Refinement, Step
from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.annotation.labels import LabelChange

PLACE = Place(1, PlaneIndex((), (0, 1)))


def step(pixels: int | None = None) -> Step:
    change = None
    if pixels is not None:
        zeros = np.zeros(pixels, np.uint8)
        change = LabelChange((zeros,), zeros, zeros)  # three bytes a pixel
    return Step(PLACE, Refinement(), Refinement(), change)


def test_nothing_to_undo_or_redo():
    history = History()
    assert history.undo() is None
    assert history.redo() is None
    assert not history.can_redo
    assert len(history) == 0


@given(st.lists(st.sampled_from(["record", "undo", "redo"]), max_size=30))
def test_undo_and_redo_walk_through_the_steps(actions: list[str]):
    history, done, undone = History(), [], []
    for action in actions:
        if action == "record":
            done.append(step())
            undone.clear()
            history.record(done[-1])
        elif action == "undo":
            expected = done.pop() if done else None
            if expected:
                undone.append(expected)
            assert history.undo() is expected
        else:
            expected = undone.pop() if undone else None
            if expected:
                done.append(expected)
            assert history.redo() is expected
        assert len(history) == len(done)
        assert history.can_redo is bool(undone)
        assert list(history.newest_first()) == done[::-1]


def test_a_number_of_steps_is_kept():
    history = History(max_steps=3)
    steps = [step() for _ in range(5)]
    for one in steps:
        history.record(one)
    assert list(history.newest_first()) == steps[:1:-1]


def test_a_number_of_bytes_is_kept():
    history = History(max_bytes=60)
    steps = [step(pixels) for pixels in (4, 6, 8, 5)]  # 12, 18, 24 and 15 bytes
    for one in steps:
        history.record(one)
    assert list(history.newest_first()) == steps[:0:-1]
    assert sum(one.nbytes for one in history.newest_first()) == 57


def test_what_is_undone_takes_no_room():
    history = History(max_bytes=60)
    first = step(5)  # 15 bytes
    history.record(first)
    for _ in range(2):
        newest = step(15)  # 45
        history.record(newest)
        history.undo()
    history.redo()
    assert list(history.newest_first()) == [newest, first]
    third = step(1)
    history.record(third)
    assert list(history.newest_first()) == [third, newest]  # what is done again does


def test_the_newest_step_is_kept_however_large():
    history = History(max_bytes=10)
    history.record(step(1))
    large = step(100)
    history.record(large)
    assert list(history.newest_first()) == [large]


def test_steps_that_grow_later_are_counted_then():
    history = History(max_bytes=10)
    first, second = step(1), step()
    history.record(first)
    history.record(second)
    assert len(history) == 2
    second.change = step(3).change
    history.grown(second)
    assert list(history.newest_first()) == [second]
