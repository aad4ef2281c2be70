from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure, segmentation

from napari_fbrs.training.scenes import Scenes
from napari_fbrs.training.scenes.series import KINDS
from napari_fbrs.training.scenes.specimen import MIN_AREA, Specimen, objects

SHAPE = (192, 224)


def check_labels(labels: np.ndarray) -> None:
    """Check that objects are numbered from 1, connected and large enough."""
    assert labels.dtype == np.int32
    areas = np.bincount(labels.ravel())[1:]
    assert len(areas) >= 1
    assert areas.min() >= MIN_AREA
    assert measure.label(labels, background=0, connectivity=1).max() == len(areas)


@given(st.integers(0, 2**63), st.integers(0, 2**40))
@settings(deadline=None, max_examples=15)
def test_any_scene_is_a_picture_with_objects(seed, index):
    scene = Scenes(seed).scene(index)
    assert scene.image.dtype == np.uint8
    assert scene.image.shape == (*scene.labels.shape, 3)
    assert all(192 <= n <= 448 for n in scene.labels.shape)
    assert scene.image.std() > 1
    check_labels(scene.labels)


def test_a_scene_is_the_same_whenever_it_is_drawn():
    series = Scenes(4)
    first = [series.scene(i) for i in range(4)]
    again = {i: Scenes(4).scene(i) for i in (3, 1, 0, 2)}
    for index, scene in enumerate(first):
        np.testing.assert_array_equal(scene.image, again[index].image)
        np.testing.assert_array_equal(scene.labels, again[index].labels)


def test_scenes_differ():
    pictures = [Scenes(seed).scene(index).image for seed, index in ((0, 1), (1, 0), (0, 0), (1, 1))]
    assert len({picture.tobytes() for picture in pictures}) == 4


def test_every_kind_occurs():
    kinds = Counter(Scenes(0).kind(i) for i in range(300))
    assert kinds.keys() == KINDS.keys()
    assert min(kinds.values()) >= 0.3 * 300 / len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_specimen_is_light_with_objects(kind):
    for seed in range(3):
        specimen = KINDS[kind](SHAPE, np.random.default_rng(seed))
        assert specimen.light.dtype == np.float32
        assert specimen.light.shape in (SHAPE, (*SHAPE, 3))
        assert specimen.labels.shape == SHAPE
        assert specimen.light.min() >= 0
        assert specimen.light.max() <= 1
        assert 0.03 <= specimen.contrast <= 1
        assert specimen.detail >= 1
        if specimen.labels.any():
            check_labels(specimen.labels)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_draws_the_same_from_the_same_generator(kind):
    one, other = (KINDS[kind](SHAPE, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one.light, other.light)
    np.testing.assert_array_equal(one.labels, other.labels)


def difference(specimen: Specimen) -> float:
    """Return how far objects differ from what is near them: in mean, in texture, or by what runs along their outline.

    In units of light, for the median object.
    """
    light = specimen.light if specimen.light.ndim == 3 else specimen.light[..., None]
    labels = specimen.labels
    edge = segmentation.find_boundaries(labels, mode="thick")
    found = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        box = tuple(slice(max(s.start - 8, 0), s.stop + 8) for s in box)
        inside = labels[box] == label
        around = ndimage.binary_dilation(inside, iterations=8) & ~inside
        rim = edge[box] & ndimage.binary_dilation(inside, iterations=2)
        core = inside & ~rim
        if around.any() and rim.any() and core.any():
            found.append(max(_unlike(light[box], core, around), _unlike(light[box], core, rim)))
    return float(np.median(found))


def _unlike(light: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    return max(
        float(np.abs(light[one].mean(axis=0) - light[other].mean(axis=0)).max()),
        float(np.abs(light[one].std(axis=0) - light[other].std(axis=0)).max()),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_objects_differ_from_what_is_around_them(kind):
    specimens = [KINDS[kind](SHAPE, np.random.default_rng(seed)) for seed in range(6)]
    for specimen in specimens:
        if specimen.labels.any():
            assert difference(specimen) > 0.015


def test_objects_are_connected_parts_of_some_size():
    labels = np.zeros((40, 40), int)
    labels[2:12, 2:12] = 7
    labels[20:30, 2:12] = 7  # of the same body, cut off by another
    labels[20:30, 12:22] = 3
    labels[0, 30:36] = 5  # debris
    found = objects(labels)
    check_labels(found)
    assert found.max() == 3
    assert found[0, 31] == 0
    assert len({int(found[p]) for p in ((5, 5), (25, 5), (25, 15))}) == 3
