"""Model files: written as safetensors that describe themselves, read from those and from published ``.pth`` files."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from napari_fbrs.errors import InputError, ModelFileError
from napari_fbrs.models.architectures import describe, parse, recognise
from napari_fbrs.models.memory import is_shortage, shortage
from napari_fbrs.models.network import Architecture, InteractiveNetwork
from napari_fbrs.models.state_dict import read_state_dict

FORMAT = "napari-fbrs model 1"
_MAX_BYTES = 2**31  # several times the largest published model
_COUNTER = "num_batches_tracked"  # not in old files, and of no use here


def is_count(value: object, least: int) -> bool:
    """Return whether a value is a whole number, and not below the least; what is true or false is none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


@dataclass(frozen=True)
class ModelSettings:
    """At what scale a model wants to see objects; what it was trained on.

    Parameters
    ----------
    target_size : int
        Longer side, in pixels, to which an image or a crop of it is brought before the network.
    min_crop_size : int
        Smallest side of a crop in pixels of the image.
    largest_size : int or None
        Longer side up to which crops of more than `target_size` pixels are left as they are, once an object has been
        found; None: all are brought to `target_size`.

    Raises
    ------
    ValueError
        If one of them is no positive whole number, or the largest not the largest.
    """

    target_size: int = 400
    min_crop_size: int = 200
    largest_size: int | None = None

    def __post_init__(self) -> None:
        for size in (self.target_size, self.min_crop_size):
            if not is_count(size, 1):
                raise ValueError(f"{size!r} is no size in pixels")
        if self.largest_size is not None and not is_count(self.largest_size, self.target_size):
            raise ValueError(f"{self.largest_size!r} is no size from {self.target_size} on")


@dataclass(frozen=True)
class Model:
    """A network ready to predict, and what is known about it.

    Parameters
    ----------
    name : str
        For people.
    network : InteractiveNetwork
        In evaluation mode, on `device`.
    settings : ModelSettings
        The scale it works at.
    fingerprint : str
        SHA-256 of the file, hexadecimal.
    device : torch.device
        Where it computes.
    """

    name: str
    network: InteractiveNetwork
    settings: ModelSettings
    fingerprint: str
    device: torch.device

    @cached_property
    def folded(self) -> InteractiveNetwork:
        """The same network for prediction alone, with its batch norms in its convolutions."""
        return self.network.folded()

    def on(self, device: torch.device) -> Model:
        """Return the same model on another device; this one stays where it is."""
        moved: dict[int, Any] = {
            id(weights): torch.nn.Parameter(weights.detach().to(device), requires_grad=weights.requires_grad)
            for weights in self.network.parameters()
        }
        moved |= {id(values): values.to(device) for values in self.network.buffers()}
        return dataclasses.replace(self, network=copy.deepcopy(self.network, moved), device=device)


