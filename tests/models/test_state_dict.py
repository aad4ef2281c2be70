from __future__ import annotations

import io
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_fbrs.errors import ModelFileError
from napari_fbrs.models.state_dict import read_state_dict

REFUSED = "could not be read as weights only .*: "
ZIPPED = pytest.mark.parametrize("zipped", [True, False])


def saved(path: Path, content: Any, *, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


@ZIPPED
def test_state_dicts_are_read(path: Path, zipped: bool):
    layer = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = layer.state_dict() | {"half": torch.ones(3).half(), "kept": torch.nn.Parameter(torch.ones(2))}
    state["view"] = torch.arange(12.0).reshape(3, 4).T[1:]
    read = read_state_dict(saved(path, OrderedDict(state), zipped=zipped))
    assert read.keys() == state.keys()
    assert all(torch.equal(read[key], state[key]) for key in state)


@ZIPPED
@pytest.mark.parametrize("kind", ["sparse", "complex", "meta", "size", "set"])
def test_anything_but_plain_tensors_is_refused(path: Path, kind: str, zipped: bool):
    content = {
        "sparse": torch.eye(3).to_sparse(),
        "complex": torch.ones(2, dtype=torch.complex64),
        "meta": torch.empty(10**15, device="meta"),
        "size": torch.Size([3]),
        "set": {1, 2},
    }[kind]
    with pytest.raises(ModelFileError, match=f"{REFUSED}it refers to "):
        read_state_dict(saved(path, {"x": content}, zipped=zipped))


def legacy(*objects: bytes) -> bytes:
    """Return a file of the old format whose state dict is written by hand."""
    return b"".join((*(pickle.dumps(preamble, 2) for preamble in (0x1950A86A20F9469CFC6C, 1001, {})), *objects))


@pytest.mark.parametrize(
    "instructions",
    [
        b"cbuiltins\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R.",  # bytearray(2**40), which torch would make
        b"ctorch\nTensor\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R.",
        b"cposix\nsystem\nX\x04\x00\x00\x00true\x85R.",
        b"iposix\nsystem\n.",
        b"\x8c\x05posix\x8c\x06system\x93.",
    ],
)
def test_names_that_no_state_dict_needs_are_refused(path: Path, instructions: bytes):
    path.write_bytes(legacy(b"\x80\x04" + instructions))
    with pytest.raises(ModelFileError, match=f"{REFUSED}it refers to"):
        read_state_dict(path)
    archive(path, {"weights/data.pkl": b"\x80\x04" + instructions})
    with pytest.raises(ModelFileError, match=f"{REFUSED}it refers to"):
        read_state_dict(path)


def archive(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, written in content.items():
            file.writestr(name, written)


def test_archives_that_unpack_to_more_than_they_are_are_refused(path: Path):
    archive(path, {"weights/data.pkl": b"", "weights/data/0": bytes(10**7)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**5
    with pytest.raises(ModelFileError, match=f"{REFUSED}it unpacks to 100000.. bytes, more than the "):
        read_state_dict(path)


def test_archives_that_say_that_they_unpack_to_more_are_refused(path: Path):
    archive(path, {"weights/data.pkl": b"N."})
    content = bytearray(path.read_bytes())
    central = content.rindex(b"PK\x01\x02")
    content[central + 24 : central + 28] = struct.pack("<I", 2**32 - 2)
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=f"{REFUSED}it unpacks to 429496.... bytes"):
        read_state_dict(path)


def test_tensors_larger_than_the_file_are_refused(path: Path):
    count, more = (b"J" + struct.pack("<i", n) for n in (2**17, 2**31 - 1))
    content = saved(path, {"x": torch.arange(2.0**17)}, zipped=False).read_bytes()
    assert count in content
    path.write_bytes(content.replace(count, more))
    with pytest.raises(ModelFileError, match=f"{REFUSED}it declares 2147483647 elements in a file of"):
        read_state_dict(path)
    with zipfile.ZipFile(saved(path, {"x": torch.arange(2.0**17)})) as file:
        entries = {entry: file.read(entry).replace(count, more) for entry in file.namelist()}
    path.unlink()
    archive(path, entries)
    with pytest.raises(ModelFileError, match=f"{REFUSED}it declares 2147483647 elements in a file of"):
        read_state_dict(path)


def test_archives_of_other_programs_are_refused(path: Path):
    archive(path, {"word/document.xml": b"<x/>"})
    with pytest.raises(ModelFileError, match=REFUSED):
        read_state_dict(path)
    with tarfile.open(path, "w") as file:
        file.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    with pytest.raises(ModelFileError, match=REFUSED):
        read_state_dict(path)
    path.write_text("<!DOCTYPE html><html>Not found</html>")
    with pytest.raises(ModelFileError, match=REFUSED):
        read_state_dict(path)


def test_nothing_is_warned_of(path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_state_dict(saved(path, {"x": torch.ones(2)}, zipped=False))
