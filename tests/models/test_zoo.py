from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from release import NAME, TINY, Release, weights

from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.errors import CancelledError, InputError, ModelFileError
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import PredictorSettings
from napari_fbrs.models import zoo
from napari_fbrs.models.checkpoint import Model, ModelSettings, fingerprint, load_checkpoint, save_model
from napari_fbrs.models.deeplab import DeepLabArchitecture
from napari_fbrs.models.hrnet import HRNetArchitecture
from napari_fbrs.models.zoo import (
    PUBLISHED,
    Entry,
    Published,
    choose_device,
    download,
    find_model,
    list_models,
    load_model,
    models_folder,
    unused_files,
)

FIRST = DeepLabArchitecture("resnet18", 128, stages=3, output_stride=16, rates=(6, 12, 18))


def test_the_folder_can_be_chosen(folder: Path, monkeypatch: pytest.MonkeyPatch):
    assert models_folder() == folder
    monkeypatch.delenv("NAPARI_FBRS_MODELS")
    assert models_folder().parts[-2:] == ("napari-fbrs", "models")


def test_what_is_placed_in_the_folder_is_listed(folder: Path):
    (folder / "mine.safetensors").touch()
    (folder / "resnet34_dh128_sbd.pth").touch()
    (folder / "notes.txt").touch()
    entries = list_models()
    assert (entries[0].name, entries[0].origin) == ("default", "bundled")
    assert entries[0].path.is_file()
    assert entries[1:3] == [
        Entry("mine", folder / "mine.safetensors", "folder"),
        Entry("resnet34_dh128_sbd", folder / "resnet34_dh128_sbd.pth", "folder"),
    ]
    assert [e.name for e in entries[3:]] == [name for name in PUBLISHED if name != "resnet34_dh128_sbd"]
    assert all(e.path is None and e.origin == "published" for e in entries[3:])
    assert find_model("mine") == folder / "mine.safetensors"


def test_no_folder_is_no_error(folder: Path):
    folder.rmdir()
    assert [entry.name for entry in list_models()] == ["default", *PUBLISHED]


def test_names_nobody_knows(folder: Path):
    (folder / "mine.safetensors").touch()
    with pytest.raises(ModelFileError, match="no model is called 'yours'; there are default, mine, resnet34_dh128_sbd"):
        find_model("yours")


def test_a_file_of_another_kind_is_no_model(tmp_path: Path):
    (tmp_path / "c.csv").touch()
    with pytest.raises(ModelFileError, match=r"c\.csv is no model file: their names end in \.safetensors or \.pth"):
        find_model(str(tmp_path / "c.csv"))


@pytest.mark.parametrize("name", ["resnet34_dh128_sbd", "hrnet32_ocr128_lvis"])
def test_published_models_say_where_they_come_from_and_belong(folder: Path, name: str):
    with pytest.raises(ModelFileError) as refused:
        load_model(name, "cpu")
    assert str(refused.value) == (
        f"{name} is not on this machine: run `napari-fbrs models --download {name}`, or get https://github.com/"
        f"saic-vul/fbrs_interactive_segmentation/releases/download/v1.0/{name}.pth and put it in {folder}"
    )


def test_the_bundled_model_is_not_replaced_by_a_file_of_its_name(folder: Path):
    bundled = find_model("default")
    for name in ("default.safetensors", "default.pth"):
        (folder / name).touch()
    assert find_model("default") == bundled
    assert [entry.name for entry in list_models()] == ["default", *PUBLISHED]
    assert unused_files() == [folder / "default.safetensors", folder / "default.pth"]


def test_of_two_files_of_one_name_one_is_listed(folder: Path):
    for name in ("mine.pth", "mine.safetensors", "other.pth"):
        (folder / name).touch()
    assert [entry.name for entry in list_models() if entry.origin == "folder"] == ["mine", "other"]
    assert find_model("mine") == folder / "mine.safetensors"
    assert unused_files() == [folder / "mine.pth"]


def test_folders_are_no_models(folder: Path):
    (folder / "odd.pth").mkdir()
    assert all(entry.origin != "folder" for entry in list_models())


