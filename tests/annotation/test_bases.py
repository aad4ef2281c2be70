"""Masks that were there before the first click: painted, brought from elsewhere, shared with other objects."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from fakes import DiscPredictor
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from napari_fbrs.annotation.history import MAX_BYTES, MAX_STEPS, Base, Place, Refinement
from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.annotation.labels import ArrayLabels, LabelChange, PlaneMask
from napari_fbrs.annotation.objects import Objects
from napari_fbrs.annotation.recovery import Recorder, header
from napari_fbrs.annotation.session import Session
from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.errors import InputError
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.prior import FAINT

SHAPE = (40, 50)


class GuidedPredictor(DiscPredictor):
    """Sees the mask it is shown first, and discs around clicks."""

    def predict(self, plane, clicks, state=None, *, cancelled=lambda: False):
        prediction = super().predict(plane, clicks, state, cancelled=cancelled)
        if state is not None and state.prior is not None:
            seen = np.ceil(state.prior.seen(Crop.whole(plane.shape), plane.shape))  # however faintly it is shown
            for click in clicks:
                rows, columns = np.indices(plane.shape)
                near = np.hypot(rows - click.row, columns - click.column) <= 3
                seen[near] = click.positive
            prediction.network_probability[:] = seen
            object.__setattr__(prediction.state, "prior", state.prior)
        return prediction


def session_with(labels: npt.NDArray[np.int32], **options) -> Session:
    return Session(np.zeros(labels.shape, np.uint8), GuidedPredictor(), labels=ArrayLabels(labels), **options)


def paint(session: Session, where: tuple[slice, ...], label: int) -> None:
    """Paint a rectangle as napari's brush does."""
    labels = session.labels.array
    before = labels.copy()
    labels[where] = label
    changed = np.nonzero(before != labels)
    session.painted(LabelChange(changed, before[changed], labels[changed]))


def square(
    top: int, left: int, side: int = 12, label: int = 1, shape: tuple[int, int] = SHAPE
) -> npt.NDArray[np.int32]:
    labels = np.zeros(shape, np.int32)
    labels[top : top + side, left : left + side] = label
    return labels


def test_a_mask_there_already_is_respected_away_from_the_clicks():
    labels = square(10, 10)
    expected = labels.copy()
    session = session_with(labels)
    result = session.click(Click(11, 11, positive=False))
    rows, columns = np.indices(SHAPE)
    expected[np.hypot(rows - 11, columns - 11) <= 3] = 0
    np.testing.assert_array_equal(labels, expected)
    assert result.unmet == ()
    base = session.refinement(session.place()).base
    assert base is not None
    assert base.settled == ()
    session.undo()
    np.testing.assert_array_equal(labels, square(10, 10))
    assert session.refinement(session.place()).base is None


def test_only_changes_that_were_asked_for_are_made():
    class Forgetful(DiscPredictor):  # does not see the mask at all: would leave a disc of it
        pass

    labels = square(10, 10)
    session = Session(np.zeros(SHAPE, np.uint8), Forgetful(), labels=ArrayLabels(labels))
    session.click(Click(30, 40))
    assert (labels[10:22, 10:22] == 1).all()
    assert labels[30, 40] == 1


def test_what_was_painted_is_the_base_of_the_next_refinement():
    labels = np.zeros(SHAPE, np.int32)
    session = session_with(labels)
    states = [labels.copy()]
    session.click(Click(10, 12))
    states.append(labels.copy())
    paint(session, np.s_[28:36, 28:36], 1)
    states.append(labels.copy())
    session.click(Click(14, 14))
    states.append(labels.copy())
    assert (labels[28:36, 28:36] == 1).all()
    assert session.refinement(session.place()).base.settled == (Click(10, 12),)
    session.click(Click(29, 29, positive=False))  # in what was painted
    states.append(labels.copy())
    assert labels[29, 29] == 0
    assert labels[34, 34] == 1
    paint(session, np.s_[10:12, 10:12], 0)
    states.append(labels.copy())
    session.click(Click(10, 10))  # brings back what was erased
    assert labels[10, 10] == 1
    assert labels[34, 34] == 1
    for state in states[::-1]:
        session.undo()
        np.testing.assert_array_equal(labels, state)
    for state in states[1:]:
        session.redo()
        np.testing.assert_array_equal(labels, state)


