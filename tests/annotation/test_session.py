from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from fakes import BrightNetwork, DiscPredictor, model_of
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from napari_fbrs.annotation.history import History, Place, Refinement
from napari_fbrs.annotation.image import Image, PlaneIndex
from napari_fbrs.annotation.labels import ArrayLabels, LabelChange
from napari_fbrs.annotation.reconcile import Edit
from napari_fbrs.annotation.session import Result, Session
from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.errors import CancelledError, InputError
from napari_fbrs.inference.first_look import Expected
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.models.checkpoint import Model

SHAPE = (40, 50)


def session_on(shape: tuple[int, ...] = SHAPE) -> Session:
    return Session(np.zeros(shape, np.uint8), DiscPredictor())  # type: ignore[arg-type]


def labels_of(session: Session) -> npt.NDArray[np.int32]:
    assert isinstance(session.labels, ArrayLabels)
    return session.labels.array


def on_plane(volume: npt.NDArray[np.int32], index: PlaneIndex) -> npt.NDArray[np.int32]:
    """Return a view of a plane, worked out without `PlaneIndex.select`."""
    others = [axis for axis in range(volume.ndim) if axis not in index.axes]
    return np.moveaxis(volume, (*index.axes, *others), range(volume.ndim))[(..., *index.position)]


def test_a_slider_that_goes_back_gives_a_locked_object_nothing():
    session = session_on()
    session.overwrite = True
    session.click(Click(10, 12))
    session.object = 2
    session.click(Click(10, 22))
    place = session.place()
    session.set_threshold(place, 0.05)
    session.update(place)
    mine = labels_of(session) == 1
    session.locked.add(1)
    session.set_threshold(place, 0.5)
    session.update(place)
    np.testing.assert_array_equal(labels_of(session) == 1, mine)
    assert session.refinement(place).threshold == 0.5


def expected_mask(session: Session, place: Place) -> npt.NDArray[np.bool_]:
    """Return the mask that a place's refinement must give, predicted anew."""
    refinement = session.refinement(place)
    plane = session.image.plane(place.plane)
    return session.predictor.replayed(plane, refinement.clicks, refinement.threshold)  # type: ignore[attr-defined]


@pytest.fixture
def session() -> Session:
    return session_on()


def test_a_click_writes_its_mask(session: Session):
    result = session.click(Click(10, 12))
    place = session.place()
    np.testing.assert_array_equal(labels_of(session) == 1, expected_mask(session, place))
    assert set(np.unique(labels_of(session))) == {0, 1}
    assert result.place == place
    assert result.refinement == session.refinement(place)
    assert result.unmet == ()
    assert session.waiting() == []


def test_a_negative_click_removes_what_it_points_at(session: Session):
    session.click(Click(10, 12))
    assert labels_of(session)[10, 15] == 1
    result = session.click(Click(10, 15, positive=False))
    assert labels_of(session)[10, 15] == 0
    assert labels_of(session)[10, 12] == 1
    assert result.unmet == ()


def test_clicks_that_the_mask_contradicts_are_named(session: Session):
    session.click(Click(10, 12))
    assert session.click(Click(10, 12, positive=False)).unmet == (0,)


def test_the_last_mask_may_be_empty(session: Session):
    session.click(Click(10, 12))
    result = session.click(Click(10, 12, positive=False))
    session.set_threshold(session.place(), 0.99)
    result = session.update(session.place())
    assert result.mask is None
    assert not labels_of(session).any()
    session.undo()
    assert labels_of(session).any()


def test_undo_and_redo_take_clicks_and_pixels_together(session: Session):
    snapshots = [labels_of(session).copy()]
    for click in (Click(10, 12), Click(14, 14), Click(10, 16, positive=False)):
        session.click(click)
        snapshots.append(labels_of(session).copy())
    for count in (2, 1, 0):
        step = session.undo()
        assert step.place == session.place()
        assert len(session.refinement(session.place()).clicks) == count
        np.testing.assert_array_equal(labels_of(session), snapshots[count])
        assert session.waiting() == []
    assert session.undo() is None
    for count in (1, 2, 3):
        assert session.redo() is not None
        assert len(session.refinement(session.place()).clicks) == count
        np.testing.assert_array_equal(labels_of(session), snapshots[count])
        assert session.waiting() == []
    assert session.redo() is None


