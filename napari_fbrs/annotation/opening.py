"""Images by their path: files are read, zarr arrays are read plane by plane when they are needed."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from napari_fbrs.annotation.image import Image
from napari_fbrs.annotation.image_file import READABLE, read_image
from napari_fbrs.errors import InputError

ZARR_SUFFIX = ".zarr"
_ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")
_DOUBLE_SUFFIX = re.compile(r"\.(ome\.(tiff?|zarr)|clicks\.json)$", re.IGNORECASE)
_RUNS_CODE = "pickle"  # a codec that does whatever the file says


def stem_of(name: str) -> str:
    """Return what an image is called: its name, or path with slashes, without suffixes."""
    short, path = _DOUBLE_SUFFIX.sub("", name), PurePosixPath(name)
    return short if short != name else (path.with_suffix("") if path.name else path).as_posix()  # "." has no name


def is_image_path(path: Path) -> bool:
    """Whether a path is that of an image, by its name: a file that can be read, or a zarr array."""
    return path.suffix.lower() in READABLE if path.is_file() else is_zarr(path)


def is_zarr(path: Path) -> bool:
    """Whether a path is a folder that holds a zarr array, or a group of them."""
    return path.is_dir() and any((path / name).is_file() for name in _ZARR_FILES)


def open_image(path: Path | str) -> Image:
    """Return the image at a path.

    Parameters
    ----------
    path : Path or str
        PNG, JPEG or TIFF, which are read as a whole; or a folder with a zarr array or an OME-Zarr image, of which
        planes are read when they are needed.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    path = Path(path)
    if is_zarr(path):
        levels, _ = open_zarr(path)
        return Image(levels[0], coarser=levels[1:])
    pixels, rgb = read_image(path)
    return Image(pixels, rgb=rgb)


def open_zarr(path: Path) -> tuple[list[Any], Mapping[str, Any]]:
    """Return the levels of an OME-Zarr image, the finest first, and what is said of that one.

    Of a plain array there is one, and nothing is said.

    Raises
    ------
    InputError
        If there is no array of real numbers in at least two dimensions, or zarr is not installed.
    """
    if importlib.util.find_spec("zarr") is None:
        raise InputError(f'{path.name} needs the package zarr: pip install "napari-fbrs[export]"')
    import zarr

    try:
        found = zarr.open(str(path), mode="r")
        about = {} if isinstance(found, zarr.Array) else _multiscale(dict(found.attrs), path)
        levels = [found] if isinstance(found, zarr.Array) else list(_levels(found, path, about["paths"]))
        codecs = [codec for level in levels for codec in _codecs(level)]
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path.name} needs more memory than there is: {error}") from error
    except Exception as error:
        raise InputError(f"{path.name} is no zarr array that can be read: {type(error).__name__}: {error}") from error
    if any(_RUNS_CODE in codec.lower() for codec in codecs):
        raise InputError(f"{path.name} is stored as Python's pickles, which could run anything: write it without them")
    finest, *coarser = levels
    if not isinstance(finest, zarr.Array) or finest.dtype.kind not in "buif" or finest.ndim < 2 or 0 in finest.shape:
        raise InputError(f"{path.name} holds no image: an array of numbers in at least 2 dimensions is needed")
    return [finest, *(level for level in coarser if isinstance(level, zarr.Array))], about


def _levels(group: Any, folder: Path, paths: Sequence[str]) -> Iterator[Any]:
    """Yield what a group holds at some paths: the first must be there, a level after it need not.

    What the group says of itself may be older than what lies in its folder, and what is not there would be read as 0.
    """
    there = [path for path in paths if any((folder / path / name).is_file() for name in _ZARR_FILES)]
    if paths[0] not in there:
        raise LookupError(f"there is no array {paths[0]}")
    yield group[paths[0]]
    for path in there[1:]:
        with suppress(LookupError, ValueError):  # damaged
            yield group[path]


def _multiscale(attributes: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Return the paths of an OME-Zarr image's levels in the group, names of axes, and the scale of the finest."""
    found = (attributes.get("ome") or attributes).get("multiscales")
    if not found:
        raise InputError(f"{path.name} is a zarr group without an OME-Zarr image: name the array in it")
    multiscale, level = found[0], found[0]["datasets"][0]
    paths = [PurePosixPath(str(dataset["path"])) for dataset in multiscale["datasets"]]
    for inside in paths:
        if inside.is_absolute() or ".." in inside.parts:
            raise InputError(f"{path.name} names an array outside its folder, {inside}")
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in multiscale.get("axes", ())]
    scales = [change["scale"] for change in level.get("coordinateTransformations", ()) if change["type"] == "scale"]
    return {
        "paths": [str(inside) for inside in paths],
        "axes": [str(axis["name"]) for axis in axes],
        "units": [str(axis.get("unit", "")) for axis in axes],
        "scale": [float(size) for size in scales[0]] if scales else [],
    }


def _codecs(array: Any) -> Iterator[str]:
    """Yield how the parts of an array are stored."""
    for codec in (*getattr(array, "filters", ()), *getattr(array, "compressors", ())):
        yield f"{type(codec).__name__} {getattr(codec, 'codec_id', '')}"
