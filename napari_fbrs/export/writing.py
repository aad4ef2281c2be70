"""Exporting: files appear whole or not at all, and none is replaced without being asked."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_fbrs.annotation.output import replacing, replacing_folder
from napari_fbrs.errors import InputError
from napari_fbrs.export.formats import FORMATS, Format, find_format
from napari_fbrs.export.options import Options
from napari_fbrs.export.planes import Cancelled, Planes, Progress
from napari_fbrs.export.selection import Selection
from napari_fbrs.export.source import LabelImage

INDEX = "index.csv"  # in a folder of files: which they are
_OF_A_GROUP = {".zattrs", ".zgroup"}  # besides its arrays, in Zarr


@dataclass(frozen=True)
class Exported:
    """What was written.

    Parameters
    ----------
    path : Path
        File or folder.
    objects : int
        How many there are.
    planes : int
        How many planes.
    """

    path: Path
    objects: int
    planes: int


def export_labels(
    image: LabelImage,
    path: Path | str,
    format_name: str,
    selection: Selection | None = None,
    options: Options | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Exported:
    """Write the objects of a label image to a file or a folder.

    Parameters
    ----------
    image : LabelImage
        What is exported.
    path : Path or str
        File or folder to write; the format's usual suffix is added to a name without one.
    format_name : str
        A key of `FORMATS`.
    selection : Selection, optional
        Objects, classes, slices and pixels; everything by default.
    options : Options, optional
        How the files are written.
    overwrite : bool, optional
        Whether a file, or a folder written by an earlier export, may be replaced.
    progress : callable, optional
        Told how much is done, and of how much.
    cancelled : callable, optional
        When it answers True, `CancelledError` is raised.

    Returns
    -------
    Exported
        The path written, and how much.

    Raises
    ------
    InputError
        If something cannot be exported so, or may not be replaced; nothing is written then.
    CancelledError
        If called off; nothing is written then.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_fbrs.export import LabelImage, export_labels
    >>> labels = LabelImage(np.eye(4, dtype=np.uint8), name="diagonal", scale=(0.5, 0.5), units=("um", "um"))
    >>> export_labels(labels, "diagonal.tif", "tiff", overwrite=True).objects
    1
    """
    format_, options = find_format(format_name), options or Options()
    format_.check_usable()
    check_options(format_, options)
    target = target_path(path, format_)
    check_may_write(target, format_, overwrite=overwrite)
    planes = Planes(image, selection, progress, cancelled)
    with (replacing_folder if format_.folder else replacing)(target) as temporary:
        format_.write(planes, temporary, options)
        planes.finish()
        check_may_write(target, format_, overwrite=overwrite)  # it may have come into being meanwhile
    return Exported(target, len(planes.objects), len(planes.positions))


def target_path(path: Path | str, format_: Format) -> Path:
    """Return the path that is written, with the format's suffix.

    Raises
    ------
    InputError
        If the suffix is another format's.
    """
    path = Path(path).expanduser()
    name = path.name.lower()
    if not format_.suffixes or name.endswith(format_.suffixes):
        return path
    others = {suffix for other in FORMATS.values() for suffix in other.suffixes} | {".png"}
    if not name or path.suffix.lower() in others:
        raise InputError(f"{format_.name} is written as {', '.join(format_.suffixes)}, not as {path.name or path}")
    return path.with_name(path.name + format_.suffixes[0])


def check_may_write(path: Path, format_: Format, *, overwrite: bool) -> None:
    """Raise an error unless a path can be written, or replaced where that was asked for.

    Parameters
    ----------
    path : Path
        As `target_path` returns it.
    format_ : Format
        What is to be written.
    overwrite : bool
        Whether what is there may be replaced.

    Raises
    ------
    InputError
        If its folder is missing, if it is there and may not be replaced, or if it is a folder that holds anything but
        an earlier export.
    """
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} to")
    if not path.exists() or (format_.folder and path.is_dir() and not any(path.iterdir())):
        return
    if path.is_dir() is not format_.folder:
        raise InputError(f"{path} is a {'folder' if path.is_dir() else 'file'}; choose another name")
    if not overwrite:
        raise InputError(f"{path} is there already; choose another name, or ask for it to be replaced (--overwrite)")
    if format_.folder and not _is_export(path):
        raise InputError(f"{path} holds more than an earlier export; choose a new folder")


def write_index(folder: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write the table of a folder's files; the first column is a file's path within the folder."""
    with (folder / INDEX).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def check_options(format_: Format, options: Options) -> None:
    """Raise `InputError` where a format does not take an option."""
    unused = sorted(options.given - format_.uses)
    if unused:
        raise InputError(f"{format_.name} takes no {', '.join(unused)}")


def _is_export(folder: Path) -> bool:
    """Return whether a folder holds what an export has written, and nothing else."""
    try:
        if (folder / ".zattrs").is_file():
            about = json.loads((folder / ".zattrs").read_text(encoding="utf-8"))
            levels = {level["path"] for image in about["multiscales"] for level in image["datasets"]}
            return "image-label" in about and {path.name for path in folder.iterdir()} == levels | _OF_A_GROUP
        with (folder / INDEX).open(newline="", encoding="utf-8") as file:
            named = {row[0] for row in csv.reader(file) if row} | {INDEX}
    except (OSError, ValueError, LookupError, TypeError, csv.Error):
        return False
    return all(path.is_dir() or path.relative_to(folder).as_posix() in named for path in folder.rglob("*"))
