"""``napari-fbrs benchmark latency``: its options, and what it does."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from napari_fbrs.annotation.output import check_may_write, replacing
from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.latency.measure import (
    QUICK,
    Answer,
    Effort,
    contenders,
    measure_clicks,
    measure_first,
    measure_stages,
    published_way,
)
from napari_fbrs.evaluation.latency.report import DECODE, ENCODE, FIRST, Report, write_plot
from napari_fbrs.evaluation.latency.sam import Sam, sam_is_there
from napari_fbrs.evaluation.latency.scenes import Picture, Scene, make_scene
from napari_fbrs.evaluation.latency.timing import CLOCKS, Clock, Task, alternate
from napari_fbrs.evaluation.latency.warming import measure_warm_up
from napari_fbrs.evaluation.report import require_plots
from napari_fbrs.evaluation.simulation import next_click
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.models.checkpoint import Model
from napari_fbrs.models.precision import fast_bfloat16
from napari_fbrs.models.zoo import load_model
from napari_fbrs.processes import torch_threads

_PROCESSES = 3  # for each way of a first click
Pictures = Callable[[bool], Sequence[Picture]]
_EPILOG = """\
Everything answers the same clicks from the same state, in turn, every other round backwards: compare figures of one
run. In brackets stands how often the objective was evaluated. "features there": as beyond the click limit, without a
pass through the network. SAM needs: pip install "napari-fbrs[benchmark]"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the benchmark to a parser."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("--quick", action="store_true", help="one picture, fewer clicks and rounds")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every figure here as well")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw milliseconds against clicks (.png, .pdf, .svg)")
    parser.add_argument(
        "--model", default="default", metavar="NAME", help="name from `napari-fbrs models`, or a file's path"
    )
    parser.add_argument(
        "--device", default="auto", metavar="DEV", help="auto (default: a GPU if there is one), cpu, cuda, cuda:1, mps"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads on a CPU (default: torch's own)")
    parser.add_argument(
        "--clock", choices=tuple(CLOCKS), default="wall",
        help="cpu: time of all the process's threads, for ratios on a machine that is busy (default: wall)",
    )  # fmt: skip
    parser.add_argument("--no-sam", action="store_true", help="leave the SAM out")


def run(args: argparse.Namespace, pictures: Pictures) -> int:
    """Measure as the parsed options say; return the exit status.

    Parameters
    ----------
    args : argparse.Namespace
        See `add_arguments`.
    pictures : callable
        Gives what is clicked on; asked whether it is to be quick.

    Raises
    ------
    InputError
        If an option cannot be used.
    """
    if args.threads is not None and args.threads < 1:
        raise InputError(f"--threads must be at least 1, found {args.threads}")
    if args.plot:
        require_plots(args.plot)
    for path in filter(None, (args.json, args.plot)):
        check_may_write(path, (), overwrite=True)
    model = load_model(args.model, args.device)
    with torch_threads(args.threads or torch.get_num_threads()):
        report = measure(
            model, pictures(args.quick), QUICK if args.quick else Effort(), CLOCKS[args.clock], sam=not args.no_sam
        )
        report.warm_up = _warm_up(args, pictures)
    _say(report.text())
    if args.json:
        with replacing(args.json) as temporary:
            temporary.write_text(json.dumps(report.as_dict(), indent=1), encoding="utf-8")
    if args.plot:
        write_plot(args.plot, report)
    return 0


def measure(model: Model, pictures: Sequence[Picture], effort: Effort, clock: Clock, *, sam: bool) -> Report:
    """Measure everything with one model."""
    report = Report(_facts(model))
    _say(", ".join(f"{name} {value}" for name, value in report.facts.items()))
    guide = Predictor(model, settings=published_way(model))
    scenes = [make_scene(picture, guide, max(*effort.counts, *effort.slow_counts)) for picture in pictures]
    network = _sam(model, report) if sam else None
    for scene in scenes:
        name = scene.picture.name
        for rows in measure_clicks(scene, contenders(model), effort, clock):
            report.rows += rows
        report.stages[name] = measure_stages(scene.picture, scene, model)
        report.firsts[name] = _firsts(scene, model, network, effort, clock)
    report.peaks = _peaks(scenes[0], model)
    return report


def _warm_up(args: argparse.Namespace, pictures: Pictures) -> dict[str, list[float]]:
    """Return what a process's first click on the first picture's object costs."""
    picture = pictures(True)[0]
    click = next_click(picture.truth, np.zeros(picture.truth.shape, dtype=bool))
    assert click is not None
    return measure_warm_up(
        (args.model, args.device),
        picture.pixels,
        [click],
        rounds=1 if args.quick else _PROCESSES,
        clock=args.clock,
        threads=torch.get_num_threads(),
    )


def _facts(model: Model) -> dict[str, str | int | bool]:
    device = model.device
    return {
        "version": metadata.version("napari-fbrs"),
        "model": model.name,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "bfloat16": fast_bfloat16(device),
        "torch": torch.__version__,
    }


def _sam(model: Model, report: Report) -> Sam | None:
    if not sam_is_there():
        report.notes.append('SAM is left out, it needs: pip install "napari-fbrs[benchmark]"')
        return None
    network = Sam(model.device)
    network.encode()
    network.decode()
    return network


def _firsts(scene: Scene, model: Model, network: Sam | None, effort: Effort, clock: Clock) -> dict[str, list[float]]:
    tasks = {FIRST: measure_first(scene, model)}
    if network is not None:
        tasks |= {ENCODE: Task(network.encode, rounds=effort.slow_rounds), DECODE: Task(network.decode)}
    return alternate(tasks, effort.rounds, clock)


def _peaks(scene: Scene, model: Model) -> dict[str, int | None]:
    moment = scene.moments[-1]
    return {name: Answer(scene, moment, predictor).peak() for name, predictor in contenders(model).items()}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