def test_undoing_needs_no_prediction(session: Session):
    for click in (Click(10, 12), Click(14, 14), Click(10, 16, positive=False)):
        session.click(click)
    calls = len(session.predictor.calls)
    session.undo()
    session.undo()
    session.redo()
    session.update(session.place())
    assert len(session.predictor.calls) == calls


def test_after_undo_another_click_starts_from_what_is_there(session: Session):
    session.click(Click(10, 12))
    session.click(Click(30, 30))
    session.undo()
    session.click(Click(14, 14))
    assert session.refinement(session.place()).clicks == ClickList.one_by_one([Click(10, 12), Click(14, 14)])
    np.testing.assert_array_equal(labels_of(session) == 1, expected_mask(session, session.place()))
    assert session.redo() is None
    assert session.predictor.calls[-1] == (Click(10, 12), Click(14, 14))


def test_clicks_are_predicted_in_rounds(session: Session):
    place = session.place()
    session.add(place, [Click(10, 12), Click(14, 14)])
    session.update(place)
    session.add(place, [Click(20, 20)])
    session.update(place)
    assert [len(calls) for calls in session.predictor.calls] == [2, 3]
    assert session.refinement(place).clicks.rounds == ((Click(10, 12), Click(14, 14)), (Click(20, 20),))
    np.testing.assert_array_equal(labels_of(session) == 1, expected_mask(session, place))


def test_clicks_that_overtake_a_prediction_join_its_round(session: Session):
    place = session.place()
    session.add(place, [Click(10, 12)])
    late = session.compute(place, session.refinement(place))
    session.add(place, [Click(14, 14)])
    assert not session.show(late)
    assert not labels_of(session).any()
    assert session.waiting() == [place]
    session.update(place)
    assert session.refinement(place).clicks.rounds == ((Click(10, 12), Click(14, 14)),)
    np.testing.assert_array_equal(labels_of(session) == 1, expected_mask(session, place))


def test_undoing_a_click_that_overtook_another(session: Session):
    place = session.place()
    session.add(place, [Click(10, 12)])
    session.add(place, [Click(10, 16, positive=False)])
    session.update(place)
    both = labels_of(session).copy()
    session.undo()
    assert not labels_of(session).any()
    assert session.waiting() == [place]  # the first click has never been shown alone
    session.update(place)
    fresh = session_on()
    fresh.click(Click(10, 12))
    np.testing.assert_array_equal(labels_of(session), labels_of(fresh))
    session.redo()
    np.testing.assert_array_equal(labels_of(session), both)
    assert session.waiting() == []
    session.undo()
    np.testing.assert_array_equal(labels_of(session), labels_of(fresh))
    session.undo()
    assert not labels_of(session).any()


def test_a_prediction_called_off(session: Session):
    place = session.place()
    session.add(place, [Click(10, 12)])
    with pytest.raises(CancelledError):
        session.compute(place, session.refinement(place), lambda: True)
    assert session.waiting() == [place]
    session.update(place)
    assert session.waiting() == []
    np.testing.assert_array_equal(labels_of(session) == 1, expected_mask(session, place))


def test_what_is_painted_survives_refinement(session: Session):
    session.click(Click(10, 12))
    labels = labels_of(session)
    for pixel, value in (((30, 30), 1), ((10, 12), 0), ((10, 13), 5)):
        before = labels[pixel]
        labels[pixel] = value
        index = tuple(np.array([at]) for at in pixel)
        session.painted(LabelChange(index, np.array([before]), np.array([value])))
    session.click(Click(14, 14))
    assert (labels[30, 30], labels[10, 12], labels[10, 13]) == (1, 0, 5)
    assert labels[14, 14] == 1
    session.undo()  # the click
    assert (labels[30, 30], labels[10, 12], labels[10, 13]) == (1, 0, 5)
    for _ in range(3):
        step = session.undo()
        assert step.place is None
    assert (labels[30, 30], labels[10, 12], labels[10, 13]) == (0, 1, 1)
    np.testing.assert_array_equal(labels == 1, expected_mask(session, session.place()))
    session.redo()
    assert labels[30, 30] == 1


