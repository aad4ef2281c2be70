"""Outlines, filled again by shapely and by pycocotools."""

from __future__ import annotations

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import shapely
from hard_labels import filled, hard_plane
from hypothesis import example, given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from napari_fbrs.export.outlines import outlines, without_holes

# Of pycocotools, which is behind NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

planes = arrays.arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2))


@example(hard_plane())
@given(planes)
def test_polygons_are_valid_and_hold_the_object_and_nothing_else(labels):
    found = outlines(labels)
    assert set(found) == set(np.unique(labels)) - {0}
    for label, polygons in found.items():
        shapes = [(polygon.shell[:, ::-1], [hole[:, ::-1] for hole in polygon.holes]) for polygon in polygons]
        geometry = shapely.MultiPolygon(shapes)
        assert geometry.is_valid, shapely.is_valid_reason(geometry)
        assert geometry.area == (labels == label).sum()
        np.testing.assert_array_equal(filled(geometry, labels.shape), labels == label)


@example(hard_plane() == 3)
@example(hard_plane() == 14)
@given(planes.map(lambda labels: labels == 1))
def test_pieces_without_holes_are_exact_for_shapely_and_pycocotools(mask):
    rings = [ring[:, ::-1] for ring in without_holes(mask)]
    polygons = [shapely.Polygon(ring) for ring in rings]
    assert all(polygon.is_valid for polygon in polygons)
    assert sum(polygon.area for polygon in polygons) == mask.sum()
    np.testing.assert_array_equal(filled(shapely.unary_union(polygons), mask.shape), mask)
    if rings:
        runs = coco_mask.frPyObjects([ring.ravel().astype(float).tolist() for ring in rings], *mask.shape)
        np.testing.assert_array_equal(coco_mask.decode(coco_mask.merge(runs)) > 0, mask)


def test_one_pixel_is_a_square_from_corner_to_corner():
    labels = np.zeros((5, 6), dtype=np.uint8)
    labels[2, 4] = 1
    (polygon,) = outlines(labels)[1]
    assert sorted(map(tuple, polygon.shell.tolist())) == [(2, 4), (2, 5), (3, 4), (3, 5)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64])
def test_labels_of_every_type(dtype):
    assert list(outlines(np.full((3, 4), 5, dtype=dtype))) == [5]


def test_nothing_has_no_outlines():
    assert outlines(np.zeros((4, 4), dtype=np.int32)) == {}
