"""From what somebody names to what there is to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_fbrs.annotation.image_file import write_png
from napari_fbrs.annotation.opening import stem_of
from napari_fbrs.batching.inputs import find_jobs
from napari_fbrs.batching.jobs import Job
from napari_fbrs.errors import InputError

CLICKS = "object,row,column,positive\n1,2,2,1\n"
POINTS = "index,axis-0,axis-1\n0,2,2\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.zeros((4, 5), np.uint8))
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_clicks_of_every_kind_are_found_beside_the_images(folder):
    images = {name: image(folder / f"{name}.png") for name in ("record", "clicks", "points", "signs", "bare", "table")}
    wanted = {
        "record": (text(folder / "record.clicks.json", "{}"),),
        "clicks": (text(folder / "clicks.clicks.csv", CLICKS),),
        "points": (text(folder / "points.csv", POINTS),),
        "signs": (text(folder / "signs positive.csv", POINTS), text(folder / "signs_negative.csv", POINTS)),
    }
    text(folder / "table.csv", "name,area\ncell,3\n")  # of something else
    text(folder / "notes.txt", "")
    jobs, without = find_jobs([folder])
    assert {job.output: job.clicks for job in jobs} == wanted
    assert {job.output: job.image for job in jobs} == {name: images[name] for name in wanted}
    assert without == [images["bare"], images["table"]]


def test_clicks_in_a_folder_of_their_own_or_by_a_pattern(folder):
    image(folder / "images" / "a[1].png")
    clicks = text(folder / "clicks" / "a[1].csv", CLICKS)
    for where in ("clicks", clicks.parent, "clicks/{name}.csv", "cl*/{name}.*", clicks):
        ((job,), _) = find_jobs(["images"], where)
        assert job.clicks == (clicks,)
    image(folder / "images" / "b.png")
    with pytest.raises(InputError, match="is one file, the images are several"):
        find_jobs(["images"], clicks)
    with pytest.raises(InputError, match="there is no"):
        find_jobs(["images"], "nowhere")


def test_patterns_keep_the_folders_below_what_is_fixed(folder):
    for name in ("plates/1/x.png", "plates/2/x.png", "plates/2/deep/y.png"):
        text(image(folder / name).with_suffix(".csv"), CLICKS)
    jobs, _ = find_jobs(["plates/**/*.png"])
    assert [job.output for job in jobs] == ["1/x", "2/deep/y", "2/x"]
    jobs, _ = find_jobs([str(folder / "plates/2/*.png")])
    assert [job.output for job in jobs] == ["x"]
    with pytest.raises(InputError, match="would both be written as x"):
        find_jobs(["plates/1", "plates/2"])


def test_brackets_in_folders_are_none_of_a_pattern(folder, monkeypatch):
    (folder / "lab [1]").mkdir()
    monkeypatch.chdir(folder / "lab [1]")
    for plate in ("p1", "p[2]"):
        image(Path(f"plates [a]/{plate}/x[1].png"))
        text(Path(f"clicks [b]/{plate}/x[1].csv"), CLICKS)
    for below in (Path(), Path.cwd()):
        for where in ("clicks [b]/{name}.csv", "clicks [b]/{name}.*", "clicks [b]"):
            jobs, _ = find_jobs([below / "plates [a]/**/*.png"], below / where)
            assert {job.output: job.clicks for job in jobs} == {
                f"{plate}/x[1]": (Path.cwd() / f"clicks [b]/{plate}/x[1].csv",) for plate in ("p1", "p[2]")
            }


def test_hidden_files_are_no_images(folder):
    text(image(folder / "x.png").with_suffix(".csv"), CLICKS)
    (folder / "._x.png").write_bytes(b"\0\5\26\7")
    text(folder / "._x.csv", "\0\5\26\7")
    for given_ in (folder, "*", "**/*"):
        assert [job.output for job in find_jobs([given_])[0]] == ["x"]


@pytest.mark.parametrize("where", ["clicks", "clicks/{name}.csv", "cl*/{name}.*"])
def test_images_of_the_same_name_have_clicks_of_their_own(folder, where):
    images = [image(folder / f"plates/{plate}/A01.png") for plate in ("p1", "p2")]
    shared = text(folder / "clicks/A01.csv", CLICKS)
    with pytest.raises(InputError, match=r"p1.A01.png and .*p2.A01.png would both .*A01.csv says: .*p1/A01 and p2/A01"):
        find_jobs(["plates/**/*.png"], where)
    own = [text(folder / f"clicks/{plate}/A01.csv", CLICKS) for plate in ("p1", "p2")]
    assert [job.clicks for job in find_jobs(["plates/**/*.png"], where)[0]] == [(path,) for path in own]
    own[1].unlink()
    assert [job.clicks for job in find_jobs(["plates/**/*.png"], where)[0]] == [(own[0],), (shared,)]
    for path in images:
        text(path.with_suffix(".csv"), CLICKS)
    assert [job.clicks for job in find_jobs(["plates/**/*.png"])[0]] == [(p.with_suffix(".csv"),) for p in images]


def test_images_of_the_same_name_have_label_images_of_their_own(folder):
    for name in ("plates/p1/A01.png", "plates/p2/A01.png", "labels/A01.png"):
        image(folder / name)
    with pytest.raises(InputError, match=r"would both be clicked on as .*labels.A01.png says"):
        find_jobs(["plates/**/*.png"], labels="labels", seeded=True)
    own = [image(folder / f"labels/{plate}/A01.png") for plate in ("p1", "p2")]
    assert [job.labels for job in find_jobs(["plates/**/*.png"], labels="labels", seeded=True)[0]] == own


def test_a_table_may_name_clicks_for_several_images_but_they_are_not_looked_up_for_another(folder):
    for name in "abc":
        image(folder / f"{name}/x.png")
    text(folder / "clicks/x.csv", CLICKS)
    rows = ["image,clicks,output", "a/x.png,clicks/x.csv,a", "b/x.png,clicks/x.csv,b"]
    table = text(folder / "table.csv", "\n".join(rows))
    assert {job.clicks for job in find_jobs([table])[0]} == {(folder / "clicks/x.csv",)}
    text(table, "\n".join([*rows, "c/x.png,,c/x"]))
    with pytest.raises(InputError, match="would both be clicked on"):
        find_jobs([table], "clicks")


@pytest.mark.parametrize("rows", ["a.png,1,2,2,1\n", "a.png,1,2,2,1\nq/b.png,1,2,2,1\n"])
def test_a_click_that_may_be_on_two_images_is_on_neither(folder, rows):
    """The one is called so, the other one's path is that from the click file on."""
    for name in ("a.png", "q/a.png", "q/b.png"):
        image(folder / name)
    clicks = text(folder / "q/all.csv", f"image,object,row,column,positive\n{rows}")
    with pytest.raises(InputError, match=r"a.png and .*a.png would both"):
        find_jobs([str(folder / "**/*.png")], clicks)


