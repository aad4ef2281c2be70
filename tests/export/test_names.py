from __future__ import annotations

import numpy as np
import pytest

from napari_fbrs.errors import InputError
from napari_fbrs.export import LabelImage, Selection
from napari_fbrs.export.names import FileNames
from napari_fbrs.export.planes import Planes


def planes(name: str = "a/b: c", **known) -> Planes:
    labels = np.zeros((2, 12, 3, 4), dtype=np.int32)
    labels[:, :, 0] = 7
    labels[0, 0, 2] = 1234
    return Planes(LabelImage(labels, name=name, **known))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (None, "a_b_ c_t0_z03_0007.png"),
        ("{t}/{z:03d}/{object}", "0/003/0007.png"),
        ("{class}_{plane}_{object:2d}.PNG", "x_y_t0_z03_ 7.PNG"),
        ("{{{plane}}}_{object:06d}", "{t0_z03}_000007.png"),
    ],
)
def test_patterns(pattern, expected):
    names = FileNames(planes(classes={7: "x|y"}), ".png", pattern, "{name}_{plane}_{object}", of_objects=True)
    assert names.name((0, 3), 7) == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{name}", "two files would be called a_b_ c"),
        ("{object}", "two files"),
        ("{plane}_{objects}", r"no \{objects\}, but \{name\}, \{object\}"),
        ("{plane}_{object.__class__}", "there is no"),
        ("{plane}_{object:>9}", "widths such as"),
        ("{plane}_{name:04d}_{object}", "widths such as"),
        ("{plane", "expected '}'"),
        ("../{plane}_{object}", "must lie in the folder"),
        ("/tmp/{plane}_{object}", "must lie in the folder"),
        ("{plane}?{object}", "must lie in the folder"),
        ("{plane}_{object}/", "must lie in the folder"),
        (" ", "must lie in the folder"),
    ],
)
def test_patterns_that_cannot_be_used(pattern, message):
    with pytest.raises(InputError, match=message):
        FileNames(planes(), ".png", pattern, "", of_objects=True)


def test_names_that_differ_in_case_only_are_the_same_on_some_disks():
    labels = Planes(LabelImage(np.array([[1, 2]]), classes={1: "Cell", 2: "cell"}))
    with pytest.raises(InputError, match="two files"):
        FileNames(labels, ".png", "{class}", "", of_objects=True)


def test_numbers_are_padded_for_the_slices_chosen():
    stack = LabelImage(np.ones((120, 2, 2), dtype=np.uint8))
    assert FileNames(Planes(stack), ".png", None, "{plane}").name((7,)) == "z007.png"
    few = Planes(stack, Selection(planes=(slice(0, 9),)))
    assert FileNames(few, ".png", None, "{plane}").name((7,)) == "z7.png"
