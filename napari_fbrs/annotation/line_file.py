"""Files that lines of JSON are added to, one thing a line: what a crash cuts off is left out when they are read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from napari_fbrs.errors import InputError


class LineFile:
    """A file of JSON lines.

    Parameters
    ----------
    path : Path
        Made when it is opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.empty = True  # as far as it has been read
        self._whole = 0  # bytes up to the end of the last line that was written to its end
        self._file: IO[str] | None = None

    def read(self) -> Iterator[Any]:
        """Yield what the lines hold, if the file is there.

        Raises
        ------
        InputError
            If it cannot be read.
        ValueError
            If a line is no JSON.
        """
        if not self.path.exists():
            return
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror or error}") from error
        self._whole = content.rfind(b"\n") + 1
        if content and not self._whole and not _is_cut_off(content):
            raise ValueError("not lines of JSON")
        self.empty = self._whole == 0
        for line in content[: self._whole].splitlines():
            yield json.loads(line)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Open the file for `add`; what is left of a line cut off goes."""
        with self._says_what_failed():
            self._file = self.path.open("a", encoding="utf-8")
        try:
            with self._says_what_failed():
                self._file.truncate(self._whole)
            yield
        finally:
            self._file.close()
            self._file = None

    def add(self, line: Mapping[str, Any]) -> None:
        """Write a line, where the file is open."""
        if self._file is not None:
            with self._says_what_failed():
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()

    @contextmanager
    def _says_what_failed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror or error}") from error


def _is_cut_off(content: bytes) -> bool:
    """Return whether this can be the begin of a first line; a whole JSON file of another program is not."""
    if not content.startswith(b'{"'):
        return False
    try:
        json.loads(content)
    except ValueError:
        return True
    return False
