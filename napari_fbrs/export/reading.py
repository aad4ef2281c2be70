"""Label images from files, with what the files say of axes and scale."""

from __future__ import annotations

import csv
import dataclasses
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import tifffile

from napari_fbrs.errors import InputError
from napari_fbrs.export.source import PIXEL, LabelImage, unit_name

_NUMPY = (".npy", ".npz")


def read_label_image(
    path: Path,
    *,
    name: str | None = None,
    axes: Sequence[str] = "",
    scale: Sequence[float] = (),
    units: Sequence[str] = (),
    classes: Mapping[int, str] | None = None,
) -> LabelImage:
    """Return the label image in a file.

    Parameters
    ----------
    path : Path
        TIFF, PNG or NPY, or NPZ with an array ``labels``.
    name : str, optional
        The file's name without suffixes by default.
    axes, scale, units : sequence, optional
        As `LabelImage` takes them; what the file says by default. A single unit stands for all axes.
    classes : mapping of int to str, optional
        Added to those in the file.

    Returns
    -------
    LabelImage
        Floating-point labels, as ImageJ writes large ones, are taken if they are whole numbers.

    Raises
    ------
    InputError
        If the file cannot be read, or holds no labels.
    """
    path = Path(path)
    data, known = _read_numpy(path) if path.suffix.lower() in _NUMPY else _read_picture(path)
    if data.ndim < 2:
        raise InputError(f"{path.name} holds an array of shape {data.shape}; labels have rows and columns")
    if len(units) == 1:
        units = [units[0]] * data.ndim
    known |= {key: value for key, value in (("axes", axes), ("scale", scale), ("units", units)) if len(value)}
    known["classes"] = {**known.get("classes", {}), **(classes or {})}
    stem = path.name.split(".")[0] if path.name.lower().endswith((".ome.tif", ".ome.tiff")) else path.stem
    return LabelImage(_whole(data, path), name=name or stem, **known)


def read_intensities(labels: LabelImage, path: Path) -> LabelImage:
    """Return a label image with the intensities of an image file to measure.

    Raises
    ------
    InputError
        If the file cannot be read, has colours, or does not fit the labels.
    """
    from napari_fbrs.annotation.image_file import read_image  # imports torch

    pixels, rgb = read_image(path)
    if rgb:
        raise InputError(f"{path.name} has colours; intensities are measured in a grey image")
    return dataclasses.replace(labels, intensities=pixels)


