"""What carrying an object through a stack is worth, where the answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import BrightNetwork, model_of

from napari_fbrs.evaluation.carrying import carried, clicks_to_correct, followed
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import PredictorSettings

SHAPE = (6, 40, 50)


@pytest.fixture
def bright() -> tuple[Predictor, np.ndarray]:
    """A disc that drifts over slices 0 to 3, and a network that sees what is bright."""
    rows, columns = np.indices(SHAPE[1:])
    image = np.zeros(SHAPE, np.uint8)
    for z in range(4):
        image[z] = 200 * (np.hypot(rows - 20, columns - 20 - 2 * z) <= 8)
    return Predictor(model_of(BrightNetwork()), settings=PredictorSettings(flip=False, zoom=None)), image


@pytest.mark.parametrize("by_overlap", [False, True])
def test_an_object_is_followed_until_it_ends(bright, by_overlap):
    _, image = bright
    labels = (image > 0) * (np.arange(1, 7) if by_overlap else np.ones(6, int))[:, None, None]
    truth = followed(labels, 0, 1, 5, by_overlap=by_overlap)
    assert len(truth) == 4
    for z, mask in enumerate(truth):
        np.testing.assert_array_equal(mask, image[z] > 0)


def test_what_is_carried_well_needs_no_click(bright):
    predictor, image = bright
    truth = followed((image > 0).astype(int), 0, 1, 5, by_overlap=False)
    with_variables, without = carried(predictor, image, truth, 0, slices=5)
    assert with_variables.first == without.first == 1
    assert with_variables.ious == without.ious == (1, 1, 1)
    assert with_variables.beyond == 0
    assert clicks_to_correct(predictor, image, truth, 0) == [(0, 1)] * 3