def test_a_click_made_again_after_painting_is_predicted_from_what_was_painted():
    sessions = [session_with(np.zeros(SHAPE, np.int32)) for _ in range(2)]
    for session in sessions:
        session.click(Click(10, 12))
    sessions[0].click(Click(14, 14))
    sessions[0].undo()
    calls = [len(session.predictor.calls) for session in sessions]
    for session in sessions:
        paint(session, np.s_[28:36, 28:36], 1)
        session.click(Click(14, 14))
    assert [len(session.predictor.calls) for session in sessions] == [number + 1 for number in calls]
    np.testing.assert_array_equal(*(session.labels.array for session in sessions))


def test_what_was_erased_stays_so():
    labels = np.zeros(SHAPE, np.int32)
    session = session_with(labels)
    session.click(Click(10, 12))
    paint(session, np.s_[10:20, :], 0)
    session.click(Click(4, 12))
    assert not labels[10:20].any()
    assert labels[4, 12] == 1


def test_the_same_pixel_clicked_again_after_painting_counts():
    labels = np.zeros(SHAPE, np.int32)
    session = session_with(labels)
    session.click(Click(10, 12))
    paint(session, np.s_[8:13, 10:15], 0)
    assert labels[10, 12] == 0
    session.click(Click(10, 12))
    assert labels[10, 12] == 1


def test_what_a_plane_across_shows_of_an_object_is_no_base_and_stays():
    session = Session(
        np.zeros((20, 40, 50), np.uint8), DiscPredictor(), labels=ArrayLabels(np.zeros((20, 40, 50), int))
    )
    labels = session.labels.array
    session.click(Click(10, 25), position=(20,), axes=(0, 2))
    line = labels[:, :, 25].copy()
    assert line.any()  # seen from the side
    session.click(Click(10, 20), position=(25,), axes=(0, 1))  # on the line
    place = session.place((25,), (0, 1))
    assert session.refinement(place).base is None
    assert np.count_nonzero(labels[:, :, 25]) > 3 * np.count_nonzero(line)
    assert (labels[:, :, 25] >= line).all()
    session.click(Click(10, 35), position=(20,), axes=(0, 2))  # back on the first
    assert session.refinement(session.place((20,), (0, 2))).base is None
    labels[1, 38, 25] = 1  # painted
    session.click(Click(12, 20), position=(25,), axes=(0, 1))
    assert session.refinement(place).base is not None
    assert labels[1, 38, 25] == 1


def test_without_its_last_click_a_base_is_shown_as_it_was():
    labels = square(10, 10)
    session = session_with(labels)
    session.click(Click(30, 30))
    place = session.place()
    session.edit(place, Refinement(ClickList(), base=session.refinement(place).base))
    assert session.waiting() == [place]
    session.update(place)
    np.testing.assert_array_equal(labels, square(10, 10))


def test_the_first_prediction_sees_the_mask_and_carried_variables():
    seen = []

    class Watching(GuidedPredictor):
        def predict(self, plane, clicks, state=None, **options):
            seen.append(state)
            return super().predict(plane, clicks, state, **options)

    session = Session(np.zeros(SHAPE, np.uint8), Watching())
    place = session.place()
    variables = np.array([5.0], np.float32)
    pixels = square(10, 10) == 1
    session.edit(place, Refinement(base=Base(PlaneMask.of_plane(pixels), variables=variables, found=False)))
    session.update(place)
    np.testing.assert_array_equal(session.labels.array == 1, pixels)
    assert seen == []  # nobody has clicked: the mask is as given
    session.click(Click(30, 30))
    assert seen[0].box == Crop(10, 21, 10, 21)
    assert seen[0].variables is variables
    np.testing.assert_array_equal(seen[0].prior.seen(Crop.whole(SHAPE), SHAPE), FAINT * pixels)
    assert 10 < seen[0].implied.click.row < 21
    assert 10 < seen[0].implied.click.column < 21
    session.undo()
    np.testing.assert_array_equal(session.labels.array == 1, pixels)
    session.undo()
    assert not session.labels.array.any()


