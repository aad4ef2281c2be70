"""OME-Zarr, read back by ome-zarr."""

from __future__ import annotations

import numpy as np
import pytest
from ome_zarr.io import parse_url
from ome_zarr.reader import Label, Reader

from napari_fbrs.errors import InputError
from napari_fbrs.export import LabelImage, Selection, export_labels
from napari_fbrs.export import ome_zarr as module


def read(path):
    (node,) = Reader(parse_url(path))()
    return node


@pytest.mark.parametrize("which", ["plane", "stack", "many"])
def test_pixels_axes_and_scale_come_back(which, tmp_path, request):
    image = request.getfixturevalue(which)
    node = read(export_labels(image, tmp_path / "labels", "ome-zarr").path)
    np.testing.assert_array_equal(np.asarray(node.data[0]), image.data)
    assert [axis["name"] for axis in node.metadata["axes"]] == list(image.axes)
    units = [axis.get("unit", "pixel") for axis in node.metadata["axes"]]
    assert units == list(image.units)
    assert node.metadata["coordinateTransformations"][0][0]["scale"] == list(image.scale)
    assert node.load(Label) is not None
    assert {label: known["class"] for label, known in node.metadata.get("properties", {}).items()} == image.classes


def test_a_part_lies_where_it_was(stack, tmp_path):
    image = LabelImage(stack.data, scale=stack.scale, units=stack.units, translate=(0, 1, 2, 3))
    part = Selection(planes=(slice(1, 2), slice(1, 3)), rows=slice(4, 9), columns=slice(3, 31))
    node = read(export_labels(image, tmp_path / "part.zarr", "ome-zarr", part).path)
    np.testing.assert_array_equal(np.asarray(node.data[0]), stack.data[1:2, 1:3, 4:9, 3:])
    shift = node.metadata["coordinateTransformations"][0][1]["translation"]
    assert shift == pytest.approx([0 + 10, 1 + 2, 2 + 4 * 0.5, 3 + 3 * 0.25])


def test_coarser_levels_hold_every_second_pixel(stack, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 10)
    node = read(export_labels(stack, tmp_path / "labels", "ome-zarr").path)
    assert [level.shape[-2:] for level in node.data] == [(24, 31), (12, 16), (6, 8)]
    np.testing.assert_array_equal(np.asarray(node.data[2]), stack.data[..., ::4, ::4])
    assert node.metadata["coordinateTransformations"][2][0]["scale"] == [10, 2, 2, 1]


def test_axes_are_put_into_the_order_of_the_format(tmp_path):
    data = np.arange(1, 2 * 3 * 4 * 5 + 1, dtype=np.uint8).reshape(2, 3, 4, 5)
    node = read(export_labels(LabelImage(data, axes="ztyx"), tmp_path / "labels", "ome-zarr").path)
    np.testing.assert_array_equal(np.asarray(node.data[0]), data.swapaxes(0, 1))
    assert [axis["name"] for axis in node.metadata["axes"]] == list("tzyx")


def test_axes_that_it_has_not(tmp_path):
    image = LabelImage(np.ones((2, 3, 4), dtype=np.uint8), axes=("well", "y", "x"))
    with pytest.raises(InputError, match="well"):
        export_labels(image, tmp_path / "labels", "ome-zarr")
