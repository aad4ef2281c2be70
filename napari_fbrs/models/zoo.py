"""Models by name: the bundled one, published ones, and files placed by hand."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pooch
import torch

from napari_fbrs.errors import CancelledError, InputError, ModelFileError
from napari_fbrs.models.architectures import recognise
from napari_fbrs.models.checkpoint import Model, fill, fingerprint, load_checkpoint
from napari_fbrs.models.deeplab import DeepLabArchitecture
from napari_fbrs.models.hrnet import HRNetArchitecture
from napari_fbrs.models.network import Architecture
from napari_fbrs.models.state_dict import read_state_dict

DEFAULT = "default"
RELEASE = "https://github.com/saic-vul/fbrs_interactive_segmentation/releases/download/v1.0/"
_SUFFIXES = (".safetensors", ".pth")  # of two files of one name the first kind is taken
_MAX_BYTES = 2**30  # several times the largest published file
_CHUNK_BYTES = 2**18
_PARTIAL = ".download-"  # how the names of folders begin that hold a file on its way
_ABANDONED = 3600  # seconds without a byte after which a download has ended with its process


@dataclass(frozen=True)
class Published:
    """A file of the release, ``NAME.pth``.

    Parameters
    ----------
    architecture : Architecture
        What it must hold.
    size : int
        Bytes of its weights; the file is a little larger.
    sha256 : str or None
        Of the file, hexadecimal; a download that has another one is refused. None: not known. To pin it, download the
        file, compare the masks with the published ones, and write down what `fingerprint` says.
    """

    architecture: Architecture
    size: int
    sha256: str | None = None


_RESNET50 = DeepLabArchitecture("resnet50", 128)
_HRNET32 = HRNetArchitecture(32, 128)
PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        "resnet34_dh128_sbd": Published(DeepLabArchitecture("resnet34", 128), 93_444_784),
        "resnet50_dh128_sbd": Published(_RESNET50, 125_810_504),
        "resnet101_dh256_sbd": Published(DeepLabArchitecture("resnet101", 256), 234_169_056),
        "hrnet18_ocr64_sbd": Published(HRNetArchitecture(18, 64), 40_237_180),
        "hrnet32_ocr128_sbd": Published(_HRNET32, 124_015_500),
        "resnet50_dh128_lvis": Published(_RESNET50, 125_810_504),
        "hrnet32_ocr128_lvis": Published(_HRNET32, 124_015_500),
    }
)


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

    @property
    def size(self) -> int | None:
        """Bytes of the file, or about as many as it would have; None when that is not known."""
        if self.path is None:
            return PUBLISHED[self.name].size
        return self.path.stat().st_size if self.path.is_file() else None


def models_folder() -> Path:
    """Return the folder in which files placed by hand are found; NAPARI_FBRS_MODELS overrides it."""
    chosen = os.environ.get("NAPARI_FBRS_MODELS")
    return Path(chosen) if chosen else Path(pooch.os_cache("napari-fbrs")) / "models"


def list_models() -> list[Entry]:
    """Return every model known: the bundled one first, then files in the models folder, then what is published."""
    placed = _placed()
    entries = [Entry(DEFAULT, _bundled(), "bundled")]
    entries += [Entry(name, files[0], "folder") for name, files in placed.items() if name != DEFAULT]
    return entries + [Entry(name, None, "published") for name in PUBLISHED if name not in placed]


def unused_files() -> list[Path]:
    """Return the files in the models folder whose name another model has; they can be loaded by their path."""
    return [path for name, files in _placed().items() for path in (files if name == DEFAULT else files[1:])]


def _placed() -> dict[str, list[Path]]:
    """Return the files in the models folder by the name of their model."""
    folder = models_folder()
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    placed: dict[str, list[Path]] = {}
    for suffix in _SUFFIXES:
        for path in files:
            if path.suffix == suffix and path.is_file():
                placed.setdefault(path.stem, []).append(path)
    return dict(sorted(placed.items()))


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
        "cpu": not chosen.index,
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
        "default" (bundled), the name of a file in `models_folder`, or the path of a model file. Nothing is downloaded:
        see `download`.
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
    if entry is None and Path(name).is_file():
        raise ModelFileError(f"{name} is no model file: their names end in {' or '.join(_SUFFIXES)}")
    if entry is None:
        raise ModelFileError(f"no model is called {name!r}; there are {', '.join(entries)}, or give a file's path")
    if entry.path is None:
        raise ModelFileError(
            f"{name} is not on this machine: run `napari-fbrs models --download {name}`, or {by_hand(name)}"
        )
    return entry.path


def find_fingerprint(sha256: str, name: str | Path | None = None) -> Path | None:
    """Return the file with a fingerprint, among the models on this machine; None if there is none.

    Parameters
    ----------
    sha256 : str
        See `Model.fingerprint`.
    name : str or Path, optional
        The only one to look at.
    """
    paths = [entry.path for entry in list_models()] if name is None else [find_model(name)]
    return next((path for path in paths if path is not None and path.is_file() and fingerprint(path) == sha256), None)


def download(
    name: str,
    progress: Callable[[int, int | None], None] = lambda *_: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Return the file of a published model in the models folder; download it if it is not there yet.

    A file appears there once it is complete and holds what it should; else nothing is left.

    Parameters
    ----------
    name : str
        One of `PUBLISHED`.
    progress : callable, optional
        Told the bytes there are, and those there will be (None: not known).
    cancelled : callable, optional
        Asked now and then; when it answers True, `CancelledError` is raised.

    Raises
    ------
    InputError
        If no published model is called that.
    ModelFileError
        If it could not be downloaded, or something else came; says how to get it by hand.
    CancelledError
        If `cancelled` said so.
    """
    if name not in PUBLISHED:
        raise InputError(f"no published model is called {name!r}, only {', '.join(PUBLISHED)}")
    there = _placed().get(name)
    if there:
        return there[0]
    target = models_folder() / f"{name}.pth"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(target.parent)
        with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=target.parent) as folder:
            part = Path(folder) / target.name
            _fetch(name, part, _Meter(name, progress, cancelled))
            _verify(name, part)
            part.replace(target)
    except OSError as error:  # of the network, and of the disk
        raise ModelFileError(f"{name} could not be downloaded ({_reason(error)}): {by_hand(name)}") from error
    return target