@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
def test_planes_of_other_axes_have_bases(axes):
    labels = square(10, 14, label=3)
    session = session_with(labels, first_object=3)
    session.click(Click(30, 40) if axes == (0, 1) else Click(40, 30), axes=axes)
    assert (labels[10:22, 14:26] == 3).all()
    assert labels[30, 40] == 3
    assert session.mask(session.place(axes=axes)).crop.shape[0] > 12


def test_overlaps_keep_the_others_or_overwrite_them():
    labels = square(10, 10, label=1)
    session = session_with(labels, first_object=2)
    session.click(Click(15, 15))  # within the first one
    assert not (labels == 2).any()
    session.undo()
    session.overwrite = True
    session.click(Click(12, 12))
    assert labels[12, 12] == 2
    assert labels[20, 20] == 1
    session.undo()
    np.testing.assert_array_equal(labels, square(10, 10, label=1))


def test_overwriting_takes_what_was_left_to_others_before():
    labels = square(10, 10, label=1)
    session = session_with(labels, first_object=2)
    session.click(Click(22, 12))
    assert (labels[10:22, 10:22] == 1).all()
    session.overwrite = True
    session.click(Click(20, 12))
    assert labels[20, 12] == 2


def test_locked_objects_never_change():
    labels = square(10, 10, label=1)
    session = session_with(labels, first_object=2)
    session.overwrite = True
    session.click(Click(22, 12))
    taken = labels.copy()
    session.locked = {1}
    session.click(Click(12, 20))
    assert (labels[taken == 1] == 1).all()
    session.undo()
    np.testing.assert_array_equal(labels, taken)
    with pytest.raises(InputError, match="object 1 is locked"):  # the first click took pixels of it
        session.undo()
    np.testing.assert_array_equal(labels, taken)
    session.locked = {2}
    place = session.place()
    for change in (
        session.undo,
        session.redo,
        lambda: session.click(Click(30, 30)),
        lambda: session.set_threshold(place, 0.7),
    ):
        with pytest.raises(InputError, match="object 2 is locked"):
            change()
    session.outdate(place)  # as another predictor does to all that are not locked
    assert session.waiting() == []
    np.testing.assert_array_equal(labels, taken)
    session.locked = set()
    session.undo()
    np.testing.assert_array_equal(labels, square(10, 10, label=1))


def test_what_is_done_together_is_undone_together():
    session = session_with(np.zeros((3, *SHAPE), np.int32))
    session.click(Click(5, 5), position=(0,))
    before = session.labels.array.copy()
    with session.together():
        for z in (1, 2):
            session.click(Click(5, 5), position=(z,))
    after = session.labels.array.copy()
    assert session.undo().place.plane == PlaneIndex((1,), (1, 2))
    np.testing.assert_array_equal(session.labels.array, before)
    session.redo()
    np.testing.assert_array_equal(session.labels.array, after)
    session.undo()
    session.undo()
    assert not session.labels.array.any()


class MixedMachine(RuleBasedStateMachine):
    """Clicks and strokes of two objects that overlap, in any order: undo and redo go back and forth exactly."""

    @initialize()
    def start(self) -> None:
        self.session = session_with(np.zeros((30, 30), np.int32))
        self.snapshots = [self.snapshot()]
        self.at = 0

    def snapshot(self):
        refinements = {place: self.session.refinement(place) for place in self.session.annotated()}
        return self.session.labels.array.copy(), {p: r for p, r in refinements.items() if r.clicks}

    def done(self) -> None:
        self.at = len(self.session.history)
        del self.snapshots[self.at :]
        self.snapshots.append(self.snapshot())

    @rule(row=st.integers(2, 27), column=st.integers(2, 27), positive=st.booleans(), object_=st.sampled_from([1, 2]))
    def click(self, row: int, column: int, positive: bool, object_: int) -> None:
        self.session.object = object_
        self.session.click(Click(row, column, positive))
        self.done()

    @rule(top=st.integers(0, 25), left=st.integers(0, 25), label=st.sampled_from([0, 1, 2]))
    def stroke(self, top: int, left: int, label: int) -> None:
        if (self.session.labels.array[top : top + 4, left : left + 4] != label).any():
            paint(self.session, np.s_[top : top + 4, left : left + 4], label)
            self.done()

    @rule(overwrite=st.booleans())
    def set_overlap(self, overwrite: bool) -> None:
        self.session.overwrite = overwrite

    @rule()
    def undo(self) -> None:
        self.session.undo()
        self.at = max(0, self.at - 1)

    @rule()
    def redo(self) -> None:
        self.session.redo()
        self.at = min(len(self.snapshots) - 1, self.at + 1)

    @invariant()
    def as_noted(self) -> None:
        labels, refinements = self.snapshots[self.at]
        np.testing.assert_array_equal(self.session.labels.array, labels)
        assert self.snapshot()[1] == refinements
        assert self.session.waiting() == []


