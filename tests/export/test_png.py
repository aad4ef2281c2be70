"""PNG, read back by Pillow."""

from __future__ import annotations

import csv

import numpy as np
import PIL.Image
import pytest

from napari_fbrs.errors import InputError
from napari_fbrs.export import LabelImage, Options, export_labels


def read(path) -> np.ndarray:
    with PIL.Image.open(path) as picture:
        return np.asarray(picture)


def index(folder) -> list[dict[str, str]]:
    with (folder / "index.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_slice_a_file(stack, tmp_path):
    data = np.where(stack.data > 65535, 0, stack.data)
    folder = export_labels(LabelImage(data, "series"), tmp_path / "slices", "slices").path
    assert len(list(folder.iterdir())) == 7
    for row in index(folder):
        back = read(folder / row["file"])
        np.testing.assert_array_equal(back, data[int(row["t"]), int(row["z"])])
    assert row["file"] == "series_t1_z2.png"


def test_labels_that_a_png_cannot_hold(plane, tmp_path):
    with pytest.raises(InputError, match="70001"):
        export_labels(plane, tmp_path / "slices", "slices")
    assert not list(tmp_path.iterdir())
    folder = export_labels(plane, tmp_path / "slices", "slices", options=Options(value=255)).path
    np.testing.assert_array_equal(read(folder / "cells.png"), np.where(plane.data > 0, 255, 0))


@pytest.mark.parametrize("value", [255, 1])
def test_every_object_of_every_slice(stack, value, tmp_path):
    folder = export_labels(stack, tmp_path / "masks", "masks", options=Options(value=value)).path
    rows = index(folder)
    back = np.zeros_like(stack.data)
    for row in rows:
        mask = read(folder / row["file"])
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, value}
        back[int(row["t"]), int(row["z"])][mask > 0] = int(row["object"])
        assert int(row["pixels"]) == (mask > 0).sum()
        assert row["class"] == stack.classes.get(int(row["object"]), "")
    np.testing.assert_array_equal(back, stack.data)
    assert (
        len(list(folder.glob("*.png")))
        == len(rows)
        == sum(len(np.unique(plane)) - 1 for plane in stack.data.reshape(-1, 24, 31))
    )


def test_masks_cut_to_their_objects(plane, tmp_path):
    folder = export_labels(plane, tmp_path / "masks", "masks", options=Options(margin=2)).path
    back = np.zeros_like(plane.data)
    for row in index(folder):
        mask = read(folder / row["file"]) > 0
        top, left, rows, columns = (int(row[name]) for name in ("row", "column", "rows", "columns"))
        assert mask.shape == (rows, columns)
        back[top : top + rows, left : left + columns][mask] = int(row["object"])
    np.testing.assert_array_equal(back, plane.data)
    one = next(row for row in index(folder) if row["object"] == "9")
    assert (one["row"], one["column"], one["rows"], one["columns"], one["pixels"]) == ("13", "18", "5", "5", "1")


def test_folders_by_class(plane, tmp_path):
    names = Options(names="{class}/{object:03d}")
    folder = export_labels(plane, tmp_path / "masks", "masks", options=names).path
    assert (folder / "cell" / "003.png").is_file()
    assert (folder / "dot" / "009.png").is_file()
    assert (folder / "unclassified" / "70001.png").is_file()
    export_labels(plane, folder, "masks", options=names, overwrite=True)
