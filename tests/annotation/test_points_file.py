"""Points as napari saves them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_fbrs.annotation.click_file import RecordedClick
from napari_fbrs.annotation.points_file import is_points_file, read_points
from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def clicks_of(rows: list[RecordedClick]) -> list[tuple[int, tuple[int, ...], Click]]:
    return [(row.object, row.plane, row.click) for row in rows]


def test_points_saved_by_napari_itself(tmp_path):
    from napari_builtins.io import napari_write_points

    data = np.array([[2, 10.5, 20], [0, 3, 4]])
    path = tmp_path / "cells.csv"
    napari_write_points(str(path), data, {"properties": {"positive": np.array([1, 0]), "object": [7, 7]}})
    assert is_points_file(path)
    rows = read_points(path)
    assert clicks_of(rows) == [(7, (2,), Click(10.5, 20)), (7, (0,), Click(3, 4, positive=False))]


def test_a_file_of_each_sign(tmp_path):
    positive = written(tmp_path / "cells_positive.csv", "index,axis-0,axis-1", "0,10,10", "1,50,50")
    negative = written(tmp_path / "cells negative.csv", "index,axis-0,axis-1", "0,48,40", "1,0,0")
    rows = read_points(positive, negative)
    assert clicks_of(rows) == [
        (1, (), Click(10, 10)),
        (2, (), Click(50, 50)),
        (2, (), Click(48, 40, positive=False)),
        (1, (), Click(0, 0, positive=False)),
    ]


def test_a_negative_point_belongs_to_the_nearest_on_its_plane(tmp_path):
    path = written(
        tmp_path / "p.csv", "index,axis-0,axis-1,axis-2,positive", "0,3,0,0,0.0", "1,3,90,90,1.0", "2,1,1,1,true"
    )  # fmt: skip
    assert clicks_of(read_points(path)) == [
        (1, (3,), Click(90, 90)),
        (2, (1,), Click(1, 1)),
        (1, (3,), Click(0, 0, positive=False)),
    ]
    written(path, "index,axis-0,axis-1,axis-2,positive", "0,3,0,0,0", "1,2,90,90,1")
    with pytest.raises(InputError, match=r"p\.csv, line 2: a negative point on a plane without positive ones"):
        read_points(path)


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        ("index,axis-0", "0,1", "line 1: points need the columns axis-0, axis-1"),
        ("index,axis-0,axis-2", "0,1,2", "line 1: points need"),
        ("index,axis-0,axis-1", "0,1,nan", "line 2: axis-1 must be a number, found 'nan'"),
        ("index,axis-0,axis-1", "0,1", "line 2: 2 values for 3 columns"),
        ("index,axis-0,axis-1,axis-2", "0,-3,1,1", "line 2: there is no plane -3"),
        ("index,axis-0,axis-1,axis-2", "0,1e300,1,1", "line 2: there is no plane"),
        ("index,axis-0,axis-1,positive", "0,1,1,maybe", "line 2: positive must be"),
        ("index,axis-0,axis-1,object", "0,1,1,0", "line 2: object must be a whole number"),
        ("index,axis-0,axis-1", "", "no points"),
    ],
)
def test_points_that_cannot_be_used(tmp_path, header, row, said):
    with pytest.raises(InputError, match=said):
        read_points(written(tmp_path / "points.csv", header, row))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(st.binary(max_size=200), st.lists(st.text('0123456789.,-eE"\n; axisnd', max_size=30)).map(
    lambda lines: "\n".join(["index,axis-0,axis-1,positive,object", *lines]).encode())))  # fmt: skip
def test_whatever_a_file_holds_is_clicks_or_an_error_in_words(tmp_path, content):
    path = tmp_path / "points.csv"
    path.write_bytes(content)
    is_points_file(path)
    try:
        rows = read_points(path)
    except InputError:
        return
    assert rows
    assert all(row.object >= 1 for row in rows)