TestMixedMachine = MixedMachine.TestCase
TestMixedMachine.settings = settings(stateful_step_count=20)


def test_clicks_in_quick_succession_after_painting_all_count():
    labels = np.zeros(SHAPE, np.int32)
    session = session_with(labels)
    session.click(Click(10, 12))
    paint(session, np.s_[28:36, 28:36], 1)
    place = session.place()
    session.add(place, [Click(4, 40)])  # its mask is still being computed
    session.add(place, [Click(34, 34, positive=False)])
    assert session.refinement(place).base.settled == (Click(10, 12),)
    session.update(place)
    assert (labels[10, 12], labels[4, 40], labels[34, 34], labels[28, 28]) == (1, 1, 0, 1)


@pytest.mark.parametrize("second", [Click(30, 5), Click(5, 42, positive=False)])
def test_a_click_whose_mask_is_shown_only_after_an_undo_is_done_again_as_it_was(second):
    labels = np.zeros(SHAPE, np.int32)
    session = session_with(labels)
    session.click(Click(10, 12))
    paint(session, np.s_[28:36, 28:36], 1)
    place = session.place()
    session.add(place, [Click(4, 40)])
    paint(session, np.s_[0:4, 0:4], 1)  # before that mask is there
    session.add(place, [second])
    assert session.refinement(place).asking == (Click(4, 40), second)
    session.update(place)
    after = labels.copy()
    session.undo()  # of a click after which no mask was shown: it is now
    assert session.waiting() == [place]
    session.update(place)
    session.redo()
    np.testing.assert_array_equal(labels, after)


def test_what_is_corrected_after_painting_comes_back_where_an_undo_showed_something_older():
    labels = np.zeros((30, 30), np.int32)
    session = session_with(labels)
    session.click(Click(12, 12))
    place = session.place()
    session.edit(place, Refinement())  # its mask goes, but not yet
    paint(session, np.s_[0:12, 0:12], 0)
    session.click(Click(12, 12, positive=False))
    after = labels.copy()
    assert after.any()
    session.undo()
    session.update(place)
    assert not labels.any()
    session.redo()
    np.testing.assert_array_equal(labels, after)


def test_what_an_undo_leaves_alone_redo_does_not_do():
    labels = np.zeros((6, 20, 24), np.int32)
    session = session_with(labels)
    across, along = session.place((10,), (0, 2)), session.place((2,))
    session.add(across, [Click(2, 12)])
    session.add(along, [Click(10, 12)])
    session.update(along)
    session.update(across)
    session.predictor = GuidedPredictor(2)
    session.outdate(across)
    session.update(across)  # smaller: gives pixels up that both planes' masks held
    after = labels.copy()
    assert session.undo().place == along
    assert (labels != after).any()
    session.redo()
    np.testing.assert_array_equal(labels, after)


class StampedLabels(ArrayLabels):
    """Says, as a Labels layer does, when it has been written; notes how much of it is read."""

    def __init__(self, array: npt.NDArray[np.int32]) -> None:
        super().__init__(array)
        self.stamp = object()
        self.read_pixels: list[int] = []

    def read(self, index):
        part = super().read(index)
        self.read_pixels.append(part.size)
        return part

    def write(self, indices, values):
        super().write(indices, values)
        self.stamp = object()


