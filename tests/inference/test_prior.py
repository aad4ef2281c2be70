from __future__ import annotations

import numpy as np
import pytest

from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.prior import Prior

RAMP = np.arange(4, dtype=np.float32)[None] / 4 + np.arange(3, dtype=np.float32)[:, None] / 16
PRIOR = Prior(Crop(10, 12, 20, 23), RAMP)


def test_the_same_crop_is_handed_back():
    assert PRIOR.seen(PRIOR.crop, (3, 4)) is RAMP


def test_a_part_of_it():
    np.testing.assert_allclose(PRIOR.seen(Crop(11, 12, 21, 22), (2, 2)), RAMP[1:, 1:3], atol=1e-6)


def test_finer_pixels_lie_between():
    fine = PRIOR.seen(PRIOR.crop, (5, 7))
    np.testing.assert_allclose(fine[::2, ::2], RAMP, atol=1e-6)
    np.testing.assert_allclose(fine[1, 1], RAMP[:2, :2].mean(), atol=1e-6)


def test_outside_there_is_nothing():
    seen = PRIOR.seen(Crop(8, 14, 18, 25), (7, 8))
    np.testing.assert_allclose(seen[2:5, 2:6], RAMP, atol=1e-6)
    seen[2:5, 2:6] = 0
    assert not seen.any()
    assert not PRIOR.seen(Crop(100, 120, 100, 130), (4, 4)).any()


@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (2, 30), (1, 1)])
@pytest.mark.parametrize("finer", [1, 2])
def test_what_is_thin_stays_thin(shape: tuple[int, int], finer: int):
    """A mask that is one pixel wide covers no more of a crop than it has pixels, at any resolution."""
    thin = Prior(Crop(20, 19 + shape[0], 10, 9 + shape[1]), np.ones(shape, np.float32))
    whole = Crop(0, 50, 0, 50)
    seen = thin.seen(whole, (finer * 50 + 1, finer * 50 + 1)) > 0.6
    assert np.count_nonzero(seen) == np.prod([finer * (side - 1) + 1 for side in shape])
    assert seen[finer * 20, finer * 10]


def test_a_crop_of_one_pixel():
    assert Prior(Crop(5, 5, 5, 5), np.ones((1, 1), np.float32)).seen(Crop(5, 5, 5, 5), (2, 2)).shape == (2, 2)


def test_tokens_tell_priors_apart():
    again = Prior(Crop(10, 12, 20, 23), RAMP.copy())
    others = [Prior(Crop(10, 12, 20, 24), RAMP), Prior(PRIOR.crop, RAMP + 1)]
    assert again.token == PRIOR.token
    assert len({PRIOR.token, *(other.token for other in others)}) == 3
