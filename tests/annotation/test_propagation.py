"""An object carried from slice to slice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import BrightNetwork, model_of

from napari_fbrs.annotation.history import Base, Refinement
from napari_fbrs.annotation.labels import ArrayLabels, PlaneMask
from napari_fbrs.annotation.propagation import Propagation, to_check, write
from napari_fbrs.annotation.session import Session
from napari_fbrs.clicks import Click
from napari_fbrs.errors import CancelledError, InputError
from napari_fbrs.inference.following import Follower
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import PredictorSettings

SHAPE = (9, 40, 50)


def session_on(image: np.ndarray) -> Session:
    """Return a session in which the network sees what is bright, and nothing else."""
    predictor = Predictor(model_of(BrightNetwork()), settings=PredictorSettings(flip=False, zoom=None))
    return Session(image, predictor, labels=ArrayLabels(np.zeros(image.shape, np.int32)))


def disc(z: int, brightness: int = 200, radius: float = 6) -> np.ndarray:
    rows, columns = np.indices(SHAPE[1:])
    return (brightness * (np.hypot(rows - 20, columns - 15 - 2 * z) <= radius)).astype(np.uint8)


@pytest.fixture
def drifting() -> tuple[Session, np.ndarray]:
    """A disc that drifts to the right, on slices 1 to 6."""
    image = np.zeros(SHAPE, np.uint8)
    for z in range(1, 7):
        image[z] = disc(z)
    return session_on(image), image > 0


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


def test_what_nobody_clicked_on_is_seen_as_it_is_shown(drifting):
    _, truth = drifting
    image = np.where(truth, 3000, 0).astype(np.uint16)
    image[4:, 0, 0] = 60000  # a hot pixel, in whose light the rest would be dark
    for limits, slices in (((0, 3000), [4, 5, 6]), (None, [])):
        session = session_on(image)
        where = np.nonzero(truth[3])
        session.labels.write((np.full(len(where[0]), 3), *where), np.ones(len(where[0]), np.int32))
        found = carried(session, 3, 1, limits=limits)
        assert [f.place.plane.position[0] for f in found] == slices


def test_scales_and_biases_learn_the_mask_and_find_it_again(drifting):
    session, truth = drifting
    for z in range(4, 7):
        session.image.data[z] = disc(z, 110)  # less than half the range: nothing to a network left as it is
    session.image.data[3] = disc(3, 110)
    session.adopt(session.place((3,)), Refinement(base=Base(PlaneMask.of_plane(truth[3]))), None)
    session.labels.array[3][truth[3]] = 1
    found = carried(session, 3, 1)
    assert [f.place.plane.position[0] for f in found] == [4, 5, 6]
    for one in found:
        np.testing.assert_array_equal(one.mask.within(Crop.whole(SHAPE[1:])), truth[one.place.plane.position[0]])
        assert one.variables.shape == (6,)
    assert carried(session, 3, 1, carry=False) == []


def test_doubts_add_up_on_the_way_until_the_object_is_given_up(drifting, monkeypatch):
    session, _ = drifting
    session.click(Click(20, 21), position=(3,))
    sureness = iter([0.8, 0.8, 0.48, 0.4])  # of the slice it starts from, and of those it comes to
    find = Follower.find
    monkeypatch.setattr(Follower, "find", lambda self, *known: replace(find(self, *known), sureness=next(sureness)))
    assert [f.confidence for f in carried(session, 3, 1)] == pytest.approx([1, 0.6])  # the next would be 0.3


@pytest.mark.parametrize(("radius", "reached"), [(2.5, [4, 5]), (1.9, [4])])  # 0.19 and 0.08 of the area before
def test_an_object_of_which_little_is_left_has_ended(drifting, radius, reached):
    session, _ = drifting
    session.image.data[5], session.image.data[6] = disc(5, radius=radius), 0
    session.click(Click(20, 21), position=(3,))
    assert [f.place.plane.position[0] for f in carried(session, 3, 1)] == reached


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
