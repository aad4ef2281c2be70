"""Writers for File > Save: napari hands over a Labels layer's data and attributes, and a path it has asked for.

Files that are there are replaced, as the dialog has asked; folders only where they hold an earlier export.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from napari_fbrs.annotation.session import SESSION, Session
from napari_fbrs.export.formats import FORMATS
from napari_fbrs.export.source import from_layer
from napari_fbrs.export.writing import export_labels

Meta = Mapping[str, Any]


def write_tiff(path: str, data: Any, meta: Meta) -> list[str]:
    """Write labels as TIFF, or as OME-TIFF where the name says ``.ome.tif``."""
    return _write(path, data, meta, "ome-tiff" if path.lower().endswith((".ome.tif", ".ome.tiff")) else "tiff")


def write_csv(path: str, data: Any, meta: Meta) -> list[str]:
    """Write measurements, a row for each object and slice."""
    return _write(path, data, meta, "csv")


def write_npz(path: str, data: Any, meta: Meta) -> list[str]:
    """Write labels for NumPy."""
    return _write(path, data, meta, "npz")


def write_coco(path: str, data: Any, meta: Meta) -> list[str]:
    """Write polygons as COCO JSON."""
    return _write(path, data, meta, "coco")


def write_geojson(path: str, data: Any, meta: Meta) -> list[str]:
    """Write outlines for QuPath."""
    return _write(path, data, meta, "geojson")


def write_imagej_roi(path: str, data: Any, meta: Meta) -> list[str]:
    """Write outlines for ImageJ's ROI Manager."""
    return _write(path, data, meta, "imagej-roi")


def write_ome_zarr(path: str, data: Any, meta: Meta) -> list[str]:
    """Write labels as OME-Zarr."""
    return _write(path, data, meta, "ome-zarr")


def _write(path: str, data: Any, meta: Meta, format_name: str) -> list[str]:
    exported = export_labels(from_layer(data, meta), path, format_name, overwrite=True)
    session = (meta.get("metadata") or {}).get(SESSION)
    if FORMATS[format_name].holds_masks and isinstance(session, Session) and _of(session, data):
        session.saved()
    return [str(exported.path)]


def _of(session: Session, data: Any) -> bool:
    """Whether labels in memory are those of a session, and not of a duplicate, which has the same metadata."""
    return not isinstance(data, np.ndarray) or np.may_share_memory(data, session.labels.read((...,)))