def test_sizes(folder: Path):
    (folder / "mine.pth").write_bytes(b"12345")
    sizes = {entry.name: entry.size for entry in list_models()}
    assert sizes["mine"] == 5
    assert sizes["default"] == find_model("default").stat().st_size
    assert sizes["resnet34_dh128_sbd"] == 93_444_784
    assert Entry("gone", folder / "gone.pth", "folder").size is None


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_sizes_of_what_is_published(name: str, manifest):
    shapes = manifest[name.rpartition("_")[0]]
    size = sum(np.prod(shape, dtype=int) * (8 if key.endswith("tracked") else 4) for key, shape in shapes.items())
    assert PUBLISHED[name].size == size


def test_paths_are_taken_as_they_are(folder: Path):
    assert find_model("some/where.pth") == Path("some/where.pth")
    assert find_model(Path("default")) == Path("default")
    with pytest.raises(ModelFileError, match=r"no model file at nowhere\.safetensors"):
        load_model("nowhere.safetensors", "cpu")


# downloads, from a server on this machine (conftest.py)


def refused(folder: Path, **options) -> str:
    """Return what a download is refused with; nothing may be left of it."""
    with pytest.raises(ModelFileError) as error:
        download(NAME, **options)
    assert list(folder.iterdir()) == []
    assert str(error.value).endswith(f"get {zoo.RELEASE}{NAME}.pth and put it in {folder}")
    return str(error.value)


def test_a_download_is_the_published_file_and_is_made_once(release: Release, folder: Path):
    folder.rmdir()
    said: list[tuple[int, int | None]] = []
    path = download(NAME, lambda done, total: said.append((done, total)))
    assert path == folder / f"{NAME}.pth"
    content = release.files[f"/{NAME}.pth"]
    assert path.read_bytes() == content
    assert list(folder.iterdir()) == [path]
    assert said[-1] == (len(content), len(content))
    assert sorted(said) == said
    assert all(total == len(content) for _, total in said)
    assert load_model(NAME, "cpu").network.architecture == TINY
    assert download(NAME) == path
    assert len(release.asked) == 1


def test_a_file_placed_by_hand_is_not_downloaded(release: Release, folder: Path):
    (folder / f"{NAME}.safetensors").touch()
    assert download(NAME) == folder / f"{NAME}.safetensors"
    assert release.asked == []


def test_a_download_of_unknown_length(release: Release):
    release.announced = False
    said: list[tuple[int, int | None]] = []
    download(NAME, lambda done, total: said.append((done, total)))
    assert {total for _, total in said} == {None}


def test_a_download_is_called_off(release: Release, folder: Path):
    answers = iter([False, False, True])
    with pytest.raises(CancelledError, match=f"the download of {NAME} was called off"):
        download(NAME, cancelled=lambda: next(answers))
    assert len(release.asked) == 1
    assert list(folder.iterdir()) == []
    with pytest.raises(CancelledError):
        download(NAME, cancelled=lambda: True)
    assert len(release.asked) == 1


def test_what_killed_downloads_left_is_removed_and_running_ones_are_not(release: Release, folder: Path):
    for name, age in (("killed", 4000), ("running", 1000)):
        partial = folder / f".download-{name}" / f"{NAME}.pth"
        partial.parent.mkdir()
        partial.write_bytes(b"half of it")
        for path in (partial, partial.parent):
            os.utime(path, (time.time() - age,) * 2)
    (folder / ".download-old" / "deep").mkdir(parents=True)  # no folder of ours, and of no age
    path = download(NAME)
    assert set(folder.iterdir()) == {path, folder / ".download-running", folder / ".download-old"}


def test_a_file_that_is_not_there(release: Release, folder: Path):
    release.files.clear()
    assert "could not be downloaded (the server answered 404)" in refused(folder)


