from __future__ import annotations

import pytest

from napari_fbrs.errors import InputError
from napari_fbrs.export.selection import parse_crop, parse_objects, parse_slices


def test_objects():
    assert parse_objects(" ") is None
    assert parse_objects("1, 4-6 9") == {1, 4, 5, 6, 9}
    assert parse_objects("3 - 5;7,") == {3, 4, 5, 7}


@pytest.mark.parametrize("text", ["0", "one", "5-3", "-4", "1.5", "1-", "1-99999999999", ",;,x"])
def test_objects_written_wrongly(text):
    with pytest.raises(InputError, match="1, 4-9"):
        parse_objects(text)


def test_slices():
    assert parse_slices("") is None
    assert parse_slices("3") == (slice(3, 4),)
    assert parse_slices("0; 3:10") == (slice(0, 1), slice(3, 10))
    assert parse_slices(":;5:;:7") == (slice(None, None), slice(5, None), slice(None, 7))


@pytest.mark.parametrize("text", ["a", "1:2:3", "-1", "1;", "5:5", "5:3", ":0"])
def test_slices_written_wrongly(text):
    with pytest.raises(InputError):
        parse_slices(text)


def test_crops():
    assert parse_crop("100:200,:50") == (slice(100, 200), slice(None, 50))
    for text in ("1:2", "1:2,3:4,5:6", ""):
        with pytest.raises(InputError, match="rows,columns"):
            parse_crop(text)
