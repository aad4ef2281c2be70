"""``napari-fbrs evaluate``: its options, and what it does."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any

from napari_fbrs.annotation.command import whole_number
from napari_fbrs.annotation.output import check_apart, check_may_write, replacing
from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.layouts import LAYOUTS, PARTS, find_layout
from napari_fbrs.evaluation.measuring import (
    ALL,
    SUBJECTS,
    DataSpec,
    FileSetup,
    chosen_subjects,
    missing_subjects,
)
from napari_fbrs.evaluation.objects import Sample, sample_objects, truth_of
from napari_fbrs.evaluation.record import Record, Task
from napari_fbrs.evaluation.report import Result, Row, as_dict, require_plots, table, write_plot
from napari_fbrs.evaluation.runner import Worker, run_all
from napari_fbrs.evaluation.simulation import MAX_CLICKS, Run, replay
from napari_fbrs.evaluation.worst import Case, page, worst
from napari_fbrs.inference.settings import DEFAULT_MODE, PredictorSettings
from napari_fbrs.processes import torch_threads
from napari_fbrs.progress import Progress

_WORST = 12  # cases shown of each data set
_count, _seed = whole_number(1), whole_number(0)
_EPILOG = """\
data sets are folders or zips:
  folder     images/NAME.jpg (.png, .tif) and labels/NAME.png (.tif): 0 is background, every other value an object
  grabcut    data_GT/ and boundary_GT/, where 128 does not count        berkeley   images/ and masks/
  davis      img/ and gt/, all objects of a frame as one                coco_mval  the same
  sbd        img/, inst/NAME.mat and val.txt, which names the images used

examples:
  napari-fbrs evaluate nuclei.zip --limit 50 --json figures.json
  napari-fbrs evaluate nuclei.zip --mode all --people 5 --plot curves.png --worst worst.html
  napari-fbrs evaluate GrabCut Berkeley DAVIS --model resnet34_dh128_sbd --published --jobs 8 --json published.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of evaluation to a parser."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("data", type=Path, nargs="+", metavar="DATA", help="zip or folder; see below")
    parser.add_argument("--format", choices=tuple(LAYOUTS), help="how DATA is laid out (default: by its folders)")
    parser.add_argument(
        "--mode", action="append", metavar="MODE", help=f"what is measured, may be repeated: {', '.join(SUBJECTS)}, or "
        f"{ALL} (default: {DEFAULT_MODE})",
    )  # fmt: skip
    parser.add_argument(
        "--model", default="default", metavar="NAME", help="name from `napari-fbrs models`, or a file's path"
    )
    parser.add_argument(
        "--device", default="auto", metavar="DEV", help="auto (default: a GPU if there is one), cpu, cuda, cuda:1, mps"
    )
    parser.add_argument(
        "--published", action="store_true", help="zoom, first click and optimiser as in the published evaluation, "
        "instead of what suits the model",
    )  # fmt: skip
    _add_sampling(parser)
    _add_work(parser)
    _add_output(parser)


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--part", choices=PARTS, default="all",
        help="validation: the tenth of the images that training leaves out (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--mosaic", type=_count, metavar="SIDE", help="put the images together in mosaics of SIDE x SIDE pixels first"
    )
    parser.add_argument("--limit", type=_count, metavar="N", help="a sample of N objects a data set (default: all)")
    parser.add_argument(
        "--min-area", type=_count, metavar="N", help="smallest object, in pixels (default: 100 in images/ and labels/, "
        "1 in published data sets)",
    )  # fmt: skip
    parser.add_argument(
        "--spread", action="store_true", help="take the sample from all images alike: from all objects alike, a few "
        "crowded images give most of it",
    )  # fmt: skip
    parser.add_argument("--seed", type=_seed, default=0, help="decides the sample (default: 0)")
    parser.add_argument(
        "--clicks", type=_count, default=MAX_CLICKS, metavar="N", help=f"most clicks an object (default: {MAX_CLICKS})"
    )
    parser.add_argument(
        "--people", type=_count, default=0, metavar="N", help="let N people click as well, who do not aim at the "
        "middle of the error, and tell mean and standard deviation",
    )  # fmt: skip


