"""COCO: an image for each plane, an annotation for each object on it, as polygons or as runs of pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fbrs.export.names import FileNames
from napari_fbrs.export.options import Options
from napari_fbrs.export.outlines import Polygon, outlines, without_holes
from napari_fbrs.export.planes import PlaneLabels, PlaneObject, Planes

_NO_CLASS = "object"  # the category of objects without a class

Segmentation = Callable[[PlaneObject], Any]


def write_polygons(planes: Planes, path: Path, options: Options) -> None:
    """Write polygons along the edges of pixels. COCO knows no holes: objects with holes are cut into pieces."""

    def of_plane(plane: PlaneLabels) -> Segmentation:
        polygons = outlines(plane.labels)
        return lambda thing: _polygons(thing, polygons[thing.label], planes)

    _write(planes, path, options, of_plane)


def write_rle(planes: Planes, path: Path, options: Options) -> None:
    """Write runs of pixels, compressed as pycocotools does it."""
    _write(planes, path, options, lambda _plane: lambda thing: _rle(thing, planes))


def run_lengths(mask: npt.NDArray[np.bool_], row: int, column: int, shape: tuple[int, int]) -> list[int]:
    """Return the lengths of runs of pixels off and on an object, in turns, down one column of an image after the other.

    Parameters
    ----------
    mask : ndarray of bool
        The object, in a rectangle.
    row, column : int
        Corner of the rectangle in the image.
    shape : tuple of int
        Rows and columns of the image.

    Returns
    -------
    list of int
        The first is the number of pixels before the object, which may be 0.
    """
    padded = np.zeros((mask.shape[1], mask.shape[0] + 2), dtype=np.int8)
    padded[:, 1:-1] = mask.T
    change = padded[:, 1:] - padded[:, :-1]
    starts, ends = (
        (columns + column) * shape[0] + rows + row for columns, rows in (np.nonzero(change == sign) for sign in (1, -1))
    )
    parted = starts[1:] != ends[:-1]  # else a run goes on at the top of the next column
    starts, ends = starts[np.append(True, parted)], ends[np.append(parted, True)]
    edges = np.stack((starts, ends), axis=1).ravel()
    rest = shape[0] * shape[1] - int(edges[-1])
    return [*np.diff(edges, prepend=0).tolist(), *([rest] if rest else [])]


def compressed(counts: list[int]) -> str:
    """Return run lengths as COCO's text: differences to the run before the last, in groups of five bits."""
    text: list[str] = []
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            text.append(chr(48 + bits + (32 if more else 0)))
    return "".join(text)


def _write(planes: Planes, path: Path, options: Options, of_plane: Callable[[PlaneLabels], Segmentation]) -> None:
    image = planes.image
    names = FileNames(planes, "", options.names, "{name}_{plane}.png" if planes.indices else "{name}.png")
    categories = {name: number for number, name in enumerate(_class_names(planes), start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for plane in planes:
        at = dict(zip(image.leading, plane.position, strict=True))
        height, width = image.shape[-2:]
        images.append(
            {"id": len(images) + 1, "file_name": names.name(plane.position), "width": width, "height": height, **at}
        )
        segmentation = of_plane(plane)
        for thing in plane.objects():
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": categories[image.classes.get(thing.label, _NO_CLASS)],
                    "object": thing.label,
                    "iscrowd": 0,
                    "bbox": _box(thing, planes),
                    "area": int(thing.mask.sum()),
                    "segmentation": segmentation(thing),
                }
            )
            planes.did()
    content = {
        "info": {"description": image.name},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    path.write_text(json.dumps(content, separators=(",", ":"), ensure_ascii=False), encoding="utf-8")


def _class_names(planes: Planes) -> list[str]:
    names = {planes.image.classes.get(label, _NO_CLASS) for label in planes.objects}
    return sorted(names) or [_NO_CLASS]


def _corner(thing: PlaneObject, planes: Planes) -> tuple[int, int]:
    """Return row and column of an object's box in the whole image."""
    return planes.rows.start + thing.row, planes.columns.start + thing.column


def _box(thing: PlaneObject, planes: Planes) -> list[int]:
    row, column = _corner(thing, planes)
    return [column, row, thing.mask.shape[1], thing.mask.shape[0]]


def _polygons(thing: PlaneObject, polygons: list[Polygon], planes: Planes) -> list[list[int]]:
    rings = [polygon.shell + np.array((planes.rows.start, planes.columns.start)) for polygon in polygons]
    if any(polygon.holes for polygon in polygons):
        rings = [ring + np.array(_corner(thing, planes)) for ring in without_holes(thing.mask)]
    return [ring[:, ::-1].ravel().tolist() for ring in rings]


def _rle(thing: PlaneObject, planes: Planes) -> dict[str, Any]:
    height, width = planes.image.shape[-2:]
    counts = run_lengths(thing.mask, *_corner(thing, planes), (height, width))
    return {"size": [height, width], "counts": compressed(counts)}
