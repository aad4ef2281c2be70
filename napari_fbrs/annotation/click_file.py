"""Click files: a table of clicks as CSV, one row a click, in the order in which they were made.

The columns are ``object,row,column,positive`` and, where the image has more than two dimensions, ``plane``::

    object,row,column,positive,plane
    1,52.5,118,1,3
    1,60,131,0,3
    2,17,40,true,4

``positive`` is 1, 0, true or false. ``plane`` is the index along each leading axis: ``3`` in a stack, ``2;3`` in a
series of stacks; it is empty or left out in 2D. ``stroke``, where there are freehand strokes, holds the pixels of one:
``12:30-41 13:29-42`` are columns 30 to 41 of row 12 and 29 to 42 of row 13; ``row`` and ``column`` are then a pixel of
it. A column ``image``, if there is one, says which image of many a click is on: a path from the file on, or a name.
Further columns are ignored.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from napari_fbrs.annotation.output import replacing
from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.errors import InputError
from napari_fbrs.strokes import Stroke

COLUMNS = ("object", "row", "column", "positive")
IMAGE = "image"
PLANE = "plane"
STROKE = "stroke"
MAX_OBJECT = 2**31 - 1  # what an int32 label image holds
_LARGEST_FILE = 2**28  # bytes

ClicksByPlace = dict[tuple[int, tuple[int, ...]], ClickList]
Rows = TypeVar("Rows")
Parse = Callable[[list[str], Iterator[tuple[int, Mapping[str, str]]], Path], Rows]


@dataclass(frozen=True)
class RecordedClick:
    """A row of a click file.

    Parameters
    ----------
    line : int
        Where it stands in the file, the header being line 1.
    object : int
        Label of the object, at least 1.
    plane : tuple of int
        Index along each leading axis of the image; empty in 2D.
    click : Click
        In pixels of the plane.
    """

    line: int
    object: int
    plane: tuple[int, ...]
    click: Click


def read_clicks(path: Path) -> ClicksByPlace:
    """Return the clicks of a file by object and plane.

    Parameters
    ----------
    path : Path
        A click file.

    Returns
    -------
    dict of (int, tuple of int) to ClickList
        Keys (object, plane) in the order in which they first appear; each click is a round of its own.

    Raises
    ------
    InputError
        If the file cannot be read; names the line.
    """
    by_place: dict[tuple[int, tuple[int, ...]], list[Click]] = {}
    for row in read_click_rows(path):
        by_place.setdefault((row.object, row.plane), []).append(row.click)
    return {place: ClickList.one_by_one(clicks) for place, clicks in by_place.items()}


def read_click_rows(path: Path, wanted: Callable[[str], bool] | None = None) -> list[RecordedClick]:
    """Return the rows of a click file, in order.

    Parameters
    ----------
    path : Path
        A click file.
    wanted : callable, optional
        Told what stands in the column ``image``, where there is one, whether a click is on the image in question. By
        default all are taken, which must be on one image then.

    Raises
    ------
    InputError
        If the file cannot be read; names the line.
    """
    rows = read_table(path, partial(_recorded_rows, wanted=wanted))
    if not rows:
        of = "" if wanted is None else " on this image"
        raise InputError(f"{path} holds no clicks{of}; it needs a header {','.join(COLUMNS)} and a line for each click")
    return rows


def images_of(path: Path) -> list[str]:
    """Return what stands in the column ``image`` of a click file, each once, in order; nothing where there is none.

    Raises
    ------
    InputError
        If the file cannot be read, or a click is on no image; names the line.
    """
    return read_table(path, _images)


def write_clicks(path: Path, clicks: Mapping[tuple[int, tuple[int, ...]], Sequence[Click]]) -> None:
    """Write clicks by object and plane as a click file; a file of that name is replaced.

    Rounds of clicks that were predicted together are not kept.

    Parameters
    ----------
    path : Path
        File to write.
    clicks : mapping of (int, tuple of int) to sequence of Click
        Keys (object, plane), as `read_clicks` returns them.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    with_planes = any(plane for _, plane in clicks)
    with_strokes = any(isinstance(click, Stroke) for places in clicks.values() for click in places)
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*COLUMNS, *[PLANE] * with_planes, *[STROKE] * with_strokes))
        for (object_, plane), places in clicks.items():
            where = [";".join(map(str, plane))] * with_planes
            for click in places:
                drawn = [click.text if isinstance(click, Stroke) else ""] * with_strokes
                writer.writerow([object_, _text(click.row), _text(click.column), int(click.positive), *where, *drawn])


