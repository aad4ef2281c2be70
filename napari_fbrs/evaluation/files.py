"""The files of a data set: a folder, or a zip with or without a folder around them."""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath

import imageio.v3
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from napari_fbrs.errors import InputError

_NOT_DATA = ("__MACOSX", "Thumbs.db")
_LARGEST_BYTES = 2**31  # of a file, and of its pixels
_UNREADABLE = (  # what zipfile is known to raise on archives that are damaged, encrypted, or packed in ways it cannot
    OSError, zipfile.BadZipFile, KeyError, zlib.error, lzma.LZMAError, EOFError, RuntimeError, NotImplementedError
)  # fmt: skip
_NO_IMAGE = (  # what the libraries are known to raise on bytes that are no image
    ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, SyntaxError, TypeError, ValueError, EOFError,
    Image.DecompressionBombError, Image.DecompressionBombWarning, struct.error, tifffile.TiffFileError, zlib.error,
)  # fmt: skip


def dataset_name(path: Path) -> str:
    """Return what a folder or a zip is called, wherever it is looked at from: its split depends on that."""
    there = path.resolve()
    return there.stem if there.suffix == ".zip" else there.name


class Files:
    """The files in some folders of a data set, by their path below its top.

    Parameters
    ----------
    path : Path
        Folder, or zip; in a zip the data set may lie in a folder of its own.
    folders : tuple of str
        Which folders are looked into.

    Raises
    ------
    InputError
        If `path` is neither.
    """

    def __init__(self, path: Path, folders: tuple[str, ...]) -> None:
        self.path = path
        self._sizes, self._read = _from_folder(path, folders) if path.is_dir() else _from_zip(path, folders)

    @cached_property
    def names(self) -> list[str]:
        """Paths of the files, sorted."""
        return sorted(self._sizes)

    def inside(self, folder: str) -> list[str]:
        """Return the paths of the files that lie directly in a folder, sorted."""
        return [name for name in self.names if str(PurePosixPath(name).parent) == folder]

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""
        return self._sizes[name]

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises
        ------
        InputError
            If it cannot be read, or is far larger than any image.
        """
        if name not in self._sizes:  # as a list of names in the data set may have it, "../.." and all
            raise InputError(f"{self.path}: cannot read {name}: there is no such file in the data set")
        if self._sizes[name] > _LARGEST_BYTES:
            raise InputError(
                f"{self.path}: {name} says that it holds {self._sizes[name]} bytes: no image is that large"
            )
        try:
            return self._read(name)
        except _UNREADABLE as error:
            raise InputError(f"{self.path}: cannot read {name}: {error}") from error

    def image(self, name: str) -> npt.NDArray[np.generic]:
        """Return the pixels of an image file.

        Raises
        ------
        InputError
            If it is damaged, or no image.
        """
        content, suffix = self.read(name), PurePosixPath(name).suffix.lower()
        with self._damaged(name):
            plugin = "pillow"
            if suffix in (".tif", ".tiff"):
                plugin = "tifffile"
                self._check_extent(name, content)
            return np.asarray(imageio.v3.imread(io.BytesIO(content), extension=suffix, plugin=plugin))

    def _check_extent(self, name: str, content: bytes) -> None:
        """Raise `InputError` if a TIFF says that it holds more pixels than one can: Pillow looks at others itself."""
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            declared = sum(series.nbytes for series in file.series)
        if declared > _LARGEST_BYTES:
            raise InputError(
                f"{self.path}: {name} says that it holds {declared} bytes of pixels: no image is that large"
            )

    def labels(self, name: str) -> npt.NDArray[np.generic]:
        """Return the values of a label image, which are not the colours of its palette if it has one.

        Raises
        ------
        InputError
            If it is damaged, no image, or holds anything but whole numbers.
        """
        if PurePosixPath(name).suffix.lower() == ".png":
            with self._damaged(name), Image.open(io.BytesIO(self.read(name))) as image:
                if image.mode == "P":
                    return np.asarray(image)
        values = self.image(name)
        if values.dtype.kind not in "bui":
            raise InputError(f"{self.path}: {name} must hold whole numbers, found {values.dtype}")
        return values

    @contextmanager
    def _damaged(self, name: str) -> Iterator[None]:
        try:
            yield
        except InputError:
            raise
        except _NO_IMAGE as error:
            raise InputError(f"{self.path}: {name} is damaged, or no image: {error}") from error


_Found = tuple[dict[str, int], Callable[[str], bytes]]


def top_folders(path: Path) -> list[str]:
    """Return the names of the folders at the top of a data set.

    Raises
    ------
    InputError
        If `path` is neither a folder nor a zip.
    """
    if path.is_dir():
        return sorted(child.name for child in path.iterdir() if child.is_dir())
    prefix, members = _members(_archive(path))
    return sorted({name.removeprefix(prefix).split("/")[0] for name in members if name.removeprefix(prefix).count("/")})


def _from_folder(path: Path, folders: tuple[str, ...]) -> _Found:
    entries = (entry for folder in folders for entry in (path / folder, *path.glob(f"{folder}/*")))
    files = (entry for entry in entries if entry.is_file() and not _is_hidden(entry.name))
    sizes = {entry.relative_to(path).as_posix(): entry.stat().st_size for entry in files}
    return sizes, lambda name: (path / name).read_bytes()


def _from_zip(path: Path, folders: tuple[str, ...]) -> _Found:
    archive = _archive(path)
    prefix, members = _members(archive)
    found = {name.removeprefix(prefix): archive.getinfo(name).file_size for name in members}
    sizes = {name: size for name, size in found.items() if name.split("/")[0] in folders}
    return sizes, lambda name: archive.read(prefix + name)


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is neither a folder nor a zip of images and labels: {error}") from error


def _members(archive: zipfile.ZipFile) -> tuple[str, list[str]]:
    """Return the folder around the data set ("" for none), and the files in it."""
    names = [m.filename for m in archive.infolist() if not m.is_dir()]
    names = [name for name in names if not any(map(_is_hidden, name.split("/")))]
    tops = {name.split("/")[0] for name in names if "/" in name}
    prefix = f"{tops.pop()}/" if len(tops) == 1 else ""
    return prefix, [name for name in names if name.startswith(prefix)]


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _NOT_DATA
