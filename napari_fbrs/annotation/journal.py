"""A journal on disk: what has been done so far, one JSON object a line, safe against a crash at any moment.

The first line says what the others belong to. Lines are on the disk within a second of `Journal.append`; one that was
cut by a crash is left out by `read_journal`. A journal belongs to one process at a time, which holds a lock that the
operating system lets go of when the process dies.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import uuid
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import platformdirs
from filelock import BaseFileLock, FileLock, Timeout

from napari_fbrs.annotation.output import replacing
from napari_fbrs.errors import InputError

MOST_BYTES = 2**30  # of all journals together
YOUNGEST = timedelta(days=30)  # what was changed since is never removed without being asked
FORMAT, VERSION = "napari-fbrs journal", 1
_SUFFIX = ".journal"
_FOLDER = "NAPARI_FBRS_JOURNALS"  # environment variable: another folder
_DELAY = 0.3  # seconds in which entries gather before they are written together
_LONGEST_LINE = 512 * 2**20  # bytes
_LONGEST_HEADER = 2**16
_BEGIN = json.dumps({"format": FORMAT}).encode()[:-1]

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
        self._lock = FileLock(_lock_path(self.path), thread_local=False)
        self._writing = 0  # how many of those that wait are being written
        self._waiting: list[tuple[bool, list[Pending]]] = [(True, [])]  # (anew?, entries)
        self._key: Hashable = None  # of the newest entry
        self._changed = threading.Condition()
        self._calls: list[Callable[[], None]] = []
        self._closed = self._lost = False
        self._thread = threading.Thread(target=self._run, name="napari-fbrs journal", daemon=True)
        self._thread.start()

    def append(self, entry: Pending, key: Hashable = None) -> None:
        """Add an entry, or what makes it when it is written; returns at once.

        Of entries in a row with the same key (not None) that wait together, only the newest is written.
        """
        self._queue(False, [entry], key)

    def rewrite(self, entries: Iterable[Pending]) -> None:
        """Have the file hold these entries and no others; it is replaced as a whole, later entries follow them."""
        self._queue(True, list(entries))

    @property
    def alive(self) -> bool:
        """Whether what is added will be written."""
        return self._thread.is_alive() and not self._closed

    @property
    def rewriting(self) -> bool:
        """Whether the file waits to be written anew."""
        return any(anew for anew, _ in self._waiting)

    def flush(self) -> bool:
        """Wait until everything added is on the disk; return False if it has failed to get there."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or not self._thread.is_alive())
        return not self._lost

    def when_written(self, call: Callable[[], None]) -> None:
        """Have something called, from the writing thread, once everything added so far is on the disk."""
        with self._changed:
            self._calls.append(call)
            self._changed.notify_all()

    def close(self) -> None:
        """Write what is left, and let go of the file, which stays."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def discard(self) -> None:
        """Close the journal and remove its file: what it holds is safe elsewhere."""
        self.close()
        _remove(self.path)

    def _queue(self, anew: bool, entries: list[Pending], key: Hashable = None) -> None:
        with self._changed:
            if not self.alive:
                self._lost = True
                return
            if anew:  # it holds all that was waiting
                del self._waiting[self._writing :]
            elif key is not None and key == self._key and len(self._waiting) > self._writing:
                del self._waiting[-1]
            self._key = key
            self._waiting.append((anew, entries))
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
            while self._wait():
                self._write()
        except Exception as error:
            logging.getLogger(__name__).info("the journal ends", exc_info=error)
            self._failed(f"clicks are no longer recorded in case of a crash: {_reason(error, self.path)}")
        finally:
            self._lock.release()
            with self._changed:
                self._lost = self._lost or bool(self._waiting)
                self._waiting.clear()
                self._changed.notify_all()

    def _wait(self) -> bool:
        """Return True once there is something to do, False once there is nothing and never will be."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._calls or self._closed)
            if not self._closed:
                self._changed.wait_for(lambda: self._closed, timeout=_DELAY)
            return bool(self._waiting or self._calls)

    def _write(self) -> None:
        """Write what waits, from the last part on that begins anew, and call who asked to know."""
        with self._changed:
            parts, calls = list(self._waiting), list(self._calls)
            self._writing = len(parts)
        start = max((index for index, (anew, _) in enumerate(parts) if anew), default=None)
        entries = [entry for _, part in parts[start or 0 :] for entry in part]
        if start is None:
            self.nbytes += _append(self.path, entries)
        else:
            with replacing(self.path) as temporary:
                self.nbytes = self.nbytes_anew = _append(temporary, [self._header, *entries])
        with self._changed:
            del self._waiting[: len(parts)]
            del self._calls[: len(calls)]
            self._writing = 0
            self._changed.notify_all()
        for call in calls:
            call()


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
        _remove(self.path)


