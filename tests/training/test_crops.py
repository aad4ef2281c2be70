from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fbrs.evaluation.datasets import LabelledImage
from napari_fbrs.training.augmentation import augment
from napari_fbrs.training.crops import Window, choose_window, cut

SHAPES = [(64, 64), (48, 64), (64, 48)]
seeds = st.integers(0, 2**32 - 1)


def picture(seed: int, size: tuple[int, int] = (150, 200)) -> LabelledImage:
    """Return an image that is its labels: object 1 is red, object 2 green."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(size, np.int32)
    for label in (2, 1):
        rows, columns = (np.sort(rng.choice(n, 2, replace=False)) for n in size)
        labels[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = label
    image = np.zeros((*size, 3), np.uint8)
    image[labels == 1, 0] = 255
    image[labels == 2, 1] = 255
    return LabelledImage(image, labels)


@given(seeds, st.sampled_from(SHAPES))
@settings(deadline=None)
def test_the_mask_stays_on_the_object(seed, shape):
    image, rng = picture(seed), np.random.default_rng(seed)
    window = choose_window(rng, image, 1, shape)
    assert window.top >= 0
    assert window.left >= 0
    assert window.top + window.height <= 150
    assert window.left + window.width <= 200
    crop = cut(image, 1, window, shape)
    assert crop.image.shape == (*shape, 3)
    assert crop.mask.shape == crop.others.shape == shape
    assert not (crop.mask & crop.others).any()
    if window.coarseness == 1:
        np.testing.assert_array_equal(crop.mask, crop.image[..., 0] > 127)


@given(seeds, st.sampled_from(SHAPES))
@settings(deadline=None)
def test_the_aspect_is_kept(seed, shape):
    window = choose_window(np.random.default_rng(seed), picture(seed), 1, shape)
    crop = shape if window.quarter_turns % 2 == 0 else shape[::-1]
    scales = np.array([window.height, window.width]) / crop
    # Whole pixels: off by at most half of one a side.
    assert abs(scales[0] - scales[1]) <= 0.5 / crop[0] + 0.5 / crop[1] + 1e-9


def test_turns_and_flips_move_image_and_mask_alike():
    image = picture(5)
    plain = cut(image, 1, Window(0, 0, 150, 150), (64, 64))
    for turns in range(4):
        for flip in (False, True):
            crop = cut(image, 1, Window(0, 0, 150, 150, turns, flip), (64, 64))
            expected = np.rot90(plain.mask, turns)
            np.testing.assert_array_equal(crop.mask, expected[:, ::-1] if flip else expected)
            np.testing.assert_array_equal(crop.mask, crop.image[..., 0] > 127)


def test_sizes_are_spread_with_a_share_near_the_zoom():
    labels = np.zeros((400, 400), np.int32)
    labels[180:220, 180:220] = 1
    image = LabelledImage(np.zeros((400, 400, 3), np.uint8), labels)
    windows = [choose_window(np.random.default_rng(seed), image, 1, (224, 224)) for seed in range(600)]
    fractions = 40 / np.array([window.height for window in windows])
    assert fractions.min() < 0.12
    assert 0.45 < np.mean((fractions > 0.49) & (fractions < 0.86)) < 0.75


@pytest.fixture
def square() -> LabelledImage:
    labels = np.zeros((56, 56), np.int32)
    labels[20:36, 20:36] = 1
    return LabelledImage(np.zeros((56, 56, 3), np.uint8), labels)


@pytest.mark.parametrize("growth", [-0.75, 0.75])
def test_an_outline_is_moved_by_pixels_of_the_image(square: LabelledImage, growth: float):
    crop = cut(square, 1, Window(0, 0, 56, 56, growth=((growth,),)), (224, 224))
    across = crop.mask[112].sum() - crop.labelled[112].sum()
    assert across == 2 * round(4 * growth)  # two sides, four pixels of the crop to one of the image


def test_an_outline_is_moved_here_more_than_there(square: LabelledImage):
    crop = cut(square, 1, Window(0, 0, 56, 56, growth=((-0.75, 0.75), (-0.75, 0.75))), (224, 224))
    left, right = (np.flatnonzero(mask[112])[[0, -1]] for mask in (crop.labelled, crop.mask))
    assert set(right - left) <= {2, 3}  # moved to the right as a whole, by three quarters of a pixel of the image
    assert crop.mask.sum() == pytest.approx(crop.labelled.sum(), rel=0.02)


def test_a_moved_outline_turns_with_its_image(square: LabelledImage):
    window = Window(0, 0, 56, 56, growth=((-0.75, 0.75), (0.75, 0.75)))
    straight, turned = (cut(square, 1, replace(window, quarter_turns=n), (224, 224)) for n in (0, 1))
    np.testing.assert_array_equal(turned.mask, np.rot90(straight.mask))
    np.testing.assert_array_equal(turned.labelled, np.rot90(straight.labelled))


def test_outlines_differ_only_where_asked():
    image = picture(5)
    growths = [np.array(choose_window(np.random.default_rng(i), image, 1, (64, 64), 0.8).growth) for i in range(90)]
    assert -0.8 < min(growth.min() for growth in growths) < -0.5
    assert 0.5 < max(growth.max() for growth in growths) < 0.8
    assert {growth.shape for growth in growths} == {(n, n) for n in range(1, 6)}
    assert not np.any(choose_window(np.random.default_rng(0), image, 1, (64, 64)).growth)


def test_shrinking_averages():
    rng = np.random.default_rng(0)
    image = LabelledImage(rng.integers(0, 256, (256, 256, 3)).astype(np.uint8), np.ones((256, 256), np.int32))
    crop = cut(image, 1, Window(0, 0, 256, 256), (32, 32))
    assert crop.image.std() < 15  # that of the noise is 74


def test_an_absent_object():
    with pytest.raises(ValueError, match="no object"):
        choose_window(np.random.default_rng(0), LabelledImage(*_gap()), 1, (64, 64))


def _gap() -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros((9, 9), np.int32)
    labels[4, 4] = 2
    return np.zeros((9, 9, 3), np.uint8), labels


@given(seeds)
@settings(deadline=None)
def test_augmentation_moves_nothing_and_repeats(seed):
    image = np.zeros((40, 40, 3), np.uint8)
    image[10:30, 12:28] = (200, 150, 90)
    out = augment(image, np.random.default_rng(seed))
    assert out.shape == image.shape
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, augment(image, np.random.default_rng(seed)))


def test_augmentation_keeps_the_edges_of_the_mask_in_place():
    inside = np.zeros((60, 60), bool)
    inside[15:45, 20:40] = True
    image = np.where(inside[..., None], 170, 60).astype(np.uint8).repeat(3, axis=2)
    for seed in range(200):
        grey = augment(image, np.random.default_rng(seed)).mean(axis=2)
        contrast = [grey[15:45, 20:40].mean() - np.r_[grey[5:14, 20:40].ravel(), grey[46:55, 20:40].ravel()].mean()]
        shifted = (
            grey[15 + 5 : 45 + 5, 20:40].mean() - np.r_[grey[10:19, 20:40].ravel(), grey[51:60, 20:40].ravel()].mean()
        )
        assert abs(contrast[0]) >= abs(shifted)
