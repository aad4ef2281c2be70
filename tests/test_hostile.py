"""Whatever comes in: an error that the user can act on, or a right result; no crash, huge allocation or half file."""

from __future__ import annotations

import copy
import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from fakes import BrightNetwork, DiscPredictor, model_of
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fbrs.annotation.click_record import decode_record, encode_record, record_of
from napari_fbrs.annotation.image import Image
from napari_fbrs.annotation.journal import read_journal
from napari_fbrs.annotation.labels import LabelChange
from napari_fbrs.annotation.recovery import Recorder, header, restore
from napari_fbrs.annotation.replaying import replay
from napari_fbrs.annotation.session import Session
from napari_fbrs.cli import main
from napari_fbrs.clicks import Click
from napari_fbrs.errors import FBRSError, InputError
from napari_fbrs.evaluation.files import Files
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.models.checkpoint import ModelSettings, load_checkpoint, save_model
from napari_fbrs.models.deeplab import DeepLabArchitecture

SHAPE = (3, 12, 14)
IMAGE = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)
ROOM = 50e6  # bytes; far more than anything here needs


@contextmanager
def little_memory() -> Iterator[None]:
    """Fail where far more memory is asked for than there is data."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < ROOM


def refusal(run: Callable[[], object]) -> str | None:
    """Return what the user is told, None where all is well; nothing else may be raised."""
    try:
        run()
    except FBRSError as error:
        return str(error) or pytest.fail("an error that says nothing")
    return None


# images

NUMBERS = ("?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">u2", ">i4", ">f4", ">f8", "g")
OTHERS = ("c8", "c16", "O", "S3", "U2", "m8[s]", "M8[s]", "V4")
FIRST = model_of(BrightNetwork(), ModelSettings(16, 8))


@st.composite
def images(draw: st.DrawFn) -> np.ndarray:
    shape = tuple(draw(st.lists(st.sampled_from((0, 1, 2, 3, 4, 9)), min_size=0, max_size=4)))
    dtype = np.dtype(draw(st.sampled_from((*NUMBERS, *NUMBERS, *OTHERS))))
    if dtype.kind not in "buif":
        return np.zeros(shape, dtype)
    seed = np.random.default_rng(draw(st.integers(0, 99)))
    image = (seed.random(shape) * 255).astype(dtype)
    if dtype.kind == "f" and image.size:
        odd = [np.nan, np.inf, -np.inf, np.finfo(dtype).max, np.finfo(dtype).min, np.finfo(dtype).tiny]
        image.flat[0], image.flat[-1] = draw(st.sampled_from(odd)), draw(st.sampled_from(odd))
    if dtype.kind in "ui" and image.size:
        image.flat[0], image.flat[-1] = np.iinfo(dtype).max, np.iinfo(dtype).min
    return image


@given(images(), st.booleans(), st.sampled_from(["NoBRS", "f-BRS-B"]))
@settings(max_examples=150)
def test_any_array_is_segmented_or_refused(image: np.ndarray, rgb: bool, mode: str):
    before = image.copy()
    sessions: list[Session] = []

    def run() -> None:
        sessions.append(Session(Image(image, rgb=rgb), Predictor(FIRST, mode)))
        position = tuple(n // 2 for n in sessions[0].image.shape[:-2])
        rows, columns = sessions[0].image.shape[-2:]
        sessions[0].click(Click(rows // 2, columns // 2), position=position)
        sessions[0].click(Click(0, 0, positive=False), position=position)

    if refusal(run):
        usable = image.dtype.kind in "buif" and image.ndim >= 2 + rgb and 0 not in image.shape
        assert not usable or rgb, image.dtype  # 3 or 4 colours
    else:
        labels = sessions[0].labels.read((slice(None),) * sessions[0].image.ndim)
        assert labels.shape == image.shape[: image.ndim - rgb]
        assert set(np.unique(labels)) <= {0, 1}
    assert image.tobytes() == before.tobytes()


# click records and journals

JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**70, -(2**63), 0.5, 1e308, float("nan"), float("inf"), "", "x", "../../etc/passwd",
    "\x00", "9" * 4000, [], {}, [[]], [0], [-1, 2**40], [2**40, 2**40], {"a": 1},
)  # fmt: skip


def annotated() -> Session:
    session = Session(IMAGE, DiscPredictor())  # type: ignore[arg-type]
    session.click(Click(4, 5), position=(1,))
    session.click(Click(9, 9, positive=False), position=(1,))
    session.next_object()
    session.click(Click(2, 11), position=(2,))
    at = tuple(np.array([index]) for index in (0, 3, 3))
    LabelChange(at, np.array([0]), np.array([7])).do(session.labels)
    session.classes[1] = "cell"
    return session


def paths(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value of a JSON tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*at, key)
        yield from paths(value, (*at, key))


def damaged(tree: Any, where: int, junk: Any) -> Any:
    """Return a tree with junk in the place of one value; or without it, where the junk is that."""
    tree = copy.deepcopy(tree)
    ways = list(paths(tree))
    *way, last = ways[where % len(ways)]
    parent = tree
    for key in way:
        parent = parent[key]
    if junk is Ellipsis:
        del parent[last]
    else:
        parent[last] = junk
    return tree


RECORD = json.loads(json.dumps(encode_record(record_of(annotated(), name="cells"))))


@given(st.integers(0, 10_000), st.sampled_from((*JUNK, ...)))
@settings(max_examples=100)
def test_a_record_damaged_anywhere_is_refused_or_replayed(where: int, junk: Any):
    def run() -> None:
        record = decode_record(damaged(RECORD, where, junk))
        labels = replay(record, Image(IMAGE), lambda _method: DiscPredictor()).labels
        assert labels.shape == SHAPE

    with little_memory():
        refusal(run)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    session = annotated()
    session.choose(session.choices())
    recorder = Recorder(session, tmp_path_factory.mktemp("journals"), header(session.image, name="cells"), pytest.fail)
    session.click(Click(5, 5), position=(2,))
    with session.together():
        session.click(Click(6, 6), position=(0,))
    recorder.note()
    recorder.stop(discard=False)
    return read_journal(recorder.journal.path)[1]


@given(st.data())
@settings(max_examples=150)
def test_a_journal_damaged_anywhere_is_refused_or_restored(journal: list[dict[str, Any]], data: st.DataObject):
    entries = damaged(journal, data.draw(st.integers(0, 10_000)), data.draw(st.sampled_from((*JUNK, ...))))
    session = Session(IMAGE, DiscPredictor())  # type: ignore[arg-type]
    entries = [entry for entry in entries if isinstance(entry, dict)]  # as they come from a file
    with little_memory():
        refused = refusal(lambda: restore(session, entries))
    if refused:
        assert not session.labels.read((slice(None),) * 3).any()  # nothing of it is there
        assert not session.annotated()
    for place in session.waiting():
        session.update(place)


# model files

SMALL = DeepLabArchitecture("resnet18", 8, stages=2, output_stride=16, rates=(1, 2, 3), norm_radius=100.0)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    save_model(path, SMALL.build().eval(), "small", ModelSettings(96, 24))
    return path.read_bytes()


@given(st.data())
@settings(max_examples=80)
def test_safetensors_with_headers_that_lie(model_file: bytes, tmp_path_factory: Any, data: st.DataObject):
    (length,) = struct.unpack("<Q", model_file[:8])
    told = json.loads(model_file[8 : 8 + length])
    path = tmp_path_factory.mktemp("lying") / "model.safetensors"
    junk = (*JUNK, ..., "F64", "BOOL", "I64", [2**31, 2**31], [1, 1, 1, 1], [0, 2**62], [8, 0])
    head = json.dumps(damaged(told, data.draw(st.integers(0, 10_000)), data.draw(st.sampled_from(junk)))).encode()
    size = data.draw(st.sampled_from((len(head), len(head) - 1, len(head) + 1000, 0, 2**40, 2**64 - 1)))
    size = size if data.draw(st.booleans()) else len(head)
    path.write_bytes(struct.pack("<Q", size) + head + model_file[8 + length :])
    models: list[Any] = []
    with little_memory():
        told = refusal(lambda: models.append(load_checkpoint(path, torch.device("cpu"))))
    if told:
        assert "model.safetensors" in told
    else:
        assert all(bool(torch.isfinite(value).all()) for value in models[0].network.state_dict().values())


# data sets to train on, and to evaluate with


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_file_of_a_data_set_that_says_it_is_huge_is_not_unpacked(tmp_path: Path):
    path = zipped(tmp_path / "bomb.zip", {"images/a.png": bytes(1000), "labels/a.png": bytes(1000)})
    content = path.read_bytes()
    sizes = struct.pack("<I", 1000)
    path.write_bytes(content.replace(sizes, struct.pack("<I", 2**32 - 2)))
    with little_memory(), pytest.raises(InputError, match="no image is that large"):
        Files(path, ("images",)).read("images/a.png")


def test_a_file_that_unpacks_to_more_than_it_says_is_refused(tmp_path: Path):
    path = zipped(tmp_path / "bomb.zip", {"images/a.png": bytes(100_000_000)})
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", 100_000_000), struct.pack("<I", 1000)))
    with little_memory(), pytest.raises(InputError, match=r"cannot read images/a.png"):
        Files(path, ("images",)).read("images/a.png")


def test_names_that_lead_out_of_a_data_set_are_not_followed(tmp_path: Path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "set" / "images").mkdir(parents=True)
    path = zipped(tmp_path / "set.zip", {"../secret.png": b"", "images/../../secret.png": b"x", "images/a.png": b"x"})
    for data in (tmp_path / "set", path):
        for name in ("images/../../secret.png", "../secret.png", str(tmp_path / "secret.png")):
            with pytest.raises(InputError, match=r"cannot read|damaged"):
                Files(data, ("images",)).image(name)
    assert sorted(child.name for child in tmp_path.iterdir()) == ["secret.png", "set", "set.zip"]


def test_a_tiff_of_a_data_set_that_says_it_is_huge_is_refused(tmp_path: Path):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((8, 9), np.uint8), photometric="minisblack", metadata=None)
    content = bytearray(buffer.getvalue())
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        for tag in ("ImageWidth", "ImageLength"):
            at = file.pages[0].tags[tag].offset
            content[at : at + 12] = struct.pack("<HHII", file.pages[0].tags[tag].code, 4, 1, 2**17)
    path = zipped(tmp_path / "set.zip", {"images/a.tif": bytes(content)})
    with little_memory(), pytest.raises(InputError, match=r"images/a.tif"):
        Files(path, ("images",)).image("images/a.tif")


@given(st.binary(max_size=300), st.sampled_from([".png", ".tif", ".jpg", ".bmp", ".tiff"]))
@settings(max_examples=100)
def test_what_is_no_image_in_a_data_set_is_named(tmp_path_factory: Any, content: bytes, suffix: str):
    path = zipped(tmp_path_factory.mktemp("sets") / "set.zip", {f"images/a{suffix}": content})
    with pytest.raises(InputError, match="images/a"):
        Files(path, ("images",)).image(f"images/a{suffix}")


# options of `export`

OPTIONS = {
    "--format": ("tiff", "ome-tiff", "npz", "masks", "csv", "coco", "geojson", "nothing", "", "../x"),
    "--objects": ("1", "1-3", "3-1", "-1", "0", "x", "1,,2", "1-99999999999999999999", "", "1.5", "all", "\u0661"),
    "--slices": ("0", "0-1", "5-2", "-3", "x", "0,1,2", "999999999999999999999-", "", "all", "0:1"),
    "--margin": ("0", "3", "-2", "x", "1e9", "99999999999", "whole", ""),
    "--value": ("1", "255", "0", "-1", "x", ""),
}


@given(st.data())
@settings(max_examples=40)
def test_any_export_options_write_all_or_nothing(tmp_path_factory: Any, data: st.DataObject):
    folder = tmp_path_factory.mktemp("export")
    labels = np.zeros((3, 12, 14), np.uint16)
    labels[0, 2:5, 3:6], labels[1:, 7:, 8:] = 1, 3
    tifffile.imwrite(folder / "labels.tif", labels, photometric="minisblack")
    out = folder / "out"
    arguments = ["export", str(folder / "labels.tif"), "-o", str(out)]
    for option, values in OPTIONS.items():
        if data.draw(st.booleans()):
            arguments += [f"{option}={data.draw(st.sampled_from(values))}"]
    code = main(arguments)
    assert code in (0, 2)
    there = sorted(child.name for child in folder.iterdir())
    assert there == ["labels.tif"] if code else len(there) > 1
    assert not [child for child in folder.rglob(".*") if child.is_file()]
