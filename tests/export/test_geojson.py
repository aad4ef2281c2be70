"""GeoJSON, read back by shapely."""

from __future__ import annotations

import json
import uuid

import numpy as np
import shapely
from hard_labels import filled
from shapely.geometry import shape

from napari_fbrs.export import Selection, export_labels


def features(path) -> list[dict]:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["type"] == "FeatureCollection"
    return content["features"]


def test_every_slice_comes_back(stack, tmp_path):
    back = np.zeros_like(stack.data)
    for feature in features(export_labels(stack, tmp_path / "labels", "geojson").path):
        at = feature["geometry"]["plane"]
        geometry = shape(feature["geometry"])
        assert geometry.is_valid
        assert at["c"] == -1
        label = int(feature["properties"]["name"])
        back[at["t"], at["z"]][filled(geometry, back.shape[-2:])] = label
        class_name = feature["properties"].get("classification", {}).get("name")
        assert class_name == stack.classes.get(label)
    np.testing.assert_array_equal(back, stack.data)


def test_shells_run_as_geojson_asks(plane, tmp_path):
    for feature in features(export_labels(plane, tmp_path / "labels", "geojson").path):
        parts = feature["geometry"]["coordinates"]
        for polygon in parts if feature["geometry"]["type"] == "MultiPolygon" else [parts]:
            assert [shapely.LinearRing(ring).is_ccw for ring in polygon] == [True] + [False] * (len(polygon) - 1)
            assert all(ring[0] == ring[-1] for ring in polygon)


def test_features_of_a_plane_have_identities_and_no_slice(plane, tmp_path):
    found = features(export_labels(plane, tmp_path / "labels", "geojson").path)
    assert len({uuid.UUID(feature["id"]) for feature in found}) == len(found) == 7
    assert all("plane" not in feature["geometry"] for feature in found)
    assert {feature["properties"]["objectType"] for feature in found} == {"annotation"}


def test_a_crop_keeps_its_place_in_the_image(plane, tmp_path):
    part = Selection(rows=slice(13, 24), columns=slice(18, 24))
    one, line = features(export_labels(plane, tmp_path / "part", "geojson", part).path)
    assert shape(one["geometry"]).bounds == (20, 15, 21, 16)
    assert shape(line["geometry"]).bounds == (18, 20, 24, 21)


def test_70000_objects(many, tmp_path):
    found = features(export_labels(many, tmp_path / "labels", "geojson").path)
    assert len(found) == 70_000
    assert len({feature["properties"]["name"] for feature in found}) == 70_000
    assert {shape(feature["geometry"]).area for feature in found[::1000]} == {6}
