"""The table of formats."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from napari_fbrs.errors import InputError
from napari_fbrs.export.options import Options
from napari_fbrs.export.planes import Planes

Write = Callable[[Planes, Path, Options], None]


@dataclass(frozen=True)
class Format:
    """A way of writing labels down.

    Parameters
    ----------
    name : str
        What it is called on a command line.
    title : str
        What it is called in a window.
    suffixes : tuple of str
        Of its files, the usual one first; empty for a folder of files.
    writer : str
        Module of this package and function, joined by a colon.
    uses : frozenset of str
        Names of `Options` that it takes.
    folder : bool
        Whether it is a folder rather than a file.
    needs : str or None
        A package that the base dependencies do not hold.
    holds_masks : bool
        Whether all masks can be got back from it.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    writer: str
    uses: frozenset[str] = frozenset()
    folder: bool = False
    needs: str | None = None
    holds_masks: bool = True

    def check_usable(self) -> None:
        """Raise `InputError` where a package that it needs is not installed."""
        if self.needs is not None and importlib.util.find_spec(self.needs) is None:
            raise InputError(f'{self.title} needs the package {self.needs}: pip install "napari-fbrs[export]"')

    def write(self, planes: Planes, path: Path, options: Options) -> None:
        """Write to a new file, or into a new and empty folder."""
        module, function = self.writer.split(":")
        write: Write = getattr(importlib.import_module(f"napari_fbrs.export.{module}"), function)
        write(planes, path, options)


_NAMED = frozenset({"value", "names"})
_CUT = _NAMED | {"margin"}
_TABLE = (
    Format("tiff", "Labels: TIFF (Fiji, ImageJ)", (".tif", ".tiff"), "labels_tiff:write_tiff"),
    Format("ome-tiff", "Labels: OME-TIFF", (".ome.tif", ".ome.tiff"), "labels_tiff:write_ome_tiff"),
    Format("slices", "Labels: a PNG for each slice", (), "png:write_slices", _NAMED, folder=True),
    Format("masks", "Masks: a PNG for each object and slice", (), "png:write_masks", _CUT, folder=True),
    Format("masks-tiff", "Masks: a TIFF for each object", (), "labels_tiff:write_masks", _NAMED, folder=True),
    Format("csv", "Measurements: CSV, a row for each object and slice", (".csv",), "measurements:write_planes",
           holds_masks=False),
    Format("volumes", "Measurements: CSV, a row for each object of a stack", (".csv",), "measurements:write_volumes",
           holds_masks=False),
    Format("npz", "Labels: NumPy (NPZ)", (".npz",), "npz:write"),
    Format("coco", "Polygons: COCO JSON", (".json",), "coco:write_polygons", frozenset({"names"})),
    Format("coco-rle", "Masks: COCO JSON (RLE)", (".json",), "coco:write_rle", frozenset({"names"})),
    Format("imagej-roi", "Outlines: ImageJ ROIs (zip)", (".zip",), "imagej_roi:write", needs="roifile"),
    Format("geojson", "Outlines: GeoJSON (QuPath)", (".geojson",), "geojson:write"),
    Format("ome-zarr", "Labels: OME-Zarr", (".ome.zarr", ".zarr"), "ome_zarr:write", folder=True, needs="zarr"),
)  # fmt: skip
FORMATS = MappingProxyType({format_.name: format_ for format_ in _TABLE})


def find_format(name: str) -> Format:
    """Return the format of a name.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in FORMATS:
        raise InputError(f"there is no format {name!r}; there are {', '.join(FORMATS)}")
    return FORMATS[name]
