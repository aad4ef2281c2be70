"""Labels, and masks of single objects, as TIFF: with ImageJ's metadata or OME's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_fbrs.errors import InputError
from napari_fbrs.export.names import FileNames
from napari_fbrs.export.options import Options
from napari_fbrs.export.planes import Planes
from napari_fbrs.export.source import PIXEL, unit_symbol
from napari_fbrs.export.writing import write_index

_BIG = 2**31  # bytes; a good way below 4 GiB, where offsets of a classic TIFF end
_IMAGEJ_ORDER = ("t", "z", "c")
_LENGTHS = ("angstrom", "nanometer", "micrometer", "millimeter", "centimeter", "meter")
_SECONDS = {"millisecond": 0.001, "second": 1.0, "minute": 60.0, "hour": 3600.0}
_ELSEWHERE = "reference frame"  # OME's word for a unit that it has no name for


def write_tiff(planes: Planes, path: Path, options: Options) -> None:
    """Write labels with ImageJ's metadata where ImageJ can hold them: up to 65535, below 2 GiB; else with OME's."""
    if planes.largest > np.iinfo(np.uint16).max or _nbytes(planes, planes.dtype) >= _BIG:
        write_ome_tiff(planes, path, options)
        return
    pages = (plane.labels.astype(planes.dtype) for plane in planes.in_order(_imagej_order(planes)))
    _write_imagej(path, pages, planes, planes.dtype, planes.largest)


def write_ome_tiff(planes: Planes, path: Path, _options: Options) -> None:
    """Write labels with OME's metadata, as BigTIFF where they are large."""
    _check_axes(planes)
    tifffile.imwrite(
        path,
        (plane.labels.astype(planes.dtype) for plane in planes),
        shape=planes.shape,
        dtype=planes.dtype,
        ome=True,
        bigtiff=_nbytes(planes, planes.dtype) >= _BIG,
        photometric="minisblack",
        compression="zlib",
        metadata={"axes": _capitals(planes.image.axes), "Name": planes.image.name, **_ome_sizes(planes)},
    )


def write_masks(planes: Planes, path: Path, options: Options) -> None:
    """Write a file for each object, all planes in it, with ImageJ's metadata."""
    names = FileNames(planes, ".tif", options.names, "{name}_{object}", of_objects=True, of_planes=False)
    value = options.value or 255
    for label in planes.objects:
        file = path / names.name(label=label)
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_imagej(file, _masks(planes, label, value), planes, np.dtype(np.uint8), value)
    classes = planes.image.classes
    rows = ((names.name(label=label), label, classes.get(label, "")) for label in planes.objects)
    write_index(path, ("file", "object", "class"), rows)


def _masks(planes: Planes, label: int, value: int) -> Iterator[npt.NDArray[np.uint8]]:
    for position in planes.positions_in(_imagej_order(planes)):
        mask = planes.mask(position, label)
        yield np.where(mask, np.uint8(value), np.uint8(0))
        planes.did(int(label in planes.present(position)))


def _write_imagej(
    path: Path, pages: Iterator[npt.NDArray[Any]], planes: Planes, dtype: np.dtype[Any], largest: int
) -> None:
    order = _imagej_order(planes)
    extent = dict(zip(planes.image.axes, planes.shape, strict=True))
    (height, unit_y), (width, unit_x) = (_size(planes, axis) for axis in "yx")
    tifffile.imwrite(
        path,
        pages,
        shape=tuple(extent[axis] for axis in (*order, "y", "x")),
        dtype=dtype,
        imagej=True,
        photometric="minisblack",
        compression="zlib",
        resolution=(1 / width, 1 / height),
        metadata={
            "axes": _capitals((*order, "y", "x")),
            "unit": _imagej_unit(unit_x),
            **({} if unit_y == unit_x else {"yunit": _imagej_unit(unit_y)}),
            **_imagej_leading(planes, unit_x),
            "min": 0.0,  # what Fiji shows as black and white
            "max": float(max(1, largest)),
        },
    )


def _imagej_leading(planes: Planes, unit: str) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    if "z" in planes.image.axes:
        spacing, unit_z = _size(planes, "z")
        sizes |= {"spacing": spacing} | ({} if unit_z == unit else {"zunit": _imagej_unit(unit_z)})
    if "t" in planes.image.axes:
        interval, unit_t = _size(planes, "t")
        if unit_t in _SECONDS:
            sizes |= {"finterval": interval * _SECONDS[unit_t], "tunit": "sec"}
    return sizes


def _imagej_unit(unit: str) -> str:
    return "um" if unit == "micrometer" else PIXEL if unit == PIXEL else unit_symbol(unit)


def _imagej_order(planes: Planes) -> tuple[str, ...]:
    _check_axes(planes)
    return tuple(axis for axis in _IMAGEJ_ORDER if axis in planes.image.axes)


def _ome_sizes(planes: Planes) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    for axis in "xyz":
        if axis in planes.image.axes:
            size, unit = _size(planes, axis)
            known = unit_symbol(unit) if unit in _LENGTHS else unit if unit == PIXEL else _ELSEWHERE
            sizes |= {f"PhysicalSize{axis.upper()}": size, f"PhysicalSize{axis.upper()}Unit": known}
    if "t" in planes.image.axes:
        interval, unit = _size(planes, "t")
        if unit in _SECONDS:
            sizes |= {"TimeIncrement": interval, "TimeIncrementUnit": unit_symbol(unit)}
    return sizes


def _size(planes: Planes, axis: str) -> tuple[float, str]:
    size = planes.image.size_of(axis)
    assert size is not None, axis
    return size


def _check_axes(planes: Planes) -> None:
    others = [axis for axis in planes.image.leading if axis not in _IMAGEJ_ORDER]
    if others:
        raise InputError(f"a TIFF has the axes t, z, c, y, x, these labels have {', '.join(others)}, too; "
                         "rename or choose axes, or export NPZ")  # fmt: skip


def _capitals(axes: Iterable[str]) -> str:
    return "".join(axes).upper()


def _nbytes(planes: Planes, dtype: np.dtype[Any]) -> int:
    return math.prod(planes.shape) * dtype.itemsize
