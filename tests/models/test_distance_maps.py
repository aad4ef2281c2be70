from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.models.distance_maps import DistanceMaps

ABSENT = [-1.0, -1.0]


def maps(points: list[list[float]], size: tuple[int, int], radius: float = 260.0) -> torch.Tensor:
    return DistanceMaps(radius)(torch.tensor([points]), size)


def test_reference_values(parity_resnet34):
    data = parity_resnet34.data
    found = DistanceMaps()(torch.from_numpy(data["points"]), data["image"].shape[:2])
    np.testing.assert_allclose(found.numpy(), data["dist_maps"], rtol=0, atol=1e-6)


def test_values_by_hand():
    # 3-4-5 triangle: 5 pixels are half a radius of 10, and tanh(2 * 0.5) follows.
    positive, negative = maps([[2.0, 3.0], ABSENT], (8, 9), radius=10.0)[0]
    assert positive[2, 3] == 0
    np.testing.assert_allclose(positive[5, 7], math.tanh(1.0), rtol=1e-6)
    np.testing.assert_allclose(positive[2, 4], math.tanh(0.2), rtol=1e-6)
    np.testing.assert_allclose(positive[7, 3], math.tanh(1.0), rtol=1e-6)
    assert torch.equal(negative, torch.ones(8, 9))


def test_the_published_radius():
    positive = maps([[0.0, 0.0], ABSENT], (1, 261))[0, 0]
    np.testing.assert_allclose(positive[0, 260], math.tanh(2.0), rtol=1e-6)
    np.testing.assert_allclose(positive[0, 130], math.tanh(1.0), rtol=1e-6)


def test_the_nearest_click_counts_and_signs_are_apart():
    found = maps([[0.0, 0.0], [0.0, 9.0], [5.0, 0.0], ABSENT], (6, 10), radius=4.0)[0]
    alone = [maps([[r, c], ABSENT], (6, 10), radius=4.0)[0, 0] for r, c in ((0.0, 0.0), (0.0, 9.0), (5.0, 0.0))]
    assert torch.equal(found[0], torch.minimum(alone[0], alone[1]))
    assert torch.equal(found[1], alone[2])


def test_padding_says_nothing():
    short = maps([[3.0, 3.0], [1.0, 6.0]], (8, 8))
    padded = maps([[3.0, 3.0], ABSENT, ABSENT, [1.0, 6.0], ABSENT, ABSENT], (8, 8))
    assert torch.equal(short, padded)


def test_a_point_half_outside_is_there():
    positive = maps([[-0.25, 2.0], ABSENT], (4, 4), radius=1.0)[0, 0]
    np.testing.assert_allclose(positive[0, 2], math.tanh(0.5), rtol=1e-6)


def test_every_image_of_a_batch_has_its_own_clicks():
    points = torch.tensor([[[1.0, 1.0], ABSENT], [[2.0, 3.0], [0.0, 0.0]]])
    found = DistanceMaps(5.0)(points, (5, 6))
    assert found.shape == (2, 2, 5, 6)
    assert found.dtype == torch.float32
    for index in range(2):
        assert torch.equal(found[index], DistanceMaps(5.0)(points[index : index + 1], (5, 6))[0])


points = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 8)), max_size=4)


@given(points, points)
def test_any_clicks(positive: list[tuple[int, int]], negative: list[tuple[int, int]]):
    count = max(1, len(positive), len(negative))
    rows = [list(map(float, p)) for p in positive] + [ABSENT] * (count - len(positive))
    rows += [list(map(float, p)) for p in negative] + [ABSENT] * (count - len(negative))
    found = maps(rows, (12, 9), radius=7.0)[0].numpy()
    grid = np.indices((12, 9)).reshape(2, -1).T
    for part, clicks in zip(found, (positive, negative), strict=True):
        if clicks:
            nearest = np.linalg.norm(grid[:, None] - np.array(clicks)[None], axis=2).min(axis=1)
            np.testing.assert_allclose(part.ravel(), np.tanh(2 * nearest / 7.0), rtol=1e-5, atol=1e-7)
        else:
            assert (part == 1).all()