def test_what_a_click_costs_does_not_depend_on_the_plane(tmp_path):
    labels = StampedLabels(np.zeros((500, 600), np.int32))
    session = Session(np.zeros((500, 600), np.uint8), GuidedPredictor(), labels=labels)
    Objects(session)  # counts what is written, and
    Recorder(session, tmp_path, header(session.image, name="cells"), pytest.fail)  # writes it down
    session.click(Click(30, 30))
    session.click(Click(34, 30))
    labels.read_pixels.clear()
    session.click(Click(38, 30))
    session.next_object()
    session.click(Click(300, 400))
    session.click(Click(304, 400))
    session.object = 1
    session.click(Click(34, 34))
    assert max(labels.read_pixels) < 1000
    labels.array[200:203, 300:303] = 1  # a script, far from the mask
    session.click(Click(30, 34))  # does not know yet
    assert session.refinement(session.place()).base is None
    labels.stamp = object()  # it calls refresh()
    session.click(Click(30, 38))
    assert session.refinement(session.place()).base.mask.within(Crop.whole((500, 600)))[201, 301]
    assert (labels.array[200:203, 300:303] == 1).all()


class StampMachine(RuleBasedStateMachine):
    """Reading only where something may have changed finds what reading all of the plane finds."""

    @initialize()
    def start(self) -> None:
        self.stores = [StampedLabels(np.zeros((30, 30), np.int32)), ArrayLabels(np.zeros((30, 30), np.int32))]
        self.both = [Session(np.zeros((30, 30), np.uint8), GuidedPredictor(), labels=store) for store in self.stores]

    @rule(row=st.integers(2, 27), column=st.integers(2, 27), positive=st.booleans(), object_=st.integers(1, 3))
    def click(self, row: int, column: int, positive: bool, object_: int) -> None:
        for session in self.both:
            session.object = object_
            session.click(Click(row, column, positive))

    @rule(top=st.integers(0, 25), left=st.integers(0, 25), label=st.integers(0, 3))
    def stroke(self, top: int, left: int, label: int) -> None:
        for session in self.both:
            if (session.labels.array[top : top + 4, left : left + 4] != label).any():
                paint(session, np.s_[top : top + 4, left : left + 4], label)
        self.stores[0].stamp = object()

    @rule(top=st.integers(0, 25), left=st.integers(0, 25), label=st.integers(0, 3))
    def script(self, top: int, left: int, label: int) -> None:
        for store in self.stores:
            store.array[top : top + 3, left : left + 5] = label
        self.stores[0].stamp = object()

    @rule(object_=st.integers(1, 3))
    def erase(self, object_: int) -> None:
        for store in self.stores:
            store.array[store.array >= object_] = 0
        self.stores[0].stamp = object()

    @rule(overwrite=st.booleans())
    def set_overlap(self, overwrite: bool) -> None:
        for session in self.both:
            session.overwrite = overwrite

    @rule(back=st.booleans())
    def walk(self, back: bool) -> None:
        for session in self.both:
            if back:
                session.undo()
            else:
                session.redo()
            for place in session.waiting():
                session.update(place)

    @invariant()
    def alike(self) -> None:
        stamped, plain = self.both
        np.testing.assert_array_equal(self.stores[0].array, self.stores[1].array)
        assert masks_of(stamped) == masks_of(plain)


PLANES = (((2,), (-2, -1)), ((10,), (0, 2)))  # positions and axes of two planes that cross


