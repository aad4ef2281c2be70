"""COCO, read back by pycocotools."""

from __future__ import annotations

import contextlib
import io

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from napari_fbrs.export import LabelImage, Options, Selection, export_labels
from napari_fbrs.export.coco import compressed, run_lengths

# Of pycocotools, which is behind NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def read(path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def labels_of(coco: COCO, image_id: int, shape: tuple[int, int]) -> np.ndarray:
    labels = np.zeros(shape, dtype=np.int64)
    for annotation in coco.imgToAnns[image_id]:
        mask = coco.annToMask(annotation) > 0
        assert annotation["area"] == mask.sum()
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert annotation["bbox"] == box
        labels[mask] = annotation["object"]
    return labels


@pytest.mark.parametrize("format_name", ["coco", "coco-rle"])
def test_every_slice_comes_back(format_name, stack, tmp_path):
    coco = read(export_labels(stack, tmp_path / "labels", format_name).path)
    assert len(coco.imgs) == 6
    for image in coco.imgs.values():
        assert image["file_name"] == f"series_t{image['t']}_z{image['z']}.png"
        back = labels_of(coco, image["id"], (image["height"], image["width"]))
        np.testing.assert_array_equal(back, stack.data[image["t"], image["z"]])
    names = {category["id"]: category["name"] for category in coco.cats.values()}
    classes = {annotation["object"]: names[annotation["category_id"]] for annotation in coco.anns.values()}
    assert classes == {label: stack.classes.get(label, "object") for label in classes}


def test_70000_objects(many, tmp_path):
    coco = read(export_labels(many, tmp_path / "labels", "coco-rle").path)
    assert len(coco.anns) == 70_000
    masks = coco_mask.decode([annotation["segmentation"] for annotation in list(coco.anns.values())[:40]])
    objects = [annotation["object"] for annotation in list(coco.anns.values())[:40]]
    np.testing.assert_array_equal(masks.astype(bool), many.data[..., None] == objects)


@pytest.mark.parametrize("format_name", ["coco", "coco-rle"])
def test_a_crop_keeps_its_place_in_the_image(format_name, plane, tmp_path):
    part = Selection(objects=[3, 9], rows=slice(5, 24), columns=slice(6, 31))
    options = Options(names="{name}.jpg")
    coco = read(export_labels(plane, tmp_path / "part", format_name, part, options).path)
    expected = np.where(np.isin(plane.data, (3, 9)), plane.data, 0)
    expected[:5] = expected[:, :6] = 0
    np.testing.assert_array_equal(labels_of(coco, 1, plane.shape), expected)
    assert coco.imgs[1]["file_name"] == "cells.jpg"


def test_nothing_is_a_valid_file(tmp_path):
    coco = read(export_labels(LabelImage(np.zeros((4, 5), dtype=np.uint8)), tmp_path / "none", "coco").path)
    assert (len(coco.imgs), len(coco.anns), len(coco.cats)) == (1, 0, 1)


@given(
    arrays.arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))).filter(np.any),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_runs_are_those_of_pycocotools_byte_for_byte(mask, before, after):
    image = np.pad(mask, tuple(zip(before, after, strict=True)))
    theirs = coco_mask.encode(np.asfortranarray(image.astype(np.uint8)))
    assert compressed(run_lengths(mask, *before, image.shape)).encode() == theirs["counts"]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_long_runs_are_compressed_as_pycocotools_reads_them(counts):
    counts = [counts[0], *(count + 1 for count in counts[1:])]
    size = [sum(counts), 1]
    theirs = coco_mask.frPyObjects({"size": size, "counts": counts}, *size)["counts"]
    assert compressed(counts).encode() == theirs