def test_other_objects_are_not_touched(session: Session):
    session.click(Click(10, 12))
    first = labels_of(session) == 1
    assert session.next_object() == 2
    session.click(Click(10, 15))  # overlaps
    np.testing.assert_array_equal(labels_of(session) == 1, first)
    np.testing.assert_array_equal(labels_of(session) == 2, expected_mask(session, session.place()) & ~first)
    session.click(Click(10, 18, positive=False))
    np.testing.assert_array_equal(labels_of(session) == 1, first)
    session.undo()
    session.undo()
    np.testing.assert_array_equal(labels_of(session) == 1, first)
    assert labels_of(session).max() == 1


def test_the_next_object_has_the_next_free_label(session: Session):
    assert session.next_object() == 1  # nothing clicked yet
    session.click(Click(5, 5))
    assert session.next_object() == 2
    assert session.next_object() == 2
    session.click(Click(5, 25))
    session.undo()
    assert session.object == 2
    assert session.next_object() == 2
    session.click(Click(5, 25))
    session.object = 1
    assert session.next_object() == 3
    session.painted(LabelChange((np.array([0]), np.array([0])), np.array([0]), np.array([40])))
    session.click(Click(30, 30))
    assert session.next_object() == 41


def test_objects_start_where_told():
    session = Session(np.zeros(SHAPE), DiscPredictor(), first_object=7)  # type: ignore[arg-type]
    session.click(Click(5, 5))
    assert labels_of(session).max() == 7
    assert session.next_object() == 8


def test_undo_turns_to_the_object_that_it_changes(session: Session):
    session.click(Click(5, 5))
    session.next_object()
    session.click(Click(5, 25))
    session.undo()
    session.undo()
    assert session.object == 1
    session.redo()
    session.redo()
    assert session.object == 2


def test_the_threshold_needs_no_prediction(session: Session):
    session.click(Click(10, 12))
    session.click(Click(14, 14))
    place, calls = session.place(), len(session.predictor.calls)
    sizes = []
    for threshold in (0.2, 0.5, 0.8):
        session.set_threshold(place, threshold)
        assert session.waiting() == ([place] if threshold != 0.5 else [])  # which it was: there is nothing to do
        session.update(place)
        np.testing.assert_array_equal(labels_of(session) == 1, expected_mask(session, place))
        sizes.append(np.count_nonzero(labels_of(session)))
    assert sizes[0] > sizes[1] > sizes[2] > 0
    assert len(session.predictor.calls) == calls


def test_thresholds_in_a_row_are_one_step(session: Session):
    session.click(Click(10, 12))
    before, place = labels_of(session).copy(), session.place()
    for threshold in (0.6, 0.7, 0.8):
        session.set_threshold(place, threshold)
        session.update(place)
    after = labels_of(session).copy()
    assert len(session.history) == 2
    session.undo()
    assert session.refinement(place).threshold == 0.5
    np.testing.assert_array_equal(labels_of(session), before)
    session.redo()
    assert session.refinement(place).threshold == 0.8
    np.testing.assert_array_equal(labels_of(session), after)


def test_a_threshold_back_where_it_was_is_no_step(session: Session):
    session.click(Click(10, 12))
    before, place = labels_of(session).copy(), session.place()
    for threshold in (0.6, 0.3):
        session.set_threshold(place, threshold)
        session.update(place)
    assert not np.array_equal(labels_of(session), before)
    session.set_threshold(place, 0.5)
    assert len(session.history) == 1
    assert session.waiting() == []
    np.testing.assert_array_equal(labels_of(session), before)
    session.set_threshold(place, 0.7)  # goes on from there
    session.update(place)
    assert len(session.history) == 2
    for expected in (before, np.zeros(SHAPE)):
        session.undo()
        np.testing.assert_array_equal(labels_of(session), expected)