def _clear_leftovers(folder: Path) -> None:
    """Remove what processes left that were killed in mid download; another process may be downloading just now."""
    for partial in folder.glob(f"{_PARTIAL}*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or not ours to remove
            newest = max(path.stat().st_mtime for path in (partial, *partial.iterdir()))
            if time.time() - newest > _ABANDONED:
                shutil.rmtree(partial)


class _Meter:
    """What pooch takes for a progress bar: tells how far a download is, and ends it."""

    def __init__(self, name: str, progress: Callable[[int, int | None], None], cancelled: Callable[[], bool]) -> None:
        self.total = 0
        self._name, self._progress, self._cancelled = name, progress, cancelled
        self._done = 0
        self.stop_if_cancelled()

    def stop_if_cancelled(self) -> None:
        if self._cancelled():
            raise CancelledError(f"the download of {self._name} was called off")

    def update(self, amount: int) -> None:
        self.stop_if_cancelled()
        self._done += amount
        if max(self._done, self.total) > _MAX_BYTES:
            raise ModelFileError(f"what comes in place of {self._name} is far larger than it: {by_hand(self._name)}")
        self._progress(min(self._done, self.total) if self.total else self._done, self.total or None)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        """Do nothing."""


def _fetch(name: str, path: Path, meter: _Meter) -> None:
    with contextlib.ExitStack() as connections:  # a download called off leaves them open

        def remember(response: Any, *_: Any, **__: Any) -> None:
            connections.callback(response.close)

        fetch = pooch.HTTPDownloader(progressbar=meter, chunk_size=_CHUNK_BYTES, hooks={"response": remember})
        fetch(f"{RELEASE}{name}.pth", str(path), None)
    if path.stat().st_size < meter.total:
        raise ModelFileError(f"the download of {name} ended early: {by_hand(name)}")


def _verify(name: str, path: Path) -> None:
    """Raise an error unless a file is the published one, as far as that is known."""
    published = PUBLISHED[name]
    if published.sha256 and fingerprint(path) != published.sha256:
        raise ModelFileError(f"what came in place of {name} is not the published file (SHA-256): {by_hand(name)}")
    try:
        state = read_state_dict(path)
        found = recognise(state, path.name)
        if found != published.architecture:
            raise ModelFileError(f"it holds {found}")
        fill(found, state, path.name)
    except ModelFileError as error:
        raise ModelFileError(f"what came in place of {name} is no such model, {error}: {by_hand(name)}") from error


def _reason(error: OSError) -> str:
    response = getattr(error, "response", None)  # of an error that the server answered with
    if response is not None:
        return f"the server answered {response.status_code}"
    return error.strerror or f"the connection failed, {type(error).__name__}"


def by_hand(name: str) -> str:
    """Return what to do to have a published model without `download`."""
    return f"get {RELEASE}{name}.pth and put it in {models_folder()}"


def _bundled() -> Path:
    # Wheels and editable installs are unpacked, so the resource is a real file.
    return Path(str(resources.files("napari_fbrs.weights"))) / "default.safetensors"
