from __future__ import annotations

import numpy as np
import pytest

from napari_fbrs.errors import InputError
from napari_fbrs.export import LabelImage, from_layer
from napari_fbrs.export.source import unit_name


@pytest.mark.parametrize(
    ("ndim", "axes"),
    [(2, "yx"), (3, "zyx"), (4, "tzyx"), (5, "tczyx")],
)
def test_axes_where_nothing_is_said(ndim, axes):
    assert "".join(LabelImage(np.ones((2,) * ndim, dtype=int)).axes) == axes


def test_more_axes_than_have_names():
    assert LabelImage(np.ones((2,) * 6, dtype=int)).axes == ("axis0", "t", "c", "z", "y", "x")


def test_units_by_their_many_names():
    assert {unit_name(name) for name in ("um", "µm", "μm", "micron", "Micrometer")} == {"micrometer"}
    assert (unit_name("s"), unit_name("parsec"), unit_name("")) == ("second", "parsec", "pixel")


def test_a_layer_with_names_of_its_own():
    meta = {"name": "n", "axis_labels": ("Time", "Z", "row", "column"), "scale": np.array([1, 2, -3, 4.0])}
    image = from_layer(np.ones((2, 2, 2, 2), dtype=int), meta)
    assert (image.axes, image.scale, image.units) == (("t", "z", "y", "x"), (1, 2, 3, 4), ("pixel",) * 4)


def test_napari_s_numbers_are_no_names():
    image = from_layer(np.ones((2, 2, 2), dtype=int), {"axis_labels": ("-3", "-2", "-1"), "scale": None})
    assert image.axes == ("z", "y", "x")


def test_a_multiscale_layer_is_exported_at_full_resolution():
    levels = [np.ones((4, 6), dtype=int), np.ones((2, 3), dtype=int)]
    assert from_layer(levels, {}).shape == (4, 6)


@pytest.mark.parametrize(
    ("data", "known", "message"),
    [
        (np.ones((2, 2)), {}, "whole numbers"),
        (np.ones(2, dtype=int), {}, "at least 2 dimensions"),
        (np.ones((2, 2), dtype=int), {"scale": (1,)}, "need 2 scale"),
        (np.ones((2, 2), dtype=int), {"scale": (1, np.nan)}, "sizes of a pixel are finite, found scale 1, nan"),
        (np.ones((2, 2), dtype=int), {"axes": "xy"}, "end in y, x"),
        (np.ones((2, 2, 2), dtype=int), {"axes": "yyx"}, "different names"),
        (np.ones((2, 2), dtype=int), {"intensities": np.ones((3, 2))}, r"shape \(3, 2\)"),
    ],
)
def test_what_does_not_fit(data, known, message):
    with pytest.raises(InputError, match=message):
        LabelImage(data, **known)
