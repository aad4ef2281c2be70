"""``napari-fbrs``: what the plugin does, without a window.

Whatever is the user's to mend ends in one line on the standard error and exit code 2.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from napari_fbrs.annotation import command as clicking
from napari_fbrs.errors import FBRSError, InputError

BAD_INPUT = 2
INTERRUPTED = 130

_DESCRIPTION = "Segment images by clicks (f-BRS): each click on an object, or off it, refines the object's mask."
_EXAMPLES = """\
examples:
  napari-fbrs demo                                        see it at work on a photograph of coins
  napari-fbrs segment cells.tif --clicks clicks.csv -o labels.tif
  napari-fbrs replay cells.clicks.json -o labels.tif      the masks of a click record, computed again
  napari-fbrs batch images -o masks --format masks        many images, each with its clicks beside it
  napari-fbrs export labels.tif --format masks -o masks   a mask of every object of every slice
  napari-fbrs models                                      which models there are, and where

`napari-fbrs COMMAND --help` says more of each. Exit codes: 0; 1 where some images of a batch
have failed; 2 where something in the input must be mended.
"""
_QT_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
_DEMO_MODULE = "napari_fbrs.gui.demo"
_HEARTBEAT_MODULE = "napari_fbrs.gui.heartbeat"
_SOAK_MODULE = "napari_fbrs.gui.soak"
_FOUND = 1  # the status of a soak that has found something


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        0, 2 for bad input (with a line on the standard error), 130 when interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if sys.stdout is None:  # closed by whoever started it
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that it cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        args = build_parser(arguments).parse_args(arguments)
        code: int = args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader has gone, as in `napari-fbrs models | head -1`
        _stop_writing()
        return 0
    except MemoryError as error:
        return _refused(f"there is not enough memory: {error}")
    except (FBRSError, OSError) as error:
        return _refused(str(error))
    return code


def _stop_writing() -> None:
    """Have what is left to be written go nowhere, where nobody reads any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refused(why: str) -> int:
    sys.stderr.write(f"napari-fbrs: {' '.join(why.split())}\n")
    return BAD_INPUT


