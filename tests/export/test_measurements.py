"""Measurements, checked against what is known of simple shapes."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from napari_fbrs.export import LabelImage, Selection, export_labels


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def measured(image: LabelImage, folder: Path, format_name: str = "csv", selection: Selection | None = None):
    return table(export_labels(image, folder / "table", format_name, selection).path)


def disc(radius: int) -> np.ndarray:
    rows, columns = np.indices((2 * radius + 11,) * 2) - radius - 5
    return (rows**2 + columns**2 <= radius**2).astype(np.uint8)


def test_a_disc_in_micrometres(tmp_path):
    (row,) = measured(LabelImage(disc(20), scale=(0.5, 0.5), units=("um", "um")), tmp_path)
    assert row["unit"] == "micrometer"
    assert int(row["area_px"]) == disc(20).sum()
    assert float(row["area"]) == disc(20).sum() / 4
    assert (float(row["centroid_row"]), float(row["centroid_x"])) == (25, 12.5)
    assert float(row["equivalent_diameter_area"]) == pytest.approx(20, rel=0.01)
    assert float(row["perimeter"]) == pytest.approx(math.tau * 10, rel=0.06)
    assert float(row["axis_major_length"]) == pytest.approx(20, rel=0.01)
    assert float(row["eccentricity"]) < 0.01
    assert (row["row_min"], row["row_max"], row["holes"], row["parts"]) == ("5", "46", "0", "1")


def test_pixels_that_are_not_square(tmp_path):
    labels = np.zeros((20, 30), dtype=np.uint8)
    labels[4:12, 5:13] = 1  # 8 x 8 pixels: 4 high, 16 wide
    (row,) = measured(LabelImage(labels, scale=(0.5, 2), units=("um", "um")), tmp_path)
    assert float(row["area"]) == 64
    assert float(row["axis_major_length"]) > 3.9 * float(row["axis_minor_length"])
    assert abs(float(row["orientation"])) == 90  # lies across the rows
    assert (float(row["centroid_y"]), float(row["centroid_x"])) == (7.5 * 0.5, 8.5 * 2)
    assert row["perimeter"] == ""
    assert float(row["solidity"]) == 1


def test_holes_islands_and_single_pixels(plane, tmp_path):
    rows = {int(row["object"]): row for row in measured(plane, tmp_path)}
    assert {label: (row["holes"], row["parts"]) for label, row in rows.items() if label < 100} == {
        3: ("3", "2"), 7: ("0", "1"), 9: ("0", "1"), 12: ("0", "2"), 14: ("1", "2"),
    }  # fmt: skip
    assert (rows[9]["area_px"], rows[9]["class"], rows[9]["area"]) == ("1", "dot", "0.125")


def test_every_slice_has_its_rows(stack, tmp_path):
    rows = measured(stack, tmp_path)
    found = {(int(row["t"]), int(row["z"]), int(row["object"])): int(row["area_px"]) for row in rows}
    expected = {
        (t, z, int(label)): int((stack.data[t, z] == label).sum())
        for t in range(2) for z in range(3) for label in np.unique(stack.data[t, z]) if label
    }  # fmt: skip
    assert found == expected


def test_intensities(plane, tmp_path):
    image = np.arange(plane.data.size, dtype=np.uint16).reshape(plane.shape)
    known = LabelImage(plane.data, intensities=image)
    for row in measured(known, tmp_path, selection=Selection(rows=slice(2, 24))):
        inside = image[2:][plane.data[2:] == int(row["object"])]
        values = [float(row[f"intensity_{name}"]) for name in ("mean", "std", "min", "max")]
        assert values == pytest.approx([inside.mean(), inside.std(), inside.min(), inside.max()])


def test_a_crop_keeps_its_place_in_the_image(plane, tmp_path):
    part = Selection(objects={9}, rows=slice(13, 24), columns=slice(18, 24))
    (row,) = measured(plane, tmp_path, selection=part)
    assert (row["centroid_row"], row["centroid_column"], row["row_min"]) == ("15", "20", "15")


def test_volumes(stack, tmp_path):
    rows = measured(stack, tmp_path, "volumes")
    found = {(int(row["t"]), int(row["object"])): row for row in rows}
    for (t, label), row in found.items():
        inside = np.argwhere(stack.data[t] == label)
        assert int(row["volume_voxels"]) == len(inside)
        assert float(row["volume"]) == pytest.approx(len(inside) * 2 * 0.5 * 0.25)
        assert int(row["planes"]) == len(set(inside[:, 0]))
        centre = [float(row[f"centroid_{axis}"]) for axis in "zyx"]
        assert centre == pytest.approx(inside.mean(axis=0) * (2, 0.5, 0.25))
        ends = [int(row[f"{name}_{end}"]) for name in ("plane", "row", "column") for end in ("min", "max")]
        assert ends == np.stack((inside.min(axis=0), inside.max(axis=0) + 1), axis=1).ravel().tolist()
    assert len(found) == sum(len(np.unique(stack.data[t])) - 1 for t in range(2))


def test_no_objects_are_a_header(tmp_path):
    assert measured(LabelImage(np.zeros((4, 4), dtype=np.uint8)), tmp_path) == []
