"""Points as napari saves them from a Points layer: CSV with ``index,axis-0,axis-1,...`` and the layer's features.

Coordinates are those of the layer's data: pixels of the image, if the layer has the image's scale. The features may say

* ``positive`` (1, 0, true or false): whether a point is on its object. Without it the name of the file decides: points
  in a file whose name ends in ``negative`` are off their objects, all others are on them.
* ``object`` (a whole number from 1): which object. Without it every positive point is an object of its own, numbered
  in order, and a negative one belongs to the object whose positive point is nearest to it on its plane.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_fbrs.annotation.click_file import (
    RecordedClick,
    header_of,
    parse_number,
    parse_object,
    parse_positive,
    read_table,
)
from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError

_AXIS = re.compile(r"axis-(\d{1,2})", re.ASCII)
_LARGEST = 10**9  # an index that no image has


@dataclass(frozen=True)
class _Point:
    line: int
    plane: tuple[int, ...]
    click: Click
    object: int | None


def is_points_file(path: Path) -> bool:
    """Whether a CSV file is one of napari's points, by its first line."""
    return any(_AXIS.fullmatch(name) for name in header_of(path))


def read_points(*paths: Path) -> list[RecordedClick]:
    """Return the points in napari's files as clicks: first those of the first file, in order.

    Parameters
    ----------
    *paths : Path
        Files of one image, such as one of positive and one of negative points.

    Raises
    ------
    InputError
        If a file cannot be read, names the line; or if a negative point belongs to nothing.
    """
    points = [(Path(path).name, point) for path in paths for point in read_table(path, _read_rows)]
    if not points:
        raise InputError(f"{', '.join(Path(path).name for path in paths)}: no points; save a Points layer with points")
    with_object = [point.object is not None for _, point in points]
    if any(with_object) and not all(with_object):
        raise InputError(f"{', '.join(Path(path).name for path in paths)}: a column object is in some files only")
    return [_recorded(point, point.object) for _, point in points] if all(with_object) else _numbered(points)


def _numbered(points: Sequence[tuple[str, _Point]]) -> list[RecordedClick]:
    """Return points as clicks where every positive one is an object; the positive one of each object comes first."""
    positive = [point for _, point in points if point.click.positive]
    clicks = [_recorded(point, number) for number, point in enumerate(positive, start=1)]
    for name, point in points:
        if point.click.positive:
            continue
        near = [(math.dist(_at(point), _at(other)), number) for number, other in enumerate(positive, start=1)
                if other.plane == point.plane]  # fmt: skip
        if not near:
            raise InputError(f"{name}, line {point.line}: a negative point on a plane without positive ones")
        clicks.append(_recorded(point, min(near)[1]))
    return clicks


def _at(point: _Point) -> tuple[float, float]:
    return point.click.row, point.click.column


def _recorded(point: _Point, object_: int | None) -> RecordedClick:
    assert object_ is not None
    return RecordedClick(point.line, object_, point.plane, point.click)


def _read_rows(header: Sequence[str], rows: Iterable[tuple[int, Mapping[str, str]]], path: Path) -> list[_Point]:
    axes = [f"axis-{number}" for number in range(sum(_AXIS.fullmatch(name) is not None for name in header))]
    if len(axes) < 2 or not set(axes) <= set(header):
        raise InputError(f"{path.name}, line 1: points need the columns axis-0, axis-1, ...; found {', '.join(header)}")
    usual = not path.stem.lower().endswith(("negative", "neg"))
    found = []
    for line, cells in rows:
        try:
            found.append(_point(line, cells, axes, positive=usual))
        except InputError as error:
            raise InputError(f"{path.name}, line {line}: {error}") from error
    return found


def _point(line: int, cells: Mapping[str, str], axes: Sequence[str], *, positive: bool) -> _Point:
    *leading, row, column = (parse_number(axis, cells[axis]) for axis in axes)
    if any(not -0.5 <= at <= _LARGEST for at in leading):
        raise InputError(f"there is no plane {', '.join(f'{at:g}' for at in leading)}")
    sign = parse_positive(_whole(cells["positive"])) if cells.get("positive") else positive
    object_ = parse_object(_whole(cells["object"])) if cells.get("object") else None
    return _Point(line, tuple(max(0, round(at)) for at in leading), Click(row, column, sign), object_)


def _whole(text: str) -> str:
    """Return a number as a click file has it: tables write 1.0 for 1 where another value of the column is missing."""
    return text.removesuffix(".0")
