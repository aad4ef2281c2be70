"""Files appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