def test_records_stand_for_themselves(folder):
    record = text(folder / "cells.clicks.json", "{}")
    assert find_jobs([record])[0] == find_jobs(["*.clicks.json"])[0] == [Job("cells", None, (record,))]


def test_zarr_arrays_are_images_and_no_folders_of_images(folder):
    zarr.create_array(str(folder / "stack.zarr"), shape=(2, 8, 8), dtype="uint8")
    text(folder / "stack.csv", CLICKS)
    for given_ in (folder, "stack.zarr", "*.zarr"):
        assert [job.image for job in find_jobs([given_])[0]] == [folder / "stack.zarr"]


def test_a_table(folder):
    text(
        folder / "lists" / "table.csv",
        "image,clicks,labels,output\n../a.png,p.csv; n.csv,,group/a\n/x/b.tif,,b_labels.tif,\n",
    )  # fmt: skip
    jobs, _ = find_jobs(["lists/table.csv"], seeded=True)
    lists = folder / "lists"
    assert jobs == [
        Job("group/a", lists / "../a.png", (lists / "p.csv", lists / "n.csv")),
        Job("b", Path("/x/b.tif"), (), lists / "b_labels.tif"),
    ]


def test_clicks_beside_an_image_are_called_as_it_is_whatever_its_results(folder):
    clicks = {name: text(image(folder / f"{name}.png").with_suffix(".csv"), CLICKS) for name in "ab"}
    text(folder / "lists/table.csv", "image,output\n../a.png,b\n../b.png,other\n")
    assert {job.output: job.clicks[0].resolve() for job in find_jobs(["lists/table.csv"])[0]} == {
        "b": clicks["a"].resolve(), "other": clicks["b"].resolve(),
    }  # fmt: skip


