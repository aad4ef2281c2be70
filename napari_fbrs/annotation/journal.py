"""A journal on disk: what has been done so far, one JSON object a line, safe against a crash at any moment.

The first line says what the others belong to. Lines are on the disk within a second of `Journal.append`; one that was
cut by a crash is left out by `read_journal`. A journal belongs to one process at a time, which holds a lock that the
operating system lets go of when the process dies.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import platformdirs
from filelock import BaseFileLock, FileLock, Timeout

from napari_fbrs.annotation.output import replacing
from napari_fbrs.errors import InputError

FORMAT, VERSION = "napari-fbrs journal", 1
_SUFFIX = ".journal"
_FOLDER = "NAPARI_FBRS_JOURNALS"  # environment variable: another folder
_DELAY = 0.3  # seconds in which entries gather before they are written together
_LONGEST_LINE = 512 * 2**20  # bytes

Entry = Mapping[str, Any]
Pending = Entry | Callable[[], Entry]  # what takes long to put into words may be left to the writing thread


def journal_folder() -> Path:
    """Return where journals are kept: the user's data folder, or what ``NAPARI_FBRS_JOURNALS`` names."""
    chosen = os.environ.get(_FOLDER)
    return Path(chosen) if chosen else Path(platformdirs.user_data_dir("napari-fbrs", appauthor=False)) / "journals"


