"""What a process does with an image: open it, click on it, write the results where they wait to be taken over."""

from __future__ import annotations

import os
import platform
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from napari_fbrs.annotation.click_file import RecordedClick
from napari_fbrs.annotation.click_record import SUFFIX, read_record, record_of, write_record
from napari_fbrs.annotation.image import Composite, Image
from napari_fbrs.annotation.labels import SparseLabels
from napari_fbrs.annotation.opening import open_image
from napari_fbrs.annotation.points_file import read_points
from napari_fbrs.annotation.replaying import Predictors, find_image, replay
from napari_fbrs.annotation.segmenting import Segmentation, check_clicks, checked_limits, read_clicks_of_any_kind
from napari_fbrs.annotation.session import Session
from napari_fbrs.batching.jobs import Job, Outcome, Settings
from napari_fbrs.batching.manifest import content_hash, stamp
from napari_fbrs.batching.seeds import seed_clicks
from napari_fbrs.errors import CancelledError, FBRSError, InputError
from napari_fbrs.export import LabelImage, export_labels
from napari_fbrs.export.formats import find_format
from napari_fbrs.export.reading import known_of_image
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.models import zoo
from napari_fbrs.models.checkpoint import Model

Cancelled = Callable[[], bool]


@dataclass(frozen=True)
class Begin:
    """Makes what does jobs; can be sent to another process, or to another machine that sees the same files.

    Parameters
    ----------
    settings : Settings
        How images are done.
    staging : Path
        Folder that results are written to; they belong to nobody until they are taken over.
    """

    settings: Settings
    staging: Path

    def __call__(self, cancelled: Cancelled = lambda: False) -> Worker:
        """Return what does jobs in this process."""
        return Worker(self.settings, self.staging, cancelled)


