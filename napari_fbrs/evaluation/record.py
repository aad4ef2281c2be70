"""Runs written down as they are finished, one a line, so that an evaluation that was stopped goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari_fbrs.annotation.line_file import LineFile
from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.objects import Sample
from napari_fbrs.evaluation.simulation import Run

_KIND = "napari-fbrs runs 1"


@dataclass(frozen=True)
class Task:
    """One object to be clicked on.

    Parameters
    ----------
    dataset : str
        Name of its data set.
    sample : Sample
        Which object.
    subject : str
        Name of what is measured.
    person : int or None
        Seed of who clicks; None: the user of the protocol, who always clicks in the middle.
    """

    dataset: str
    sample: Sample
    subject: str
    person: int | None = None


def as_json(run: Run) -> dict[str, Any]:
    """Return a run as it is written to files."""
    clicks = [[click.row, click.column, click.positive] for click in run.clicks]
    return {"clicks": clicks, "ious": list(run.ious), "seconds": list(run.seconds)}


class Record:
    """A file of finished runs.

    Parameters
    ----------
    path : Path or None
        Made when it is opened; None: the runs are only held here.
    settings : mapping of str to str
        What decides the result: model, clicks, ...; runs made with others are not mixed with these.
    data : mapping of str to str
        Fingerprint of each data set by its name.

    Raises
    ------
    InputError
        If the file there is no record, or one of other settings or data.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, str], data: Mapping[str, str]) -> None:
        self.path, self._settings, self._data = path, dict(settings), dict(data)
        self._lines = LineFile(path) if path else None
        self.runs: dict[Task, Run] = dict(self._read(self._lines)) if self._lines else {}

    @contextmanager
    def open(self) -> Iterator[None]:
        """Open the file for `add`; what is left of a line cut off goes."""
        if self._lines is None:
            yield
            return
        with self._lines.open():
            if self._lines.empty:
                self._lines.add({"kind": _KIND, "settings": self._settings})
            yield

    def add(self, task: Task, run: Run) -> None:
        """Take up a finished run, and write it down where the record is open."""
        self.runs[task] = run
        if self._lines is not None:
            self._lines.add(asdict(task) | {"data": self._data[task.dataset]} | as_json(run))

    def _read(self, file: LineFile) -> Iterator[tuple[Task, Run]]:
        try:
            lines = list(file.read())
            if lines:
                self._check(lines[0])
            for line in lines[1:]:
                yield self._parsed(line)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{self.path} is no record of runs, or damaged ({error!r}); name another file") from error

    def _check(self, header: Mapping[str, Any]) -> None:
        if header["kind"] != _KIND:
            raise InputError(f"{self.path} is no record of runs; name another file")
        there = header["settings"]
        for name in sorted({*there, *self._settings}):
            if there.get(name) != self._settings.get(name):
                raise InputError(
                    f"{self.path} holds runs made with {name} {there.get(name)}, this is {name} "
                    f"{self._settings.get(name)}; remove it, or name another with --resume"
                )

    def _parsed(self, line: Mapping[str, Any]) -> tuple[Task, Run]:
        if self._data.get(line["dataset"], line["data"]) != line["data"]:
            raise InputError(
                f"{self.path} holds runs on another {line['dataset']} than this one: the data has changed; remove it, "
                "or name another with --resume"
            )
        task = Task(line["dataset"], Sample(**line["sample"]), line["subject"], line["person"])
        clicks = tuple(Click(row, column, positive) for row, column, positive in line["clicks"])
        return task, Run(clicks, tuple(line["ious"]), tuple(line["seconds"]))
