from __future__ import annotations

import numpy as np
import pytest

from napari_fbrs.training.scenes.fields import blurred, smooth_noise
from napari_fbrs.training.scenes.microscope import Microscope, choose_microscope
from napari_fbrs.training.scenes.series import KINDS

SHAPE = (120, 160)


def taken(light: np.ndarray, seed: int = 0, **settings: object) -> np.ndarray:
    """Return the picture of light, as levels."""
    return Microscope(**settings).photograph(light, np.random.default_rng(seed))[..., 0].astype(float)


@pytest.fixture
def light() -> np.ndarray:
    return np.clip(0.4 + 0.1 * smooth_noise(SHAPE, 5, np.random.default_rng(0)), 0, 1)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("blur", 3.0),
        ("haze", 0.4),
        ("unevenness", 0.8),
        ("vignetting", 0.7),
        ("photons", 8.0),
        ("photons", 100.0),
        ("read_noise", 0.05),
        ("coarseness", 10.0),
    ],
)
def test_brightness_is_kept(light, setting, value):
    assert taken(light, **{setting: value}).mean() == pytest.approx(255 * light.mean(), rel=0.05)


def test_more_photons_less_noise():
    flat = np.full(SHAPE, 0.5, np.float32)
    deviations = [taken(flat, photons=photons).std() for photons in (20.0, 80.0, 320.0, 1280.0)]
    expected = [255 * np.sqrt(0.5 / photons) for photons in (20.0, 80.0, 320.0, 1280.0)]
    np.testing.assert_allclose(deviations, expected, rtol=0.1)


def test_light_that_is_absent_has_no_shot_noise():
    assert taken(np.zeros(SHAPE, np.float32), photons=5.0).max() == 0


def test_blur_softens_edges():
    edge = np.zeros(SHAPE, np.float32)
    edge[:, 80:] = 1
    steepest = [np.diff(taken(edge, blur=blur)[60]).max() for blur in (0.5, 2.0, 8.0)]
    assert steepest[0] > 2 * steepest[1] > 4 * steepest[2]


def test_inverted_and_coloured(light):
    plain, negative = taken(light), taken(light, inverted=True)
    np.testing.assert_allclose(plain + negative, 255, atol=1)
    picture = Microscope(black=(0.1, 0.0, 0.2), white=(0.1, 1.0, 0.2)).photograph(light, np.random.default_rng(0))
    assert len(np.unique(picture[..., 0])) == 1
    assert picture[..., 1].std() > 1


def test_a_choice_shows_the_contrast():
    rng = np.random.default_rng(0)
    for index, kind in enumerate([*KINDS.values()] * 4):
        specimen = kind(SHAPE, np.random.default_rng(index))
        microscope = choose_microscope(specimen, rng)
        span = np.max(np.subtract(microscope.white, microscope.black))
        assert 255 * span * specimen.contrast >= 6 or span >= 0.89
        assert microscope.blur <= max(0.5, 0.45 * specimen.detail)


@pytest.mark.parametrize("sigma", [1.0, 4.5, 9.0, 25.0])
def test_blur_is_gaussian(sigma):
    point = np.zeros((241, 241), np.float32)
    point[120, 120] = 1
    rows = blurred(point, sigma).sum(axis=1)
    assert rows.sum() == pytest.approx(1, rel=0.02)
    centre = rows @ np.arange(241) / rows.sum()
    assert centre == pytest.approx(120, abs=max(0.1, sigma / 8))  # the coarse grid places a point within half a step
    assert np.sqrt(rows @ (np.arange(241) - centre) ** 2) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("sigma", [1.0, 6.0, (2.0, 12.0)])
def test_noise_has_no_finer_detail_than_asked_for(sigma):
    noise = smooth_noise((300, 300), sigma, np.random.default_rng(1))
    assert noise.mean() == pytest.approx(0, abs=0.2)
    assert noise.std() == pytest.approx(1, rel=0.2)
    for axis, width in enumerate(np.broadcast_to(sigma, 2)):
        # Of Gaussian-filtered white noise: neighbours differ by a deviation of 1 / (sqrt(2) sigma).
        assert np.diff(noise, axis=axis).std() == pytest.approx(1 / (np.sqrt(2) * width), rel=0.3)