def test_no_network(release: Release, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(zoo, "RELEASE", "http://127.0.0.1:9/")  # the port of "discard", where nobody listens
    assert "could not be downloaded (the connection failed, ConnectionError)" in refused(folder)


def test_a_connection_that_breaks(release: Release, folder: Path):
    release.missing = 1
    assert re.search("the connection failed|ended early", refused(folder))


def test_something_else_came(release: Release, folder: Path, tmp_path: Path):
    path = f"/{NAME}.pth"
    unusable = weights(tmp_path / "w.pth", TINY, **{"rgb_conv.0.bias": torch.full((8,), torch.nan)})
    for content, said in {
        unusable: r"rgb_conv\.0\.bias holds NaN",
        b"<!DOCTYPE html>": "could not be read as weights only",
        b"": "could not be read as weights only",
        release.files[path][:-100]: "could not be read as weights only",
        weights(tmp_path / "w.pth", HRNetArchitecture(2, 4)): r"it holds HRNetArchitecture\(width=2, ocr=4, ",
    }.items():
        release.files[path] = content
        assert re.search(f"what came in place of {NAME} is no such model, .*{said}", refused(folder))


def test_another_model_of_the_same_shapes_came(release: Release, folder: Path, monkeypatch: pytest.MonkeyPatch):
    other = HRNetArchitecture(2, 3, norm_radius=5.0)
    monkeypatch.setattr(zoo, "PUBLISHED", {NAME: Published(other, 1000)})
    assert f"is no such model, it holds {TINY}" in refused(folder)


def test_far_more_comes(release: Release, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(zoo, "_MAX_BYTES", 1000)
    assert "is far larger" in refused(folder)


@pytest.mark.parametrize("right", [True, False])
def test_a_pinned_hash_is_checked(release: Release, folder: Path, monkeypatch: pytest.MonkeyPatch, right: bool):
    pinned = fingerprint(download(NAME))
    (folder / f"{NAME}.pth").unlink()
    monkeypatch.setattr(zoo, "PUBLISHED", {NAME: Published(TINY, 1000, pinned if right else "0" * 64)})
    if right:
        assert fingerprint(download(NAME)) == pinned
    else:
        assert "is not the published file (SHA-256)" in refused(folder)


def test_a_folder_that_cannot_be_written(release: Release, folder: Path):
    folder.rmdir()
    folder.write_text("a file in its place")
    with pytest.raises(ModelFileError, match=r"could not be downloaded \(.*exists\): get http"):
        download(NAME)
    assert release.asked == []


def test_only_published_models_are_downloaded(folder: Path):
    with pytest.raises(InputError, match="no published model is called 'yours', only resnet34_dh128_sbd, "):
        download("yours")


def test_a_placed_copy_is_the_same_model(folder: Path, bundled: Model):
    shutil.copy(find_model("default"), folder / "copy.safetensors")
    assert load_model("copy", "cpu").fingerprint == bundled.fingerprint


def test_devices_that_are_there():
    assert choose_device("cpu") == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device("auto").type == expected


@pytest.mark.parametrize("device", ["cuda:99", "cpu:1", "meta", "xpu"])
def test_devices_that_are_not_there(device: str):
    with pytest.raises(InputError, match=f"{device}.* is not available"):
        choose_device(device)


@pytest.mark.parametrize("device", ["", "gpu", "cpu:x"])
def test_devices_that_do_not_exist(device: str):
    with pytest.raises(InputError, match="no device is called"):
        choose_device(device)


def test_the_bundled_model(bundled: Model):
    assert bundled.name
    assert not bundled.network.training
    assert all(torch.isfinite(value).all() for value in bundled.network.state_dict().values())
    assert find_model("default").stat().st_size < 20e6


def test_half_precision_changes_no_mask(shared: Path, tmp_path: Path):
    path = shared / "weights" / "resnet18_3stage_dh128_first.pth"
    single = load_checkpoint(path, choose_device("cpu"), FIRST)
    save_model(tmp_path / "half.safetensors", single.network, "half", single.settings, half=True)
    half = load_checkpoint(tmp_path / "half.safetensors", choose_device("cpu"))
    clicks = ClickList.one_by_one([Click(52, 124), Click(60, 165, positive=False), Click(45, 120)])
    masks = []
    for model in (half, single):
        settings = PredictorSettings.of_model(ModelSettings(224, 64))
        predictor = Predictor(model, settings=replace(settings, half=False))  # features, which bfloat16 would blur more
        plane = predictor.prepare(skimage.data.coins())
        masks.append([prediction.mask() for prediction in predictor.replay(plane, clicks)])
    for ours, theirs in zip(*masks, strict=True):
        assert ours.any()
        assert np.count_nonzero(ours & theirs) / np.count_nonzero(ours | theirs) > 0.99
