"""OME-Zarr: a label image as the format's version 0.4 describes it, with a pyramid of coarser levels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numcodecs
import zarr

from napari_fbrs.errors import InputError
from napari_fbrs.export.options import Options
from napari_fbrs.export.planes import Planes
from napari_fbrs.export.source import PIXEL

_VERSION = "0.4"  # what most programs read
_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}  # in the order that is asked for
_CHUNK = 1024  # longest side of a chunk, and of the coarsest level


def write(planes: Planes, path: Path, _options: Options) -> None:
    """Write labels chunk by chunk. The group can stand alone, or be moved into an image's group ``labels``.

    Coarser levels hold every second pixel of the level before, so that every pixel of theirs is some object's label.
    """
    others = [axis for axis in planes.image.axes if axis not in _TYPES]
    if others:
        raise InputError(f"OME-Zarr has the axes t, c, z, y, x, these labels have {', '.join(others)}, too: export NPZ")
    order = tuple(axis for axis in _TYPES if axis in planes.image.leading)
    group = zarr.open_group(path, mode="w", zarr_format=2)
    levels = [_level(group, planes, order, number) for number in range(_levels(planes))]
    for plane in planes:
        indices = dict(zip(planes.image.leading, plane.position, strict=True))
        starts = dict(zip(planes.image.leading, planes.origin[:-2], strict=True))
        at = tuple(indices[axis] - starts[axis] for axis in order)
        for number, level in enumerate(levels):
            level[at] = plane.labels[:: 2**number, :: 2**number].astype(planes.dtype)
    group.attrs.put(_metadata(planes, order, len(levels)))


def _levels(planes: Planes) -> int:
    longest, count = max(planes.plane_shape), 1
    while longest > _CHUNK:
        longest, count = -(-longest // 2), count + 1
    return count


def _level(group: zarr.Group, planes: Planes, order: tuple[str, ...], number: int) -> Any:
    extent = dict(zip(planes.image.axes, planes.shape, strict=True))
    sides = [-(-side // 2**number) for side in planes.plane_shape]
    return group.create_array(
        str(number),
        shape=(*(extent[axis] for axis in order), *sides),
        chunks=(*(1 for _ in order), *(min(side, _CHUNK) for side in sides)),
        dtype=planes.dtype,
        fill_value=0,
        compressors=numcodecs.Blosc(cname="zstd", clevel=5, shuffle=numcodecs.Blosc.SHUFFLE),
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )


def _metadata(planes: Planes, order: tuple[str, ...], levels: int) -> dict[str, Any]:
    image = planes.image
    axes = (*order, "y", "x")
    at = {axis: tuple(image.axes).index(axis) for axis in axes}
    scale = {axis: float(image.scale[at[axis]]) for axis in axes}
    begin = [image.translate[at[axis]] + planes.origin[at[axis]] * scale[axis] for axis in axes]
    datasets = [
        {
            "path": str(number),
            "coordinateTransformations": [
                {"type": "scale", "scale": [scale[axis] * (2**number if axis in "yx" else 1) for axis in axes]},
                {"type": "translation", "translation": begin},
            ],
        }
        for number in range(levels)
    ]
    described = [_axis(axis, image.units[at[axis]]) for axis in axes]
    properties = [{"label-value": label, "class": image.classes[label]} for label in planes.objects
                  if label in image.classes]  # fmt: skip
    return {
        "multiscales": [{"version": _VERSION, "name": image.name, "axes": described, "datasets": datasets}],
        "image-label": {"version": _VERSION} | ({"properties": properties} if properties else {}),
    }


def _axis(axis: str, unit: str) -> dict[str, str]:
    known = {"name": axis, "type": _TYPES[axis]}
    return known if unit == PIXEL or axis == "c" else known | {"unit": unit}
