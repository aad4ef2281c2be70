"""Large data: what is read, and when."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_fbrs.annotation import image as image_module
from napari_fbrs.annotation import recovery
from napari_fbrs.annotation.image import Image, PlaneIndex
from napari_fbrs.clicks import Click
from napari_fbrs.gui.picture import Picture
from napari_fbrs.inference.plane import Crop

PLANES = (40, 80, 100)


class Watched:
    """An array that notes what is read of it, and in which thread."""

    def __init__(self, array) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.ndim, self.size = array.ndim, array.size
        self.reads: list[tuple[int, ...]] = []
        self.threads: list[int] = []

    def __getitem__(self, index):
        part = np.asarray(self.array[index])
        self._note(part.shape)
        return part

    def __array__(self, dtype=None, copy=None):
        self._note(self.shape)
        return np.asarray(self.array, dtype)

    def _note(self, shape: tuple[int, ...]) -> None:
        self.reads.append(shape)
        self.threads.append(threading.get_ident())

    def forget(self) -> None:
        self.reads.clear()
        self.threads.clear()


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


def mapped_tiff(folder):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(folder / "stack.tif", np.zeros(PLANES, np.uint8))
    return tifffile.memmap(folder / "stack.tif", mode="r")


def local_zarr(folder):
    zarr = pytest.importorskip("zarr")
    stack = zarr.open(str(folder / "stack.zarr"), mode="w", shape=PLANES, chunks=(1, 40, 50), dtype=np.uint8)
    stack[3] = 7
    return zarr.open(str(folder / "stack.zarr"), mode="r")


@pytest.mark.parametrize("stored", [mapped_tiff, local_zarr])
def test_stacks_on_a_disk_are_read_plane_by_plane_beside_the_window(bench, discs, tmp_path, stored):
    watched = Watched(stored(tmp_path))
    bench.add_image(watched, contrast_limits=(0, 255), cache=False)
    bench.start()
    bench.viewer.dims.set_point(0, 3)
    bench.rest()
    assert discs.warmed
    watched.forget()
    bench.viewer.dims.set_point(0, 5)
    bench.rest()
    own = [thread for thread in watched.threads if thread != threading.get_ident()]
    assert len(own) == 1  # napari has read it to show it, in its thread; we have, in ours
    watched.forget()
    for column in (50, 20, 80):
        bench.click(5, 40, column)
        bench.settle()
    assert watched.reads == []
    np.testing.assert_array_equal(
        bench.labels[5] == 1, discs.mask(PLANES[1:], [Click(40, 50), Click(40, 20), Click(40, 80)])
    )


def test_a_pyramid_is_looked_at_in_full_resolution(bench, discs):
    levels = [Watched(np.zeros((400 // n, 500 // n), np.uint8)) for n in (1, 2, 4)]
    bench.add_image(levels, multiscale=True, contrast_limits=(0, 255))
    bench.start()
    bench.click(200, 250)
    bench.settle()
    assert discs.planes[-1].shape == (400, 500)
    own = [[thread for thread in level.threads if thread != threading.get_ident()] for level in levels]
    assert len(own[0]) >= 1  # for the network, and to tell the image from others
    assert own[1:] == [[], []]
    np.testing.assert_array_equal(bench.labels == 1, discs.mask((400, 500), list(discs.calls[-1])))
    at = discs.calls[-1][0].pixel
    assert np.hypot(at[0] - 200, at[1] - 250) <= 2


def test_of_a_large_pyramid_no_level_is_read_as_a_whole(bench, discs, monkeypatch):
    monkeypatch.setattr(image_module, "LARGE", 10_000)
    monkeypatch.setattr(recovery, "_TILE", 32)
    rng = np.random.default_rng(0)
    levels = [Watched(rng.integers(0, 255, (400 // n, 500 // n)).astype(np.uint8)) for n in (1, 2, 4)]
    bench.add_image(levels, multiscale=True, contrast_limits=(0, 255))
    bench.wait(lambda: levels[2].reads)  # napari shows it
    for level in levels:
        level.forget()
    bench.start()
    bench.click(200, 250)
    bench.settle()
    plane = discs.planes[-1]
    assert [level.shape for level in plane.coarser] == [(200, 250), (100, 125)]
    assert (400, 500) not in levels[0].reads
    np.testing.assert_array_equal(bench.labels == 1, discs.mask((400, 500), list(discs.calls[-1])))
    levels[0].forget()
    np.testing.assert_allclose(plane.read(Crop.whole((400, 500)), (50, 50)).mean(), 0.5, atol=0.02)
    assert levels[0].reads == []
    plane.read(Crop(100, 149, 200, 259), (50, 60))
    assert levels[0].reads == [(50, 60)]


def test_pyramids_shown_together_share_the_levels_that_they_share(bench):
    first, second = (
        bench.viewer.add_image([np.full((400 // n, 400 // n), 7, np.uint8) for n in factors], multiscale=True)
        for factors in ((1, 2, 4, 8), (1, 2, 5, 10))
    )
    image = Picture(first, others=(second,)).image()
    assert [level.shape for level in (image.data, *image.coarser)] == [(400, 400), (200, 200)]
    assert [level.shape for level in Picture(first).image().coarser] == [(200, 200), (100, 100), (50, 50)]


def test_labels_that_do_not_fit_into_memory(bench, discs):
    levels = [np.broadcast_to(np.uint8(3), (2**n, 2**n)) for n in range(24, 8, -1)]
    bench.add_image(levels, multiscale=True, contrast_limits=(0, 255))
    with bench.refusal("labels of 16777216 x 16777216 pixels need 1048576 GB"):
        bench.widget.start_button.click()
        bench.wait(bench.widget.start_button.isEnabled)
    assert bench.widget.annotator is None
    assert len(bench.viewer.layers) == 1


def test_labels_just_made_are_not_looked_through(bench, discs, monkeypatch):
    from napari_fbrs.annotation.objects import CountedLabels

    looked: list[int] = []
    monkeypatch.setattr(CountedLabels, "count_all", lambda _self: looked.append(1))
    bench.add_image(np.zeros(PLANES, np.uint8))
    bench.start()
    assert looked == []