def read_classes(path: Path) -> dict[int, str]:
    """Return the classes in a CSV file with the columns ``object`` and ``class``.

    Raises
    ------
    InputError
        If the file cannot be read; names the line.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            if not {"object", "class"} <= set(table.fieldnames or ()):
                raise InputError(f"{path.name}, line 1: needs the columns object,class")
            rows = [(table.line_num, row["object"] or "", row["class"] or "") for row in table]
    except OSError as error:
        raise InputError(f"cannot read classes from {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV file in UTF-8: {error}") from error
    for line, label, _ in rows:
        if not label.strip().isdecimal():
            raise InputError(f"{path.name}, line {line}: object must be a whole number, found {label!r}")
    return {int(label): name.strip() for _, label, name in rows if name.strip()}


def known_of_image(path: Path, ndim: int) -> dict[str, Any]:
    """Return the axes, scale and units that an image file or zarr array says it has, by the names of `LabelImage`.

    Parameters
    ----------
    path : Path
        See `open_image`.
    ndim : int
        Of the image, colours not counted; what the file says of other axes than these is left out.
    """
    from napari_fbrs.annotation.image_file import TIFF_SUFFIXES  # imports torch
    from napari_fbrs.annotation.opening import is_zarr, open_zarr

    if is_zarr(path):
        return _zarr_metadata(open_zarr(path)[1], ndim)
    return _tiff_metadata(path, ndim) if path.suffix.lower() in TIFF_SUFFIXES else {}


def _zarr_metadata(about: Mapping[str, Any], ndim: int) -> dict[str, Any]:
    axes, scale = [axis.lower() for axis in about.get("axes", ())], about.get("scale", ())
    if len(axes) != ndim or len(set(axes)) != ndim or axes[-2:] != ["y", "x"] or not all(map(str.isidentifier, axes)):
        return {}
    known: dict[str, Any] = {"axes": axes, "units": [unit or PIXEL for unit in about["units"]]}
    return known | ({"scale": scale} if len(scale) == ndim and all(map(math.isfinite, scale)) else {})


def _read_numpy(path: Path) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"no labels at {path}")
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False), {}
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path.name} is damaged, or no NumPy file: {error}") from error
    if "labels" not in arrays:
        raise InputError(f"{path.name} holds no array labels, but {', '.join(arrays) or 'nothing'}")
    try:
        return arrays["labels"], _described(arrays)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path.name}: what it says of axes, sizes or classes cannot be used: {error}") from error


def _described(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    known: dict[str, Any] = {
        key: list(map(of, arrays[key].tolist()))
        for key, of in (("axes", str), ("scale", float), ("units", str))
        if key in arrays
    }
    if {"objects", "classes"} <= set(arrays):
        pairs = zip(arrays["objects"].tolist(), arrays["classes"].tolist(), strict=True)
        known["classes"] = {int(label): str(name) for label, name in pairs if name}
    return known


def _read_picture(path: Path) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    from napari_fbrs.annotation.image_file import TIFF_SUFFIXES, read_image  # imports torch

    pixels, rgb = read_image(path)
    if rgb:
        raise InputError(f"{path.name} has colours; a label image has a number for each pixel")
    return pixels, _tiff_metadata(path, pixels.ndim) if path.suffix.lower() in TIFF_SUFFIXES else {}


def _tiff_metadata(path: Path, ndim: int) -> dict[str, Any]:
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        letters = [axis.lower() for axis in series.axes if axis not in "YXS"] + ["y", "x"]
        if len(letters) != ndim or len(set(letters)) != ndim:
            return {}
        sizes = _ome_sizes(file) if file.is_ome else _imagej_sizes(file) if file.is_imagej else {}
    known: dict[str, Any] = {"axes": letters} if set(letters) <= set("tzcyx") else {}
    if sizes:
        known["scale"] = [sizes.get(axis, (1.0, PIXEL))[0] for axis in letters]
        known["units"] = [sizes.get(axis, (1.0, PIXEL))[1] for axis in letters]
    return known


def _ome_sizes(file: tifffile.TiffFile) -> dict[str, tuple[float, str]]:
    """Return the size of a pixel and its unit along axes of which an OME-TIFF says so."""
    root = ElementTree.fromstring(file.ome_metadata or "<OME/>")
    pixels = next((element for element in root.iter() if element.tag.endswith("}Pixels")), None)
    if pixels is None:
        return {}
    names = {"x": "PhysicalSizeX", "y": "PhysicalSizeY", "z": "PhysicalSizeZ", "t": "TimeIncrement"}
    return {
        axis: (size, unit_name(pixels.get(f"{name}Unit", "s" if axis == "t" else "µm")))
        for axis, name in names.items()
        if (size := _number(pixels.get(name))) is not None
    }


def _imagej_sizes(file: tifffile.TiffFile) -> dict[str, tuple[float, str]]:
    """Return the size of a pixel and its unit along axes of which an ImageJ TIFF says so."""
    meta = file.imagej_metadata or {}
    unit = unit_name(str(meta.get("unit", PIXEL)).replace("\\u00B5", "µ"))
    sizes: dict[str, tuple[float, str]] = {}
    for axis, tag in (("x", "XResolution"), ("y", "YResolution")):
        pixels, units = file.pages.first.tags[tag].value if tag in file.pages.first.tags else (1, 1)
        if pixels and units:
            sizes[axis] = units / pixels, unit_name(meta.get("yunit", unit)) if axis == "y" else unit
    spacing, interval = _number(meta.get("spacing")), _number(meta.get("finterval"))
    if spacing is not None:
        sizes["z"] = spacing, unit_name(meta.get("zunit", unit))
    if interval is not None:
        sizes["t"] = interval, "second"
    return sizes


def _number(value: Any) -> float | None:
    """Return a positive number, None where there is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number > 0 and math.isfinite(number) else None


def _whole(data: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    if data.dtype.kind != "f":
        return data
    whole = np.isfinite(data).all() and (data == np.rint(data)).all() and np.abs(data).max(initial=0) < 2**53
    if not whole:
        raise InputError(f"{path.name} holds fractions; a label image has a whole number for each pixel")
    return data.astype(np.int64)