def abandoned_journals(folder: Path, wanted: Callable[[Mapping[str, Any]], bool] = lambda _: True) -> list[Abandoned]:
    """Return the journals that processes now gone have left, the newest first; empty ones are removed.

    Those of another version, and files that are no journals, are left where they are.

    Parameters
    ----------
    folder : Path
        See `Journal`.
    wanted : callable, optional
        Told a header; those of which it answers False are not read further, and left.
    """
    found = []
    for path in sorted(Path(folder).glob(f"[!.]*{_SUFFIX}"), reverse=True):
        lock = FileLock(_lock_path(path), thread_local=False)
        try:
            lock.acquire(blocking=False)
            header = read_header(path)
            journal = Abandoned(path, *read_journal(path), lock) if not header or wanted(header) else None
        except (Timeout, OSError, NotImplementedError, InputError):  # in use, not readable, or not ours to judge
            journal = None
        if journal is None:
            lock.release()
        elif journal.entries:
            found.append(journal)
        else:
            journal.discard()
    return found


@dataclass(frozen=True)
class Kept:
    """A journal in the folder.

    Parameters
    ----------
    path : Path
        The file.
    nbytes : int
        Its size.
    changed : datetime
        When something was last added, in UTC.
    """

    path: Path
    nbytes: int
    changed: datetime


def kept_journals(folder: Path) -> list[Kept]:
    """Return the journals there are, in use or not, the one changed last first; they are not read."""
    kept = []
    for path in Path(folder).glob(f"[!.]*{_SUFFIX}"):
        with suppress(OSError):  # gone meanwhile
            state = path.stat()
            kept.append(Kept(path, state.st_size, datetime.fromtimestamp(state.st_mtime, UTC)))
    return sorted(kept, key=lambda journal: journal.changed, reverse=True)


def remove_journal(path: Path) -> None:
    """Remove a journal that no process holds.

    Raises
    ------
    InputError
        If one holds it.
    OSError
        If it cannot be removed.
    """
    lock = FileLock(_lock_path(path), thread_local=False)
    try:
        lock.acquire(blocking=False)
    except (Timeout, NotImplementedError) as error:
        raise InputError(f"{path.name} is in use by a napari that is open, or not ours to remove") from error
    lock.release()
    _remove(path)
    if path.exists():
        raise OSError(f"{path} cannot be removed: see that its folder may be written to")


def tidy(folder: Path, most: int = MOST_BYTES, youngest: timedelta = YOUNGEST, now: datetime | None = None) -> None:
    """Remove the oldest journals that nobody came back for, where there are too many.

    Parameters
    ----------
    folder : Path
        See `Journal`.
    most : int, optional
        Bytes that journals may take up together.
    youngest : timedelta, optional
        Journals changed since then stay, however many there are.
    now : datetime, optional
        In UTC; the time there is by default.
    """
    journals = kept_journals(folder)
    total = sum(journal.nbytes for journal in journals)
    before = (now or datetime.now(UTC)) - youngest
    for journal in reversed(journals):
        if total <= most or journal.changed > before:
            return
        with suppress(InputError, OSError):  # in use, or not ours to judge
            read_header(journal.path)
            remove_journal(journal.path)
            total -= journal.nbytes


def read_header(path: Path) -> dict[str, Any]:
    """Return what a journal belongs to; empty where it was cut before that was written.

    Raises
    ------
    InputError
        If it is no journal of this version.
    """
    with Path(path).open("rb") as file:
        line = file.readline(_LONGEST_HEADER)
    header = _parsed(line)
    if header is None:
        if line and not (_BEGIN.startswith(line[: len(_BEGIN)]) and not line.endswith(b"\n")):
            raise InputError(f"{path} is no journal")
        return {}
    if header.get("format") != FORMAT or header.get("version") != VERSION:
        raise InputError(
            f"{path} is no journal of this version: found {header.get('format')!r}, version "
            f"{header.get('version')!r}, instead of {FORMAT!r}, version {VERSION}"
        )
    return header


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
    header, entries = read_header(path), []
    with Path(path).open("rb") as file:
        file.readline()
        for line in iter(lambda: file.readline(_LONGEST_LINE), b""):
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
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


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


def _remove(path: Path) -> None:
    """Remove a journal that nobody else holds, what a crash left of it, and its lock, as far as possible."""
    for gone in (*path.parent.glob(f".{path.stem}.*"), path, _lock_path(path)):
        try:
            gone.unlink(missing_ok=True)
        except OSError:  # a folder that has become read-only: the next start offers it again, which loses nothing
            return


def _reason(error: Exception, path: Path) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return reason if str(path.parent) in reason else f"{reason} ({path.parent})"
