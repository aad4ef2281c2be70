"""Models by name: the bundled one, published ones, and files placed by hand."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pooch
import torch

from napari_fbrs.errors import InputError, ModelFileError
from napari_fbrs.models.checkpoint import Model, load_checkpoint

DEFAULT = "default"
PUBLISHED = ("resnet34_dh128_sbd", "resnet50_dh128_sbd", "resnet101_dh256_sbd", "resnet50_dh128_lvis")
_SUFFIXES = (".safetensors", ".pth")


@dataclass(frozen=True)
class Entry:
    """One line of the list of models.

    Parameters
    ----------
    name : str
        What `load_model` takes.
    path : Path or None
        Where the file is; None when it is not on this machine.
    origin : {"bundled", "folder", "published"}
        Where it comes from.
    """

    name: str
    path: Path | None
    origin: str


def models_folder() -> Path:
    """Return the folder in which files placed by hand are found; NAPARI_FBRS_MODELS overrides it."""
    chosen = os.environ.get("NAPARI_FBRS_MODELS")
    return Path(chosen) if chosen else Path(pooch.os_cache("napari-fbrs")) / "models"


def list_models() -> list[Entry]:
    """Return every model known: the bundled one first, then files in the models folder, then what is published."""
    folder = models_folder()
    files = sorted(p for p in folder.glob("*") if p.suffix in _SUFFIXES) if folder.is_dir() else []
    entries = [Entry(DEFAULT, _bundled(), "bundled")]
    entries += [Entry(p.stem, p, "folder") for p in files]
    present = {entry.name for entry in entries}
    return entries + [Entry(name, None, "published") for name in PUBLISHED if name not in present]


def choose_device(device: str = "auto") -> torch.device:
    """Return the device to compute on.

    Parameters
    ----------
    device : str, optional
        "auto" (CUDA, else Apple MPS, else CPU), "cpu", "cuda", "cuda:1" or "mps".

    Raises
    ------
    InputError
        If the device does not exist here.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"no device is called {device!r}; use auto, cpu, cuda or mps") from error
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (chosen.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(chosen.type, False):
        raise InputError(f"device {device!r} is not available to torch {torch.__version__} here; use auto or cpu")
    return chosen


def load_model(name: str | Path = DEFAULT, device: str = "auto") -> Model:
    """Load a model by name or path.

    Parameters
    ----------
    name : str or Path, optional
        "default" (bundled), the name of a file in `models_folder`, or the path of a model file.
    device : str, optional
        See `choose_device`.

    Returns
    -------
    Model

    Raises
    ------
    ModelFileError
        If there is no such model, or its file cannot be used.
    InputError
        If the device does not exist here.

    Examples
    --------
    >>> from napari_fbrs import load_model
    >>> load_model(device="cpu").device
    device(type='cpu')
    """
    return load_checkpoint(find_model(name), choose_device(device))


def find_model(name: str | Path) -> Path:
    """Return the file of a model given by name or path; see `load_model`."""
    if isinstance(name, Path) or Path(name).suffix in _SUFFIXES:
        return Path(name)
    entries = {entry.name: entry for entry in list_models()}
    entry = entries.get(name)
    if entry is None:
        raise ModelFileError(f"no model is called {name!r}; there are {', '.join(entries)}, or give a file's path")
    if entry.path is None:
        raise ModelFileError(
            f"{name} is not on this machine: place {name}.pth (release v1.0 of the GitHub repository "
            f"saic-vul/fbrs_interactive_segmentation) in {models_folder()}"
        )
    return entry.path


def _bundled() -> Path:
    # Wheels and editable installs are unpacked, so the resource is a real file.
    return Path(str(resources.files("napari_fbrs.weights"))) / "default.safetensors"
