from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.annotation.labels import ArrayLabels, LabelChange, PlaneMask, SparseLabels, mask_change
from napari_fbrs.errors import InputError
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.zoom import bounding_box

SHAPE = (4, 5)
label_images = arrays(np.int32, SHAPE, elements=st.integers(0, 3))
masks = arrays(bool, SHAPE)


def change_between(before: npt.NDArray[np.int32], after: npt.NDArray[np.int32]) -> LabelChange:
    indices = np.nonzero(before != after)
    return LabelChange(indices, before[indices], after[indices])


def packed(mask: npt.NDArray[np.bool_]) -> PlaneMask | None:
    box = bounding_box(mask, Crop.whole(mask.shape))
    return None if box is None else PlaneMask.pack(box, mask[box.slices])


@given(label_images, label_images)
def test_done_and_undone(before: npt.NDArray[np.int32], after: npt.NDArray[np.int32]):
    store, change = ArrayLabels(before.copy()), change_between(before, after)
    change.do(store)
    np.testing.assert_array_equal(store.array, after)
    change.undo(store)
    np.testing.assert_array_equal(store.array, before)


@given(label_images, label_images, label_images)
def test_two_changes_as_one(a: npt.NDArray[np.int32], b: npt.NDArray[np.int32], c: npt.NDArray[np.int32]):
    both = change_between(a, b).then(change_between(b, c))
    store = ArrayLabels(a.copy())
    both.do(store)
    np.testing.assert_array_equal(store.array, c)
    both.undo(store)
    np.testing.assert_array_equal(store.array, a)
    assert len(set(zip(*map(np.ndarray.tolist, both.indices), strict=True))) == len(both.before)


@given(label_images, label_images, label_images, label_images)
def test_composition_is_associative(a, b, c, d):
    changes = [change_between(x, y) for x, y in ((a, b), (b, c), (c, d))]
    for whole in (changes[0].then(changes[1]).then(changes[2]), changes[0].then(changes[1].then(changes[2]))):
        store = ArrayLabels(a.copy())
        whole.do(store)
        np.testing.assert_array_equal(store.array, d)


@given(label_images, label_images, label_images)
def test_what_somebody_changed_since_is_left_alone(before, after, painted):
    change = change_between(before, after)
    touched = before != after
    store = ArrayLabels(np.where(painted > 1, painted, after))
    change.undo(store)
    ours = touched & (np.where(painted > 1, painted, after) == after)
    np.testing.assert_array_equal(store.array, np.where(ours, before, np.where(painted > 1, painted, after)))


def test_memory_of_a_change():
    change = change_between(np.zeros((4, 5), np.int32), np.ones((4, 5), np.int32))
    assert change.nbytes == 20 * (2 * np.dtype(np.intp).itemsize + 2 * 4)


@given(masks)
def test_masks_are_packed_without_loss(mask: npt.NDArray[np.bool_]):
    crop = Crop(10, 13, 20, 24)
    kept = PlaneMask.pack(crop, mask)
    np.testing.assert_array_equal(kept.pixels, mask)
    assert kept.pixels.dtype == bool
    assert kept.bits.nbytes == 3  # 20 pixels


@given(label_images, masks, masks, st.integers(1, 3))
def test_a_mask_replaces_another_where_the_object_may(labels, old, new, label: int):
    labels = np.where(old & (labels == 0), label, labels).astype(np.int32)
    store = ArrayLabels(labels.copy())
    change = mask_change(store, PlaneIndex((), (0, 1)), label, packed(old), packed(new))
    np.testing.assert_array_equal(store.array, labels)  # nothing is written yet
    change.do(store)
    expected = labels.copy()
    expected[old & ~new & (labels == label)] = 0
    expected[new & ~old & (labels == 0)] = label
    np.testing.assert_array_equal(store.array, expected)
    others = (labels != 0) & (labels != label)
    np.testing.assert_array_equal(store.array[others], labels[others])
    change.undo(store)
    np.testing.assert_array_equal(store.array, labels)


def test_what_was_painted_stays():
    store = ArrayLabels(np.zeros((4, 5), np.int32))
    old, new = np.zeros((4, 5), bool), np.zeros((4, 5), bool)
    old[1:3, 1:3], new[1:3, 1:4] = True, True
    mask_change(store, PlaneIndex((), (0, 1)), 2, None, packed(old)).do(store)
    store.array[0, 0] = 2  # added by hand, in neither mask
    store.array[1, 1] = 0  # erased by hand, in both masks
    store.array[2, 2] = 5  # painted over by another object
    mask_change(store, PlaneIndex((), (0, 1)), 2, packed(old), packed(new)).do(store)
    assert store.array.tolist() == [[2, 0, 0, 0, 0], [0, 0, 2, 2, 0], [0, 2, 5, 2, 0], [0, 0, 0, 0, 0]]