class Worker:
    """Does jobs one after the other; the model is loaded at the first and kept."""

    def __init__(self, settings: Settings, staging: Path, cancelled: Cancelled) -> None:
        self._settings, self._staging, self._cancelled = settings, staging, cancelled
        self._model: Model | None = None
        self._recorded: Predictors | None = None

    def __call__(self, job: Job) -> Outcome:
        """Do a job, and return what became of it; whatever is wrong with an image is its outcome.

        Raises
        ------
        CancelledError
            If called off.
        """
        doing = _Doing(job, self._staging / uuid.uuid4().hex)  # another attempt at it may be going on, forgotten
        started, used = time.monotonic(), time.process_time()
        try:
            self._do(doing)
        except CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  the images after it are to be done all the same
            doing.error = error
        doing.facts |= {
            "began": round(time.time() - (time.monotonic() - started), 3),
            "seconds": round(time.monotonic() - started, 3),
            "cpu_seconds": round(time.process_time() - used, 3),
            "process": f"{platform.node()}:{os.getpid()}",
        }
        return doing.outcome()

    def _do(self, doing: _Doing) -> None:
        self._check_version()
        for path in doing.job.inputs:
            doing.read(path)
        clicks = doing.job.clicks
        is_record = bool(clicks) and clicks[0].name.endswith(".json")
        session, source = self._replayed(doing) if is_record else self._segmented(doing)
        self._write(doing, session, source)

    def _segmented(self, doing: _Doing) -> tuple[Session, Path]:
        job, settings = doing.job, self._settings
        assert job.image is not None
        image = open_image(job.image)
        rows = self._rows(job, image)
        limits = checked_limits(settings.contrast_limits, image)
        work = Segmentation(image, Predictor(self._loaded(), settings.mode), settings.threshold, limits)
        reports = list(work.run(rows, self._cancelled))
        doing.facts |= {"clicks": len(rows), "unmet": sum(report.unmet for report in reports)}
        return work.session, job.image

    def _rows(self, job: Job, image: Image) -> list[RecordedClick]:
        if not job.clicks:
            assert self._settings.seeds is not None
            return seed_clicks(self._settings.seeds, image, open_image(job.labels) if job.labels else None)
        several = len(job.clicks) > 1  # of one sign each
        rows = read_points(*job.clicks) if several else read_clicks_of_any_kind(job.clicks[0], job.image, job.output)
        check_clicks(rows, image, job.clicks[0].name)
        return rows

    def _replayed(self, doing: _Doing) -> tuple[Session, Path]:
        path = doing.job.clicks[0]
        record = read_record(path)
        source = doing.job.image or find_image(record, path.parent)
        doing.read(source)
        if self._recorded is None:
            self._recorded = Predictors(self._settings.device, anyway=self._settings.anyway, loaded=self._loaded())
        replayed = replay(record, source, self._recorded, anyway=self._settings.anyway, cancelled=self._cancelled)
        clicks = sum(len(mask.refinement.clicks) for mask in record.masks)
        doing.facts |= {"clicks": clicks, "not_as_recorded": len(replayed.different)}
        return replayed.session, source

    def _write(self, doing: _Doing, session: Session, source: Path) -> None:
        settings, stem = self._settings, doing.job.output.rsplit("/", 1)[-1]
        format_ = find_format(settings.format)
        suffix = format_.suffixes[0] if format_.suffixes else ""
        doing.folder.mkdir()
        known = known_of_image(source, session.image.ndim)
        grey = not session.image.rgb and not isinstance(session.image.data, Composite)
        known["intensities"] = session.image.data if grey else None
        labels = LabelImage(_labels_of(session), name=stem, classes=session.classes, **known)
        path, options = doing.folder / f"{stem}{suffix}", settings.options
        written = export_labels(labels, path, settings.format, options=options, cancelled=self._cancelled)
        doing.facts["objects"] = written.objects
        doing.wrote(suffix)
        if settings.records:
            record = record_of(session, name=source.name, source=str(source))
            write_record(doing.folder / f"{stem}{SUFFIX}", record)
            doing.wrote(SUFFIX)

    def _loaded(self) -> Model:
        if self._model is None:
            model = zoo.load_model(self._settings.model, self._settings.device)
            if model.fingerprint != self._settings.sha256:
                raise InputError(
                    f"the model {self._settings.model} on {platform.node()} is another one than where the batch was "
                    "started: give the path of a file that all machines see (--model)"
                )
            self._model = model
        return self._model

    def _check_version(self) -> None:
        here = metadata.version("napari-fbrs")
        if here != self._settings.version:
            raise InputError(
                f"{platform.node()} has napari-fbrs {here}, the batch was started by {self._settings.version}: install "
                "the same one everywhere"
            )


class _Doing:
    """A job that is being done."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.job, self.folder = job, folder
        self.error: Exception | None = None
        self.facts: dict[str, Any] = {}
        self._inputs: dict[str, dict[str, Any]] = {}
        self._staged: dict[str, str] = {}

    def read(self, path: Path) -> None:
        """Take note of what is about to be read."""
        if not path.exists():
            raise InputError(f"there is no {path}")
        self._inputs[str(path)] = stamp(path)

    def wrote(self, suffix: str) -> None:
        """Take note of what was written."""
        name = f"{self.job.output}{suffix}"
        self._staged[name] = content_hash(self.folder / name.rsplit("/", 1)[-1])

    def outcome(self) -> Outcome:
        """Return what became of it."""
        if self.error is None:
            return Outcome(folder=self.folder.name, staged=self._staged, inputs=self._inputs, facts=self.facts)
        expected = isinstance(self.error, FBRSError | OSError | MemoryError)
        words = " ".join(str(self.error).split()) if isinstance(self.error, FBRSError) else _words(self.error)
        trace = None if expected else "".join(traceback.format_exception(self.error))
        return Outcome(words, trace, inputs=self._inputs, facts=self.facts)


def _labels_of(session: Session) -> Any:
    """Return the labels of a session as an array, or what can be read plane by plane like one."""
    labels = session.labels
    return labels if isinstance(labels, SparseLabels) else labels.read((slice(None),) * session.image.ndim)


def _words(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
