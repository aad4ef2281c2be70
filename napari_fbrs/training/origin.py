"""What a run started from, remembered in its folder: a model's name may stand for another file by the end."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from napari_fbrs.annotation.output import replacing
from napari_fbrs.errors import InputError
from napari_fbrs.models.checkpoint import fingerprint, metadata_of
from napari_fbrs.models.zoo import find_model
from napari_fbrs.training.config import TrainingConfig

ORIGIN = "origin.json"


@dataclass(frozen=True)
class Origin:
    """The file whose weights a run started from.

    Parameters
    ----------
    name : str
        The model's name, or the file's.
    sha256 : str
        Of the file.
    samples : int
        Samples that its weights had seen; 0 where the file does not say.
    largest_size : int or None
        Up to which size it is shown crops as they are, see `napari_fbrs.models.checkpoint.ModelSettings`.
    """

    name: str
    sha256: str
    samples: int = 0
    largest_size: int | None = None


def remember_origin(config: TrainingConfig) -> None:
    """Write into the run folder what the run starts from; to be called before its first step, and only then."""
    remembered = config.folder / ORIGIN
    remembered.unlink(missing_ok=True)
    if config.init is not None:
        path = Path(config.init) if config.init.endswith(".npz") else find_model(config.init)
        with replacing(remembered) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(_read(path)), indent=1))


def origin_of(run_folder: Path) -> Origin | None:
    """Return what a run started from; None for random weights, and for runs older than this record.

    Raises
    ------
    InputError
        If the record is damaged.
    """
    path = run_folder / ORIGIN
    if not path.is_file():
        return None
    try:
        return Origin(**json.loads(path.read_text()))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged, or of another version ({error}): mend it, or remove it") from error


def _read(path: Path) -> Origin:
    if path.suffix != ".safetensors":
        return Origin(path.name, fingerprint(path))
    notes = metadata_of(path)
    samples = notes.get("samples", "")
    seen = int(samples) if samples.isdecimal() else 0
    largest = json.loads(notes.get("settings", "{}")).get("largest_size")
    return Origin(notes.get("name", path.stem), fingerprint(path), seen, largest)
