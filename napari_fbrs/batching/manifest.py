"""The manifest of a batch: what was done, a line of JSON for each image, so that a batch that was stopped goes on.

The first line says what the others were made with. Of several lines about one image the last one counts. Paths are
relative to the manifest's folder. What a manifest names is looked at to see whether it has changed, and results that it
names are not taken for images; else what is segmented, and what is written, follows from the command alone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os.path import normpath
from pathlib import Path, PurePosixPath
from typing import Any

from napari_fbrs.annotation.click_record import versions
from napari_fbrs.annotation.line_file import LineFile
from napari_fbrs.errors import InputError

FORMAT, VERSION = "napari-fbrs batch", 1
MANIFEST = "manifest.jsonl"
DONE, FAILED = "done", "failed"
_CHUNK = 2**20

Stamp = dict[str, Any]


class Manifest:
    """The manifest in a folder.

    Parameters
    ----------
    folder : Path
        Where results are written.
    settings : mapping of str to object
        What decides all results: model, mode, format, ...; anything JSON holds.
    anew : bool, optional
        Whether results made with other settings are to be replaced, rather than an error.

    Raises
    ------
    InputError
        If the manifest there cannot be read, or is of other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, anew: bool = False) -> None:
        self.path = folder / MANIFEST
        self._settings = dict(settings)
        self._lines = LineFile(self.path)
        self._entries: dict[str, Mapping[str, Any]] = {}
        self._current: set[str] = set()  # outputs whose last line was made with these settings
        self._same = False  # whether the last header in the file is of these settings
        self.inputs: set[str] = set()  # of all lines
        self.outputs: dict[str, set[str]] = {}  # of all lines, with the SHA-256 of each time
        self._read(anew)

    def __getitem__(self, output: str) -> Mapping[str, Any] | None:
        """Return the last line about an output, made with whatever settings; None where there is none."""
        return self._entries.get(output)

    def is_done(self, output: str) -> bool:
        """Return whether an output has been done, with these settings."""
        return output in self._current and self._entries[output]["status"] == DONE

    @contextmanager
    def open(self) -> Iterator[None]:
        """Open the file for `add`."""
        with self._lines.open():
            if not self._same:
                self._lines.add(
                    {"format": FORMAT, "version": VERSION, "settings": self._settings, "made": versions()}
                )  # fmt: skip
                self._same = True
            yield

    def add(self, entry: Mapping[str, Any]) -> None:
        """Write down what became of an image."""
        self._take(entry)
        self._lines.add(entry)

    def relative(self, path: Path) -> str:
        """Return a path as it is written down."""
        try:
            return Path(os.path.relpath(path, self.path.parent.absolute())).as_posix()
        except ValueError:  # on another drive
            return path.absolute().as_posix()

    def _read(self, anew: bool) -> None:
        try:
            for line in self._lines.read():
                if "format" in line:
                    self._take_header(line)
                else:
                    self._take_entry(line)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{self.path} is no manifest of a batch, or damaged ({error!r}); remove it") from error
        if not self._lines.empty and not self._same and not anew:
            self._refuse()

    def _take_header(self, line: Mapping[str, Any]) -> None:
        if line["format"] != FORMAT or line["version"] != VERSION:
            raise InputError(
                f"{self.path} is no manifest of a batch that this napari-fbrs knows; choose another folder"
            )
        self._there = dict(line["settings"])
        self._same = self._there == self._settings

    def _take_entry(self, line: Mapping[str, Any]) -> None:
        if not (isinstance(line["output"], str) and line["status"] in (DONE, FAILED)):
            raise ValueError("a line about nothing")
        for part in ("inputs", "outputs"):
            if not all(isinstance(stamp, dict) for stamp in line[part].values()):
                raise ValueError(f"{part} without what they were")
        self._take(line)

    def _take(self, entry: Mapping[str, Any]) -> None:
        output = entry["output"]
        self._entries[output] = entry
        self.inputs |= entry["inputs"].keys()
        for name, then in entry["outputs"].items():
            self.outputs.setdefault(name, set()).add(then.get("sha256"))
        (self._current.add if self._same else self._current.discard)(output)

    def _refuse(self) -> None:
        changed = sorted(
            key for key in {*self._there, *self._settings} if self._there.get(key) != self._settings.get(key)
        )
        was = ", ".join(f"{key} {self._there.get(key)}" for key in changed)
        now = ", ".join(f"{key} {self._settings.get(key)}" for key in changed)
        raise InputError(
            f"{self.path.parent} holds results made with {was}, this is {now}: choose another folder, or ask for "
            "them to be replaced (--overwrite)"
        )


class Results:
    """What batches have written to a folder so far, whatever their settings.

    Parameters
    ----------
    folder : Path
        Which need not be there.

    Raises
    ------
    InputError
        If its manifest cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        manifest = Manifest(folder, {}, anew=True)
        self._folder, self._outputs = folder.resolve(), manifest.outputs
        read = {Path(normpath(folder.absolute() / name)).parent for name in manifest.inputs}
        self._alone = bool(self._outputs) and not any(path.resolve().is_relative_to(self._folder) for path in read)

    def has(self, path: Path) -> bool:
        """Return whether a path is that of a result, or in one, or in the folder if it has not held images before."""
        name = self._name(path)
        return name is not None and (self._alone or any(str(part) in self._outputs for part in (name, *name.parents)))

    def wrote(self, path: Path) -> bool:
        """Return whether a file or folder that is there is as it was written."""
        hashes = self._outputs.get(str(self._name(path)))
        return hashes is not None and content_hash(path) in hashes

    def _name(self, path: Path) -> PurePosixPath | None:
        """Return the path within the folder, None where it is elsewhere."""
        real = path.parent.resolve() / path.name
        return PurePosixPath(real.relative_to(self._folder)) if real.is_relative_to(self._folder) else None


def stamp(path: Path) -> Stamp:
    """Return what tells whether a file or folder has changed: size, time, and the SHA-256 of what it holds.

    For a folder, which may hold a large array in many files, names, sizes and times stand for what is in them.
    """
    if not path.is_dir():
        about = path.stat()
        return {"size": about.st_size, "mtime_ns": about.st_mtime_ns, "sha256": file_hash(path)}
    hashed = hashlib.sha256()
    for name, about in _listing(path):
        hashed.update(f"{name}\0{about.st_size}\0{about.st_mtime_ns}\n".encode("utf-8", "surrogatepass"))
    return {"listing": hashed.hexdigest()}


def is_unchanged(path: Path, then: Mapping[str, Any]) -> bool:
    """Return whether a file or folder is as its stamp says; a file is read only where its time is another one."""
    try:
        if path.is_dir():
            return bool(stamp(path)["listing"] == then.get("listing"))
        if not path.is_file():  # nor a pipe, which would be waited for
            return False
        about = path.stat()
        if about.st_size != then.get("size"):
            return False
        return about.st_mtime_ns == then.get("mtime_ns") or file_hash(path) == then.get("sha256")
    except OSError:
        return False


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of all files in a folder."""
    if not path.is_dir():
        return file_hash(path)
    hashed = hashlib.sha256()
    for name, _ in _listing(path):
        hashed.update(f"{name}\0{file_hash(path / name)}\n".encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hashed.update(chunk)
    return hashed.hexdigest()


def _listing(folder: Path) -> list[tuple[str, os.stat_result]]:
    """Return all files in a folder by their names within it; links are not followed."""
    found = []
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            found.append((path.relative_to(folder).as_posix(), path.lstat()))
    return sorted(found)
