"""Files appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_fbrs.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name to write to in the folder of `path`; it becomes `path` if all goes well, and is removed if not.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # no folder to remove it from: the error above says so
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside `path` to fill; it becomes `path` if all goes well, and is removed if not.

    Raises
    ------
    InputError
        If the folder or something in it cannot be written.
    """
    path = Path(path)
    temporary, old = (path.with_name(f".{path.name}.{os.getpid()}.{what}") for what in ("partial", "old"))
    try:
        temporary.mkdir()
        yield temporary
        if path.exists():
            path.replace(old)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if old.exists() and not path.exists():
            old.replace(path)
        for leftover in (temporary, old):
            shutil.rmtree(leftover, ignore_errors=True)


def check_may_write(output: Path, inputs: Iterable[Path], *, overwrite: bool) -> None:
    """Raise `InputError` unless a file can be written, or replaced where that was asked for."""
    if not output.absolute().parent.is_dir():
        raise InputError(f"there is no folder {output.absolute().parent} to write {output.name} to")
    if output.is_dir():
        raise InputError(f"{output} is a folder; give the name of a file")
    check_not_read(output, inputs)
    if output.exists() and not overwrite:
        raise InputError(f"{output} is there already; add --overwrite to replace it")


def check_not_read(output: Path, inputs: Iterable[Path]) -> None:
    """Raise `InputError` if what is to be written would take the place of what is read, or of a folder it lies in."""
    for path in inputs if output.exists() else ():
        read = path.resolve()
        if any(there.exists() and output.samefile(there) for there in (read, *read.parents)):
            raise InputError(f"{output} is what is read, or holds it; give what is written another name")


def check_apart(outputs: Iterable[Path]) -> None:
    """Raise `InputError` if two things are to be written to one file."""
    seen: set[Path] = set()
    for path in outputs:
        if path.resolve() in seen:
            raise InputError(f"{path} would be written twice; give each output a name of its own")
        seen.add(path.resolve())
