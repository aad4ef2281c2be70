"""Measurements of each object, as a table in a CSV file."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import regionprops

from napari_fbrs.export.options import Options
from napari_fbrs.export.planes import PlaneLabels, Planes

_LENGTHS = ("equivalent_diameter_area", "axis_major_length", "axis_minor_length")
_INTENSITIES = ("intensity_mean", "intensity_std", "intensity_min", "intensity_max")


def write_planes(planes: Planes, path: Path, _options: Options) -> None:
    """Write a row for each object on each plane.

    Rows, columns and ``area_px`` are in pixels of the image, counted from 0, the ends of boxes not belonging to them;
    lengths, areas and ``centroid_y``, ``centroid_x`` in ``unit``, the size of a pixel taken into account. The
    perimeter is that of scikit-image, which is not known where pixels are not square: the cell is empty then, as are
    others that an object is too small for. ``orientation`` is the angle between rows and major axis, in degrees.
    """
    _write(path, (row for plane in planes for row in _plane_rows(planes, plane)))


def write_volumes(planes: Planes, path: Path, _options: Options) -> None:
    """Write a row for each object, taken through all planes along z; of several time points or channels, for each.

    ``volume`` is in cubes of ``unit``, where z has the unit of rows and columns.
    """
    found: dict[tuple[tuple[int, ...], int], _Volume] = {}
    for plane in planes:
        others, z = _without_z(planes, plane.position)
        for thing in plane.objects():
            volume = found.setdefault((others, thing.label), _Volume())
            volume.add(thing.mask, z, planes.rows.start + thing.row, planes.columns.start + thing.column)
            planes.did()
    _write(path, (_volume_row(planes, *key, volume) for key, volume in sorted(found.items(), key=lambda item: item[0])))


def _plane_rows(planes: Planes, plane: PlaneLabels) -> Iterator[dict[str, Any]]:
    (height, unit), (width, _) = (planes.image.size_of(axis) or (1.0, "") for axis in "yx")
    regions = regionprops(plane.compact, planes.measured(plane.position), spacing=(height, width))
    for label, region in zip(plane.present.tolist(), regions, strict=True):
        row = _named(planes, label, plane.position) | {"unit": unit}
        yield row | _measured(region, planes, square=math.isclose(height, width))
        planes.did()


def _measured(region: Any, planes: Planes, *, square: bool) -> dict[str, Any]:
    top, left, bottom, right = region.bbox
    rows, columns = np.nonzero(region.image)
    row, column = (planes.rows.start + top + rows.mean(), planes.columns.start + left + columns.mean())
    scale = dict(zip("yx", planes.image.scale[-2:], strict=True))
    values = {
        "area_px": len(rows),
        "area": region.area,
        "centroid_row": row,
        "centroid_column": column,
        "centroid_y": row * scale["y"],
        "centroid_x": column * scale["x"],
        "row_min": planes.rows.start + top,
        "row_max": planes.rows.start + bottom,
        "column_min": planes.columns.start + left,
        "column_max": planes.columns.start + right,
        "perimeter": region.perimeter if square else None,
        **{name: getattr(region, name) for name in _LENGTHS},
        "eccentricity": region.eccentricity,
        "orientation": math.degrees(region.orientation),
        "solidity": region.area / region.area_convex if region.area_convex else None,
        "extent": region.extent,
        "holes": _count(~np.pad(region.image, 1), 4) - 1,
        "parts": _count(region.image, 8),
    }
    if planes.image.intensities is not None:
        values |= {name: getattr(region, name) for name in _INTENSITIES}
    return values


@dataclass
class _Volume:
    """What is known of an object after some of its planes."""

    pixels: int = 0
    sums: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    first: npt.NDArray[np.float64] = field(default_factory=lambda: np.full(3, np.inf))
    end: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    planes: int = 0

    def add(self, mask: npt.NDArray[np.bool_], z: int, row: int, column: int) -> None:
        """Add a plane: a mask whose corner lies at a row and column of the image."""
        rows, columns = np.nonzero(mask)
        self.pixels += len(rows)
        self.planes += 1
        self.sums += (z * len(rows), (rows + row).sum(), (columns + column).sum())
        self.first = np.minimum(self.first, (z, row, column))
        self.end = np.maximum(self.end, (z + 1, row + mask.shape[0], column + mask.shape[1]))


def _volume_row(planes: Planes, others: tuple[int, ...], label: int, volume: _Volume) -> dict[str, Any]:
    image = planes.image
    row: dict[str, Any] = {"object": label, "class": image.classes.get(label, "")}
    row |= zip((axis for axis in image.leading if axis != "z"), others, strict=True)
    sizes = [image.size_of(axis) or (1.0, "") for axis in "zyx"]
    centre = volume.sums / volume.pixels
    row |= {
        "unit": sizes[1][1],
        "planes": volume.planes,
        "volume_voxels": volume.pixels,
        "volume": volume.pixels * math.prod(size for size, _ in sizes),
        "centroid_plane": centre[0],
        "centroid_row": centre[1],
        "centroid_column": centre[2],
        **{f"centroid_{axis}": at * size for axis, at, (size, _) in zip("zyx", centre, sizes, strict=True)},
    }
    for name, first, end in zip(("plane", "row", "column"), volume.first, volume.end, strict=True):
        row |= {f"{name}_min": int(first), f"{name}_max": int(end)}
    return row


def _without_z(planes: Planes, position: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Return a position without its index along z, and that index (0 where there is no such axis)."""
    at = dict(zip(planes.image.leading, position, strict=True))
    z = at.pop("z", 0)
    return tuple(at.values()), z


def _named(planes: Planes, label: int, position: tuple[int, ...]) -> dict[str, Any]:
    at = dict(zip(planes.image.leading, position, strict=True))
    return {"object": label, "class": planes.image.classes.get(label, ""), **at}


def _count(mask: npt.NDArray[np.bool_], neighbours: int) -> int:
    """Return how many pieces a mask has, pixels touching at edges (4 neighbours) or at corners, too (8)."""
    structure = ndimage.generate_binary_structure(2, 1 if neighbours == 4 else 2)
    return int(ndimage.label(mask, structure)[1])


def _write(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    first = next(rows, None)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if first is None:
            writer.writerow(("object", "class"))
            return
        writer.writerow(first)
        writer.writerows([_text(value) for value in row.values()] for row in itertools.chain([first], rows))


def _text(value: Any) -> str:
    """Return a cell: floats in the shortest form, nothing for what is not known."""
    if value is None or (isinstance(value, float | np.floating) and not math.isfinite(value)):
        return ""
    return f"{value:.9g}" if isinstance(value, float | np.floating) else str(value)
