"""File > Save, through napari."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

PLUGIN = "napari-fbrs"


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".csv", ".npz", ".json", ".geojson", ".zip", ".zarr"])
def test_a_labels_layer_is_saved_by_its_suffix(suffix, make_napari_viewer, npe2pm, tmp_path):
    labels = np.zeros((2, 8, 9), dtype=np.int32)
    labels[1, 2:5, 3:7] = 5
    with npe2pm.tmp_plugin(package=PLUGIN):
        viewer = make_napari_viewer()
        layer = viewer.add_labels(labels, scale=(2, 0.5, 0.25), units=("um", "um", "um"), name="cells")
        path = tmp_path / f"cells{suffix}"
        assert layer.save(str(path), plugin=PLUGIN) == [str(path)]
    if "tif" in suffix:
        with tifffile.TiffFile(path) as file:
            assert file.is_ome is (suffix == ".ome.tif")
            np.testing.assert_array_equal(file.asarray(), labels)
    elif suffix == ".json":
        assert json.loads(path.read_text())["annotations"][0]["bbox"] == [3, 2, 4, 3]
    else:
        assert path.exists()
