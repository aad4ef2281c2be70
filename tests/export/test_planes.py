"""Which planes and objects are exported."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fbrs.errors import InputError
from napari_fbrs.export import LabelImage, Selection
from napari_fbrs.export.planes import Planes


class Lazy:
    """An array of which only planes can be read, as dask and zarr would."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.largest = 0

    def __getitem__(self, index) -> np.ndarray:
        part = self._array[index]
        self.largest = max(self.largest, part.size)
        return part


def test_lazy_labels_are_read_a_plane_at_a_time(stack):
    lazy = Lazy(stack.data)
    planes = Planes(LabelImage(lazy), Selection(rows=slice(0, 10)))
    whole = np.stack([plane.labels for plane in planes]).reshape(2, 3, 10, 31)
    np.testing.assert_array_equal(whole, stack.data[:, :, :10])
    assert lazy.largest == 310
    assert planes.objects == sorted(set(np.unique(stack.data[:, :, :10]).tolist()) - {0})


def test_objects_lie_in_their_boxes(stack):
    for plane in Planes(stack):
        back = np.zeros(stack.shape[-2:], dtype=int)
        for thing in plane.objects():
            back[thing.box][thing.mask] = thing.label
            assert thing.mask.any(axis=0)[[0, -1]].all()
            assert thing.mask.any(axis=1)[[0, -1]].all()
        np.testing.assert_array_equal(back, stack.data[plane.position])


def test_objects_and_classes_together(plane):
    assert Planes(plane, Selection(objects={3, 7}, classes={"cell", "dot"})).objects == [3]
    assert Planes(plane, Selection(classes={"dot"})).objects == [9]
    assert Planes(plane, Selection(objects=range(1, 10))).objects == [3, 7, 9]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint32, np.int64, np.uint64])
def test_labels_of_every_type(dtype):
    (plane,) = Planes(LabelImage(np.array([[0, 1], [1, 0]], dtype=dtype)))
    assert [thing.label for thing in plane.objects()] == [1]


def test_the_smallest_type_that_holds_the_labels():
    for largest, dtype in ((255, np.uint8), (256, np.uint16), (65536, np.uint32), (2**32, np.uint64)):
        assert Planes(LabelImage(np.array([[0, largest]]))).dtype == dtype


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(objects={8}), "none of the objects"),
        (Selection(classes={"cat"}), "no object is of class cat; there are cell, dot"),
        (Selection(objects={7}, classes={"dot"}), "none of the objects of class dot"),
        (Selection(planes=(slice(3, 4), slice(None))), "axis t: 3:4 was chosen of 2"),
        (Selection(planes=(slice(0, 1),)), "2 leading axes"),
        (Selection(rows=slice(10, 99)), "rows: 10:99"),
        (Selection(columns=slice(31, None)), "columns: 31:"),
    ],
)
def test_what_is_not_there_is_said(selection, message, stack):
    with pytest.raises(InputError, match=message):
        Planes(stack, selection)


def test_a_2d_image_has_no_slices():
    with pytest.raises(InputError, match="a 2D image has no slices to choose from"):
        Planes(LabelImage(np.eye(3, dtype=int)), Selection(planes=(slice(3, 4),)))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 5, 5)])
def test_labels_without_pixels(shape):
    with pytest.raises(InputError, match=r"hold no pixels: there is nothing to export"):
        Planes(LabelImage(np.zeros(shape, int)))


def test_labels_below_zero_are_refused():
    with pytest.raises(InputError, match="-3"):
        Planes(LabelImage(np.array([[0, -3]])))
