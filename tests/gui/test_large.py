"""Large data: what is read, and when."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fbrs.annotation.image import Image, PlaneIndex
from napari_fbrs.clicks import Click

PLANES = (40, 80, 100)


class Watched:
    """An array that notes what is read of it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim
        self.reads: list[tuple[int, ...]] = []

    def __getitem__(self, index):
        part = self.array[index]
        self.reads.append(part.shape)
        return part

    def __array__(self, dtype=None, copy=None):
        self.reads.append(self.shape)
        return np.asarray(self.array, dtype)


def test_one_plane_is_read_and_no_more():
    watched = Watched(np.zeros(PLANES, np.uint8))
    image = Image(watched)
    image.plane(PlaneIndex((7,), (1, 2)), (0, 255))
    image.plane(PlaneIndex((7,), (0, 2)), (0, 255))
    assert watched.reads == [(80, 100), (40, 100)]


def dask_stack(reads: list):
    array = pytest.importorskip("dask.array")

    def plane(block_info=None):
        reads.append(block_info[None]["chunk-location"][0])
        return np.zeros((1, 80, 100), np.uint8)

    return array.map_blocks(
        plane, dtype=np.uint8, chunks=((1,) * 40, (80,), (100,)), meta=np.zeros((0, 0, 0), np.uint8)
    )


def test_a_lazy_stack_is_read_plane_by_plane(bench, discs):
    reads: list[int] = []
    bench.add_image(dask_stack(reads), contrast_limits=(0, 255), cache=False)
    bench.start()
    reads.clear()
    bench.viewer.dims.set_point(0, 11)
    bench.click(11, 40, 50)
    bench.settle()
    bench.click(11, 20, 20)
    bench.settle()
    assert set(reads) <= {19, 11}  # the plane in the middle, which napari shows first, and this one
    np.testing.assert_array_equal(bench.labels[11] == 1, discs.mask(PLANES[1:], [Click(40, 50), Click(20, 20)]))


def test_local_zarr_and_mapped_tiff(bench, discs, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros(PLANES, np.uint8))
    bench.add_image(tifffile.memmap(path, mode="r"), contrast_limits=(0, 255))
    bench.start()
    bench.viewer.dims.set_point(0, 3)
    bench.click(3, 40, 50)
    bench.settle()
    np.testing.assert_array_equal(bench.labels[3] == 1, discs.mask(PLANES[1:], [Click(40, 50)]))


def test_a_pyramid_is_looked_at_in_full_resolution(bench, discs):
    levels = [np.zeros((400, 500), np.uint8), np.zeros((200, 250), np.uint8), np.zeros((100, 125), np.uint8)]
    bench.add_image(levels, multiscale=True, contrast_limits=(0, 255))
    bench.start()
    bench.click(200, 250)
    bench.settle()
    assert discs.planes[-1].shape == (400, 500)
    np.testing.assert_array_equal(bench.labels == 1, discs.mask((400, 500), list(discs.calls[-1])))
    at = discs.calls[-1][0].pixel
    assert np.hypot(at[0] - 200, at[1] - 250) <= 2


def test_labels_just_made_are_not_looked_through(bench, discs, monkeypatch):
    from napari_fbrs.annotation.objects import CountedLabels

    looked: list[int] = []
    monkeypatch.setattr(CountedLabels, "count_all", lambda _self: looked.append(1))
    bench.add_image(np.zeros(PLANES, np.uint8))
    bench.start()
    assert looked == []
