"""From clicks to masks, as a function."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import BrightNetwork, model_of

from napari_fbrs import Click, replay, segment
from napari_fbrs.annotation.click_file import read_click_rows
from napari_fbrs.annotation.image_file import read_image, write_png
from napari_fbrs.annotation.labels import SparseLabels
from napari_fbrs.annotation.replaying import Predictors
from napari_fbrs.errors import CancelledError, InputError
from napari_fbrs.models.checkpoint import Model

SQUARES = np.zeros((40, 60), dtype=np.uint8)
SQUARES[5:20, 10:30] = 255


@pytest.fixture
def model() -> Model:
    return replace(model_of(BrightNetwork()), fingerprint="0" * 64)


def test_an_array_and_clicks_by_object(model):
    told = []
    done = segment(SQUARES, {4: [Click(12, 20)]}, model=model, progress=told.append)
    np.testing.assert_array_equal(done.labels, np.where(SQUARES, 4, 0))
    assert [report.object for report in done.objects] == [4]
    assert told[0].startswith("model stand-in on cpu")
    assert told[1:] == done.report()
    assert done.report()[0].startswith("object 4: 1 click, all met, 300 pixels")


def test_planes_of_a_stack_and_colours(model):
    stack = np.stack([0 * SQUARES, SQUARES, SQUARES])
    done = segment(stack, {(1, (1,)): [Click(12, 20)], (7, (2,)): [Click(12, 20)]}, model=model)
    np.testing.assert_array_equal(done.labels, stack // 255 * np.array([0, 1, 7])[:, None, None])
    done = segment(np.repeat(SQUARES[..., None], 3, axis=-1), {1: [Click(12, 20)]}, model=model, rgb=True)
    np.testing.assert_array_equal(done.labels, SQUARES > 0)


def test_files_in_and_out_and_replay(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_png(tmp_path / "image.png", SQUARES)
    (tmp_path / "points.csv").write_text("index,axis-0,axis-1\n0,12,20\n")
    segment("image.png", "points.csv", output="out.png", record="image.clicks.json", model=model)
    np.testing.assert_array_equal(read_image(tmp_path / "out.png")[0], SQUARES > 0)
    by_stand_in = Predictors("cpu", loaded=model)
    again = replay("image.clicks.json", predictor_of=by_stand_in, output="again.tif")
    assert again.report() == ["1 mask, as recorded"]
    np.testing.assert_array_equal(read_image(tmp_path / "again.tif")[0], SQUARES > 0)
    again = replay("image.clicks.json", "image.png", by_stand_in, output="again.tif", overwrite=True)
    np.testing.assert_array_equal(again.labels, SQUARES > 0)
    with pytest.raises(InputError, match="is there already"):
        replay("image.clicks.json", predictor_of=by_stand_in, output="again.tif")
    with pytest.raises(InputError, match="is there already"):
        segment("image.png", "points.csv", output="out.png", model=model)


def test_outputs_that_would_take_each_others_place(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clicks = {1: [Click(12, 20)]}
    with pytest.raises(InputError, match=r"out\.tif would be written twice"):
        segment(SQUARES, clicks, output="out.tif", record="./out.tif", model=model)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder is a folder"):
        segment(SQUARES, clicks, output="out.tif", record="folder", overwrite=True, model=model)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_stack_is_written_plane_by_plane(model, tmp_path, monkeypatch):
    read = SparseLabels.read

    def one_plane(self, index):
        assert not any(isinstance(at, slice) for at in index[:1]), "several planes at once"
        return read(self, index)

    monkeypatch.setattr(SparseLabels, "read", one_plane)
    segment(np.stack([SQUARES] * 3), {(1, (2,)): [Click(12, 20)]}, output=tmp_path / "a.tif", model=model)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0], np.stack([0 * SQUARES, 0 * SQUARES, SQUARES > 0]))


def test_clicks_on_several_images_in_one_file(model, tmp_path):
    for name in ("one", "two"):
        write_png(tmp_path / f"{name}.png", SQUARES)
    clicks = tmp_path / "all.csv"
    clicks.write_text("image,object,row,column,positive\none.png,1,12,20,1\ntwo,7,12,20,1\nfar.png,8,999,20,1\n")
    for name, label in (("one", 1), ("two", 7)):
        done = segment(tmp_path / f"{name}.png", clicks, model=model)
        np.testing.assert_array_equal(done.labels, np.where(SQUARES, label, 0))
    write_png(tmp_path / "three.png", SQUARES)
    with pytest.raises(InputError, match="holds no clicks on this image"):
        segment(tmp_path / "three.png", clicks, model=model)
    clicks.write_text("image,object,row,column,positive\none.png,1,12,20,1\n/,7,12,20,1\n")
    with pytest.raises(InputError, match="line 3: the column image says of no image, found '/'"):
        segment(tmp_path / "one.png", clicks, model=model)
    clicks.write_text("image,object,row,column,positive\none.png,1,12,20,1\ntwo,7,12,20,1\n")
    with pytest.raises(InputError, match="line 3: clicks on several images"):
        read_click_rows(clicks)


@pytest.mark.parametrize(
    ("clicks", "options", "said"),
    [
        ({}, {}, "there are no clicks"),
        ({0: [Click(1, 1)]}, {}, "whole numbers from 1, found 0"),
        ({1: [Click(1, 99)]}, {}, "object 1: row 1, column 99 is outside"),
        ({(1, (0,)): [Click(1, 1)]}, {}, "needs 0 plane"),
        ({1: [Click(1, 1)]}, {"threshold": 1}, "at least 0 and below 1"),
        ({1: [Click(1, 1)]}, {"contrast_limits": (3, 3)}, "black below white; found 3 3"),
        ({1: [Click(1, 1)]}, {"contrast_limits": (np.nan, 1)}, "^contrast limits must be two finite numbers"),
        ({1: [Click(1, 1)]}, {"contrast_limits": (0, 1, 2)}, "found 0 1 2"),
        ({1: [Click(1, 1)]}, {"output": "out.docx"}, "labels are written as"),
    ],
)
def test_bad_arguments(model, clicks, options, said):
    with pytest.raises(InputError, match=said):
        segment(SQUARES, clicks, model=model, **options)


def test_called_off(model):
    with pytest.raises(CancelledError):
        segment(SQUARES, {1: [Click(12, 20)]}, model=model, cancelled=lambda: True)
