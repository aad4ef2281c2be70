"""``napari-fbrs benchmark batch``: how much faster a batch is with more workers, side by side in one run."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from skimage import data

from napari_fbrs.annotation.image_file import write_png
from napari_fbrs.annotation.line_file import LineFile
from napari_fbrs.batching.cluster import LOCAL
from napari_fbrs.batching.manifest import MANIFEST
from napari_fbrs.batching.running import batch
from napari_fbrs.errors import InputError
from napari_fbrs.processes import available_processors
from napari_fbrs.samples.clicks import coins_clicks_path

_DIMMEST = 0.6  # of the photographs, so that no two are the same


@dataclass(frozen=True)
class Measured:
    """A batch that was timed.

    Parameters
    ----------
    workers : int
        How many.
    seconds : float
        From the beginning of the first image to the end of the last.
    starting : float
        Seconds before that, and after: to start and stop the workers.
    cpu_seconds : float
        Of processor time, that the workers have had for the images.
    results : frozenset of (str, str)
        Names and SHA-256 of all that was written.
    """

    workers: int
    seconds: float
    starting: float
    cpu_seconds: float
    results: frozenset[tuple[str, str]]

    @property
    def processors(self) -> float:
        """How many processors the workers have had on average: no more than the machine had to spare."""
        return self.cpu_seconds / self.seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument("--images", type=int, default=16, metavar="N", help="photographs of coins, with 11 clicks each "
                        "(default: 16)")  # fmt: skip
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], metavar="N", help="(default: 1 2)")
    parser.add_argument("--repeats", type=int, default=2, metavar="N", help="in turn; the fastest counts (default: 2)")
    parser.add_argument("--scheduler", metavar=LOCAL, choices=(LOCAL,), help=f"{LOCAL}: workers of dask instead of "
                        "processes of our own")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Measure, print, and return the exit code."""
    if min(args.images, args.repeats, *args.workers) < 1:
        raise InputError("images, workers and repeats are numbers from 1")
    with tempfile.TemporaryDirectory() as folder:
        images = write_images(Path(folder) / "images", args.images)
        measured = [
            measure(images, Path(folder) / f"{turn}-{workers}", workers, args.scheduler)
            for turn in range(args.repeats)
            for workers in args.workers
        ]
    for line in table(measured, args.images):
        sys.stdout.write(f"{line}\n")
    return 0


def write_images(folder: Path, count: int) -> Path:
    """Write photographs of coins, each a little darker than the one before, and clicks beside them."""
    folder.mkdir()
    for number, light in enumerate(np.linspace(1, _DIMMEST, count)):
        write_png(folder / f"{number:04d}.png", np.rint(data.coins() * light).astype(np.uint8))
        (folder / f"{number:04d}.csv").write_bytes(coins_clicks_path().read_bytes())
    return folder


def measure(images: Path, output: Path, workers: int, scheduler: str | None) -> Measured:
    """Do a batch, with workers of their own even if there is only one, and return what it took."""
    start = time.monotonic()
    done = batch(images, output, jobs=workers, scheduler=scheduler, device="cpu", apart=True)
    whole = time.monotonic() - start
    if done.failed:
        raise InputError(f"a batch that is measured has failed: {done.report()[0]}")
    entries: list[dict[str, Any]] = [line for line in LineFile(output / MANIFEST).read() if "output" in line]
    began, ended = min(e["began"] for e in entries), max(e["began"] + e["seconds"] for e in entries)
    results = frozenset((name, stamp["sha256"]) for entry in entries for name, stamp in entry["outputs"].items())
    busy = ended - began
    return Measured(workers, busy, whole - busy, sum(e["cpu_seconds"] for e in entries), results)


def table(measured: list[Measured], images: int) -> list[str]:
    """Return what was measured in words: for each number of workers the fastest run.

    The speed-up that workers would have with a processor each follows from the processor time that their work took: on
    a machine that is busy with other things they do not have one each, and the speed-up says little.
    """
    best = {run.workers: min((r for r in measured if r.workers == run.workers), key=lambda r: r.seconds)
            for run in measured}  # fmt: skip
    first = next(iter(best.values()))
    lines = [
        f"{images} images, {available_processors()} processors, each worker with one thread; the fastest of "
        f"{len(measured) // len(best)} runs each",
        "workers  seconds  speed-up  CPU seconds  processors had  speed-up with a processor each  to start and stop",
    ]
    for run in best.values():
        speed_up, alone = first.seconds / run.seconds, run.workers / first.workers * first.cpu_seconds / run.cpu_seconds
        lines.append(
            f"{run.workers:7}  {run.seconds:7.1f}  {speed_up:8.2f}  {run.cpu_seconds:11.1f}  {run.processors:14.2f}  "
            f"{alone:30.2f}  {run.starting:15.1f} s"
        )
    same = len({run.results for run in measured}) == 1
    return [*lines, f"results: {'the same, bit for bit' if same else 'NOT the same'}"]
