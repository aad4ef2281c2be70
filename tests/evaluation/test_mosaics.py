from __future__ import annotations

import numpy as np
import pytest

from napari_fbrs.evaluation.arrays import LabelledArray
from napari_fbrs.evaluation.mosaics import Mosaics

SIDE = 50


@pytest.fixture
def squares() -> LabelledArray:
    """Return five images of 20 x 30, each with two squares; pixels tell image and object."""
    labels = np.zeros((5, 20, 30), int)
    labels[:, 2:8, 3:9], labels[:, 10:18, 12:26] = 1, 2
    image = (labels + 10 * np.arange(1, 6)[:, None, None] * (labels > 0)).astype(np.uint8)
    return LabelledArray(image, labels, "squares")


def test_every_image_is_in_a_mosaic_of_the_side(squares: LabelledArray):
    mosaics = Mosaics(squares, SIDE)
    assert len(mosaics) == 1  # three rows of two hold five
    pixels, labels = mosaics.plane(0).pixels, mosaics.labels(0)
    assert pixels.shape == (SIDE, SIDE, 3)
    assert labels.shape == (SIDE, SIDE)
    assert {value // 10 for value in np.unique(pixels)} == {0, 1, 2, 3, 4, 5}


def test_labels_are_those_of_the_pieces(squares: LabelledArray):
    mosaics = Mosaics(squares, SIDE)
    pixels, labels = mosaics.plane(0).pixels[..., 0], mosaics.labels(0)
    np.testing.assert_array_equal(labels > 0, pixels > 0)
    for label in np.unique(labels)[1:]:
        assert len(np.unique(pixels[labels == label])) == 1  # one object of one image
    assert len(np.unique(labels)) - 1 == 4 * 2 + 2 * 1  # the third row is cut after ten rows


def test_a_small_side_makes_many_mosaics(squares: LabelledArray):
    mosaics = Mosaics(squares, 20)
    assert len(mosaics) == 5
    seen = [np.unique(mosaics.plane(i).pixels).max() // 10 for i in range(5)]
    assert sorted(seen) == [1, 2, 3, 4, 5]


def test_fingerprints_tell_sides_apart(squares: LabelledArray):
    prints = {squares.fingerprint, Mosaics(squares, 50).fingerprint, Mosaics(squares, 51).fingerprint}
    assert len(prints) == 3
    assert Mosaics(squares, 50).fingerprint in prints


def test_images_are_put_together_as_a_predictor_sees_them(squares: LabelledArray):
    shares = LabelledArray(squares._image.data / np.float32(100), squares._labels, "shares", limits=(0.0, 0.85))
    pixels = Mosaics(shares, SIDE).plane(0).pixels
    np.testing.assert_array_equal(pixels, Mosaics(squares, SIDE).plane(0).pixels.astype(int) * 3)
