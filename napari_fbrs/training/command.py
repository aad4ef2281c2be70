"""``napari-fbrs train``: its options, and what it does."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from napari_fbrs.errors import InputError
from napari_fbrs.training.config import SourceSpec, TrainingConfig
from napari_fbrs.training.export import CARD, export
from napari_fbrs.training.loop import train
from napari_fbrs.training.state import has_checkpoint
from napari_fbrs.training.terminal import told_on

_OPTIONS = (
    "init",
    "stages",
    "output_stride",
    "late",
    "fine_tune",
    "samples",
    "batch",
    "crop",
    "largest_crop",
    "lr",
    "device",
    "threads",
    "shards",
    "seed",
    "workers",
    "validate_every",
    "tensorboard",
)
_BEGUN_WITH = frozenset({"init", "stages", "output_stride", "late", "batch"})  # network, first weights, how it counts
_EXAMPLES = """\
A run that is resumed keeps the options that are not given again.

examples:
  napari-fbrs train run --source cells --fine-tune --samples 2000
      a few images of your own, cells/images/NAME.png with cells/labels/NAME.png (0 is background): goes on from the
      bundled model, whose backbone stays as it is
  napari-fbrs train run --export cells.safetensors
      the model as it is now; placed into the models folder (napari-fbrs models), the widget offers it
  napari-fbrs train run
      resumes, or goes on with a run that was stopped: Ctrl+C loses a few minutes at most
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of training, and examples, to a parser."""
    parser.epilog, parser.formatter_class = _EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("run_folder", type=Path, help="checkpoint and log go here; a run found here is resumed")
    parser.add_argument(
        "--source", action="append", default=[], metavar="PATH[=WEIGHT]",
        help="zip or folder with images/ and labels/, or 'scenes' for computed ones; may be repeated "
        "(default of WEIGHT, its share of the samples: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--init",
        help="model to start from: name, path, .npz of a backbone, or 'none'; the bundled one where it is not given",
    )  # fmt: skip
    parser.add_argument("--stages", type=int, help="of a new network's ResNet-18: 1 to 4 (default: 3)")
    parser.add_argument("--output-stride", type=int, help="of a new network: 8 or 16 (default: 16)")
    parser.add_argument(
        "--late", action="store_true", default=None, help="a new network in which the clicks join the image's features "
        "after the backbone, which then need not be computed again for every click",
    )  # fmt: skip
    parser.add_argument(
        "--fine-tune", action="store_true", default=None, help="keep the backbone as it is: for a few images of one "
        "kind. Starts, as all runs do, from the bundled model unless --init says otherwise",
    )  # fmt: skip
    parser.add_argument(
        "--samples", type=int, help=f"length of the schedule; may be changed when resuming{_default('samples')}"
    )
    parser.add_argument("--batch", type=int, help=f"samples a step; stays as begun{_default('batch')}")
    parser.add_argument("--crop", type=int, help=f"longer side of the crops, pixels{_default('crop')}")
    parser.add_argument(
        "--largest-crop", type=int, help="half the batches have larger crops, up to this; the model then sees large "
        "objects in more detail, and takes longer for them (default: none has)",
    )  # fmt: skip
    parser.add_argument("--lr", type=float, help=f"highest learning rate{_default('lr')}")
    parser.add_argument("--device", help="auto (default: a GPU if there is one), cpu, cuda, cuda:1, mps")
    parser.add_argument("--threads", type=int, help="threads on a CPU (default: torch's own)")
    parser.add_argument("--shards", type=int, help=f"parts of a batch computed at the same time{_default('shards')}")
    parser.add_argument("--workers", type=int, help=f"processes that prepare samples{_default('workers')}")
    parser.add_argument("--seed", type=int, help=f"decides data and clicks{_default('seed')}")
    parser.add_argument("--validate-every", type=int, help=f"samples between validations{_default('validate_every')}")
    parser.add_argument(
        "--tensorboard", action=argparse.BooleanOptionalAction, default=None,
        help="write figures for TensorBoard, too (extra: tensorboard), into the folder tensorboard of the run's "
        "(default: no)",
    )  # fmt: skip
    parser.add_argument(
        "--export",
        type=Path,
        metavar="MODEL.safetensors",
        help="do not train: write the model that the run has come to, and a card that describes it beside it",
    )
    parser.add_argument("--name", help="of the model exported; that of its file where it is not given")


def _default(name: str) -> str:
    """Return how the help ends for an option whose value, not given, is that of a new configuration."""
    return f" (default: {getattr(TrainingConfig, name)})"


def run(args: argparse.Namespace) -> int:
    """Train, or export, as the parsed options say; return the exit status.

    Raises
    ------
    InputError
        If options or sources cannot be used.
    """
    if args.export is not None:
        card = export(args.run_folder, args.export, args.name)
        left = "" if card.name == CARD else f"; the {CARD} there is none of this model, and was left as it is"
        sys.stdout.write(f"{args.export} and {card} written{left}\n")
        return 0
    if args.name is not None:
        raise InputError("--name is that of a model that --export writes")
    with told_on(sys.stderr):
        train(configured(args))
    return 0


def configured(args: argparse.Namespace) -> TrainingConfig:
    """Return the configuration: that of the run folder's run, if there is one, with the options given here."""
    options = {name: getattr(args, name) for name in _OPTIONS}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if given.get("init") == "none":
        given["init"] = None
    given["run_folder"] = str(args.run_folder)
    if args.source:
        given["sources"] = tuple(source_spec(text) for text in args.source)
    if has_checkpoint(args.run_folder):
        begun = TrainingConfig.load(args.run_folder)
        for name in _BEGUN_WITH & given.keys():
            if given[name] != getattr(begun, name):
                raise InputError(
                    f"the run in {args.run_folder} was begun with {name} {getattr(begun, name)}, not {given[name]}: "
                    "leave that out, or begin a run in another folder"
                )
        return dataclasses.replace(begun, **given)
    return TrainingConfig(**({"sources": ()} | given))


def source_spec(text: str) -> SourceSpec:
    """Return the source written as ``path`` or ``path=weight``.

    Raises
    ------
    InputError
        If the weight is no number above 0.
    """
    path, _, weight = text.partition("=")
    try:
        share = float(weight or 1)
    except ValueError as error:
        raise InputError(f"--source takes PATH or PATH=WEIGHT, not {text!r}") from error
    return SourceSpec(path, share)
