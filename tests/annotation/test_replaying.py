from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from fakes import BrightNetwork, DiscPredictor, model_of
from skimage import data

from napari_fbrs import Click, Predictor, Session, Stroke, load_model, replay
from napari_fbrs.annotation.click_record import Record, read_record, record_of, write_record
from napari_fbrs.annotation.history import Base
from napari_fbrs.annotation.image import Image
from napari_fbrs.annotation.labels import ArrayLabels, LabelChange, PlaneMask
from napari_fbrs.annotation.propagation import Propagation, write
from napari_fbrs.annotation.replaying import Predictors, bring_back, find_image, recompute, recorded_device
from napari_fbrs.errors import CancelledError, InputError, ModelFileError
from napari_fbrs.inference.plane import Crop
from napari_fbrs.models import zoo


def discs(_method: object) -> Predictor:
    return DiscPredictor()  # type: ignore[return-value]


@pytest.fixture(scope="module")
def coins() -> npt.NDArray[np.uint8]:
    """A stack of three slices of coins, each a little farther to the right."""
    return np.stack([data.coins()[:120, at : at + 160] for at in (0, 3, 6)])


@pytest.fixture(scope="module")
def annotated(coins: npt.NDArray[np.uint8]) -> Session:
    """Work with the bundled model: objects that overlap, undone clicks, a stroke, painted and carried slices."""
    session = Session(coins, Predictor(load_model(device="cpu")))
    session.click(Click(52, 44), position=(0,))
    session.click(Click(60, 60, False), position=(0,))
    session.undo()
    session.next_object()
    session.click(Click(55, 50), position=(0,))
    session.click(Stroke.of([[50, 60], [50, 61], [50, 62], [51, 62]]), position=(0,))
    indices = tuple(np.mgrid[0:1, 50:56, 44:52].reshape(3, -1))
    before = session.labels.read(indices)
    erased = LabelChange(indices, before, np.where(np.arange(before.size) % 2, 0, 7).astype(before.dtype))
    erased.do(session.labels)
    session.painted(erased)
    session.click(Click(53, 48), position=(0,))  # corrects a mask that was painted on
    session.object = 1
    place = session.place((0,))
    write(session, list(Propagation(session, place, 0).run([1])))
    session.object = 9
    session.click(Click(40, 100), position=(2,))
    return session


@pytest.fixture
def recorded(annotated: Session, coins: npt.NDArray[np.uint8], tmp_path: Path) -> Path:
    """The folder of that work: an image, and its record."""
    tifffile.imwrite(tmp_path / "coins.tif", coins, photometric="minisblack")
    write_record(tmp_path / "coins.clicks.json", record_of(annotated, name="coins", source=str(tmp_path / "coins.tif")))
    return tmp_path


