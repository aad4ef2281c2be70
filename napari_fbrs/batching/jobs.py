"""What there is to do for an image, and how: what is sent to the processes that do it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_fbrs.batching.seeds import Seeds
from napari_fbrs.export.options import Options
from napari_fbrs.inference.settings import DEFAULT_MODE


@dataclass(frozen=True)
class Job:
    """An image, and where its clicks come from.

    Parameters
    ----------
    output : str
        What its results are called, within the folder they are written to; slashes make folders.
    image : Path or None
        Absolute. None: what the click record says.
    clicks : tuple of Path
        A click file; files of points saved from napari; or a click record. Empty: seeds.
    labels : Path or None
        Label image that seeds come from.
    """

    output: str
    image: Path | None
    clicks: tuple[Path, ...] = ()
    labels: Path | None = None

    @property
    def name(self) -> str:
        """What the image is called, without folders."""
        return self.output.rsplit("/", 1)[-1]

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files it is made from, as far as is known before a record has been read."""
        return tuple(path for path in (self.image, *self.clicks, self.labels) if path is not None)


@dataclass(frozen=True)
class Settings:
    """How all images of a batch are done.

    Parameters
    ----------
    model : str
        Name or file of the model.
    sha256 : str
        Its fingerprint: every process makes sure that it has that one.
    mode, device, threshold, contrast_limits
        See `segment`.
    seeds : Seeds or None
        What is clicked on where there are no clicks.
    format : str
        A key of `FORMATS`.
    options : Options
        How its files are written.
    records : bool
        Whether a click record is written beside the labels.
    anyway : bool
        See `replay`.
    version : str
        Of napari-fbrs.
    """

    model: str
    sha256: str
    mode: str = DEFAULT_MODE
    device: str = "auto"
    threshold: float = 0.5
    contrast_limits: tuple[float, float] | None = None
    seeds: Seeds | None = None
    format: str = "tiff"
    options: Options = field(default_factory=Options)
    records: bool = False
    anyway: bool = False
    version: str = ""

    def decisive(self) -> dict[str, Any]:
        """Return what results depend on, for the manifest."""
        known = {
            "model": self.sha256,
            "mode": self.mode,
            "threshold": self.threshold,
            "contrast limits": list(self.contrast_limits) if self.contrast_limits else None,
            "format": self.format,
            "records": self.records,
            "anyway": self.anyway,
            "version": self.version,
        }
        known |= {name: getattr(self.options, name) for name in sorted(self.options.given)}
        if self.seeds is not None:
            known |= {"seeds": self.seeds.kind, "diameter": self.seeds.diameter, "dark": self.seeds.dark}
        return known


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Parameters
    ----------
    error : str or None
        Why it failed, in words.
    traceback : str or None
        Where, if it was nothing that was to be expected.
    folder : str
        Of this attempt, within the staging folder.
    staged : mapping of str to str
        What lies there: where it belongs, within the folder of results, and its SHA-256.
    inputs : mapping of str to dict
        Stamps of the files it was made from, by their absolute paths.
    facts : mapping of str to object
        How many objects and clicks, and what it took.
    """

    error: str | None = None
    traceback: str | None = None
    folder: str = ""
    staged: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
