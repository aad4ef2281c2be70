"""Objects as wholes: listed, picked, named, locked, deleted, merged."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import DiscPredictor
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.annotation.labels import ArrayLabels, LabelChange
from napari_fbrs.annotation.objects import CountedLabels, ObjectRow, Objects
from napari_fbrs.annotation.session import Session
from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError

SHAPE = (3, 40, 60)


def objects_on(labels: np.ndarray, first: int) -> tuple[Session, Objects, np.ndarray]:
    session = Session(np.zeros(labels.shape, np.uint8), DiscPredictor(), labels=ArrayLabels(labels), first_object=first)
    return session, Objects(session), labels


@pytest.fixture
def three():
    """Object 1 painted before, 2 clicked on two planes, 3 on one."""
    labels = np.zeros(SHAPE, np.int32)
    labels[1, 30:35, 50:55] = 1
    session, objects, labels = objects_on(labels, 2)
    session.click(Click(10, 10), position=(0,))
    session.click(Click(10, 12), position=(1,))
    session.click(Click(12, 12, positive=False), position=(1,))
    session.next_object()
    session.click(Click(10, 40), position=(1,))
    return session, objects, labels


def test_the_list_tells_what_is_there(three):
    session, objects, labels = three
    objects.rename(3, " mitochondrion ")
    objects.lock(3, True)
    area = {label: int((labels == label).sum()) for label in (1, 2, 3)}
    assert objects.rows() == [
        ObjectRow(1, "", 1, 0, 25, False),
        ObjectRow(2, "", 2, 3, area[2], False),
        ObjectRow(3, "mitochondrion", 1, 1, area[3], True),
    ]
    objects.rename(3, "")
    objects.lock(3, False)
    assert objects.rows()[2] == ObjectRow(3, "", 1, 1, area[3], False)
    session.undo()
    assert [row.label for row in objects.rows()] == [1, 2]


def test_next_and_previous_go_around(three):
    session, objects, _ = three
    assert [objects.step(1) for _ in range(4)] == [1, 2, 3, 1]
    assert [objects.step(-1) for _ in range(3)] == [3, 2, 1]
    objects.turn_to(2)
    assert session.object == 2
    with pytest.raises(InputError, match="no object 9"):
        objects.turn_to(9)


@pytest.mark.parametrize("label", [1, 2, 3])
def test_a_deleted_object_is_gone_and_comes_back_with_one_undo(three, label):
    session, objects, labels = three
    before, rows, clicks = labels.copy(), objects.rows(), {p: session.refinement(p) for p in session.annotated()}
    objects.delete(label)
    assert not (labels == label).any()
    np.testing.assert_array_equal(labels[before != label], before[before != label])
    assert label not in objects.known()
    session.undo()
    np.testing.assert_array_equal(labels, before)
    assert objects.rows() == rows
    assert {p: session.refinement(p) for p in session.annotated()} == clicks
    session.redo()
    assert not (labels == label).any()


def test_merged_objects_are_one_until_undone(three):
    session, objects, labels = three
    before, rows = labels.copy(), objects.rows()
    objects.merge(2, into=3)
    np.testing.assert_array_equal(labels == 3, np.isin(before, [2, 3]))
    assert objects.known() == [1, 3]
    assert objects.rows()[1].clicks == 3  # one lies in the hole that another one has made
    merged = labels.copy()
    session.object = 3
    session.click(Click(25, 40), position=(1,))  # goes on from both masks
    assert (labels[merged == 3] == 3).all()
    session.undo()
    session.undo()
    np.testing.assert_array_equal(labels, before)
    assert objects.rows() == rows
    session.redo()
    np.testing.assert_array_equal(labels, merged)


def test_clicks_that_contradict_the_merged_mask_are_left_out(three):
    session, objects, _ = three
    session.click(Click(9, 10, positive=False), position=(1,))  # keeps object 3 off object 2
    objects.merge(3, into=2)
    kept = session.refinement(session.place((1,))).clicks.flat
    assert Click(9, 10, positive=False) not in kept
    assert Click(10, 40) in kept


def test_locked_objects_are_neither_deleted_nor_merged(three):
    _, objects, labels = three
    before = labels.copy()
    objects.lock(2, True)
    for change in (lambda: objects.delete(2), lambda: objects.merge(2, 3), lambda: objects.merge(3, 2)):
        with pytest.raises(InputError, match="object 2 is locked"):
            change()
    with pytest.raises(InputError, match="itself"):
        objects.merge(3, 3)
    np.testing.assert_array_equal(labels, before)


def test_several_are_deleted_or_merged_in_one_step_or_not_at_all(three):
    session, objects, labels = three
    before, rows = labels.copy(), objects.rows()
    objects.delete([1, 2, 3])
    assert not labels.any()
    assert objects.known() == []
    session.undo()
    objects.merge([3, 2], into=1)
    np.testing.assert_array_equal(labels == 1, before > 0)
    assert [(row.label, row.clicks) for row in objects.rows()] == [(1, 3)]  # one lies in the hole it has made
    session.undo()
    np.testing.assert_array_equal(labels, before)
    assert objects.rows() == rows
    objects.lock(3, True)
    for change in (lambda: objects.delete([1, 2, 3]), lambda: objects.merge([2, 3], 1)):
        with pytest.raises(InputError, match="object 3 is locked"):
            change()
    for change in (lambda: objects.delete([1, 9]), lambda: objects.merge([2, 9], 1)):
        with pytest.raises(InputError, match="no object 9"):
            change()
    np.testing.assert_array_equal(labels, before)


@pytest.mark.parametrize("change", [lambda o: o.delete(o.known()), lambda o: o.merge(o.known()[1:], 1)])
def test_each_slice_is_looked_through_once_however_many_objects_it_holds(monkeypatch, change):
    _, objects, labels = objects_on(np.arange(2 * 30 * 40, dtype=np.int32).reshape(2, 30, 40) % 100, 1)
    reads: list[int] = []
    read = ArrayLabels.read
    monkeypatch.setattr(ArrayLabels, "read", lambda self, at: reads.append(np.size(values := read(self, at))) or values)
    change(objects)
    assert np.unique(labels).tolist() in ([0], [0, 1])
    assert sum(reads) <= 6 * labels.size  # found, and what is there before each write; not once for every object


def test_a_locked_object_is_not_cleared_where_it_has_no_clicks(three):
    session, objects, labels = three
    before = labels.copy()
    session.object = 1
    objects.lock(1, True)
    with pytest.raises(InputError, match="object 1 is locked"):
        objects.clear(session.place((1,)))
    np.testing.assert_array_equal(labels, before)


def test_clearing_takes_one_plane(three):
    session, objects, labels = three
    session.object = 2
    before = labels.copy()
    labels[1, 38, 2] = 2  # painted by hand
    objects.labels.count_all()
    objects.clear(session.place((1,)))
    assert not (labels[1] == 2).any()
    np.testing.assert_array_equal(labels[0], before[0])
    session.undo()
    assert labels[1, 38, 2] == 2
    assert len(session.refinement(session.place((1,))).clicks) == 2


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 4), st.integers(0, 3)), max_size=20))
@settings(max_examples=30)
def test_counts_are_those_of_the_labels(writes):
    array = np.zeros((2, 4, 5), np.int32)
    array[0, 1, 1:3] = 2
    counted = CountedLabels(ArrayLabels(array), array.shape)
    counted.count_all()
    for z, row, column, label in writes:
        if row % 2:
            counted.write((np.array([z]), np.array([row]), np.array([column])), np.array([label]))
        else:  # a brush
            index = (np.array([z]), np.array([row]), np.array([column]))
            change = LabelChange(index, array[index], np.array([label]))
            array[index] = label
            counted.note(change)
    assert counted.labels() == sorted(set(np.unique(array).tolist()) - {0})
    for label in counted.labels():
        assert counted.area(label) == (array == label).sum()
        assert counted.slices(label) == [(z,) for z in range(2) if (array[z] == label).any()]


def test_the_nearest_plane_that_an_object_is_on(three):
    session, objects, labels = three
    labels[2, 30:35, 50:55] = 1  # by somebody else, and painted
    objects.labels.count_all()
    flat = [PlaneIndex((z,), (1, 2)) for z in range(3)]
    for label, expected in ((1, (1, 1, 2)), (2, (0, 1, 1)), (3, (1, 1, 1))):
        objects.turn_to(label)
        assert [objects.nearest(plane) for plane in flat] == [flat[z] for z in expected]
    objects.turn_to(1)
    assert objects.nearest(PlaneIndex((3,), (2, 0))) == PlaneIndex((30,), (2, 0))
    assert objects.nearest(PlaneIndex((39,), (0, 2))) == PlaneIndex((34,), (0, 2))
    session.object = 9
    assert objects.nearest(flat[0]) is None


def test_an_object_of_a_single_click_without_a_mask_is_where_it_was_clicked():
    session, objects, _ = objects_on(np.zeros((2, 3, 40, 60), np.int32), 1)
    session.click(Click(12, 30, positive=False), position=(1, 2))
    assert objects.nearest(PlaneIndex((0, 2), (2, 3))) == PlaneIndex((1, 2), (2, 3))
    assert objects.nearest(PlaneIndex((0, 0), (1, 3))) == PlaneIndex((1, 12), (1, 3))