def test_a_new_process_computes_the_same_masks(annotated: Session, recorded: Path) -> None:
    record = read_record(recorded / "coins.clicks.json")
    predicted = [mask for mask in record.masks if mask.method is not None]
    assert {mask.place.object for mask in predicted} == {1, 2, 9}
    assert not any(mask.kept for mask in record.masks)
    assert [mask.place.plane.position for mask in record.masks if mask.method is None] == [(1,)]  # carried there
    output = recorded / "labels.tif"
    command = [
        sys.executable,
        "-m",
        "napari_fbrs.cli",
        "replay",
        str(recorded / "coins.clicks.json"),
        "-o",
        str(output),
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["4 masks, as recorded", f"labels written to {output}"]
    labels = np.asarray(annotated.labels.read((slice(None),) * 3))
    np.testing.assert_array_equal(tifffile.imread(output), labels)
    one, other = (mask.within(Crop.whole((120, 160))) for _, _, mask, _ in annotated.state()[:2] if mask)
    assert (one & other).any()  # they do overlap


def test_clicking_goes_on_as_if_nothing_had_been_in_between(coins: npt.NDArray[np.uint8]) -> None:
    model = load_model(device="cpu")
    session = Session(coins, Predictor(model))
    session.click(Click(52, 44), position=(0,))
    again = replay(record_of(session), coins, Predictors("cpu", loaded=model))
    for one in (session, again.session):
        one.click(Click(60, 50, False), position=(0,))
    np.testing.assert_array_equal(again.labels, session.labels.read((slice(None),) * 3))
    again.session.undo()
    assert again.session.undo() is None
    assert again.session.next_object() == 2


def test_the_image_is_found_beside_the_record(recorded: Path) -> None:
    other = recorded / "other"
    other.mkdir()
    for name in ("coins.tif", "coins.clicks.json"):
        shutil.move(recorded / name, other / name)
    replayed = replay(other / "coins.clicks.json")
    assert replayed.report() == ["4 masks, as recorded"]


def cheap() -> tuple[npt.NDArray[np.uint8], Record]:
    image = np.random.default_rng(0).integers(0, 255, (2, 40, 50)).astype(np.uint8)
    session = Session(image, DiscPredictor())  # type: ignore[arg-type]
    session.click(Click(10, 10), position=(0,))
    session.click(Click(12, 10), position=(1,))
    return image, record_of(session, name="noise", source="nowhere/noise.tif")


def test_an_image_that_is_not_there_is_said(tmp_path: Path) -> None:
    _, record = cheap()
    write_record(tmp_path / "noise.clicks.json", record)
    with pytest.raises(InputError, match=r"nowhere/noise.tif, is not there.*--image"):
        replay(tmp_path / "noise.clicks.json")


@pytest.mark.parametrize("plane", [0, 1])
def test_another_image_is_refused_unless_wanted(plane: int) -> None:
    image, record = cheap()
    other = image.copy()
    other[plane, 39, 49] ^= 1
    with pytest.raises(InputError, match="not the image of the record"):
        replay(record, other, discs)
    assert replay(record, other, discs, anyway=True).different == ()


def test_an_image_of_another_shape_is_refused_always() -> None:
    image, record = cheap()
    with pytest.raises(InputError, match=r"shape \(40, 50\)"):
        replay(record, image[0], discs, anyway=True)


def test_the_dtype_belongs_to_the_image() -> None:
    image, record = cheap()
    with pytest.raises(InputError, match="not the image"):
        replay(record, image.astype(np.uint16), discs)


def test_a_model_that_is_not_here_is_refused_unless_another_one_is_wanted(recorded: Path) -> None:
    path = recorded / "coins.clicks.json"
    text = json.loads(path.read_text())
    text["predictors"][0]["sha256"] = "0" * 64
    text["masks"] = text["masks"][:1]
    path.write_text(json.dumps(text))
    with pytest.raises(ModelFileError, match=r"SHA-256 000000000000.*--anyway"):
        replay(path)
    with pytest.raises(ModelFileError, match="what default holds"):
        replay(path, predictor_of=Predictors("cpu", "default"))
    assert replay(path, anyway=True).report() == ["1 mask, as recorded"]  # it is the very model


def test_a_model_is_found_by_its_hash_under_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_FBRS_MODELS", str(tmp_path))
    (tmp_path / "mine.pth").write_bytes(b"some weights")
    sha256 = zoo.fingerprint(tmp_path / "mine.pth")
    assert zoo.find_fingerprint(sha256) == tmp_path / "mine.pth"
    assert zoo.find_fingerprint(sha256, "default") is None
    assert zoo.find_fingerprint("0" * 64) is None


def test_masks_that_come_out_otherwise_are_named() -> None:
    image, record = cheap()
    replayed = replay(record, image, lambda _method: DiscPredictor(radius=6))  # type: ignore[arg-type,return-value]
    assert len(replayed.different) == 2
    there = replace(replayed.record, made={"torch": "1.0"})
    lines = replace(replayed, record=there).report()
    assert lines[0] == "2 masks, 2 of them not as recorded: object 1 on plane 0, object 1 on plane 1"
    assert lines[1].startswith("versions differ: torch 1.0 then, ")


def test_scales_and_biases_of_another_network_are_refused() -> None:
    image = np.zeros((64, 64), np.uint8)
    image[20:40, 20:40] = 200
    session = Session(image, Predictor(model_of(BrightNetwork())))
    session.click(Click(30, 30))
    session.click(Click(50, 50))  # is dark: the optimisation has something to do
    record = record_of(session)
    (mask,) = record.masks
    base = Base(PlaneMask.of_plane(image > 100), variables=np.ones((2, 999), np.float32))
    record = replace(record, masks=(replace(mask, refinement=replace(mask.refinement, base=base)),))
    with pytest.raises(InputError, match="cannot be computed"):
        replay(record, image, lambda _method: session.predictor)


@pytest.mark.parametrize("device", ["cpu", "cuda:99", "abacus", ""])
def test_masks_are_computed_where_they_were_if_that_is_here(device: str) -> None:
    _, record = cheap()
    there = replace(record, made={"device": device})
    assert recorded_device(there) == ("cpu" if device == "cpu" else "auto")
    assert recorded_device(replace(record, made={})) == "auto"


def test_it_can_be_called_off() -> None:
    image, record = cheap()
    told = []
    with pytest.raises(CancelledError):
        replay(record, image, discs, progress=lambda *at: told.append(at), cancelled=lambda: bool(told))
    assert told == [(1, 2)]


def test_nothing_that_is_there_is_written_over() -> None:
    image, record = cheap()
    masks = recompute(record, Image(image), discs)
    clicked = Session(image, DiscPredictor())  # type: ignore[arg-type]
    clicked.click(Click(30, 30), position=(0,))
    with pytest.raises(InputError, match="clicked on this image already"):
        bring_back(clicked, record, masks)
    painted = Session(image, DiscPredictor())  # type: ignore[arg-type]
    painted.labels.write(tuple(np.array([[1], [39], [49]])), np.array([3]))
    with pytest.raises(InputError, match="masks in this Labels layer already"):
        bring_back(painted, record, masks)
    assert np.count_nonzero(painted.labels.read((slice(None),) * 3)) == 1


def test_labels_too_small_for_an_object_are_refused() -> None:
    image, record = cheap()
    record = replace(record, painted=(tuple(np.array([[0], [0], [0]])), np.array([300])))
    session = Session(image, DiscPredictor(), labels=ArrayLabels(np.zeros(image.shape, np.uint8)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="object 300, labels of uint8"):
        bring_back(session, record, [None, None])


def test_an_image_on_another_machine_is_not_looked_for(
    annotated: Session, coins: npt.NDArray[np.uint8], tmp_path: Path
):
    """A path of Windows' kind would tell that machine who the user is; here it is the same as one of the root."""
    tifffile.imwrite(tmp_path / "coins.tif", coins, photometric="minisblack")
    elsewhere = f"/{tmp_path / 'coins.tif'}"
    assert Path(elsewhere).is_file()
    record = record_of(annotated, name="coins", source=elsewhere)
    with pytest.raises(InputError, match="say where it is"):
        find_image(record)
    assert find_image(record, tmp_path) == tmp_path / "coins.tif"