class Journal:
    """A file that entries are added to, written by a thread of its own.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    header : mapping
        What the entries belong to; anything JSON holds.
    failed : callable
        Told once, from the writing thread, why nothing more can be written; work goes on without a journal.
    """

    def __init__(self, folder: Path, header: Entry, failed: Callable[[str], None]) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        self.path = Path(folder) / f"{stamp}-{uuid.uuid4().hex[:8]}{_SUFFIX}"
        self.nbytes = 0  # of the file
        self.nbytes_anew = 0  # of the file when it was last written as a whole
        self._header = {"format": FORMAT, "version": VERSION} | dict(header)
        self._failed = failed
        self._lock = FileLock(_lock_path(self.path))
        self._waiting: list[tuple[bool, list[Pending]]] = [(True, [])]  # (anew?, entries)
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="napari-fbrs journal", daemon=True)
        self._thread.start()

    def append(self, entry: Pending) -> None:
        """Add an entry, or what makes it when it is written; returns at once."""
        self._queue(False, [entry])

    def rewrite(self, entries: Iterable[Pending]) -> None:
        """Have the file hold these entries and no others; it is replaced as a whole, later entries follow them."""
        self._queue(True, list(entries))

    def flush(self) -> None:
        """Wait until everything added is on the disk, or has failed to get there."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or not self._thread.is_alive())

    def close(self) -> None:
        """Write what is left, and let go of the file, which stays."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def discard(self) -> None:
        """Close the journal and remove its file: what it holds is safe elsewhere."""
        self.close()
        remove_journal(self.path)

    def _queue(self, anew: bool, entries: list[Pending]) -> None:
        with self._changed:
            if self._thread.is_alive() and not self._closed:
                self._waiting.append((anew, entries))
                self._changed.notify_all()

    def _run(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
            while self._wait():
                self._write(list(self._waiting))
        except (OSError, InputError, NotImplementedError) as error:  # the last: a file system without locks
            self._failed(f"clicks are no longer recorded in case of a crash: {_reason(error, self.path)}")
        finally:
            self._lock.release()
            with self._changed:
                self._waiting.clear()
                self._changed.notify_all()

    def _wait(self) -> bool:
        """Return True once there is something to write, False once there is nothing and never will be."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._closed:
                self._changed.wait_for(lambda: self._closed, timeout=_DELAY)
            return bool(self._waiting)

    def _write(self, parts: list[tuple[bool, list[Pending]]]) -> None:
        """Write the parts from the last one that begins anew."""
        start = max((index for index, (anew, _) in enumerate(parts) if anew), default=None)
        entries = [entry for _, part in parts[start or 0 :] for entry in part]
        if start is None:
            self.nbytes += _append(self.path, entries)
        else:
            with replacing(self.path) as temporary:
                self.nbytes = self.nbytes_anew = _append(temporary, [self._header, *entries])
        with self._changed:
            del self._waiting[: len(parts)]
            self._changed.notify_all()


@dataclass(frozen=True)
class Abandoned:
    """A journal whose process is gone, held by this one until it is released or discarded.

    Parameters
    ----------
    path : Path
        The file.
    header : dict
        What it belongs to.
    entries : list of dict
        Those that are complete, in order.
    """

    path: Path
    header: dict[str, Any]
    entries: list[dict[str, Any]]
    _lock: BaseFileLock

    def release(self) -> None:
        """Leave it for another time."""
        self._lock.release()

    def discard(self) -> None:
        """Remove it: what it holds is safe elsewhere, or not wanted."""
        self._lock.release()
        remove_journal(self.path)


def abandoned_journals(folder: Path) -> list[Abandoned]:
    """Return the journals that processes now gone have left, the newest first; empty ones are removed.

    Those of another version, and files that are no journals, are left where they are.
    """
    found = []
    for path in sorted(Path(folder).glob(f"*{_SUFFIX}"), reverse=True):
        lock = FileLock(_lock_path(path))
        try:
            lock.acquire(blocking=False)
            header, entries = read_journal(path)
        except (Timeout, OSError, NotImplementedError, InputError):  # in use, not readable, or not ours to judge
            lock.release()
            continue
        journal = Abandoned(path, header, entries, lock)
        if entries:
            found.append(journal)
        else:
            journal.discard()
    return found


def read_journal(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the header and the complete entries of a journal.

    Parameters
    ----------
    path : Path
        May have been cut anywhere.

    Raises
    ------
    InputError
        If it is no journal of this version. A journal cut within its first line holds nothing: no header, no entries.
    """
    with Path(path).open("rb") as file:
        lines = iter(lambda: file.readline(_LONGEST_LINE), b"")
        header = _parsed(next(lines, b""))
        if header is None:
            if path.stat().st_size and not _is_cut(path):
                raise InputError(f"{path} is no journal")
            return {}, []
        if header.get("format") != FORMAT or header.get("version") != VERSION:
            raise InputError(
                f"{path} is no journal of this version: found {header.get('format')!r}, version "
                f"{header.get('version')!r}, instead of {FORMAT!r}, version {VERSION}"
            )
        entries = []
        for line in lines:
            entry = _parsed(line)
            if entry is None:  # cut, or damaged: what follows may build on it
                break
            entries.append(entry)
        return header, entries


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return the object on a line, None where the line is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _is_cut(path: Path) -> bool:
    """Whether a file is the beginning of a journal's first line."""
    begin = json.dumps({"format": FORMAT}).encode()[:-1]
    with path.open("rb") as file:
        head = file.read(len(begin))
    return begin.startswith(head) and b"\n" not in path.read_bytes()


def _append(path: Path, entries: Iterable[Pending]) -> int:
    """Add lines to a file and see them on the disk; return their bytes."""
    lines = b"".join(json.dumps(entry() if callable(entry) else entry).encode() + b"\n" for entry in entries)
    with path.open("ab") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
    return len(lines)


def _lock_path(path: Path) -> Path:
    return path.with_suffix(".lock")


def remove_journal(path: Path) -> None:
    """Remove a journal that nobody holds, and its lock; nothing happens where that is not possible."""
    for gone in (path, _lock_path(path)):
        try:
            gone.unlink(missing_ok=True)
        except OSError:  # a folder that has become read-only: the next start offers it again, which loses nothing
            return


def _reason(error: Exception, path: Path) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return reason if str(path.parent) in reason else f"{reason} ({path.parent})"
