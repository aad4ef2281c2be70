"""GeoJSON as QuPath reads it: a feature for each object on each plane, in pixels."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from napari_fbrs.export.options import Options
from napari_fbrs.export.outlines import Polygon, Ring, outlines
from napari_fbrs.export.planes import Planes

_ALL_CHANNELS = -1


def write(planes: Planes, path: Path, _options: Options) -> None:
    """Write polygons along the edges of pixels, with holes and islands; (0, 0) is the corner of the first pixel."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type":"FeatureCollection","features":[')
        separator = "\n"
        for plane in planes:
            polygons = outlines(plane.labels)
            for label in plane.present.tolist():
                feature = _feature(planes, label, plane.position, polygons[label])
                file.write(separator + json.dumps(feature, separators=(",", ":"), ensure_ascii=False))
                separator = ",\n"
                planes.did()
        file.write("\n]}\n")


def _feature(planes: Planes, label: int, position: tuple[int, ...], polygons: list[Polygon]) -> dict[str, Any]:
    image = planes.image
    at = dict(zip(image.leading, position, strict=True))
    parts = [[_ring(ring, planes) for ring in (polygon.shell, *polygon.holes)] for polygon in polygons]
    geometry: dict[str, Any] = {"type": "MultiPolygon", "coordinates": parts}
    if len(parts) == 1:
        geometry = {"type": "Polygon", "coordinates": parts[0]}
    if at:
        geometry["plane"] = {"c": at.get("c", _ALL_CHANNELS), "z": at.get("z", 0), "t": at.get("t", 0)}
    properties: dict[str, Any] = {"objectType": "annotation", "name": str(label)}
    if label in image.classes:
        properties["classification"] = {"name": image.classes[label]}
    key = "/".join((image.name, *(f"{axis}{index}" for axis, index in at.items()), str(label)))
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, key))
    return {"type": "Feature", "id": identity, "geometry": geometry, "properties": properties | {"object": label}}


def _ring(ring: Ring, planes: Planes) -> list[list[int]]:
    """Return a closed ring of x and y in the whole image."""
    corners = (ring + np.array((planes.rows.start, planes.columns.start)))[:, ::-1].tolist()
    return [*corners, corners[0]]
