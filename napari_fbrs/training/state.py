"""What a training run is made of between two steps, and its checkpoint on disk."""

from __future__ import annotations

import copy
import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_fbrs.errors import InputError, ModelFileError
from napari_fbrs.models.deeplab import DeepLab, DeepLabArchitecture
from napari_fbrs.models.zoo import load_model
from napari_fbrs.training.config import TrainingConfig

_FILE = "checkpoint.pt"
_BACKBONE = "feature_extractor.backbone."
_CHANNELS = 128
_RATES = {8: (12, 24, 36), 16: (6, 12, 18)}  # the same distances in the image (Chen et al. 2018)


@dataclass(frozen=True)
class Checkpoint:
    """What is kept on disk of a run; enough to go on, and to export, without the model it started from.

    Parameters
    ----------
    architecture : DeepLabArchitecture
        Of both networks.
    network, average : dict of str to Tensor
        State dicts.
    optimizer : dict
        State dict.
    batches : int
        Steps taken.
    """

    architecture: DeepLabArchitecture
    network: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Any]
    batches: int

    @classmethod
    def read(cls, folder: Path) -> Checkpoint | None:
        """Return the checkpoint of a folder, None where there is none.

        Raises
        ------
        InputError
            If it is damaged.
        """
        path = folder / _FILE
        if not path.is_file():
            return None
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            return cls(**saved | {"architecture": DeepLabArchitecture(**saved["architecture"])})
        except Exception as error:  # there is nothing that reading a damaged pickle does not raise
            raise InputError(
                f"{path} cannot be read, or is damaged ({_reason(error)}): put a copy of it in its place, or remove it "
                "to begin the run anew"
            ) from error

    def write(self, folder: Path) -> None:
        """Write the checkpoint; whenever the process is killed there is a whole one."""
        temporary = folder / f"{_FILE}.new"
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        with temporary.open("wb") as file:
            torch.save(content | {"architecture": dataclasses.asdict(self.architecture)}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / _FILE)


@dataclass
class TrainingState:
    """Weights, their running average, the optimiser, and how far the run is.

    Parameters
    ----------
    network : DeepLab
        Being trained.
    average : DeepLab
        Exponential moving average of its weights: what is validated and exported.
    optimizer : torch.optim.Optimizer
        Two groups of parameters: the rest, the backbone.
    batches : int
        Steps taken.
    """

    network: DeepLab
    average: DeepLab
    optimizer: torch.optim.Optimizer
    batches: int = 0

    def follow(self, decay: float) -> None:
        """Move the average towards the weights."""
        averaged, current = self.average.state_dict(), self.network.state_dict()
        moving = [key for key, value in current.items() if value.is_floating_point()]
        torch._foreach_lerp_([averaged[key] for key in moving], [current[key] for key in moving], 1 - decay)
        for key in current.keys() - set(moving):
            averaged[key].copy_(current[key])

    def checkpoint(self) -> Checkpoint:
        """Return what to keep of this state; shares memory with it."""
        return Checkpoint(
            self.network.architecture,
            self.network.state_dict(),
            self.average.state_dict(),
            self.optimizer.state_dict(),
            self.batches,
        )


def has_checkpoint(folder: Path) -> bool:
    """Return whether a run in this folder can be resumed."""
    return (folder / _FILE).is_file()


def opened_state(config: TrainingConfig, device: torch.device) -> TrainingState:
    """Return the state a run goes on from: that of its checkpoint, else that before the first step.

    Raises
    ------
    InputError
        If the checkpoint is damaged.
    ModelFileError
        If ``config.init`` is needed and cannot be used.
    """
    saved = Checkpoint.read(config.folder)
    network = initial_network(config) if saved is None else saved.architecture.build()
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval().requires_grad_(False)
    network.requires_grad_(True)
    state = TrainingState(network, average, _optimizer(config, network))
    if saved is not None:
        network.load_state_dict(saved.network)
        average.load_state_dict(saved.average)
        state.optimizer.load_state_dict(saved.optimizer)
        state.batches = saved.batches
    return state


def initial_network(config: TrainingConfig) -> DeepLab:
    """Return the network a run starts from, on the CPU; see ``TrainingConfig.init`` and ``guided``."""
    network = _given_network(config)
    if not config.guided or network.architecture.guided:
        return network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        guided = dataclasses.replace(network.architecture, guided=True).build()
    guided.load_state_dict(network.state_dict(), strict=False)  # only the guide is new, and it is silent
    return guided


def _given_network(config: TrainingConfig) -> DeepLab:
    if config.init is not None and config.starts_from_model:
        network = load_model(config.init, device="cpu").network
        if not isinstance(network, DeepLab):
            raise ModelFileError(f"{config.init} is not of the family that is trained here")
        return network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = _from_scratch(config).build()
    if config.init is not None:
        _fill_backbone(network, Path(config.init))
    return network


def _from_scratch(config: TrainingConfig) -> DeepLabArchitecture:
    stride, late = config.output_stride, config.late
    return DeepLabArchitecture("resnet18", _CHANNELS, config.stages, stride, _RATES[stride], guided=late, late=late)


def _fill_backbone(network: nn.Module, path: Path) -> None:
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            weights = {_BACKBONE + key: torch.from_numpy(arrays[key]) for key in arrays.files}
    except Exception as error:  # nor is there for a damaged archive of arrays
        raise ModelFileError(f"cannot read backbone weights from {path}, or it is damaged: {_reason(error)}") from error
    try:
        unknown = network.load_state_dict(weights, strict=False).unexpected_keys
    except RuntimeError as error:
        raise ModelFileError(f"{path.name} does not fit the backbone: {' '.join(str(error).split())}") from error
    if unknown or not weights:
        raise ModelFileError(f"{path.name} does not fit the backbone: {', '.join(unknown[:3]) or 'it is empty'}")


def _reason(error: Exception) -> str:
    return str(error).split("\n", 1)[0] or type(error).__name__


def _optimizer(config: TrainingConfig, network: nn.Module) -> torch.optim.Optimizer:
    named = dict(network.named_parameters())
    backbone = [value for key, value in named.items() if key.startswith(_BACKBONE)]
    rest = [value for key, value in named.items() if not key.startswith(_BACKBONE)]
    if config.fine_tune:
        for parameter in backbone:
            parameter.requires_grad_(False)
    groups = [{"params": rest, "factor": 1.0}, {"params": backbone, "factor": config.backbone_lr_factor}]
    return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)