def _text(value: float) -> str:
    """Return the shortest text that reads back as the same number."""
    value = float(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def header_of(path: Path) -> list[str]:
    """Return the names of the columns of a CSV file, in lower case; none where it cannot be read."""
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            return _names(next(csv.reader(file), []))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def read_table(path: Path, parse: Parse[Rows]) -> Rows:
    """Return what is made of the header and the rows of a CSV file.

    Parameters
    ----------
    path : Path
        File in UTF-8.
    parse : callable
        Given the names of the columns, an iterator of rows (the line's number, and cells by column) and the path.

    Raises
    ------
    InputError
        If the file cannot be read, or a row has more or fewer cells than the header; names the line.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"{path.name} is too large for a table of clicks")
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin files with a BOM
            lines = csv.reader(file, strict=True)
            header = _names(next(lines, []))
            return parse(header, _cells(lines, header, path.name), path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV file in UTF-8: {error}") from error


def _names(header: list[str]) -> list[str]:
    return [cell.strip().lower() for cell in header]


def _cells(lines: Iterator[list[str]], header: list[str], name: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    for cells in lines:
        if any(cell.strip() for cell in cells):
            line = lines.line_num  # type: ignore[attr-defined]
            try:
                yield line, _by_column(header, cells)
            except InputError as error:
                raise InputError(f"{name}, line {line}: {error}") from error


def _recorded_rows(
    header: Sequence[str],
    rows: Iterable[tuple[int, Mapping[str, str]]],
    path: Path,
    wanted: Callable[[str], bool] | None,
) -> list[RecordedClick]:
    if header:
        _check_header(header, path.name)
    found, images = [], set()
    for line, cells in rows:
        if IMAGE in cells and wanted is not None and not wanted(cells[IMAGE]):
            continue
        images.add(cells.get(IMAGE))
        try:
            found.append(_recorded(line, cells))
        except InputError as error:
            raise InputError(f"{path.name}, line {line}: {error}") from error
        if len(images) > 1:
            raise InputError(f"{path.name}, line {line}: clicks on several images, {', '.join(map(str, images))}")
    return found


def _images(header: Sequence[str], rows: Iterable[tuple[int, Mapping[str, str]]], path: Path) -> list[str]:
    if IMAGE not in header:
        return []
    _check_header(header, path.name)
    images: dict[str, None] = {}
    for line, cells in rows:
        if PurePosixPath(cells[IMAGE]).name in ("", ".."):
            raise InputError(f"{path.name}, line {line}: the column {IMAGE} says of no image, found {cells[IMAGE]!r}")
        images[cells[IMAGE]] = None
    return list(images)


def _check_header(header: Sequence[str], name: str) -> None:
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise InputError(
            f"{name}, line 1: no column {', '.join(missing)}; found {', '.join(header)}, "
            f"needed {','.join(COLUMNS)}[,{PLANE}] separated by commas"
        )
    twice = [column for column in (*COLUMNS, IMAGE, PLANE, STROKE) if header.count(column) > 1]
    if twice:
        raise InputError(f"{name}, line 1: column {', '.join(twice)} appears more than once")


def _by_column(header: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(header):
        raise InputError(
            f"{len(cells)} values for {len(header)} columns; decimals need a point, not a comma, and planes are "
            "joined by semicolons"
        )
    return dict(zip(header, (cell.strip() for cell in cells), strict=True))


def _recorded(line: int, cells: Mapping[str, str]) -> RecordedClick:
    click = Click(
        parse_number("row", cells["row"]), parse_number("column", cells["column"]), parse_positive(cells["positive"])
    )
    if cells.get(STROKE):
        click = _stroke(cells[STROKE], click)
    return RecordedClick(line, parse_object(cells["object"]), _plane(cells.get(PLANE, "")), click)


def _stroke(text: str, click: Click) -> Stroke:
    try:
        return Stroke.parse(text, positive=click.positive)
    except ValueError as error:
        raise InputError(str(error)) from error


def parse_object(text: str) -> int:
    """Return the label of an object, or raise `InputError`."""
    number = _index(text)
    if number is None or not 1 <= number <= MAX_OBJECT:
        raise InputError(f"object must be a whole number from 1 to {MAX_OBJECT}, found {text!r}")
    return number


def parse_number(column: str, text: str) -> float:
    """Return a number that is finite, or raise `InputError`, which names the column."""
    # A plain decimal: float() alone would also take NaN, infinities and 1_000.
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", text, re.ASCII) or math.isinf(float(text)):
        raise InputError(f"{column} must be a number, found {text!r}")
    return float(text)


def parse_positive(text: str) -> bool:
    """Return whether a click is positive, or raise `InputError`."""
    meanings = {"1": True, "true": True, "0": False, "false": False}
    if text.lower() not in meanings:
        raise InputError(f"positive must be 1, 0, true or false, found {text!r}")
    return meanings[text.lower()]


def _plane(text: str) -> tuple[int, ...]:
    indices = [_index(part.strip()) for part in text.split(";")] if text else []
    if None in indices:
        raise InputError(f"plane must be whole numbers from 0 joined by semicolons, such as 3 or 2;3, found {text!r}")
    return tuple(index for index in indices if index is not None)


def _index(text: str) -> int | None:
    """Return a whole number that is not negative, None where `text` is something else."""
    return int(text) if re.fullmatch(r"\d{1,18}", text, re.ASCII) else None
