"""Weights in files of `torch.save`, which are pickles and may have been made by anybody.

``torch.load(weights_only=True)`` runs no code, but makes tensors and containers of whatever size a file declares. What
the file says is therefore looked through first, without making anything of it.
"""

from __future__ import annotations

import io
import mmap
import pickletools
import zipfile
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from napari_fbrs.errors import ModelFileError

_STORAGES = ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
_KNOWN = frozenset(  # all that a plain state dict refers to
    {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"}
    | {f"torch {kind}Storage" for kind in _STORAGES}
)
_NAMING = frozenset({"GLOBAL", "INST", "STACK_GLOBAL"})  # pickle instructions that refer to something by name
_ZIP = b"PK\x03\x04"
_PREAMBLE = 3  # before the state dict, old files have a magic number, a version and the machine's properties


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file of `torch.save`, by key; no code in it is run.

    Parameters
    ----------
    path : Path
        A zip archive, or the format before PyTorch 1.6.

    Raises
    ------
    ModelFileError
        If it is damaged, refers to anything but tensors, declares more than it holds, or is no plain state dict.
    """
    try:
        _look_through(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # there is nothing that reading a damaged pickle does not raise
        raise ModelFileError(
            f"{path.name} could not be read as weights only (damaged, or holding code, which is never run): "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise ModelFileError(f"{path.name} holds {type(state).__name__}, not a plain state dict of tensors")
    return state


def _look_through(path: Path) -> None:
    """Raise an error if a file refers to anything but tensors, or declares more than it holds."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(_ZIP)) == _ZIP:
            _look_through_archive(file, size)
        else:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                for _ in range(_PREAMBLE):
                    _look_through_pickle(content)
                _look_through_pickle(content, size)


def _look_through_archive(file: IO[bytes], size: int) -> None:
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > size:  # torch.save compresses nothing
            raise ModelFileError(f"it unpacks to {unpacked} bytes, more than the {size} of the file")
        for entry in archive.infolist():
            if entry.filename.lower().endswith(".pkl"):
                _look_through_pickle(io.BytesIO(archive.read(entry)), size)


def _look_through_pickle(content: IO[bytes] | mmap.mmap, largest: int | None = None) -> None:
    """Raise an error if a pickle refers to anything but tensors, or has a number (of elements) above `largest`."""
    for instruction, argument, _ in pickletools.genops(content):  # type: ignore[arg-type]
        if instruction.name in _NAMING and argument not in _KNOWN:
            raise ModelFileError(f"it refers to {argument or 'something'}")
        if largest is not None and isinstance(argument, int) and argument > largest:
            raise ModelFileError(f"it declares {argument} elements in a file of {largest} bytes")
