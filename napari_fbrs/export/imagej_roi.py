"""ImageJ's regions of interest, one for each object on each plane, in a zip as the ROI Manager reads it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import roifile

from napari_fbrs.errors import InputError
from napari_fbrs.export.names import FileNames
from napari_fbrs.export.options import Options
from napari_fbrs.export.outlines import Polygon, outlines
from napari_fbrs.export.planes import Planes

_MOVE_TO, _LINE_TO, _CLOSE = 0, 1, 4  # segments of Java's paths
_LARGEST = 32767  # coordinates are signed 16-bit integers
_MOST_CORNERS = 65535


def write(planes: Planes, path: Path, _options: Options) -> None:
    """Write traced regions, or composite ones for objects with holes or islands; exact to the pixel."""
    if max(planes.image.shape[-2:]) > _LARGEST:
        raise InputError(f"ImageJ's regions reach no further than {_LARGEST} pixels: export GeoJSON")
    usual = "{plane}_{object}" if planes.indices else "{object}"
    names = FileNames(planes, ".roi", None, usual, of_objects=True)
    corner = np.array((planes.rows.start, planes.columns.start))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for plane in planes:
            polygons = outlines(plane.labels)
            for label in plane.present.tolist():
                name = names.name(plane.position, label)
                region = _region(polygons[label], corner)
                region.name = name.removesuffix(".roi")
                _set_position(region, dict(zip(planes.image.leading, plane.position, strict=True)))
                archive.writestr(name, region.tobytes())
                planes.did()


def _region(polygons: list[Polygon], corner: npt.NDArray[np.int64]) -> roifile.ImagejRoi:
    rings = [ring + corner for polygon in polygons for ring in (polygon.shell, *polygon.holes)]
    top, left = np.min([ring.min(axis=0) for ring in rings], axis=0).tolist()
    bottom, right = np.max([ring.max(axis=0) for ring in rings], axis=0).tolist()
    region = roifile.ImagejRoi(top=top, left=left, bottom=bottom, right=right)
    if len(rings) == 1 and len(rings[0]) <= _MOST_CORNERS:
        region.roitype = roifile.ROI_TYPE.TRACED
        region.integer_coordinates = (rings[0] - (top, left))[:, ::-1].astype(np.int32)
        region.n_coordinates = len(rings[0])
    else:
        path = np.concatenate([_path(ring) for ring in rings])
        region.roitype = roifile.ROI_TYPE.RECT  # with a path: a composite
        region.multi_coordinates = path
        region.shape_roi_size = len(path)
    return region


def _path(ring: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    segments = np.empty((len(ring), 3), dtype=np.float32)
    segments[:, 0] = _LINE_TO
    segments[0, 0] = _MOVE_TO
    segments[:, 1:] = ring[:, ::-1]
    return np.append(segments.ravel(), np.float32(_CLOSE))


def _set_position(region: roifile.ImagejRoi, at: dict[str, int]) -> None:
    """Say on which slice of a stack a region lies; ImageJ counts from 1, and 0 stands for all."""
    if len(at) == 1:
        region.position = next(iter(at.values())) + 1
    elif at:
        region.c_position, region.z_position, region.t_position = (at.get(axis, -1) + 1 for axis in "czt")
