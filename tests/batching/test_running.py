"""Batches in this process: done, resumed, refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_fbrs import batch
from napari_fbrs.annotation.image_file import read_image, write_labels
from napari_fbrs.annotation.segmenting import Segmentation
from napari_fbrs.batching.manifest import MANIFEST, Manifest
from napari_fbrs.batching.running import STAGING
from napari_fbrs.errors import InputError

pytestmark = pytest.mark.usefixtures("stand_in")


def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("out", MANIFEST).read_text().splitlines()]


def assert_found(masks: dict[str, Any]) -> None:
    for name, mask in masks.items():
        np.testing.assert_array_equal(tifffile.imread(f"out/{name}.tif"), mask)
    assert not list(Path("out").glob(f"{STAGING}*"))


def test_a_folder_is_done_and_what_was_done_is_written_down(squares):
    told = []
    done = batch("images", "out", progress=lambda *args: told.append(args))
    assert_found(squares)
    assert done.report() == ["images: 3 done; results in out"]
    assert done.outputs["b"] == [Path("out/b.tif")]
    assert told == [(1, 3, None), (2, 3, None), (3, 3, None)]
    header, *entries = lines()
    assert (header["format"], header["version"], header["settings"]["mode"]) == ("napari-fbrs batch", 1, "f-BRS-B")
    assert len(header["settings"]["model"]) == 64
    assert [entry["output"] for entry in entries] == ["a", "b", "c"]
    assert set(entries[0]["inputs"]) == {"../images/a.png", "../images/a.csv"}
    assert all(len(stamp["sha256"]) == 64 for stamp in entries[0]["inputs"].values())
    assert (entries[0]["objects"], entries[0]["clicks"], entries[0]["unmet"]) == (1, 1, 0)


def test_clicks_on_all_images_in_one_file(squares):
    rows = [f"{path.stem},{row}" for path in sorted(Path("images").glob("*.csv"))
            for row in path.read_text().splitlines()[1:]]  # fmt: skip
    for path in Path("images").glob("*.csv"):
        path.unlink()
    Path("all.csv").write_text("\n".join(["image,object,row,column,positive", *rows]))
    done = batch("images", "out", clicks="all.csv")
    assert done.done == sorted(squares)
    assert_found(squares)


def test_only_what_has_changed_or_failed_is_done_again(squares):
    Path("images/c.csv").write_text("object,row,column,positive\n1,12,99,1\n")
    done = batch(["images"], "out")
    assert (done.done, list(done.failed)) == (["a", "b"], ["c"])
    assert done.failed["c"] == "c.csv, line 2: row 12, column 99 is outside the image of 40 x 60 pixels"
    assert lines()[-1]["error"] == done.failed["c"]
    before = Path("out/a.tif").stat().st_mtime_ns
    Path("images/c.csv").write_text("object,row,column,positive\n1,12,20,1\n")
    Path("images/b.csv").write_text("object,row,column,positive\n5,12,20,1\n")
    again = batch("images", "out")
    assert (again.done, again.unchanged, again.failed) == (["b", "c"], ["a"], {})
    assert_found({"a": squares["a"], "b": np.where(squares["b"], 5, 0), "c": squares["c"]})
    assert Path("out/a.tif").stat().st_mtime_ns == before
    os.utime("images/a.png", (0, 0))  # another time, but the same pixels
    Path("out/c.tif").unlink()
    assert (batch("images", "out").done, batch("images", "out").done) == (["c"], [])


def test_nothing_is_overwritten_unasked(squares):
    Path("out").mkdir()
    Path("out/a.tif").write_text("precious")
    done = batch("images", "out")
    assert "a.tif is there already" in done.failed["a"]
    assert Path("out/a.tif").read_text() == "precious"
    write_labels(Path("out/b.tif"), np.full((40, 60), 3))  # corrected by hand
    Path("images/b.csv").write_text("object,row,column,positive\n5,12,20,1\n")
    again = batch("images", "out")
    assert sorted(again.failed) == ["a", "b"]
    assert tifffile.imread("out/b.tif").min() == 3
    assert batch("images", "out", overwrite=True).done == ["a", "b"]
    assert_found({"a": squares["a"], "b": np.where(squares["b"], 5, 0), "c": squares["c"]})


def test_what_is_read_is_never_overwritten(squares):
    image = Path("images/a.tif")
    tifffile.imwrite(image, np.where(squares["a"], 255, 0).astype(np.uint8))
    before = image.read_bytes()
    done = batch("images/a.tif", "images", overwrite=True)
    assert "a.tif is what is read" in done.failed["a"]
    assert image.read_bytes() == before


@pytest.mark.parametrize("format_", ["tiff", "ome-tiff", "masks", "ome-zarr"])
@pytest.mark.parametrize(
    ("inputs", "output"),
    [
        ("plates/**/*", "plates"),
        ("plates/**/*", "plates/results"),
        ("plates/**/*", "plates/p1"),
        ("plates/*/*.*", "plates/p1/results"),
        ("plates/p1", "plates/p1"),
        ("plates/p1/*", "plates/p1"),
    ],
)
def test_results_are_not_taken_for_images_nor_for_their_clicks(squares, inputs, output, format_):
    Path("plates").mkdir()
    Path("images").rename("plates/p1")
    first = batch(inputs, output, format=format_, records=True)
    assert (len(first.done), first.failed) == (3, {})
    for _ in range(2):
        done = batch(inputs, output, format=format_, records=True)
        assert (done.done, sorted(done.unchanged), done.failed, done.without_clicks) == ([], sorted(first.done), {}, [])


@pytest.mark.parametrize(("output", "is_image"), [("images", True), ("images/out", False)])
def test_what_is_put_among_images_is_one_and_what_is_put_among_results_is_none(squares, output, is_image):
    def added(path: str) -> list[str]:
        for suffix in ("png", "csv"):
            shutil.copy(f"images/a.{suffix}", f"{path}.{suffix}")
        return batch("images/**/*", output, format="ome-tiff").done

    batch("images/**/*", output, format="ome-tiff")
    assert added("images/d") == ["d"]
    assert added(f"{output}/e") == ["e"] * is_image


def test_a_record_that_was_written_is_looked_at_when_it_was_changed(squares):
    batch("images", "images", format="masks", records=True)
    with Path("images/a.clicks.json").open("a") as file:
        file.write("\n")
    done = batch("images", "images", format="masks", records=True)
    assert "a.clicks.json is what is read" in done.failed["a"]
    assert done.unchanged == ["b", "c"]


def test_other_settings_are_not_mixed(squares):
    batch("images", "out")
    with pytest.raises(InputError, match=r"made with threshold 0.5, this is threshold 0.7.*--overwrite"):
        batch("images", "out", threshold=0.7)
    assert batch("images", "out").unchanged == ["a", "b", "c"]
    assert batch("images/a.png", "out", threshold=0.7, overwrite=True).done == ["a"]  # and stopped there
    done = batch("images", "out", threshold=0.7)
    assert (done.done, done.unchanged, done.failed) == (["b", "c"], ["a"], {})


@pytest.mark.parametrize("moment", ["_do", "_move"])
def test_a_batch_that_is_killed_goes_on(squares, monkeypatch, moment):
    """Stopped in the second image, and between its line in the manifest and its file's place."""
    from napari_fbrs.batching import running

    where = Segmentation if moment == "_do" else running.Running
    really, calls = getattr(where, moment), []

    def stopped(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return really(*args)

    with monkeypatch.context() as patch:
        patch.setattr(where, moment, stopped)
        with pytest.raises(KeyboardInterrupt):
            batch("images", "out")
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.tif", MANIFEST]
    with Path("out", MANIFEST).open("a") as file:
        file.write('{"output": "b", "sta')  # cut off
    done = batch("images", "out")
    assert (done.done, done.unchanged, done.failed) == (["b", "c"], ["a"], {})
    assert_found(squares)
    assert [line.get("output") for line in lines()][-2:] == ["b", "c"]


@pytest.mark.parametrize("format_", ["tiff", "masks"])
@pytest.mark.parametrize("moment", ["_clear", "_note", "_move"])
@pytest.mark.parametrize("nth", [1, 2])
def test_what_is_replaced_while_a_batch_is_killed_does_not_count_as_done(squares, monkeypatch, moment, nth, format_):
    """Stopped before what is old is taken away, before or after the line in the manifest, or between two files."""
    from napari_fbrs.batching import running

    options: dict[str, Any] = {"records": True, "format": format_, "names": "{object}" if format_ == "masks" else None}

    def corrected(label: int) -> None:
        for name in "ab":
            Path(f"images/{name}.csv").write_text(f"object,row,column,positive\n{label},12,20,1\n")

    def found(name: str) -> list[int]:
        record = json.loads(Path(f"out/{name}.clicks.json").read_text())
        return [thing["object"] for thing in record["objects"]]

    batch("images", "out", **options)
    corrected(5)
    really, calls = getattr(running.Running, moment), []

    def stopped(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == nth:
            raise KeyboardInterrupt
        return really(*args)

    with monkeypatch.context() as patch:
        patch.setattr(running.Running, moment, stopped)
        with pytest.raises(KeyboardInterrupt):
            batch("images", "out", **options)
    batch("images", "out", **options)
    assert (found("a"), found("b")) == ([5], [5])
    corrected(7)
    done = batch("images", "out", **options)
    assert (done.done, done.unchanged, done.failed) == (["a", "b"], ["c"], {})


def test_what_was_in_the_way_of_a_batch_that_is_killed_does_not_count_as_done(squares, monkeypatch):
    from napari_fbrs.batching import running

    batch("images", "out")
    write_labels(Path("out/b.tif"), np.full((40, 60), 3))  # corrected by hand
    Path("images/b.csv").write_text("object,row,column,positive\n5,12,20,1\n")

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(running.Running, "_move", stopped)
        with pytest.raises(KeyboardInterrupt):
            batch("images", "out", overwrite=True)
    assert batch("images", "out").done == ["b"]
    assert_found({"b": np.where(squares["b"], 5, 0)})


def test_two_batches_do_not_write_to_one_folder(squares):
    Path("out").mkdir()
    with FileLock(f"out/{STAGING}.lock"), pytest.raises(InputError, match="another batch is writing"):
        batch("images", "out")


def test_whatever_an_image_does_the_others_are_done(squares, monkeypatch):
    really = Segmentation.run

    def run(self: Segmentation, rows: Any, cancelled: Any) -> Any:
        if self.session.image.data[19, 31]:  # c
            raise ZeroDivisionError("of all things")
        return really(self, rows, cancelled)

    monkeypatch.setattr(Segmentation, "run", run)
    Path("images/a.png").write_bytes(b"\x89PNG nonsense")
    done = batch("images", "out")
    assert (done.done, done.failed["c"]) == (["b"], "ZeroDivisionError: of all things")
    assert "a.png is damaged" in done.failed["a"]
    assert "in run" in lines()[-1]["traceback"]


def test_folders_stacks_pixel_sizes_and_records(squares):
    stack = np.zeros((3, 40, 60), np.uint16)
    stack[1] = 900 * squares["a"]
    zarr.create_array("images/s.zarr", data=stack, chunks=(1, 16, 16))
    tifffile.imwrite("images/s.ome.tif", stack, metadata={"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeZ": 2.0})
    Path("images/s.csv").write_text("index,axis-0,axis-1,axis-2\n0,1,12,20\n")
    for path, folder in (("images/s.ome.tif", "tiff"), ("images/s.zarr", "zarr")):
        done = batch(path, folder, format="masks", records=True)
        assert done.failed == {}
        assert sorted(p.name for p in Path(folder, "s").iterdir()) == ["index.csv", "s_z1_1.png"]
        np.testing.assert_array_equal(read_image(Path(folder, "s", "s_z1_1.png"))[0], 255 * squares["a"])
    batch("images/s.ome.tif", "ome", format="ome-tiff")
    with tifffile.TiffFile("ome/s.ome.tif") as file:
        assert 'PhysicalSizeX="0.25"' in file.ome_metadata
        np.testing.assert_array_equal(file.asarray(), stack > 0)
    assert batch("tiff/s.clicks.json", "again").failed == {}
    np.testing.assert_array_equal(tifffile.imread("again/s.tif"), stack > 0)
    Path("images/s.csv").write_text("index,axis-0,axis-1,axis-2\n0,1,12,20\n1,2,1,1\n")  # our own folder is replaced
    assert batch("images/s.zarr", "zarr", format="masks", records=True).done == ["s"]


@pytest.mark.parametrize("format_", ["tiff", "ome-tiff", "masks", "coco", "geojson", "ome-zarr"])
def test_names_that_are_not_utf_8(squares, format_):
    try:
        name = os.fsdecode(b"zell_\xfc")
        for suffix in ("png", "csv"):
            Path(f"images/a.{suffix}").rename(f"images/{name}.{suffix}")
    except (OSError, UnicodeError):
        pytest.skip("names are UTF-8 here")
    for said in ("done", "unchanged"):
        done = batch("images", "out", format=format_, records=True)
        assert (getattr(done, said), done.failed) == (["b", "c", name], {})
    assert batch(f"out/{name}.clicks.json", "again").failed == {}
    np.testing.assert_array_equal(tifffile.imread(f"again/{name}.tif"), squares["a"])


def test_corrected_labels_keep_their_numbers(squares):
    Path("labels").mkdir()
    for name, mask in squares.items():
        write_labels(Path("labels", f"{name}.tif"), np.where(mask, 300, 0))
    assert batch("images", "out", seeds="centroids", labels="labels").failed == {}
    assert_found({name: np.where(mask, 300, 0) for name, mask in squares.items()})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": 1.5}, "at least 0 and below 1"),
        ({"mode": "magic"}, "no mode is called"),
        ({"format": "docx"}, "no format"),
        ({"format": "csv", "margin": 3}, "csv takes no margin"),
        ({"contrast_limits": (5, 5)}, "black below white"),
        ({"model": "none"}, "no model is called"),
        ({"device": "abacus"}, "no device"),
        ({"jobs": 0}, "from 1"),
        ({"seeds": "maxima"}, "--diameter"),
    ],
)
def test_bad_options_are_said_before_anything_is_done(squares, options, said):
    with pytest.raises((InputError, ValueError), match=said):
        batch("images", "out", **options)
    assert not Path("out").exists()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["output", "status", "inputs", "outputs", "format", "version", "a"]), inner)
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(st.binary(max_size=100), st.lists(json_values, max_size=4).map(
    lambda values: "".join(json.dumps(value) + "\n" for value in values).encode())))  # fmt: skip
def test_whatever_a_manifest_holds_is_read_or_an_error_in_words(tmp_path, content):
    (tmp_path / MANIFEST).write_bytes(content)
    try:
        Manifest(tmp_path, {"a": 1})
    except InputError as error:
        assert MANIFEST in str(error) or "results made with" in str(error)  # noqa: PT017


def test_a_manifest_does_not_say_what_is_written(squares, tmp_path):
    batch("images", "out")
    path = Path("out", MANIFEST)
    path.write_text(path.read_text().replace("a.tif", "../../victim.tif").replace('"output": "a"', '"output": "../a"'))
    (tmp_path / "a.tif").write_text("precious")
    done = batch("images", "out")
    assert done.unchanged == ["b", "c"]
    assert "a.tif is there already" in done.failed["a"]
    assert (tmp_path / "a.tif").read_text() == "precious"