def save_model(
    path: Path,
    network: InteractiveNetwork,
    name: str,
    settings: ModelSettings,
    *,
    half: bool = False,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a network with its architecture and settings as safetensors.

    Parameters
    ----------
    path : Path
        File to write.
    network : InteractiveNetwork
        A `DeepLab` or an `HRNet`.
    name : str
        The model's name.
    settings : ModelSettings
        The scale it works at.
    half : bool, optional
        Store weights as float16: half the size.
    notes : mapping of str to str, optional
        More metadata (licence, training data).

    Raises
    ------
    InputError
        If a weight is too large for float16.
    """
    metadata = dict(notes or {})
    metadata |= {
        "format": FORMAT,
        "name": name,
        "architecture": describe(network),
        "settings": json.dumps(dataclasses.asdict(settings)),
    }
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    if half:
        state = {key: _halved(key, value) for key, value in state.items()}
    path.write_bytes(safetensors.torch.save(state, metadata=metadata))


def _halved(key: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    largest, halved = torch.finfo(torch.float16).max, value.half()
    if not bool(torch.isfinite(halved).all()):
        raise InputError(
            f"{key} holds values up to {float(value.abs().max()):g}, and float16 ends at {largest:g}: "
            "save the model with half=False"
        )
    return halved


def load_checkpoint(path: Path, device: torch.device, architecture: Architecture | None = None) -> Model:
    """Read a model file.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` file of `save_model`, or a published state dict (``.pth``).
    device : torch.device
        Where to put the network.
    architecture : Architecture, optional
        What the file holds, where it does not say so itself and is not a published one.

    Returns
    -------
    Model

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, holds code, or fits no known architecture.
    """
    if not path.is_file():
        raise ModelFileError(f"no model file at {path}")
    if path.stat().st_size > _MAX_BYTES:
        raise ModelFileError(f"{path.name} is larger than 2 GiB: not a model of this package")
    if path.suffix == ".safetensors":
        state, metadata = _read_safetensors(path)
        architecture, settings = _described(path, metadata)
        name = metadata.get("name", path.stem)
    else:
        state = read_state_dict(path)
        architecture = architecture or recognise(state, path.name)
        settings, name = ModelSettings(), path.stem
    network = fill(architecture, state, path.name)
    network = _placed(network.eval().requires_grad_(False), device)
    if device.type in ("cpu", "cuda"):  # convolutions are about twice as fast there with channels last
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(name, network, settings, fingerprint(path), device)


def _placed(network: InteractiveNetwork, device: torch.device) -> InteractiveNetwork:
    try:
        return network.to(device)
    except (MemoryError, RuntimeError) as error:
        if is_shortage(error):
            raise shortage(error, device) from error
        raise


def fill(architecture: Architecture, state: Mapping[str, Tensor], name: str) -> InteractiveNetwork:
    """Return a network with the weights of a file; nothing of its size is made before it is known that they fit.

    Parameters
    ----------
    architecture : Architecture
        Of the network.
    state : mapping of str to Tensor
        Weights by key, of any floating-point type; those of other keys are ignored.
    name : str
        File name, for messages.

    Raises
    ------
    ModelFileError
        If a tensor is missing, has another shape, or holds NaN or infinite values.
    """
    with torch.device("meta"):
        network = architecture.build()
    wanted = network.state_dict()
    _check_shapes(wanted, state, name)
    weights = {}
    for key, target in wanted.items():
        # A copy: the file's tensors may be views of the file itself, which may change.
        given = state.get(key, torch.zeros((), dtype=target.dtype))
        weights[key] = given.to(target.dtype, copy=True).contiguous()
        if not bool(torch.isfinite(weights[key]).all()):
            raise ModelFileError(f"{name}: {key} holds NaN or infinite values; the file is not usable")
    network.load_state_dict(weights, assign=True)
    return network


def _check_shapes(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], name: str) -> None:
    missing = sorted(key for key in wanted if key not in state and not key.endswith(_COUNTER))
    if missing:
        raise ModelFileError(f"{name} lacks {len(missing)} of {len(wanted)} tensors, among them {missing[0]}")
    for key, target in wanted.items():
        found = tuple(state[key].shape) if key in state else ()  # a counter that is not there
        if found != tuple(target.shape):
            raise ModelFileError(f"{name}: {key} has shape {found}, expected {tuple(target.shape)}")


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def metadata_of(path: Path) -> dict[str, str]:
    """Return what a safetensors file says of itself, whoever wrote it.

    Raises
    ------
    ModelFileError
        If it is none, or not complete.
    """
    with _opened(path) as file:
        return file.metadata() or {}


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with _opened(path) as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelFileError(f"{path.name} is not a complete safetensors file: {error}") from error


def _described(path: Path, metadata: Mapping[str, str]) -> tuple[Architecture, ModelSettings]:
    if metadata.get("format") != FORMAT:
        raise ModelFileError(f"{path.name} says format {metadata.get('format')!r}; this version reads {FORMAT!r}")
    try:
        architecture = parse(metadata["architecture"], path.name)
        return architecture, ModelSettings(**json.loads(metadata["settings"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path.name} has metadata that describe no model: {error}") from error
