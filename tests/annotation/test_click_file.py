from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.annotation.click_file import MAX_OBJECT, RecordedClick, read_click_rows, read_clicks, write_clicks
from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.errors import InputError
from napari_fbrs.strokes import Stroke

numbers = st.floats(allow_nan=False, allow_infinity=False)
pixels = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=9)
strokes = st.builds(lambda places, positive: Stroke.of(places, positive=positive), pixels, st.booleans())
clicks = st.lists(st.builds(Click, numbers, numbers, st.booleans()) | strokes, min_size=1, max_size=4)
places = st.tuples(st.integers(1, MAX_OBJECT), st.lists(st.integers(0, 10**6), max_size=3).map(tuple))


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "clicks.csv"
    path.write_text(text, encoding=encoding)
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(InputError) as caught:
        read_clicks(written(folder, text))
    return str(caught.value)


@given(by_place=st.dictionaries(places, clicks, min_size=1, max_size=4))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, by_place: dict[tuple[int, tuple[int, ...]], list[Click]]
) -> None:
    path = tmp_path_factory.mktemp("clicks") / "clicks.csv"
    write_clicks(path, by_place)
    read = read_clicks(path)
    assert list(read) == list(by_place)
    assert [c.flat for c in read.values()] == [tuple(c) for c in by_place.values()]
    assert [p.name for p in path.parent.iterdir()] == ["clicks.csv"]


@given(text=st.text(max_size=80))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("clicks") / "clicks.csv"
    path.write_text("object,row,column,positive\n1,2,3,1\n" + text, encoding="utf-8", errors="surrogatepass")
    try:
        rows = read_click_rows(path)
    except InputError:
        return
    assert rows[0].click == Click(2, 3)
    assert all(math.isfinite(row.click.row) and 1 <= row.object <= MAX_OBJECT for row in rows)


def test_clicks_are_grouped_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "object,row,column,positive,plane\n7,1,2,1,4\n2,3,4.5,0,4\n7,5,6,false,4\n7,8,9,TRUE,5\n",
    )
    assert read_clicks(path) == {
        (7, (4,)): ClickList(((Click(1, 2),), (Click(5, 6, positive=False),))),
        (2, (4,)): ClickList(((Click(3, 4.5, positive=False),),)),
        (7, (5,)): ClickList(((Click(8, 9),),)),
    }


def test_rows_keep_their_lines_and_order(tmp_path: Path) -> None:
    path = written(tmp_path, "object,row,column,positive,plane\n\n2,1,2,1,0;3\n1,3,4,0,0; 4\n")
    assert read_click_rows(path) == [
        RecordedClick(3, 2, (0, 3), Click(1, 2)),
        RecordedClick(4, 1, (0, 4), Click(3, 4, positive=False)),
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_spreadsheets_are_read(tmp_path: Path, newline: str) -> None:
    lines = ["comment, Positive ,column,row,Object,plane", '"fine, here",1,2.50, 1e1 ,3,', ",,,,,"]
    path = written(tmp_path, newline.join(lines), encoding="utf-8-sig")
    assert read_clicks(path) == {(3, ()): ClickList(((Click(10, 2.5),),))}


def test_no_plane_column_is_2d(tmp_path: Path) -> None:
    path = written(tmp_path, "object,row,column,positive\n1,2,3,1\n")
    assert list(read_clicks(path)) == [(1, ())]
    write_clicks(path, read_clicks(path))
    assert path.read_text() == "object,row,column,positive\n1,2,3,1\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x,2,3,1", "object must be a whole number from 1"),
        ("0,2,3,1", "object must be a whole number from 1"),
        ("-1,2,3,1", "found '-1'"),
        ("1.0,2,3,1", "found '1.0'"),
        ("2147483648,2,3,1", "to 2147483647"),
        ("1,two,3,1", "row must be a number, found 'two'"),
        ("1,nan,3,1", "row must be a number, found 'nan'"),
        ("1,2,inf,1", "column must be a number, found 'inf'"),
        ("1,2,1e999,1", "column must be a number"),
        ("1,2,1_0,1", "column must be a number"),
        ("1,2,,1", "column must be a number, found ''"),
        ("1,2,3,yes", "positive must be 1, 0, true or false, found 'yes'"),
        ("1,2,3,", "positive must be 1, 0, true or false"),
        ("1,2,3", "3 values for 4 columns"),
        ("1,2,5,3,1", "5 values for 4 columns; decimals need a point"),
    ],
)
def test_the_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    message = refusal(tmp_path, f"object,row,column,positive\n1,2,3,1\n{line}\n")
    assert message.startswith("clicks.csv, line 3: ")
    assert said in message


@pytest.mark.parametrize("plane", ["-1", "1.5", "a", "1;", "1/2"])
def test_planes_are_whole_numbers(tmp_path: Path, plane: str) -> None:
    message = refusal(tmp_path, f"object,row,column,positive,plane\n1,2,3,1,{plane}\n")
    assert (
        f"line 2: plane must be whole numbers from 0 joined by semicolons, such as 3 or 2;3, found '{plane}'" in message
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no clicks; it needs a header object,row,column,positive"),
        ("object,row,column,positive\n", "holds no clicks"),
        ("object,row,col,positive\n1,2,3,1\n", "line 1: no column column; found object, row, col, positive"),
        ("object;row;column;positive\n1;2;3;1\n", "separated by commas"),
        ("object,row,row,column,positive\n1,2,2,3,1\n", "column row appears more than once"),
        ('object,row,column,positive\n1,2,3,"1\n', "not a CSV file"),
    ],
)
def test_a_file_that_is_no_click_file(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_clicks(tmp_path / "missing.csv")
    with pytest.raises(InputError, match="cannot read"):
        read_clicks(tmp_path)
    (tmp_path / "latin.csv").write_bytes("object,row,column,positive,é\n".encode("latin-1"))
    with pytest.raises(InputError, match="UTF-8"):
        read_clicks(tmp_path / "latin.csv")


def test_nothing_is_left_where_nothing_could_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        write_clicks(tmp_path / "missing" / "clicks.csv", {(1, ()): [Click(1, 2)]})
    path = written(tmp_path, "as it was")
    with pytest.raises(AttributeError):
        write_clicks(path, {(1, ()): [Click(1, 2), None]})  # type: ignore[list-item]
    assert path.read_text() == "as it was"
    assert [p.name for p in tmp_path.iterdir()] == ["clicks.csv"]


def test_strokes_are_a_column_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    drawn = Stroke.of([(12, 30), (12, 31), (13, 29)], positive=False)
    write_clicks(path, {(1, ()): [Click(5, 6), drawn]})
    assert path.read_text() == "object,row,column,positive,stroke\n1,5,6,1,\n1,12,30,0,12:30-31 13:29-29\n"
    assert read_clicks(path) == {(1, ()): ClickList.one_by_one([Click(5, 6), drawn])}


def test_a_stroke_that_is_none_names_its_line(tmp_path: Path) -> None:
    said = refusal(tmp_path, "object,row,column,positive,stroke\n1,5,6,1,\n1,5,6,1,12:30\n")
    assert said == "clicks.csv, line 3: a stroke is written ROW:FIRST-LAST ROW:FIRST-LAST ..., found '12:30'"