def build_parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser for some arguments; the options of a command that is slow to import only if they name it."""
    parser = _Parser(
        prog="napari-fbrs",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"napari-fbrs {metadata.version('napari-fbrs')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_segment(commands)
    _add_replay(commands)
    _add_batch(commands, named="batch" in arguments[:1])
    _add_demo(commands)
    _add_models(commands)
    _add_journals(commands)
    _add_export(commands, named="export" in arguments[:1])
    _add_evaluate(commands, named="evaluate" in arguments[:1])
    _add_train(commands, named="train" in arguments[:1])
    _add_benchmark(commands, named="benchmark" in arguments[:1])
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


Commands = argparse._SubParsersAction  # argparse has no public name for it


def say(line: str = "") -> None:
    """Write a line to the standard output."""
    sys.stdout.write(f"{line}\n")


# segment and replay


def _add_segment(commands: Commands[_Parser]) -> None:
    parser = commands.add_parser("segment", help="segment the objects of an image from recorded clicks")
    clicking.add_segment_arguments(parser)
    parser.set_defaults(run=clicking.run_segment)


def _add_replay(commands: Commands[_Parser]) -> None:
    parser = commands.add_parser("replay", help="compute the masks of a click record again")
    clicking.add_replay_arguments(parser)
    parser.set_defaults(run=clicking.run_replay)


# batch


def _add_batch(commands: Commands[_Parser], *, named: bool) -> None:
    parser = commands.add_parser("batch", help="segment many images; resumable, in several processes or on a cluster")
    if named:
        from napari_fbrs.batching import command

        command.add_arguments(parser)
        parser.set_defaults(run=command.run)


# demo


def _add_demo(commands: Commands[_Parser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="see it at work on a photograph of coins",
        description="Open napari on a photograph of coins, ready for the first click. Without a display, segment the "
        "coins from recorded clicks and write pictures of the result.",
        epilog="files written without a window:\n"
        "  image.png        the photograph\n"
        "  labels.png       0 off the coins, 1, 2, ... on them\n"
        "  mask.png         black off the coins, white on them\n"
        "  probability.tif  for each coin, the probability that a pixel belongs to it\n"
        "  overlay.png      the coins outlined on the photograph, with the clicks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--headless", action="store_true", help="open no window even if there is a display")
    parser.add_argument(
        "--output", type=Path, default=Path("napari-fbrs-demo"), metavar="DIR",
        help="folder for what is written without a window (default: napari-fbrs-demo)",
    )  # fmt: skip
    clicking.add_prediction_arguments(parser)
    parser.set_defaults(run=_demo)


def _demo(args: argparse.Namespace) -> int:
    if args.headless or not _has_display():
        return _demo_to_files(args)
    return _in_napari(_DEMO_MODULE)


def _has_display() -> bool:
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _in_napari(module: str, *options: str, told: Sequence[int] = ()) -> int:
    """Run a module that opens a window, in a process of its own; return its status, 0 or one that it tells with."""
    if not any(importlib.util.find_spec(binding) for binding in _QT_BINDINGS):
        raise InputError('napari needs Qt to open a window: pip install "napari-fbrs[all]", or use demo --headless')
    status = subprocess.run([sys.executable, "-m", module, *options], check=False).returncode
    if status and status not in told:
        raise InputError(f"napari ended with status {status}; `napari-fbrs demo --headless` needs no window")
    return status


_DEMO = {"image.png", "labels.png", "mask.png", "probability.tif", "overlay.png"}


def _demo_to_files(args: argparse.Namespace) -> int:
    import numpy as np
    from skimage import data

    from napari_fbrs.annotation.click_file import read_click_rows
    from napari_fbrs.annotation.image_file import (
        write_labels,
        write_mask_png,
        write_overlay_png,
        write_png,
        write_tiff,
    )
    from napari_fbrs.annotation.segmenting import segment
    from napari_fbrs.samples.clicks import coins_clicks_path

    folder: Path = args.output
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; --output takes a folder")
    there = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if there & _DEMO and not there >= _DEMO:
        found = ", ".join(sorted(there & _DEMO))
        raise InputError(f"{folder} holds {found}, and not from here: give the files another folder with --output")
    folder.mkdir(parents=True, exist_ok=True)
    image = data.coins()
    rows = read_click_rows(coins_clicks_path())
    segmented = segment(
        image, coins_clicks_path(), model=args.model, mode=args.mode, device=args.device, progress=say
    )  # fmt: skip
    seconds = [second for report in segmented.objects for second in report.seconds]
    say(f"{len(seconds)} clicks: median {1000 * statistics.median(seconds):.0f} ms, first {1000 * seconds[0]:.0f} ms")
    probabilities = [
        result.prediction.probability
        for report in segmented.objects
        for result in report.last.values()
        if result.prediction
    ]
    write_png(folder / "image.png", image)
    write_labels(folder / "labels.png", segmented.labels)
    write_mask_png(folder / "mask.png", segmented.labels > 0)
    write_tiff(folder / "probability.tif", np.stack(probabilities))
    write_overlay_png(folder / "overlay.png", image, segmented.labels, [row.click for row in rows])
    say(f"{', '.join(sorted(_DEMO))} written to {folder.resolve()}")
    return 0


# models


def _add_models(commands: Commands[_Parser]) -> None:
    parser = commands.add_parser(
        "models",
        help="which models there are, and where",
        description="List the models that --model takes: the bundled one, files in the models folder, and published "
        "ones that can be downloaded. Nothing is downloaded without being asked for.",
    )
    parser.add_argument("--download", metavar="NAME", help="download a published model to the models folder")
    parser.set_defaults(run=_models)


def _models(args: argparse.Namespace) -> int:
    if args.download is not None:
        return _download(args.download)
    from napari_fbrs.models.zoo import RELEASE, list_models, models_folder, unused_files

    where = {"bundled": "bundled", "folder": "models folder", "published": "to download"}
    table = [("NAME", "WHERE", "SIZE", "FILE")]
    for entry in list_models():
        file = str(entry.path) if entry.path else f"napari-fbrs models --download {entry.name}"
        table.append((entry.name, where[entry.origin], _megabytes(entry.size), file))
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    for name, place, size, file in table:
        say(f"{name:{widths[0]}}  {place:{widths[1]}}  {size:>{widths[2]}}  {file}")
    say()
    for path in unused_files():
        say(f"not listed: {path}, as another model is called {path.stem}; rename the file, or give its path")
    say(f"models folder: {models_folder()} (NAPARI_FBRS_MODELS names another)")
    say(f"published files: {RELEASE}NAME.pth; they can be placed in the models folder by hand")
    return 0


def _megabytes(size: int | None) -> str:
    return "?" if size is None else f"{size / 1e6:.0f} MB"


def _download(name: str) -> int:
    from napari_fbrs.models.zoo import DEFAULT, download

    if name == DEFAULT:
        raise InputError(f"{DEFAULT} is bundled: there is nothing to download")
    last = ""

    def progress(done: int, total: int | None) -> None:
        nonlocal last
        line = _megabytes(done) if total is None else f"{_megabytes(done)} of {_megabytes(total)}"
        if line != last:
            sys.stderr.write(f"\r{name}: {line}")
            last = line

    try:
        path = download(name, progress)
    finally:
        if last:
            sys.stderr.write("\n")
    say(f"{name}: {path}")
    return 0


# journals


def _add_journals(commands: Commands[_Parser]) -> None:
    parser = commands.add_parser(
        "journals",
        help="unsaved work that is kept for a restart of napari",
        description="List the journals of work that was not exported: each is offered when its image is opened and "
        "Start is pressed again. Unasked, the oldest are removed only where all take up more than 1 GiB, and "
        "none that was changed in the last 30 days.",
    )
    parser.add_argument("--remove", metavar="NAME", help="remove one for good, or all that no open napari holds: all")
    parser.set_defaults(run=_journals)


def _journals(args: argparse.Namespace) -> int:
    from napari_fbrs.annotation.journal import journal_folder, kept_journals

    kept = kept_journals(journal_folder())
    if args.remove is not None:
        return _remove_journals(args.remove, [journal.path for journal in kept])
    table = [("NAME", "LAST CHANGED", "SIZE", "UNSAVED", "IMAGE")]
    for journal in kept:
        when = journal.changed.astimezone().strftime("%Y-%m-%d %H:%M")
        table.append((journal.path.stem, when, _megabytes(journal.nbytes), *_journal_facts(journal.path)))
    _say_table(table)
    say(f"\njournals folder: {journal_folder()} (NAPARI_FBRS_JOURNALS names another)")
    return 0


def _remove_journals(name: str, paths: Sequence[Path]) -> int:
    from napari_fbrs.annotation.journal import read_header, remove_journal

    chosen = [path for path in paths if name in ("all", path.stem)]
    if not chosen and name != "all":
        raise InputError(f"no journal is called {name!r}; `napari-fbrs journals` lists them")
    code = 0
    for path in chosen:
        try:
            if name == "all":
                read_header(path)  # what is no journal is not ours to remove
            remove_journal(path)
            say(f"{path.stem}: removed")
        except (InputError, OSError) as error:
            if name != "all":
                raise
            say(f"{path.stem}: left, {error}")
            if isinstance(error, OSError):  # else it is to be left: in use, or no journal
                code = BAD_INPUT
    return code


def _journal_facts(path: Path) -> tuple[str, str]:
    """Return what a journal holds that was not exported, and the name of its image."""
    from napari_fbrs.annotation.journal import read_journal
    from napari_fbrs.annotation.recovery import unsaved

    try:
        header, entries = read_journal(path)
        objects, clicks = unsaved(entries)
    except (InputError, OSError) as error:
        return "?", f"cannot be read: {error}"
    held = f"{objects} object{'s' * (objects != 1)}, {clicks} click{'s' * (clicks != 1)}" if objects else "nothing"
    return held, str(header.get("source") or header.get("image", "?"))


def _say_table(table: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        say("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


# export


def _add_export(commands: Commands[_Parser], *, named: bool) -> None:
    parser = commands.add_parser(
        "export",
        help="write labels for other programs: masks, TIFF, PNG, CSV, COCO, GeoJSON, ImageJ, OME-Zarr",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if named:
        from napari_fbrs.export import command

        parser.description, parser.epilog = command.DESCRIPTION, command.examples()
        command.add_arguments(parser)
        parser.set_defaults(run=command.run)


# evaluate


def _add_evaluate(commands: Commands[_Parser], *, named: bool) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="how many clicks the objects of labelled images take",
        description="Let a simulated user click on objects whose masks are known, always in the middle of the largest "
        "error, until the mask has an IoU of 0.9 or after --clicks clicks, and print how many clicks that took.",
    )
    if named:
        from napari_fbrs.evaluation import command

        command.add_arguments(parser)
        parser.set_defaults(run=command.run)


# train


def _add_train(commands: Commands[_Parser], *, named: bool) -> None:
    parser = commands.add_parser(
        "train",
        help="train or fine-tune a model on labelled images",
        description="Train or fine-tune a model on labelled images; a run that was stopped is resumed.",
    )
    if named:
        from napari_fbrs.training import command

        command.add_arguments(parser)
        parser.set_defaults(run=command.run)


# benchmark


def _add_benchmark(commands: Commands[_Parser], *, named: bool) -> None:
    parser = commands.add_parser(
        "benchmark",
        help="how fast it is here",
        description="Measure how fast it is on this machine.",
    )
    parts = parser.add_subparsers(title="what", metavar="WHAT", required=True)
    latency = parts.add_parser(
        "latency",
        help="what a click costs",
        description="Measure what a click costs in every mode, beside RGB-BRS, f-BRS done the published way, the "
        "random walker and (where transformers is installed) a SAM with random weights.",
    )
    window = parts.add_parser(
        "window",
        help="how long clicks hold up the window",
        description="Click in a window with the plugin and in napari alone, and tell how long its thread is held.",
    )
    window.add_argument("--clicks", type=int, default=200, metavar="N", help="how many (default: 200)")
    window.add_argument("--side", type=int, default=2048, metavar="PIXELS", help="of the picture (default: 2048)")
    window.add_argument("--json", type=Path, metavar="OUT", help="write every figure here as well")
    window.set_defaults(run=_benchmark_window)
    soak = parts.add_parser(
        "soak",
        help="random actions in a window, and whether all that must hold does",
        description="Do random actions in a window (click, undo, propagate, paint, save, ...) and check after each "
        "that masks are those of a replay of the clicks, that undo and redo are the identity, that the journal "
        "restores what is shown, and that memory, threads and open files stay within bounds. What does not hold is "
        "told with the shortest list of actions found that leads to it, and ends with status 1.",
    )
    soak.add_argument("--actions", type=int, default=2000, metavar="N", help="how many (default: 2000)")
    soak.add_argument("--seed", type=int, default=0, help="other actions (default: 0)")
    soak.add_argument(
        "--memory", type=int, default=1000, metavar="MB",
        help="by how much resident memory may grow after the first hundred actions (default: 1000, what features, "
        "predictions and steps are kept in)",
    )  # fmt: skip
    soak.add_argument("--json", type=Path, metavar="OUT", help="write the actions that led to what does not hold here")
    soak.add_argument("--again", type=Path, metavar="FILE", help="do the actions of such a file")
    soak.set_defaults(run=_benchmark_soak)
    many = parts.add_parser(
        "batch",
        help="how much faster a batch is with more workers",
        description="Do the same batch with one worker and with more, in turn, and tell how much faster it was, what "
        "processor time it took, and whether the results are the same.",
    )
    if named:
        from napari_fbrs.batching import scaling
        from napari_fbrs.evaluation.latency import command

        command.add_arguments(latency)
        latency.set_defaults(run=_benchmark_latency)
        scaling.add_arguments(many)
        many.set_defaults(run=scaling.run)


def _benchmark_window(args: argparse.Namespace) -> int:
    if not _has_display():
        raise InputError("a window needs a display; without one, run it under xvfb-run")
    options = ["--clicks", str(args.clicks), "--side", str(args.side)]
    options += ["--json", str(args.json)] if args.json else []
    return _in_napari(_HEARTBEAT_MODULE, *options)


def _benchmark_soak(args: argparse.Namespace) -> int:
    if not _has_display():
        raise InputError("a window needs a display; without one, run it under xvfb-run")
    if args.actions < 1 or args.memory < 1:
        raise InputError("--actions and --memory must be at least 1")
    options = ["--actions", str(args.actions), f"--seed={args.seed}", "--memory", str(args.memory)]
    for name in ("json", "again"):
        options += [f"--{name}", str(getattr(args, name))] if getattr(args, name) else []
    return _in_napari(_SOAK_MODULE, *options, told=(_FOUND,))


def _benchmark_latency(args: argparse.Namespace) -> int:
    from napari_fbrs.evaluation.latency import command
    from napari_fbrs.evaluation.latency.scenes import Picture
    from napari_fbrs.samples.truth import known_objects

    return command.run(args, lambda quick: [Picture(*known) for known in known_objects(few=quick)])


if __name__ == "__main__":
    sys.exit(main())