class HurryMachine(RuleBasedStateMachine):
    """Whatever was done while masks were still waited for: once they are there, undo and redo lead back to them."""

    @initialize()
    def start(self) -> None:
        self.labels = np.zeros((6, 20, 24), np.int32)
        self.session = session_with(self.labels)
        self.objects = Objects(self.session)
        self.plane = PLANES[0]

    def place(self) -> Place:
        return self.session.place(*self.plane)

    @rule(plane=st.sampled_from(PLANES))
    def turn(self, plane: tuple[tuple[int], tuple[int, int]]) -> None:
        self.plane = plane

    @rule(row=st.integers(0, 19), column=st.integers(0, 23), positive=st.booleans(), object_=st.sampled_from([1, 2]))
    def click(self, row: int, column: int, positive: bool, object_: int) -> None:
        self.session.object = object_
        rows = self.session.image.plane_shape(self.place().plane)[0]
        self.session.add(self.place(), [Click(row % rows, column, positive)])

    @rule(which=st.integers(0, 9))
    def remove(self, which: int) -> None:
        place = self.place()
        before = self.session.refinement(place)
        if which < len(before.clicks):
            self.session.edit(place, replace(before, clicks=before.clicks.removed([which])))

    @rule(top=st.integers(0, 15), left=st.integers(0, 19), label=st.sampled_from([0, 1, 2]))
    def stroke(self, top: int, left: int, label: int) -> None:
        before = self.labels.copy()
        self.labels[1:4, top : top + 4, left : left + 4] = label
        changed = np.nonzero(before != self.labels)
        if changed[0].size:
            change = LabelChange(changed, before[changed], self.labels[changed])
            self.objects.labels.note(change)
            self.session.painted(change)

    @rule(threshold=st.sampled_from([0.1, 0.5, 0.9]))
    def slide(self, threshold: float) -> None:
        self.session.set_threshold(self.place(), threshold)

    @rule(overwrite=st.booleans())
    def set_overlap(self, overwrite: bool) -> None:
        self.session.overwrite = overwrite

    @rule(radius=st.sampled_from([2, 4, 6]))
    def exchange_predictor(self, radius: float) -> None:
        self.session.predictor = GuidedPredictor(radius)
        self.session.outdate(self.place())

    @rule()
    def clear(self) -> None:
        self.objects.clear(self.place())

    @rule(label=st.sampled_from([1, 2]))
    def delete(self, label: int) -> None:
        if label in self.objects.known():
            self.objects.delete(label)

    @rule(into=st.sampled_from([1, 2]))
    def merge(self, into: int) -> None:
        if {1, 2} <= {*self.objects.known()}:
            self.objects.merge(3 - into, into)

    @rule(back=st.booleans())
    def walk(self, back: bool) -> None:
        if back:
            self.session.undo()
        else:
            self.session.redo()

    @rule(steps=st.integers(1, 4))
    def settle(self, steps: int) -> None:
        self.update()
        before = self.labels.copy(), refinements_of(self.session)
        back = [self.session.undo() and self.update() for _ in range(steps) if len(self.session.history)]
        for _ in back:
            self.session.redo()
            self.update()
        np.testing.assert_array_equal(self.labels, before[0])
        assert refinements_of(self.session) == before[1]

    def update(self) -> None:
        for place in self.session.waiting():
            self.session.update(place)


TestHurryMachine = HurryMachine.TestCase
TestHurryMachine.settings = settings(stateful_step_count=20)


def refinements_of(session: Session) -> dict:
    """Return what decides the masks that there are."""
    return {place: session.refinement(place) for place in session.annotated()}


def masks_of(session: Session) -> dict:
    """Return what each refinement starts from."""
    bases = {place: session.refinement(place).base for place in session.annotated()}
    return {p: base and (base.settled, base.mask and base.mask.pixels.tobytes()) for p, base in bases.items()}


TestStampMachine = StampMachine.TestCase
TestStampMachine.settings = settings(stateful_step_count=20)


def test_a_thousand_steps_back_and_forth_in_bounded_memory():
    labels = np.zeros((4, 20, 24), np.int32)
    session = Session(np.zeros(labels.shape, np.uint8), DiscPredictor(), labels=ArrayLabels(labels))
    rng = np.random.default_rng(0)
    tracemalloc.start()
    try:
        for step in range(1000):
            session.object = 1 + step // 10
            if step % 10 == 9:
                z, top, left = rng.integers(0, (4, 15, 19)).tolist()
                paint(session, np.s_[z, top : top + 5, left : left + 5], 2000 + step)  # never there before
            else:
                row, column = rng.integers(0, (20, 24)).tolist()
                session.click(Click(row, column, positive=step % 10 < 7), position=(step % 4,))
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(session.history) == MAX_STEPS == 1000
    assert grown < MAX_BYTES / 4  # small masks: what a step holds besides pixels is next to nothing
    after, clicks = labels.copy(), {p: session.refinement(p).clicks for p in session.annotated()}
    while session.undo():
        pass
    assert not labels.any()
    assert not any(session.refinement(place).clicks for place in clicks)
    while session.redo():
        pass
    np.testing.assert_array_equal(labels, after)
    assert {p: session.refinement(p).clicks for p in session.annotated()} == clicks
    assert session.waiting() == []
