"""An object carried from slice to slice."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import DiscPredictor

from napari_fbrs.annotation.labels import ArrayLabels, PlaneMask
from napari_fbrs.annotation.propagation import Propagation, derived_clicks, to_check, write
from napari_fbrs.annotation.session import Session
from napari_fbrs.clicks import Click
from napari_fbrs.errors import CancelledError, InputError

SHAPE = (9, 40, 50)


class BrightPredictor(DiscPredictor):
    """Sees what is bright around positive clicks; records the variables it starts from, and adds one to them."""

    def __init__(self) -> None:
        super().__init__()
        self.starts: list[float | None] = []

    def predict(self, plane, clicks, state=None, *, cancelled=lambda: False):
        prediction = super().predict(plane, clicks, state, cancelled=cancelled)
        start = None if state is None or state.variables is None else float(state.variables[0])
        self.starts.append(start)
        prediction.network_probability[:] = (plane.pixels > 0) * 0.9
        return prediction


@pytest.fixture
def drifting() -> tuple[Session, np.ndarray]:
    """A disc that drifts to the right, on slices 1 to 6."""
    image = np.zeros(SHAPE, np.uint8)
    rows, columns = np.indices(SHAPE[1:])
    for z in range(1, 7):
        image[z] = 200 * (np.hypot(rows - 20, columns - 15 - 2 * z) <= 6)
    session = Session(image, BrightPredictor(), labels=ArrayLabels(np.zeros(SHAPE, np.int32)))
    return session, image > 0


def carried(session: Session, position: int, direction: int, **options) -> list:
    propagation = Propagation(session, session.place((position,)), 0, **options)
    return list(propagation.run(propagation.targets(direction)))


def test_it_follows_the_object_until_it_ends_and_is_one_step(drifting):
    session, truth = drifting
    session.click(Click(20, 21), position=(3,))
    before = session.labels.array.copy()
    found = carried(session, 3, 1) + carried(session, 3, -1)
    assert [f.place.plane.position[0] for f in found] == [4, 5, 6, 2, 1]
    np.testing.assert_array_equal(session.labels.array, before)  # computing writes nothing
    write(session, found)
    np.testing.assert_array_equal(session.labels.array == 1, truth)
    assert session.waiting() == []
    session.undo()
    np.testing.assert_array_equal(session.labels.array, before)
    session.redo()
    np.testing.assert_array_equal(session.labels.array == 1, truth)


def test_each_slice_starts_from_the_variables_of_the_one_before(drifting):
    session, _ = drifting
    session.click(Click(20, 21), position=(3,))
    session.click(Click(22, 21), position=(3,))
    session.predictor.starts.clear()
    found = carried(session, 3, 1)
    assert session.predictor.starts[::2][:4] == [
        2,
        2,
        3,
        4,
    ]  # first the slice itself; every other prediction only checks
    assert [float(f.variables[0]) for f in found] == [3, 4, 5]
    session.predictor.starts.clear()
    found = carried(session, 3, 1, carry=False)
    assert set(session.predictor.starts) == {None}
    assert [f.variables for f in found] == [None] * 3


def test_slices_with_clicks_are_where_it_stops(drifting):
    session, _ = drifting
    for z in (2, 6):
        session.click(Click(20, 15 + 2 * z), position=(z,))
    there = Propagation(session, session.place((2,)), 0)
    assert there.targets(1) == [3, 4, 5]
    assert there.targets(-1) == [1, 0]
    assert there.until_refined(1) == ([3, 4], session.place((6,)))
    with pytest.raises(InputError, match="no other slice"):
        there.until_refined(-1)


def test_clicks_made_meanwhile_are_kept(drifting):
    session, _ = drifting
    session.click(Click(20, 21), position=(3,))
    found = carried(session, 3, 1)
    session.click(Click(20, 23), position=(4,))
    refined = session.refinement(session.place((4,)))
    write(session, found)
    assert session.refinement(session.place((4,))) == refined


def test_a_slice_reached_is_corrected_from_its_mask(drifting):
    session, truth = drifting
    session.click(Click(20, 21), position=(3,))
    write(session, carried(session, 3, 1))
    session.click(Click(3, 3), position=(5,))
    assert (session.labels.array[5][truth[5]] == 1).all()
    base = session.refinement(session.place((5,))).base
    assert base.variables is not None
    session.undo()
    np.testing.assert_array_equal(session.labels.array[5] == 1, truth[5])


def test_doubtful_slices_are_listed_until_somebody_has_clicked_there(drifting):
    session, _ = drifting
    session.click(Click(20, 21), position=(3,))
    found = carried(session, 3, 1)
    assert all(f.confidence == pytest.approx(1) for f in found)
    found[1] = type(found[1])(found[1].place, found[1].mask, None, 0.55)
    write(session, found)
    assert to_check(session, 1) == [(session.place((5,)), 0.55)]
    session.click(Click(20, 25), position=(5,))
    assert to_check(session, 1) == []


def test_other_axes_and_what_cannot_be_carried(drifting):
    session, _ = drifting
    session.click(Click(3, 21), position=(20,), axes=(0, 2))
    place = session.place((20,), (0, 2))
    found = list(Propagation(session, place, 1).run([21, 22]))
    assert [f.place.plane.position for f in found] == [(21,), (22,)]
    with pytest.raises(InputError, match="not displayed"):
        Propagation(session, place, 0)
    with pytest.raises(InputError, match="no mask"):
        Propagation(session, session.place((8,)), 0)


def test_it_can_be_called_off(drifting):
    session, _ = drifting
    session.click(Click(20, 21), position=(3,))
    propagation = Propagation(session, session.place((3,)), 0)
    with pytest.raises(CancelledError):
        list(propagation.run(propagation.targets(1), lambda: True))


def test_derived_clicks_lie_on_and_around_the_mask():
    mask = np.zeros((40, 50), bool)
    mask[0:12, 20:32] = True
    clicks = derived_clicks(PlaneMask.of_plane(mask), mask.shape)
    assert clicks[0].positive
    assert len(clicks) == 4  # above it there is no image
    for click in clicks:
        assert mask[click.pixel] == click.positive