def test_a_threshold_whose_mask_was_not_shown_yet_is_waited_for_again(session: Session):
    session.click(Click(10, 12))
    place = session.place()
    session.set_threshold(place, 0.7)
    session.update(place)
    session.set_threshold(place, 0.3)  # joins the step before; its mask is not shown yet
    session.undo()
    assert session.waiting() == []
    session.redo()
    assert session.refinement(place).threshold == 0.3
    assert session.waiting() == [place]
    session.update(place)
    np.testing.assert_array_equal(labels_of(session) == 1, expected_mask(session, place))


def extent_of(mask: npt.NDArray[np.bool_]) -> int:
    rows, columns = np.nonzero(mask)
    return int(max(np.ptp(rows), np.ptp(columns)) + 1)


def test_objects_are_expected_to_be_as_large_as_those_before(session: Session):
    session.click(Click(10, 10))
    assert session.refinement(session.place()).expected is None
    first = extent_of(labels_of(session) == 1)
    session.next_object()
    session.click(Click(30, 30))
    assert session.refinement(session.place()).expected == Expected(first)
    session.click(Click(32, 30))  # what was expected at the first click stays
    assert session.refinement(session.place()).expected == Expected(first)


def test_a_size_said_is_certain_and_can_be_taken_back(session: Session):
    place = session.place()
    session.set_extent(place, 12)
    assert len(session.history) == 0  # nothing to look at yet
    session.click(Click(10, 10))
    assert session.refinement(place).expected == Expected(12, certain=True)
    for extent in (20, 30):
        session.set_extent(place, extent)
    assert session.waiting() == [place]
    session.update(place)
    assert len(session.history) == 2  # changes in a row are one step
    session.undo()
    assert session.refinement(place).expected == Expected(12, certain=True)
    session.set_extent(place, None)
    assert session.refinement(place).expected is None


def test_a_size_decides_what_is_predicted():
    image = np.zeros((200, 200), np.uint8)
    image[50:70, 50:70] = 255
    network = BrightNetwork()
    session = Session(image, Predictor(model_of(network)))
    session.set_extent(session.place(), 40)
    result = session.click(Click(60, 60))
    assert network.passes == 1
    assert result.prediction.crop.shape == (56, 56)
    assert result.prediction.state.expected == Expected(40, certain=True)


def test_a_threshold_after_undo_is_a_step_of_its_own(session: Session):
    place = session.place()
    session.click(Click(10, 12))
    session.set_threshold(place, 0.7)
    session.update(place)
    session.click(Click(30, 30))
    session.undo()
    session.set_threshold(place, 0.3)
    session.update(place)
    assert session.redo() is None  # that click belonged to another threshold
    np.testing.assert_array_equal(labels_of(session) == 1, expected_mask(session, place))
    session.undo()
    assert session.refinement(place).threshold == 0.7
    np.testing.assert_array_equal(labels_of(session) == 1, expected_mask(session, place))


def test_new_objects_take_the_session_s_threshold(session: Session):
    session.threshold = 0.8
    session.click(Click(10, 12))
    assert session.refinement(session.place()).threshold == 0.8
    np.testing.assert_array_equal(labels_of(session) == 1, expected_mask(session, session.place()))
    session.threshold = 0.2
    assert session.refinement(session.place()).threshold == 0.8


@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1), (-2, -1), (-1, -3)])
def test_planes_of_a_volume(axes: tuple[int, int]):
    session = session_on((20, 24, 28))
    index = PlaneIndex((3,), axes).resolved(3)
    session.click(Click(10, 6), position=(3,), axes=axes)
    session.click(Click(10, 9, positive=False), position=(3,), axes=axes)
    place = Place(1, index)
    plane = on_plane(labels_of(session), index)
    assert plane[10, 5] == 1
    np.testing.assert_array_equal(plane == 1, expected_mask(session, place))
    assert np.count_nonzero(labels_of(session)) == np.count_nonzero(plane)
    after = labels_of(session).copy()
    session.undo()
    session.undo()
    assert not labels_of(session).any()
    session.redo()
    session.redo()
    np.testing.assert_array_equal(labels_of(session), after)


