"""NPZ, read back by NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fbrs.export import Selection, export_labels


@pytest.mark.parametrize("which", ["plane", "stack", "many"])
def test_all_that_is_known_comes_back(which, tmp_path, request):
    image = request.getfixturevalue(which)
    path = export_labels(image, tmp_path / "labels", "npz").path
    with np.load(path, allow_pickle=False) as back:
        np.testing.assert_array_equal(back["labels"], image.data)
        np.testing.assert_array_equal(back["objects"], np.unique(image.data[image.data > 0]))
        assert tuple(back["axes"]) == image.axes
        assert tuple(back["scale"]) == image.scale
        assert tuple(back["units"]) == image.units
        classes = dict(zip(back["objects"].tolist(), back["classes"].tolist(), strict=True))
    assert {label: name for label, name in classes.items() if name} == image.classes


def test_a_part_says_where_it_was(stack, tmp_path):
    part = Selection(planes=(slice(1, 2), slice(1, 3)), rows=slice(4, 9), columns=slice(3, 31))
    with np.load(export_labels(stack, tmp_path / "part", "npz", part).path) as back:
        assert back["origin"].tolist() == [1, 1, 4, 3]
        np.testing.assert_array_equal(back["labels"], stack.data[1:2, 1:3, 4:9, 3:])
