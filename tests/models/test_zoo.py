from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.errors import InputError, ModelFileError
from napari_fbrs.inference.predictor import Predictor, PredictorSettings
from napari_fbrs.models.checkpoint import Model, ModelSettings, load_checkpoint, save_model
from napari_fbrs.models.deeplab import DeepLabArchitecture
from napari_fbrs.models.zoo import (
    PUBLISHED,
    Entry,
    choose_device,
    find_model,
    list_models,
    load_model,
    models_folder,
)

FIRST = DeepLabArchitecture("resnet18", 128, stages=3, output_stride=16, rates=(6, 12, 18))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAPARI_FBRS_MODELS", str(tmp_path / "placed"))
    (tmp_path / "placed").mkdir()
    return tmp_path / "placed"


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


def test_published_models_say_where_they_belong(folder: Path):
    with pytest.raises(ModelFileError, match=rf"resnet50_dh128_sbd\.pth .* in {re.escape(str(folder))}"):
        find_model("resnet50_dh128_sbd")


def test_paths_are_taken_as_they_are(folder: Path):
    assert find_model("some/where.pth") == Path("some/where.pth")
    assert find_model(Path("default")) == Path("default")
    with pytest.raises(ModelFileError, match=r"no model file at nowhere\.safetensors"):
        load_model("nowhere.safetensors", "cpu")


def test_a_placed_copy_is_the_same_model(folder: Path, bundled: Model):
    shutil.copy(find_model("default"), folder / "copy.safetensors")
    assert load_model("copy", "cpu").fingerprint == bundled.fingerprint


def test_devices_that_are_there():
    assert choose_device("cpu") == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device("auto").type == expected


@pytest.mark.parametrize("device", ["cuda:99", "meta", "xpu"])
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
        predictor = Predictor(model, settings=PredictorSettings.of_model(ModelSettings(224, 64)))
        plane = predictor.prepare(skimage.data.coins())
        masks.append([prediction.mask() for prediction in predictor.replay(plane, clicks)])
    for ours, theirs in zip(*masks, strict=True):
        assert ours.any()
        assert np.count_nonzero(ours & theirs) / np.count_nonzero(ours | theirs) > 0.99