def test_planes_have_clicks_of_their_own():
    session = session_on((4, 30, 30))
    session.click(Click(8, 8), position=(0,))
    session.click(Click(20, 20), position=(3,))
    first, last = session.place((0,)), session.place((3,))
    assert session.places(1) == [first, last]
    assert session.predictor.calls == [(Click(8, 8),), (Click(20, 20),)]
    for place in (first, last):
        plane = on_plane(labels_of(session), place.plane)
        np.testing.assert_array_equal(plane == 1, expected_mask(session, place))
    assert not labels_of(session)[1:3].any()


@pytest.mark.parametrize("position", [(), (1, 2), (4,), (-1,)])
def test_planes_that_are_not_there(position: tuple[int, ...]):
    session = session_on((4, 30, 30))
    with pytest.raises(InputError):
        session.click(Click(8, 8), position=position)
    assert len(session.history) == 0
    assert session.waiting() == []


def test_clicks_outside_are_refused_without_a_trace(session: Session):
    with pytest.raises(InputError, match="outside the plane"):
        session.click(Click(40, 5))
    assert len(session.history) == 0
    assert session.waiting() == []
    assert session.places(1) == []


def test_removing_all_clicks_removes_the_mask(session: Session):
    session.click(Click(10, 12))
    place = session.place()
    session.apply(place, Edit(ClickList()))
    session.update(place)
    assert not labels_of(session).any()
    assert session.places(1) == []
    session.undo()
    assert labels_of(session)[10, 12] == 1


def test_moving_a_click_is_one_step(session: Session):
    session.click(Click(10, 12))
    session.click(Click(14, 14))
    place, before = session.place(), labels_of(session).copy()
    session.apply(place, Edit(session.refinement(place).clicks.replaced(0, Click(30, 30))))
    session.update(place)
    np.testing.assert_array_equal(labels_of(session) == 1, expected_mask(session, place))
    assert labels_of(session)[30, 30] == 1
    session.undo()
    np.testing.assert_array_equal(labels_of(session), before)


def test_limits_reach_the_predictor():
    seen = []

    class Watching(DiscPredictor):
        def predict(self, plane, *args, **kwargs):
            seen.append(plane.limits)
            return super().predict(plane, *args, **kwargs)

    image = np.zeros((3, *SHAPE), np.uint16)
    image[1, 0, 0], image[2, 0, 0] = 500, 900
    session = Session(image, Watching())
    session.click(Click(10, 12), position=(1,))
    assert seen == [(0, 900)]  # those of the whole image
    place = session.place((1,))
    session.edit(place, replace(session.refinement(place), limits=(100, 200)))
    session.update(place)
    assert seen == [(0, 900), (100, 200)]
    session.click(Click(14, 14), position=(1,))
    assert seen[-1] == (100, 200)


def test_another_predictor(session: Session):
    session.click(Click(10, 12))
    place, small = session.place(), labels_of(session).copy()
    session.predictor = DiscPredictor(radius=8.0)  # type: ignore[assignment]
    assert session.waiting() == []
    session.outdate(place)
    assert session.waiting() == [place]
    session.update(place)
    np.testing.assert_array_equal(labels_of(session) == 1, expected_mask(session, place))
    assert np.count_nonzero(labels_of(session)) > np.count_nonzero(small)
    large = labels_of(session).copy()
    session.undo()
    assert not labels_of(session).any()
    session.redo()
    np.testing.assert_array_equal(labels_of(session), large)


def test_labels_that_cannot_hold_the_object():
    labels = ArrayLabels(np.zeros(SHAPE, np.uint8))
    session = Session(np.zeros(SHAPE), DiscPredictor(), labels=labels, first_object=255)  # type: ignore[arg-type]
    session.click(Click(10, 12))
    before = labels.array.copy()
    with pytest.raises(InputError, match="end at 255: there is no room"):
        session.next_object()
    assert session.object == 255
    session.object = 256  # as a record of other labels may say
    with pytest.raises(InputError, match=r"256.*end at 255"):
        session.click(Click(30, 30))
    np.testing.assert_array_equal(labels.array, before)