@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)])
def test_any_plane_of_a_volume(axes: tuple[int, int]):
    volume = np.zeros((6, 7, 8), np.int32)
    (other,) = {0, 1, 2} - set(axes)
    index = PlaneIndex((3,), axes)
    plane = np.moveaxis(volume, (*axes, other), (0, 1, 2))[..., 3]  # a view
    mask = np.zeros(plane.shape, bool)
    mask[1, 2:5] = mask[4, 3] = True
    store = ArrayLabels(volume)
    change = mask_change(store, index, 9, None, packed(mask))
    change.do(store)
    np.testing.assert_array_equal(plane, np.where(mask, 9, 0))
    assert np.count_nonzero(volume) == 4
    smaller = mask.copy()
    smaller[1, 2] = False
    mask_change(store, index, 9, packed(mask), packed(smaller)).do(store)
    np.testing.assert_array_equal(plane, np.where(smaller, 9, 0))


@pytest.mark.parametrize("ndim", [2, 3, 4])
def test_no_mask_is_no_change(ndim: int):
    store = ArrayLabels(np.ones((3,) * ndim, np.uint8))
    nothing = mask_change(store, PlaneIndex((1,) * (ndim - 2), (ndim - 2, ndim - 1)), 1, None, None)
    nothing.do(store)
    nothing.undo(store)
    assert (store.array == 1).all()
    assert nothing.nbytes == 0
    some = LabelChange((np.array([1]),) * ndim, np.array([1], np.uint8), np.array([2], np.uint8))
    for both in (nothing.then(some), some.then(nothing)):
        store = ArrayLabels(np.ones((3,) * ndim, np.uint8))
        both.do(store)
        assert store.array[(1,) * ndim] == 2
        assert np.count_nonzero(store.array == 2) == 1


def test_the_dtype_of_the_labels_is_kept():
    store = ArrayLabels(np.zeros((4, 5), np.uint8))
    change = mask_change(store, PlaneIndex((), (0, 1)), 255, None, packed(np.ones((4, 5), bool)))
    assert change.after.dtype == np.uint8
    change.do(store)
    assert (store.array == 255).all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16"])
def test_a_label_that_the_image_cannot_hold_is_refused(dtype: str):
    # Cut to eight bits, object 256 would be background, and object 257 object 1.
    label = np.iinfo(dtype).max + 1
    store = ArrayLabels(np.zeros((4, 5), dtype))
    mask = packed(np.ones((4, 5), bool))
    with pytest.raises(InputError, match=rf"{label}.*end at {label - 1}"):
        mask_change(store, PlaneIndex((), (0, 1)), label, None, mask)
    assert mask_change(store, PlaneIndex((), (0, 1)), label - 1, None, mask).after.max() == label - 1


@given(st.data())
def test_sparse_labels_are_as_labels_in_an_array(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=4)))
    sparse, dense = SparseLabels(shape), ArrayLabels(np.zeros(shape, np.int32))
    for _ in range(data.draw(st.integers(0, 3))):
        pixels = data.draw(st.sets(st.tuples(*(st.integers(0, extent - 1) for extent in shape)), max_size=6))
        indices = tuple(np.array(axis, dtype=np.intp) for axis in np.array(sorted(pixels)).reshape(-1, len(shape)).T)
        for store in (sparse, dense):
            store.write(indices, np.arange(1, len(pixels) + 1, dtype=np.int32))
        np.testing.assert_array_equal(sparse.read(indices), dense.read(indices))
    position = tuple(data.draw(st.integers(0, extent - 1)) for extent in shape[:-2])
    for index in ((slice(None),) * len(shape), (*position, slice(0, 2), slice(1, None)), (*position, 0, 0), position):
        np.testing.assert_array_equal(sparse.read(index), dense.read(index))


def test_sparse_labels_of_a_large_image_take_no_memory():
    labels = SparseLabels((10**6, 10**5, 10**5))  # 40 petabytes
    assert labels.read((5, slice(10, 12), slice(0, 3))).tolist() == [[0, 0, 0], [0, 0, 0]]
