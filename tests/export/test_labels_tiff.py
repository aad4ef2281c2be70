"""TIFF, read back by tifffile."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from napari_fbrs.errors import InputError
from napari_fbrs.export import LabelImage, Options, Selection, export_labels
from napari_fbrs.export import labels_tiff as module


@pytest.mark.parametrize("format_name", ["tiff", "ome-tiff"])
@pytest.mark.parametrize("which", ["plane", "stack", "many"])
def test_pixels_come_back(format_name, which, tmp_path, request):
    image = request.getfixturevalue(which)
    path = export_labels(image, tmp_path / "labels", format_name).path
    with tifffile.TiffFile(path) as file:
        back = file.series[0]
        assert back.axes == "".join(image.axes).upper()
        assert file.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        np.testing.assert_array_equal(back.asarray(), image.data)


def small(image: LabelImage) -> LabelImage:
    """Return labels that 16 bits hold."""
    data = np.where(image.data > 65535, 0, image.data)
    return LabelImage(data, image.name, image.axes, image.scale, image.units)


def test_imagej_reads_scale_units_and_axes(stack, tmp_path):
    image = small(stack)
    path = export_labels(image, tmp_path / "labels.tif", "tiff").path
    with tifffile.TiffFile(path) as file:
        assert file.is_imagej
        meta = file.imagej_metadata
        x, y = (file.pages[0].tags[name].value for name in ("XResolution", "YResolution"))
        back = file.asarray()
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, image.data)
    assert (meta["frames"], meta["slices"], meta["unit"], meta["spacing"]) == (2, 3, "um", 2.0)
    assert (meta["finterval"], meta["max"]) == (10.0, 65535.0)
    assert (x[0] / x[1], y[0] / y[1]) == pytest.approx((4, 2))  # pixels a unit


def test_imagej_gets_time_before_depth_and_its_own_units(tmp_path):
    data = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    image = LabelImage(data, axes="ztyx", scale=(0.5, 20, 3, 3), units=("nm", "ms", "um", "um"))
    path = export_labels(image, tmp_path / "labels.tif", "tiff").path
    with tifffile.TiffFile(path) as file:
        meta = file.imagej_metadata
        np.testing.assert_array_equal(file.asarray(), data.swapaxes(0, 1))
    assert (meta["frames"], meta["slices"]) == (3, 2)
    assert (meta["zunit"], meta["spacing"], meta["finterval"]) == ("nm", 0.5, pytest.approx(0.02))


def test_ome_holds_physical_sizes(stack, tmp_path):
    path = export_labels(stack, tmp_path / "labels.ome.tif", "ome-tiff").path
    with tifffile.TiffFile(path) as file:
        (pixels,) = (e for e in ElementTree.fromstring(file.ome_metadata).iter() if e.tag.endswith("Pixels"))
    sizes = {key: pixels.get(key) for key in pixels.keys() if key.startswith(("Physical", "Time"))}  # noqa: SIM118
    assert sizes == {
        "PhysicalSizeX": "0.25",
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": "0.5",
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": "2.0",
        "PhysicalSizeZUnit": "µm",
        "TimeIncrement": "10.0",
        "TimeIncrementUnit": "s",
    }


def test_labels_beyond_16_bits_are_ome(plane, tmp_path):
    with tifffile.TiffFile(export_labels(plane, tmp_path / "labels.tif", "tiff").path) as file:
        assert file.is_ome
        assert file.series[0].dtype == np.uint32


def test_large_labels_are_a_bigtiff(plane, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BIG", 1000)
    with tifffile.TiffFile(export_labels(small(plane), tmp_path / "labels.tif", "tiff").path) as file:
        assert file.is_bigtiff
        assert file.is_ome
        np.testing.assert_array_equal(file.asarray(), small(plane).data)


def test_axes_that_a_tiff_has_not(tmp_path):
    image = LabelImage(np.ones((2, 3, 4), dtype=np.uint8), axes=("well", "y", "x"))
    for format_name in ("tiff", "ome-tiff", "masks-tiff"):
        with pytest.raises(InputError, match="well"):
            export_labels(image, tmp_path / "labels", format_name)
    assert not list(tmp_path.iterdir())


def test_a_stack_for_each_object(stack, tmp_path):
    exported = export_labels(
        stack, tmp_path / "masks", "masks-tiff", Selection(planes=(slice(None), slice(1, 3))), Options(value=1)
    )
    cut = stack.data[:, 1:]
    files = {path.name for path in exported.path.iterdir()}
    expected = {f"series_{label:010d}.tif": label for label in np.unique(cut)[1:]}
    assert files == {*expected, "index.csv"}
    for name, label in expected.items():
        np.testing.assert_array_equal(tifffile.imread(exported.path / name), (cut == label).astype(np.uint8))


def test_slices_chosen_and_a_crop(stack, tmp_path):
    selection = Selection(objects={3, 9}, planes=(slice(0, 1), slice(2, 3)), rows=slice(2, 20), columns=slice(5, 31))
    path: Path = export_labels(stack, tmp_path / "part", "tiff", selection).path
    expected = stack.data[0, 2, 2:20, 5:31]
    back = tifffile.imread(path)
    np.testing.assert_array_equal(back, np.where(np.isin(expected, (3, 9)), expected, 0))
    assert back.dtype == np.uint8