def test_the_background_is_no_object():
    with pytest.raises(InputError, match="from 1 on"):
        Session(np.zeros(SHAPE), DiscPredictor(), first_object=0)  # type: ignore[arg-type]


def test_what_is_forgotten_cannot_be_undone(session: Session):
    session.history = History(max_steps=2)
    for column in (10, 14, 18):
        session.click(Click(10, column))
    after_one = session.refinement(session.place()).clicks.flat[:1]
    assert session.undo() is not None
    assert session.undo() is not None
    assert session.undo() is None
    assert session.refinement(session.place()).clicks.flat == after_one
    np.testing.assert_array_equal(labels_of(session) == 1, expected_mask(session, session.place()))


def test_few_planes_are_kept_in_memory():
    session = session_on((9, 20, 20))
    for position in range(9):
        session.click(Click(8, 8), position=(position,))
    assert len(session._planes) <= 4
    session.click(Click(9, 9), position=(0,))
    np.testing.assert_array_equal(labels_of(session)[0] == 1, expected_mask(session, session.place((0,))))


def test_a_real_predictor(bundled: Model):
    image = np.full((2, 64, 64), 20, np.uint8)
    image[1, 10:30, 10:30] = image[1, 36:56, 36:56] = 200
    session = Session(Image(image), Predictor(bundled))
    session.click(Click(20, 20), position=(1,))
    assert labels_of(session)[1, 20, 20] == 1
    assert not labels_of(session)[0].any()
    before = labels_of(session).copy()
    session.click(Click(45, 45, positive=False), position=(1,))
    assert labels_of(session)[1, 45, 45] == 0
    session.undo()
    np.testing.assert_array_equal(labels_of(session), before)


# Objects that cannot overlap: every one has its own column of the image, wide enough for its cones.
WIDTH = 26
OBJECTS = 3
PLANES = (PlaneIndex((0,), (1, 2)), PlaneIndex((1,), (1, 2)))
VOLUME = (2, 24, WIDTH * OBJECTS)
rows, columns, signs = st.integers(9, 15), st.integers(10, 16), st.booleans()
thresholds = st.sampled_from([0.4, 0.5, 0.7])
planes = st.sampled_from(PLANES)
Snapshot = tuple[npt.NDArray[np.int32], dict[Place, Refinement]]


class SessionMachine(RuleBasedStateMachine):
    """Whatever is done in whatever order: labels are those of the clicks, and undo goes back bit for bit."""

    @initialize()
    def start(self) -> None:
        self.session = session_on(VOLUME)
        self.snapshots = [self.snapshot()]
        self.at = 0

    def places(self) -> Iterator[Place]:
        yield from (Place(object_, plane) for object_ in range(1, OBJECTS + 1) for plane in PLANES)

    def snapshot(self) -> Snapshot:
        return labels_of(self.session).copy(), {p: self.session.refinement(p) for p in self.places()}

    def done(self) -> None:
        """Note a step; where it was joined to the last one, that one has changed."""
        now = self.snapshot()
        if len(self.session.history) > self.at:
            self.at += 1
            del self.snapshots[self.at :]
            self.snapshots.append(now)
        elif len(self.session.history) < self.at:  # back where it was
            del self.snapshots[self.at :]
            self.at -= 1
        elif now[1] != self.snapshots[self.at][1]:
            assert not self.session.history.can_redo
            self.snapshots[self.at] = now
        assert len(self.session.history) == self.at

    @rule(plane=planes, row=rows, column=columns, positive=signs)
    def click(self, plane: PlaneIndex, row: int, column: int, positive: bool) -> None:
        column += WIDTH * (self.session.object - 1)
        self.session.click(Click(row, column, positive), position=plane.position)
        self.done()

    @rule(plane=planes, threshold=thresholds)
    def set_threshold(self, plane: PlaneIndex, threshold: float) -> None:
        place = Place(self.session.object, plane)
        if self.session.refinement(place).clicks:
            self.session.set_threshold(place, threshold)
            self.session.update(place)
            self.done()

    @rule(plane=planes, data=st.data())
    def remove(self, plane: PlaneIndex, data: st.DataObject) -> None:
        place = Place(self.session.object, plane)
        clicks = self.session.refinement(place).clicks
        if clicks:
            index = data.draw(st.integers(0, len(clicks) - 1))
            self.session.apply(place, Edit(clicks.removed([index])))
            self.session.update(place)
            self.done()

    @precondition(lambda self: self.session._largest < OBJECTS)
    @rule()
    def next_object(self) -> None:
        self.session.next_object()

    @rule()
    def undo(self) -> None:
        assert (self.session.undo() is not None) is (self.at > 0)
        self.at = max(0, self.at - 1)

    @rule()
    def redo(self) -> None:
        assert (self.session.redo() is not None) is (self.at < len(self.snapshots) - 1)
        self.at = min(len(self.snapshots) - 1, self.at + 1)

    @rule()
    def there_and_back(self) -> None:
        if self.session.undo() is not None:
            self.session.redo()

    @invariant()
    def as_noted(self) -> None:
        labels, refinements = self.snapshots[self.at]
        np.testing.assert_array_equal(labels_of(self.session), labels)
        assert {p: self.session.refinement(p) for p in self.places()} == refinements
        assert self.session.waiting() == []

    @invariant()
    def as_predicted_anew(self) -> None:
        expected = np.zeros(VOLUME, np.int32)
        for place in self.places():
            expected[place.plane.position][expected_mask(self.session, place)] = place.object
        np.testing.assert_array_equal(labels_of(self.session), expected)