def _add_work(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=_count, default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument(
        "--threads", type=_count, default=1, metavar="N", help="threads of each on a CPU; the last bits of a "
        "prediction depend on it (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="finished runs are kept here, and found again when the command is "
        "repeated (default: beside OUT, if there is one)",
    )  # fmt: skip


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures and every run here as well")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw mean IoU against clicks (.png, .pdf, .svg)")
    parser.add_argument(
        "--worst", type=Path, metavar="PAGE.html", help=f"show the {_WORST} objects of each data set that went worst"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate as the parsed options say; return the exit status.

    Raises
    ------
    InputError
        If data or options cannot be used.
    """
    if args.plot:
        require_plots(args.plot)
    _check_outputs(args)
    evaluation = Evaluation(args)
    evaluation.announce()
    evaluation.work()
    results = list(evaluation.results())
    if args.json:
        _write(args.json, json.dumps(evaluation.as_dict(results), indent=1))
    if args.plot:
        write_plot(args.plot, results)
    if args.worst:
        _write(args.worst, evaluation.worst_page(results))
    for result in results:  # after the files: who reads may have gone by now, as in `evaluate ... | head`
        _say("\n" + table(result))
    return 0


class Evaluation:
    """All there is to do, and what came of it.

    Parameters
    ----------
    args : argparse.Namespace
        Options, see `add_arguments`.

    Raises
    ------
    InputError
        If data or options cannot be used.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._subjects = chosen_subjects(args.mode or [DEFAULT_MODE])
        self._setup = FileSetup(_specs(args), args.model, args.device, args.published)
        self._datasets = {name: self._setup.dataset(name) for name in self._setup.data}
        self._settings = self._decisive()
        self._samples: dict[str, list[Sample]] = {
            name: sample_objects(dataset, args.limit, args.min_area, args.seed, spread=args.spread)
            for name, dataset in self._datasets.items()
        }
        data = {name: f"{spec.layout} {self._datasets[name].fingerprint}" for name, spec in self._setup.data.items()}
        self._record = Record(_record_path(args), self._settings, data)

    def announce(self) -> None:
        """Say what is going to be done."""
        model = self._setup.loaded
        _say(f"model {model.name} on {model.device}, settings {self._settings['settings']}")
        for name in missing_subjects() if ALL in (self._args.mode or ()) else ():
            _say(f'{name} is left out, it needs: pip install "napari-fbrs[evaluation]"')
        tasks = self._tasks()
        done = sum(task in self._record.runs for task in tasks)
        if done:
            _say(f"{done} of {len(tasks)} runs are in {self._record.path} already")

    def work(self) -> None:
        """Do what has not been done."""
        args = self._args
        left = [task for task in self._tasks() if task not in self._record.runs]
        if not left:
            return
        progress = Progress(len(left), "runs")
        with (
            self._record.open(),
            closing(run_all(self._setup, left, jobs=args.jobs, threads=args.threads, limit=args.clicks)) as finished,
        ):
            for task, done in finished:
                self._record.add(task, done)
                progress.step()

    def results(self) -> Iterator[Result]:
        """Yield what came out on each data set."""
        for name, samples in self._samples.items():
            rows = tuple(
                Row(
                    subject,
                    self._runs(name, subject, None),
                    tuple(self._runs(name, subject, person) for person in self._people()),
                )
                for subject in self._subjects
            )
            titles = tuple(self._datasets[name].title(sample.image) for sample in samples)
            facts = {"path": str(self._setup.data[name].path), "format": self._setup.data[name].layout}
            yield Result(name, tuple(samples), titles, rows, self._args.clicks, facts)

    def as_dict(self, results: Sequence[Result]) -> dict[str, Any]:
        """Return all that is known, for JSON."""
        chosen = {name: getattr(self._args, name) for name in ("part", "limit", "min_area", "seed", "spread", "people")}
        return {"settings": self._settings, "objects": chosen, "datasets": [as_dict(result) for result in results]}

    def worst_page(self, results: Sequence[Result]) -> str:
        """Return a page with the objects of each data set that went worst with the first subject."""
        title = f"Worst of {', '.join(result.name for result in results)}"
        sections = ((f"{result.name}, {result.rows[0].subject}", self._cases(result)) for result in results)
        return page(title, sections)

    def _cases(self, result: Result) -> Iterator[Case]:
        row = result.rows[0]
        worker = Worker(self._setup)
        for position in worst(row.runs, _WORST, result.limit):
            sample, done = result.samples[position], row.runs[position]
            dataset = self._datasets[result.name]
            plane, labels = dataset.plane(sample.image), dataset.labels(sample.image)
            with torch_threads(self._args.threads):
                mask = replay(worker.subject(row.subject, result.name), plane, done.clicks)
            title = f"{result.titles[position]}, label {sample.label}"
            yield Case(title, plane, truth_of(labels, sample.label), mask, done)

    def _tasks(self) -> list[Task]:
        return [
            Task(name, sample, subject, person)
            for name, samples in self._samples.items()
            for sample in samples
            for subject in self._subjects
            for person in (None, *self._people())
        ]

    def _people(self) -> range:
        return range(self._args.people)

    def _runs(self, dataset: str, subject: str, person: int | None) -> tuple[Run, ...]:
        tasks = (Task(dataset, sample, subject, person) for sample in self._samples[dataset])
        return tuple(self._record.runs[task] for task in tasks)

    def _decisive(self) -> dict[str, str]:
        """Return what runs depend on, whatever the object and the subject."""
        args, model = self._args, self._setup.loaded
        suiting = repr(PredictorSettings.of_model(model.settings))
        return {
            "version": metadata.version("napari-fbrs"),
            "model": model.fingerprint,
            "device": model.device.type,
            "settings": "published" if args.published else suiting,
            "clicks": str(args.clicks),
            "threads": str(args.threads),
        }


def _specs(args: argparse.Namespace) -> dict[str, DataSpec]:
    specs: dict[str, DataSpec] = {}
    for path in args.data:
        if not path.exists():
            raise InputError(f"there is no {path}")
        spec = DataSpec(path, args.format or find_layout(path), args.part, args.mosaic)
        if spec in specs.values():
            raise InputError(f"{path} is given twice")
        specs[spec.name if spec.name not in specs else str(path)] = spec
    return specs


def _record_path(args: argparse.Namespace) -> Path | None:
    given: Path | None = args.resume
    return given or (args.json.with_suffix(".runs.jsonl") if args.json else None)


def _check_outputs(args: argparse.Namespace) -> None:
    """Raise `InputError` if an output cannot be written, or would take the place of anything but an earlier one."""
    outputs = [path for path in (args.json, args.plot, args.worst, _record_path(args)) if path]
    check_apart(outputs)
    for path in outputs:
        check_may_write(path, (*args.data, Path(args.model)), overwrite=True)
    if args.json and args.json.exists() and not _is_result(args.json):
        raise InputError(f"{args.json} is there already, and no result of an evaluation; choose another name")


def _is_result(path: Path) -> bool:
    try:
        return {"settings", "objects", "datasets"} <= set(json.loads(path.read_bytes()))
    except (ValueError, TypeError):
        return False


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
