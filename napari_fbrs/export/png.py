"""PNG: the labels of each slice, or a mask of each object on each slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from napari_fbrs.errors import InputError
from napari_fbrs.export.names import FileNames
from napari_fbrs.export.options import Options
from napari_fbrs.export.planes import PlaneObject, Planes
from napari_fbrs.export.writing import write_index

_LARGEST = 65535

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


def write_slices(planes: Planes, path: Path, options: Options) -> None:
    """Write the labels of each slice, with 8 bits where they fit, else 16; or, if a value is given, a mask of all."""
    if options.value is None and planes.largest > _LARGEST:
        raise InputError(f"a PNG holds labels up to {_LARGEST}, found {planes.largest}: export a TIFF, or masks")
    names = FileNames(planes, ".png", options.names, "{name}_{plane}" if planes.indices else "{name}")
    for plane in planes:
        labels = plane.labels
        pixels = labels.astype(planes.dtype) if options.value is None else _binary(labels > 0, options.value)
        _save(path / names.name(plane.position), pixels)
    leading = planes.image.leading
    rows = ((names.name(position), *position) for position in planes.positions)
    write_index(path, ("file", *leading), rows)


def write_masks(planes: Planes, path: Path, options: Options) -> None:
    """Write a mask of each object on each slice, as large as the slice or cut to the object; an index says where."""
    usual = "{name}_{plane}_{object}" if planes.indices else "{name}_{object}"
    names = FileNames(planes, ".png", options.names, usual, of_objects=True)
    rows: list[tuple[object, ...]] = []
    for plane in planes:
        for thing in plane.objects():
            top, left, mask = _placed(thing, planes.plane_shape, options.margin)
            name = names.name(plane.position, thing.label)
            _save(path / name, _binary(mask, options.value or 255))
            corner = planes.rows.start + top, planes.columns.start + left
            class_name = planes.image.classes.get(thing.label, "")
            rows.append((name, thing.label, class_name, *plane.position, *corner, *mask.shape, thing.mask.sum()))
            planes.did()
    columns = ("file", "object", "class", *planes.image.leading, "row", "column", "rows", "columns", "pixels")
    write_index(path, columns, rows)


def _placed(thing: PlaneObject, shape: tuple[int, int], margin: int | None) -> tuple[int, int, npt.NDArray[np.bool_]]:
    """Return a mask of the whole plane, or of the object and a margin, and where it begins."""
    rows, columns = thing.box
    if margin is None:
        top, bottom, left, right = 0, shape[0], 0, shape[1]
    else:
        top, bottom = max(0, rows.start - margin), min(shape[0], rows.stop + margin)
        left, right = max(0, columns.start - margin), min(shape[1], columns.stop + margin)
    mask = np.zeros((bottom - top, right - left), dtype=bool)
    mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = thing.mask
    return top, left, mask


def _binary(mask: npt.NDArray[np.bool_], value: int) -> npt.NDArray[np.uint8]:
    return np.where(mask, np.uint8(value), np.uint8(0))


def _save(path: Path, pixels: npt.NDArray[np.unsignedinteger]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.ascontiguousarray(pixels)).save(path, format="PNG")