class OvertakingMachine(RuleBasedStateMachine):
    """Masks come late, or not at all: what is not waited for is as predicted anew."""

    @initialize()
    def start(self) -> None:
        self.session = session_on((24, WIDTH * OBJECTS))
        self.late: list[Result] = []

    @property
    def place(self) -> Place:
        return self.session.place()

    def catch_up(self, really: bool) -> None:
        if really:
            for place in self.session.waiting():
                self.session.update(place)
            assert self.session.waiting() == []

    @rule(positions=st.lists(st.tuples(rows, columns, signs), min_size=1, max_size=3), shown=st.booleans())
    def add(self, positions: list[tuple[int, int, bool]], shown: bool) -> None:
        for row, column, positive in positions:
            self.session.add(self.place, [Click(row, column + WIDTH * (self.session.object - 1), positive)])
        self.catch_up(shown)

    @rule(threshold=thresholds, shown=st.booleans())
    def set_threshold(self, threshold: float, shown: bool) -> None:
        self.session.set_threshold(self.place, threshold)
        self.catch_up(shown)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        clicks = self.session.refinement(self.place).clicks
        if clicks:
            self.session.apply(self.place, Edit(clicks.removed([data.draw(st.integers(0, len(clicks) - 1))])))

    @precondition(lambda self: self.session._largest < OBJECTS)
    @rule()
    def next_object(self) -> None:
        self.session.next_object()

    @rule(back=st.integers(1, 3), forth=st.integers(0, 3), shown=st.tuples(st.booleans(), st.booleans()))
    def go_back_and_forth(self, back: int, forth: int, shown: tuple[bool, bool]) -> None:
        for _ in range(back):
            self.session.undo()
        self.catch_up(shown[0])
        for _ in range(forth):
            self.session.redo()
        self.catch_up(shown[1])

    @rule()
    def compute(self) -> None:
        for place in self.session.waiting()[:1]:
            self.late.append(self.session.compute(place, self.session.refinement(place)))

    @rule()
    def show(self) -> None:
        if self.late:
            result = self.late.pop(0)
            current = self.session.refinement(result.place) == result.refinement
            assert self.session.show(result) is current
            if current:
                assert result.place not in self.session.waiting()

    @invariant()
    def what_is_shown_is_as_predicted_anew(self) -> None:
        waiting = self.session.waiting()
        for object_ in range(1, OBJECTS + 1):
            place = replace(self.place, object=object_)
            if place not in waiting:
                found = labels_of(self.session) == object_
                np.testing.assert_array_equal(found, expected_mask(self.session, place))


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(stateful_step_count=20)
TestOvertakingMachine = OvertakingMachine.TestCase
TestOvertakingMachine.settings = settings(stateful_step_count=20)
