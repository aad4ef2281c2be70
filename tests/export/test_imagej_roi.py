"""ImageJ's regions, read back by roifile."""

from __future__ import annotations

import numpy as np
import pytest
import roifile
import shapely
from hard_labels import filled

from napari_fbrs.errors import InputError
from napari_fbrs.export import LabelImage, Selection, export_labels
from napari_fbrs.export import imagej_roi as module


def pixels(region: roifile.ImagejRoi, shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels whose centres an odd number of a region's rings surround, as Java fills paths."""
    coordinates = region.coordinates(multi=True)
    rings = coordinates if isinstance(coordinates, list) else [coordinates]
    inside = np.zeros(shape, dtype=bool)
    for ring in rings:
        inside ^= filled(shapely.Polygon(ring), shape)
    return inside


def test_every_slice_comes_back(stack, tmp_path):
    back = np.zeros_like(stack.data)
    for region in roifile.roiread(export_labels(stack, tmp_path / "labels", "imagej-roi").path):
        t, z, label = region.name.split("_")
        assert (region.t_position, region.z_position) == (int(t[1:]) + 1, int(z[1:]) + 1)
        assert region.c_position == 0
        mask = pixels(region, back.shape[-2:])
        rows, columns = np.nonzero(mask)
        box = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
        assert (region.top, region.left, region.bottom, region.right) == box
        back[int(t[1:]), int(z[1:])][mask] = int(label)
    np.testing.assert_array_equal(back, stack.data)


def test_plain_objects_are_traced_and_others_composite(plane, tmp_path):
    regions = {int(r.name): r for r in roifile.roiread(export_labels(plane, tmp_path / "labels", "imagej-roi").path)}
    assert {label: region.composite for label, region in regions.items()} == {
        3: True, 7: False, 9: False, 12: True, 14: True, 65535: True, 70001: False,
    }  # fmt: skip
    assert regions[9].roitype == roifile.ROI_TYPE.TRACED
    assert regions[9].position == 0


def test_a_slice_of_a_stack_counts_from_one(stack, tmp_path):
    image = LabelImage(stack.data[0])
    part = Selection(planes=(slice(2, 3),), rows=slice(2, 24), columns=slice(1, 31))
    regions = roifile.roiread(export_labels(image, tmp_path / "part", "imagej-roi", part).path)
    assert {region.position for region in regions} == {3}
    back = np.zeros(image.shape[-2:], dtype=int)
    for region in regions:
        back[pixels(region, back.shape)] = int(region.name.split("_")[-1])
    expected = image.data[2].copy()
    expected[:2] = expected[:, 0] = 0
    np.testing.assert_array_equal(back, expected)


def test_outlines_with_more_corners_than_a_traced_region_has(plane, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MOST_CORNERS", 3)
    for region in roifile.roiread(export_labels(plane, tmp_path / "labels", "imagej-roi").path):
        assert region.composite
        np.testing.assert_array_equal(pixels(region, plane.shape), plane.data == int(region.name))


def test_images_larger_than_imagej_can_say(tmp_path):
    with pytest.raises(InputError, match="32767"):
        export_labels(LabelImage(np.ones((1, 32768), dtype=np.uint8)), tmp_path / "labels", "imagej-roi")
