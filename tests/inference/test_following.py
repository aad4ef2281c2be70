"""An object found again on other planes."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import BrightNetwork, NaNNetwork, model_of

from napari_fbrs.errors import CancelledError, PredictionError
from napari_fbrs.inference.following import Follower
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import PredictorSettings

SHAPE = (60, 80)
BOX = Crop(20, 39, 30, 49)
SQUARE = np.ones(BOX.shape, dtype=bool)


def follower(network=None, mode="f-BRS-B", **options) -> Follower:
    settings = PredictorSettings(flip=False, zoom=None)
    return Follower(Predictor(model_of(network or BrightNetwork()), mode, settings=settings), **options)


def square(value: int, *, rows=slice(20, 40), columns=slice(30, 50)) -> np.ndarray:
    pixels = np.zeros(SHAPE, dtype=np.uint8)
    pixels[rows, columns] = value
    return pixels


def found(sighting) -> np.ndarray:
    out = np.zeros(SHAPE, dtype=bool)
    out[sighting.crop.slices] = sighting.mask
    return out


def plane(follower_: Follower, pixels: np.ndarray):
    return follower_._predictor.prepare(pixels)


@pytest.mark.parametrize("flip", [False, True])
def test_what_it_has_learnt_on_one_plane_it_finds_on_another(flip):
    settings = PredictorSettings(flip=flip, zoom=None)
    follows = Follower(Predictor(model_of(BrightNetwork()), settings=settings))
    dark = plane(follows, square(110))  # the network untouched says 0.3
    assert not found(follows.find(dark, BOX, SQUARE, None)).any()
    variables = follows.learn(dark, BOX, SQUARE)
    there = square(110, columns=slice(33, 53))
    sighting = follows.find(plane(follows, there), BOX, SQUARE, variables)
    np.testing.assert_array_equal(found(sighting), there > 0)
    assert sighting.sureness > 0.9


def test_only_what_touches_the_mask_before_and_is_not_far_from_it_is_the_object():
    follows = follower()
    pixels = square(255) | square(255, columns=slice(60, 70)) | square(255, rows=slice(28, 31), columns=slice(0, 50))
    mask = found(follows.find(plane(follows, pixels), BOX, SQUARE, None))
    assert mask[20:40, 30:50].all()
    assert not mask[:, 60:].any()
    assert not mask[:, :20].any()  # an arm that is new: ten pixels are far for an object of twenty


def test_an_object_that_shrinks_is_seen_to_shrink():
    follows = follower()
    small = square(255, rows=slice(26, 34), columns=slice(36, 44))
    np.testing.assert_array_equal(found(follows.find(plane(follows, small), BOX, SQUARE, None)), small > 0)


def test_modes_whose_variables_are_pixels_learn_nothing():
    for mode in ("NoBRS", "RGB-BRS"):
        follows = follower(mode=mode)
        assert follows.learn(plane(follows, square(110)), BOX, SQUARE) is None


def test_a_network_that_sees_the_mask_before_is_shown_it_once_and_faintly():
    network = BrightNetwork(guided=True)
    follows = follower(network)
    follows.find(plane(follows, square(255)), BOX, SQUARE, None)
    assert network.priors[0] is None
    shown = network.priors[1][0, 0].numpy()
    assert shown[30, 40] == pytest.approx(0.5)
    assert shown[5, 5] == 0


def test_what_both_looks_say_together_is_taken_and_is_less_sure_where_they_differ():
    # Logits of the look alone: 3, -1 and -3; with the mask before at half its strength 4 more.
    bands = square(191, columns=slice(30, 36)) + square(106, columns=slice(36, 42)) + square(64, columns=slice(42, 50))
    follows = follower(BrightNetwork(guided=True, trust=8))
    sighting = follows.find(plane(follows, bands), BOX, SQUARE, None)
    np.testing.assert_array_equal(found(sighting), bands > 100)  # neither look's: on average 5, 1 and -1
    assert sighting.sureness == pytest.approx(0.5)  # half of it was seen alone
    stricter = follows.find(plane(follows, bands), BOX, SQUARE, None, 0.8)
    np.testing.assert_array_equal(found(stricter), bands > 180)


def test_it_can_be_called_off_and_says_when_a_network_fails():
    follows = follower(cancelled=lambda: True)
    with pytest.raises(CancelledError):
        follows.learn(plane(follows, square(110)), BOX, SQUARE)
    follows = follower(NaNNetwork())
    with pytest.raises(PredictionError):
        follows.learn(plane(follows, square(110)), BOX, SQUARE)