def test_clicks_on_several_images_in_one_file(folder):
    for name in ("a.png", "plates/1/a.png", "plates/2/b.png", "plates/2/c.png"):
        image(folder / name)
    rows = [f"{name},1,2,2,1\n" for name in ("a.png", "plates/1/a.png", "plates/2/b", "plates/2/../1/a.png")]
    clicks = text(folder / "all.csv", "image," + CLICKS.splitlines()[0] + "\n" + "".join(rows[:2]))
    jobs, _ = find_jobs([clicks])
    assert jobs == [Job("a", folder / "a.png", (clicks,)), Job("plates/1/a", folder / "plates/1/a.png", (clicks,))]
    text(clicks, "image," + CLICKS.splitlines()[0] + "\n" + "".join(rows[2:]))
    jobs, without = find_jobs(["plates/**/*.png"], "all.csv")
    assert [job.output for job in jobs] == ["1/a"]  # its path is there, though not what it is called here
    assert [path.stem for path in without] == ["b", "c"]
    jobs, without = find_jobs(["p*/**/*.png"], "all.csv")
    assert [job.output for job in jobs] == ["plates/1/a", "plates/2/b"]
    for cell in ("", ".", "/", "..", "a/.."):
        text(clicks, f"image,object,row,column,positive\na.png,1,2,2,1\n{cell},1,2,2,1\n")
        for given_, where in ((clicks, None), ("*.png", clicks)):
            with pytest.raises(InputError, match=r"all.csv, line 3: the column image says of no image, found"):
                find_jobs([given_], where)


def test_seeds_are_for_images_without_clicks(folder):
    for name in "ab":
        image(folder / "images" / f"{name}.png")
        image(folder / "labels" / f"{name}.png")
    clicks = text(folder / "images" / "a.csv", CLICKS)
    jobs, _ = find_jobs(["images"], labels="labels", seeded=True)
    assert [(job.clicks, job.labels) for job in jobs] == [((), folder / "labels" / f"{name}.png") for name in "ab"]
    jobs, _ = find_jobs(["images"], "images", "labels", seeded=True)
    assert [(job.clicks, job.labels) for job in jobs] == [((clicks,), None), ((), folder / "labels" / "b.png")]


@pytest.mark.parametrize(
    "output", ["../a", "/etc/a", "a/../b", "a//b", ".partial/a", "a:b", "C:\\a", "a\x00", ".", "x" * 300]
)
def test_results_stay_in_their_folder(folder, output):
    text(folder / "table.csv", f"image,output\na.png,{output}\n")
    with pytest.raises(InputError, match="line 2: results cannot be called"):
        find_jobs(["table.csv"], seeded=True)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ("nothing.png", "there is no nothing.png"),
        ("*.png", r"there are no images in \*\.png"),
        ("clicks.csv", "neither an image nor a click record"),
        ("folder", "there are no images in folder"),
        ("odd.csv", "line 1: a table of images has the columns"),
        ("two.csv", "line 2: a row needs one image"),
        ("root.csv", "line 2: a row needs one image"),
    ],
)
def test_what_is_no_input(folder, given_, said):
    text(folder / "clicks.csv", CLICKS)
    text(folder / "odd.csv", "image,colour\na.png,red\n")
    text(folder / "two.csv", "image\na.png;b.png\n")
    text(folder / "root.csv", "image\n/\n")
    (folder / "folder").mkdir()
    with pytest.raises(InputError, match=said):
        find_jobs([given_])


def test_images_without_any_clicks(folder):
    image(folder / "a.png")
    with pytest.raises(InputError, match=r"none of 1 images has clicks: .*--clicks.*--seeds"):
        find_jobs([folder])


def test_what_images_are_called():
    names = ("a.tif", "a.b.png", "p/a.OME.tiff", "a.ome.zarr", "a.clicks.json", "a", ".", "/", "")
    assert [stem_of(name) for name in names] == ["a", "a.b", "p/a", "a", "a", "a", ".", "/", "."]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(
    st.binary(max_size=200),
    st.lists(st.text('abc./\\;:,"~\n {}*[]\x00', max_size=30)).map(
        lambda lines: "\n".join(["image,clicks,labels,output", *lines]).encode()
    ),
    st.lists(st.text("a./\\~ {}*[]\x00", min_size=1, max_size=4)).map(
        lambda images: "\n".join(["image," + CLICKS.splitlines()[0], *(f"{name},1,2,2,1" for name in images)]).encode()
    ),
))  # fmt: skip
def test_whatever_a_table_holds_is_jobs_or_an_error_in_words(folder, content):
    path = folder / "table.csv"
    path.write_bytes(content)
    try:
        jobs, _ = find_jobs([path], seeded=True)
    except InputError:
        return
    for job in jobs:
        assert (folder / "out" / job.output).resolve().is_relative_to(folder / "out")
