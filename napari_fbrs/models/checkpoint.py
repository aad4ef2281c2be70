"""Model files: written as safetensors that describe themselves, read from those and from published ``.pth`` files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from napari_fbrs.errors import ModelFileError
from napari_fbrs.models.deeplab import DeepLabArchitecture
from napari_fbrs.models.network import InteractiveNetwork

FORMAT = "napari-fbrs model 1"
_MAX_BYTES = 2**31  # several times the largest published model
_PUBLISHED_BACKBONES: dict[tuple[bool, tuple[int, ...]], str] = {  # (has bottlenecks, blocks of each stage)
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
}


@dataclass(frozen=True)
class ModelSettings:
    """At what scale a model wants to see objects; what it was trained on.

    Parameters
    ----------
    target_size : int
        Longer side, in pixels, to which an image or a crop of it is brought before the network.
    min_crop_size : int
        Smallest side of a crop in pixels of the image.

    Raises
    ------
    ValueError
        If one of them is no positive whole number.
    """

    target_size: int = 400
    min_crop_size: int = 200

    def __post_init__(self) -> None:
        for size in (self.target_size, self.min_crop_size):
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{size!r} is no size in pixels")


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
        A `DeepLab`.
    name : str
        The model's name.
    settings : ModelSettings
        The scale it works at.
    half : bool, optional
        Store weights as float16: half the size.
    notes : mapping of str to str, optional
        More metadata (licence, training data).
    """
    architecture: DeepLabArchitecture = network.architecture  # type: ignore[assignment]
    metadata = dict(notes or {})
    metadata |= {
        "format": FORMAT,
        "name": name,
        "architecture": json.dumps({"family": "deeplab"} | dataclasses.asdict(architecture)),
        "settings": json.dumps(dataclasses.asdict(settings)),
    }
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    if half:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    path.write_bytes(safetensors.torch.save(state, metadata=metadata))


def load_checkpoint(path: Path, device: torch.device, architecture: DeepLabArchitecture | None = None) -> Model:
    """Read a model file.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` file of `save_model`, or a published state dict (``.pth``).
    device : torch.device
        Where to put the network.
    architecture : DeepLabArchitecture, optional
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
        state = _read_pickle(path)
        architecture = architecture or recognise(state, path.name)
        settings, name = ModelSettings(), path.stem
    network = architecture.build()
    _fill(network, state, path.name)
    network = network.eval().requires_grad_(False).to(device)
    if device.type in ("cpu", "cuda"):  # convolutions are about twice as fast there with channels last
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(name, network, settings, fingerprint(path), device)


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recognise(state: Mapping[str, Tensor], name: str) -> DeepLabArchitecture:
    """Return the published architecture that a bare state dict belongs to.

    Parameters
    ----------
    state : mapping of str to Tensor
        Weights by key.
    name : str
        File name, for messages.

    Raises
    ------
    ModelFileError
        If it belongs to none; says what was found.
    """
    pooling = state.get("feature_extractor.aspp.concurent.0.0.weight")
    if pooling is None:
        raise ModelFileError(
            f"{name} is no DeepLabV3+ model with click maps: {len(state)} entries, the first ones "
            f"{', '.join(list(state)[:3]) or 'none'}. Use a model saved by this package or a published resnet*_dh* file"
        )
    counts = _block_counts(state)
    bottleneck = "feature_extractor.backbone.layer1.0.conv3.weight" in state
    backbone = _PUBLISHED_BACKBONES.get((bottleneck, counts))
    if backbone is None:
        raise ModelFileError(
            f"{name} has a backbone with {counts} blocks, which is none of the published ResNet-34, -50 and -101; "
            "its dilations cannot be told from the weights: save it with this package's save_model"
        )
    return DeepLabArchitecture(backbone, channels=pooling.shape[0])


def _block_counts(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    found = {m.groups() for m in map(re.compile(r"feature_extractor\.backbone\.layer(\d)\.(\d+)\.").match, state) if m}
    stages = sorted({stage for stage, _ in found})
    return tuple(sum(1 for s, _ in found if s == stage) for stage in stages)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelFileError(f"{path.name} is not a complete safetensors file: {error}") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # there is nothing that reading a damaged pickle does not raise
        raise ModelFileError(
            f"{path.name} could not be read as weights only (damaged, or holding code, which is never run): "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise ModelFileError(f"{path.name} holds {type(state).__name__}, not a plain state dict of tensors")
    return state


def _described(path: Path, metadata: Mapping[str, str]) -> tuple[DeepLabArchitecture, ModelSettings]:
    if metadata.get("format") != FORMAT:
        raise ModelFileError(f"{path.name} says format {metadata.get('format')!r}; this version reads {FORMAT!r}")
    try:
        described = dict(json.loads(metadata["architecture"]))
        family = described.pop("family")
        if family != "deeplab":
            raise ModelFileError(f"{path.name} holds a {family!r} network, which this version does not know")
        described["rates"] = tuple(described["rates"])
        return DeepLabArchitecture(**described), ModelSettings(**json.loads(metadata["settings"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path.name} has metadata that describe no model: {error}") from error


def _fill(network: InteractiveNetwork, state: Mapping[str, Tensor], name: str) -> None:
    wanted = network.state_dict()
    missing = sorted(key for key in wanted if key not in state and not key.endswith("num_batches_tracked"))
    if missing:
        raise ModelFileError(f"{name} lacks {len(missing)} of {len(wanted)} tensors, among them {missing[0]}")
    for key, target in wanted.items():
        if key not in state:
            continue
        if state[key].shape != target.shape:
            raise ModelFileError(f"{name}: {key} has shape {tuple(state[key].shape)}, expected {tuple(target.shape)}")
        if not bool(torch.isfinite(state[key]).all()):
            raise ModelFileError(f"{name}: {key} holds NaN or infinite values; the file is not usable")
    network.load_state_dict({key: state.get(key, value).to(value.dtype) for key, value in wanted.items()})
