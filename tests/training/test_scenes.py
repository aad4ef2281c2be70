from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure, segmentation

from napari_fbrs.training.scenes import Scenes, fibres, tissue
from napari_fbrs.training.scenes.packing import Ellipse, Packing
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


def features(light: np.ndarray) -> np.ndarray:
    """Return channels and how much they change in four directions, shape (H, W, N)."""
    channels = light if light.ndim == 3 else light[..., None]
    changes = [
        np.abs(channels - np.roll(channels, shift, (0, 1))).mean(axis=2, keepdims=True)
        for shift in ((0, 2), (2, 0), (2, 2), (2, -2))
    ]
    return np.concatenate([channels, *changes], axis=2)


def difference(specimen: Specimen) -> float:
    """Return how far the median object differs, in units of light, from what is near it or runs along its outline."""
    seen = features(specimen.light)
    edge = segmentation.find_boundaries(specimen.labels, mode="thick")
    found = []
    for label, box in enumerate(ndimage.find_objects(specimen.labels), start=1):
        box = tuple(slice(max(s.start - 8, 0), s.stop + 8) for s in box)
        inside = specimen.labels[box] == label
        around = ndimage.binary_dilation(inside, iterations=8) & ~inside
        rim = edge[box] & ndimage.binary_dilation(inside, iterations=2)
        core = inside & ~rim
        if core.any() and around.any():
            middle = seen[box][core].mean(axis=0)
            found.append(max(np.abs(seen[box][part].mean(axis=0) - middle).max() for part in (around, rim)))
    return float(np.median(found))


@pytest.mark.parametrize("kind", KINDS)
def test_objects_differ_from_what_is_around_them(kind):
    for seed in range(6):
        specimen = KINDS[kind](SHAPE, np.random.default_rng(seed))
        if specimen.labels.any():
            assert difference(specimen) > 0.02


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


def test_fibres_are_as_wide_as_asked_for():
    canvas = fibres._Canvas((200, 200), 0.1)
    count = 500
    axis = np.stack([np.full(count, 100.0), np.arange(count) * 0.6 - 50], axis=1)
    tube = fibres._Tube(axis, np.tile([1.0, 0.0], (count, 1)), np.full(count, 10.0))
    style = fibres._Style((0.5, 0.5), 0.1, 0.0, 0.0, 0.5, 0.0, 1.0)
    canvas.draw(tube, 1, style, 0.5)
    np.testing.assert_array_equal(np.flatnonzero((canvas.labels == 1).all(axis=1)), np.arange(90, 111))
    assert not canvas.labels[:90].any()
    np.testing.assert_allclose(canvas.light[100], 0.5)
    np.testing.assert_allclose(canvas.light[88], 0.05)  # shadow
    np.testing.assert_allclose(canvas.light[50], 0.1)


def test_where_bodies_meet_the_border_lies_between_them():
    bodies = [Ellipse(50, 30, 30), Ellipse(50, 70, 30), Ellipse(50, 140, 15)]
    packing = Packing((100, 160), bodies, 1.0)
    np.testing.assert_array_equal(
        packing.labels[50, [0, 1, 49, 51, 99, 101, 126, 140, 154]], [0, 1, 1, 2, 2, 0, 3, 3, 3]
    )
    assert packing.depth[50, 50] == pytest.approx(0, abs=1e-5)
    assert packing.depth[50, 46] == pytest.approx(4, abs=0.1)
    np.testing.assert_allclose(packing.depth[50, [1, 126]], 1, atol=0.1)
    assert packing.depth[5, 5] < 0


def test_matched_tissue_differs_in_texture_only():
    rng = np.random.default_rng(0)
    which = np.zeros(SHAPE, int)
    which[:, 100:] = 1
    stains = tissue._matched(tuple(rng.random((2, *SHAPE), np.float32) * (1 + which).astype(np.float32)), which)
    total = stains[0] + stains[1]
    assert total[which == 0].mean() == pytest.approx(total[which == 1].mean(), rel=1e-3)
