"""Clicks that nobody has made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from napari_fbrs.annotation.image import Image
from napari_fbrs.batching.seeds import Seeds, inner_point, seed_clicks
from napari_fbrs.errors import InputError
from napari_fbrs.samples import coins_truth


def discs(*centres: tuple[int, int], shape: tuple[int, int] = (80, 100), radius: float = 9) -> np.ndarray:
    rows, columns = np.indices(shape)
    return np.max([np.hypot(rows - row, columns - column) < radius for row, column in centres], axis=0)


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))).filter(np.any))
def test_an_inner_point_is_inside(mask):
    assert mask[inner_point(mask)]


def test_the_middle_of_a_ring_is_none_of_it():
    ring = discs((40, 50), radius=30) & ~discs((40, 50), radius=20)
    row, column = inner_point(ring)
    assert 23 < np.hypot(row - 40, column - 50) < 27  # halfway between its edges
    assert inner_point(discs((40, 50))) == (40, 50)


def test_a_click_on_each_object_of_each_plane():
    labels = np.zeros((2, 80, 100), np.uint16)
    labels[0][discs((20, 20))] = 7
    labels[1][discs((20, 22))] = 7
    labels[1][discs((50, 70), radius=30) & ~discs((50, 70), radius=20)] = 60_000
    clicks = seed_clicks(Seeds("centroids"), Image(np.zeros_like(labels)), Image(labels))
    assert [(c.object, c.plane) for c in clicks] == [(7, (0,)), (7, (1,)), (60_000, (1,))]
    assert [c.click.pixel for c in clicks[:2]] == [(20, 20), (20, 22)]
    assert all(labels[(*c.plane, *c.click.pixel)] == c.object for c in clicks)
    assert all(c.click.positive for c in clicks)


@pytest.mark.parametrize(("kind", "dark"), [("maxima", False), ("distance", False), ("maxima", True)])
def test_every_disc_is_found_once(kind, dark):
    centres = [(15, 15), (15, 80), (60, 40), (60, 57)]  # the last two touch
    rng = np.random.default_rng(0)
    mask = discs(*centres)
    if kind == "maxima":  # they differ in brightness, and are brightest in the middle
        mask = ndimage.distance_transform_edt(mask)
    image = 100 + 20 * mask + rng.normal(0, 3, mask.shape)
    stack = np.stack([image, image[::-1]]).astype(np.float32)
    clicks = seed_clicks(Seeds(kind, 18, dark=dark), Image(-stack if dark else stack))
    assert [c.object for c in clicks] == list(range(1, 9))
    for plane, rows in ((0, {15: 15, 60: 60}), (1, {15: 64, 60: 19})):
        found = sorted((c.click.row, c.click.column) for c in clicks if c.plane == (plane,))
        wanted = sorted((rows[row], column) for row, column in centres)
        np.testing.assert_allclose(found, wanted, atol=3)


def test_nothing_is_found_where_there_is_nothing():
    for kind in ("maxima", "distance"):
        assert seed_clicks(Seeds(kind, 10), Image(np.full((30, 30), 7, np.uint8))) == []
    assert seed_clicks(Seeds("centroids"), Image(np.zeros((9, 9))), Image(np.zeros((9, 9), int))) == []


def test_seeds_lie_on_coins():
    from skimage import data

    truth = coins_truth()
    clicks = seed_clicks(Seeds("maxima", 40), Image(data.coins()))
    hit = {int(truth[click.click.pixel]) for click in clicks} - {0}
    assert len(hit) >= 18  # of 24, under uneven light


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros((9, 8), int), "needed are whole numbers"),
        (np.zeros((9, 9)), "needed are whole numbers"),
        (np.full((9, 9), -1), "found -1 to -1"),
        (np.full((9, 9), 2**40), "whole numbers from 0"),
    ],
)
def test_labels_that_do_not_fit(labels, said):
    with pytest.raises(InputError, match=said):
        seed_clicks(Seeds("centroids"), Image(np.zeros((9, 9))), Image(labels))


@pytest.mark.parametrize(("kind", "diameter"), [("maxima", None), ("distance", 0.5), ("maxima", np.nan), ("?", 3)])
def test_seeds_that_cannot_be(kind, diameter):
    with pytest.raises(InputError):
        Seeds(kind, diameter)
    with pytest.raises(InputError, match="--labels"):
        seed_clicks(Seeds("centroids"), Image(np.zeros((9, 9))))
