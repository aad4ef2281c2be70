"""What is computed anew, and what is not, counted in passes through the network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from fakes import BrightNetwork, model_of

from napari_fbrs.annotation.history import Refinement
from napari_fbrs.annotation.labels import ArrayLabels
from napari_fbrs.annotation.reconcile import Edit
from napari_fbrs.annotation.session import Session
from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import PredictorSettings
from napari_fbrs.strokes import Stroke

TWELVE = [Click(24 + 2 * i, 26 + i) if i % 2 == 0 else Click(8, 20 + 3 * i, positive=False) for i in range(12)]


class Counting(Session):
    """A session on a bright square, whose network counts; it always looks at the whole image."""

    def __init__(self, mode: str = "f-BRS-B") -> None:
        self.network = BrightNetwork()
        image = np.full((100, 120), 20, np.uint8)
        image[20:50, 20:50] = 200
        super().__init__(image, self.predictor_in(mode))

    def predictor_in(self, mode: str) -> Predictor:
        return Predictor(model_of(self.network), mode, settings=PredictorSettings(zoom=None))

    def click_all(self, clicks: list[Click]) -> None:
        for click in clicks:
            self.click(click)

    def change(self, kept: ClickList) -> int:
        """Take over changed clicks, and return the passes that this has cost."""
        return self.passes(lambda: (self.apply(self.place(), Edit(kept), self.limits), self.update(self.place())))

    def passes(self, act) -> int:
        before = self.network.passes
        act()
        return self.network.passes - before

    @property
    def clicks(self) -> ClickList:
        return self.refinement(self.place()).clicks

    @property
    def limits(self) -> tuple[float, float] | None:
        return self.refinement(self.place()).limits

    @property
    def painted(self) -> npt.NDArray[np.int32]:
        assert isinstance(self.labels, ArrayLabels)
        return self.labels.array


def assert_as_new(session: Counting) -> None:
    """Check that labels are those of the same clicks made in a session of their own."""
    fresh = Counting(session.predictor.mode)
    fresh.edit(fresh.place(), Refinement(session.clicks, limits=session.limits))
    fresh.update(fresh.place())
    np.testing.assert_array_equal(session.painted, fresh.painted)


@pytest.fixture
def session() -> Counting:
    return Counting()


def test_a_click_moved_in_the_middle_replays_from_there(session: Counting):
    session.click_all(TWELVE[:5])
    assert session.change(session.clicks.replaced(2, Click(30, 30))) == 3  # the third, fourth and fifth
    shown = [{tuple(point) for point in points[0].tolist()} for points in session.network.points[-3:]]
    assert [len(points - {(-1.0, -1.0)}) for points in shown] == [3, 4, 5]
    assert_as_new(session)


def test_a_click_deleted_in_the_middle_replays_what_came_after_it(session: Counting):
    session.click_all(TWELVE[:5])
    assert session.change(session.clicks.removed([2])) == 2
    assert_as_new(session)


def test_the_last_click_deleted_costs_nothing(session: Counting):
    session.click_all(TWELVE[:5])
    assert session.change(session.clicks.removed([4])) == 0
    assert_as_new(session)


@pytest.mark.parametrize(("index", "passes"), [(11, 0), (8, 0), (7, 1), (5, 3)])
def test_clicks_beyond_the_limit_cost_no_pass(session: Counting, index: int, passes: int):
    session.click_all(TWELVE)
    moved = session.clicks[index]
    assert session.change(session.clicks.replaced(index, Click(moved.row + 1, moved.column, moved.positive))) == passes
    assert_as_new(session)


def test_what_was_changed_and_changed_back_costs_nothing(session: Counting):
    session.click_all(TWELVE[:5])
    before = session.clicks
    session.change(before.replaced(1, Click(30, 30)))
    assert session.change(before) == 0
    assert_as_new(session)


@pytest.mark.parametrize("count", [4, 11])
def test_undo_and_redo_cost_nothing_and_features_go_back_with_the_clicks(session: Counting, count: int):
    session.click_all(TWELVE[:count])
    after = session.painted.copy()

    def back_and_forth() -> None:
        for act in (session.undo, session.undo, session.redo, session.undo, session.redo, session.redo):
            act()
            session.update(session.place())

    assert session.passes(back_and_forth) == 0
    np.testing.assert_array_equal(session.painted, after)
    session.undo()
    # The published code would go on with the features of the click taken back.
    cost = session.passes(lambda: session.click(Click(47, 22)))
    assert cost == (1 if count <= 8 else 0)
    assert_as_new(session)


def test_several_clicks_at_once_are_one_prediction(session: Counting):
    first = session.passes(lambda: session.click(TWELVE[0]))

    def three() -> None:
        session.add(session.place(), TWELVE[1:4], session.limits)
        session.update(session.place())

    assert first >= 1
    assert session.passes(three) == 1
    assert [len(clicks) for clicks in session.clicks.rounds] == [1, 3]
    assert_as_new(session)


def test_strokes_and_clicks_are_changed_alike(session: Counting):
    drawn = Stroke.of([(30, column) for column in range(24, 45)])
    session.click_all([TWELVE[0], drawn, TWELVE[1], TWELVE[2]])
    assert session.change(session.clicks.replaced(2, Click(9, 30, positive=False))) == 2
    assert session.change(session.clicks.replaced(1, Stroke.of(drawn.pixels[:-4]))) == 3
    assert_as_new(session)
    assert session.passes(session.undo) == 0
    assert session.clicks[1] == drawn
    assert session.change(session.clicks.removed([1])) == 2
    assert_as_new(session)


@pytest.mark.parametrize("mode", ["NoBRS", "RGB-BRS", "f-BRS-C"])
def test_another_mode_keeps_the_clicks(session: Counting, mode: str):
    session.click_all(TWELVE[:4])
    clicks = session.clicks
    session.predictor = session.predictor_in(mode)
    session.outdate(session.place())
    session.update(session.place())
    assert session.clicks == clicks
    assert_as_new(session)


def test_the_same_pixel_clicked_twice(session: Counting):
    session.click_all([Click(30, 30), Click(30, 30)])
    assert session.unmet(session.place()) == ()
    assert len(session.clicks) == 2
    np.testing.assert_array_equal(session.painted[22:48, 22:48], 1)
    assert not session.painted[60:].any()
    session.undo()
    assert session.clicks.flat == (Click(30, 30),)


def test_opposite_clicks_on_one_pixel_leave_one_unmet(session: Counting):
    session.click_all([Click(30, 30), Click(30, 30, positive=False)])
    (unmet,) = session.unmet(session.place())
    assert session.painted[30, 30] == (1 if unmet == 1 else 0)
    session.undo()
    assert session.unmet(session.place()) == ()


def test_hundreds_of_clicks_in_bounded_memory(session: Counting):
    rng = np.random.default_rng(0)
    places = [(int(row), int(column)) for row, column in rng.integers(5, 65, (250, 2))]
    bright = session.image.plane(session.place().plane).pixels > 100
    evaluations = []
    for place in places:
        result = session.click(Click(*place, bool(bright[place])))
        evaluations.append(len(result.prediction.evaluations))
    assert len(session.clicks) == 250
    assert max(evaluations) <= 20 + 2 * 20 + 1  # however many clicks: SciPy finishes the line search it is in
    assert max(len(points[0]) for points in session.network.points) <= 16  # eight clicks of one sign and as many gaps
    assert session.predictor.cache.nbytes <= session.predictor.cache.budget
    assert session._computing[1].nbytes <= session._computing[1].budget
    assert sum(step.nbytes for step in session.history.newest_first()) <= session.history.max_bytes
    far = [i for i in session.unmet(session.place()) if min(abs(v - edge) for v in places[i] for edge in (20, 49)) > 2]
    assert not far
