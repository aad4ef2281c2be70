"""``napari-fbrs segment`` and ``napari-fbrs replay``: their options, and what they do."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

_SEGMENT_EXAMPLES = """\
The clicks are a CSV file with the columns object,row,column,positive and, for a stack, plane:

  object,row,column,positive,plane
  1,52.5,118,1,3        on object 1, in plane 3
  1,60,131,0,3          off it: this place does not belong to it
  2,17,40,1,4

Rows are used in order, one click at a time. Objects are whole numbers from 1: the labels written. Rows and columns
count from 0 at the centre of the first pixel; planes count from 0, and are joined by semicolons (2;3) where there is
more than one leading axis. A column "stroke" holds the pixels of a freehand stroke, if the row stands for one:
12:30-41 13:29-42 are columns 30 to 41 of row 12 and 29 to 42 of row 13. A pixel belongs to the object that took it
first.

examples:
  napari-fbrs segment photo.jpg --clicks clicks.csv -o labels.png
  napari-fbrs segment stack.tif --clicks clicks.csv -o labels.tif --contrast-limits 100 900 --device cuda
"""


def add_segment_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``segment`` to a parser."""
    parser.description = "Segment the objects of an image from recorded clicks and write them as a label image."
    parser.epilog = _SEGMENT_EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("image", type=Path, metavar="IMAGE", help="PNG, JPEG, TIFF or zarr array; may be a stack")
    parser.add_argument("--clicks", type=Path, required=True, metavar="CLICKS.csv", help="the clicks; see below; "
                        "or points saved from napari")  # fmt: skip
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="labels: .tif, or .png in 2D up to 65535"
    )
    parser.add_argument("--record", type=Path, metavar="RECORD", help="write a click record as well: NAME.clicks.json, "
                        "for replay and for the window")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace OUT, and RECORD, if they are there")
    parser.add_argument(
        "--threshold", type=probability, default=0.5, metavar="T", help="probability from which on a pixel "
        "belongs to an object (default: 0.5)",
    )  # fmt: skip
    parser.add_argument(
        "--contrast-limits", type=intensity, nargs=2, metavar=("LO", "HI"),
        help="intensities seen as black and white in a grey image (default: 0 to 255 for 8 bits, else the smallest "
        "and largest of the whole image)",
    )  # fmt: skip
    add_prediction_arguments(parser)


def add_prediction_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add what decides what a mask is predicted by."""
    parser.add_argument(
        "--model", default="default", metavar="NAME", help="name from `napari-fbrs models`, or a file's path"
    )
    parser.add_argument(
        "--mode", default="f-BRS-B", metavar="MODE",
        help="f-BRS-B (default), f-BRS-A, f-BRS-C: where the network is corrected until it agrees with the clicks; "
        "RGB-BRS, DistMap-BRS: its input is; NoBRS: nothing is",
    )  # fmt: skip
    parser.add_argument(
        "--device", default="auto", metavar="DEV", help="auto (default: a GPU if there is one), cpu, cuda, cuda:1, mps"
    )


def probability(text: str) -> float:
    """Return a number from 0 to below 1, of an option."""
    value = intensity(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 1, found {text}")
    return value


def intensity(text: str) -> float:
    """Return a finite number, of an option."""
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a number, found {text!r}") from error
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, found {text}")
    return value


def whole_number(least: int) -> Callable[[str], int]:
    """Return what reads a whole number, from `least` on, of an option."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least}, found {text!r}")
        return int(text)

    return read


def run_segment(args: argparse.Namespace) -> int:
    """Segment, and return the exit code."""
    from napari_fbrs.annotation.segmenting import segment

    segment(
        args.image,
        args.clicks,
        output=args.output,
        record=args.record,
        overwrite=args.overwrite,
        threshold=args.threshold,
        contrast_limits=args.contrast_limits,
        model=args.model,
        mode=args.mode,
        device=args.device,
        progress=_say,
    )
    _say(f"labels written to {args.output}")
    if args.record:
        _say(f"click record written to {args.record}")
    return 0


def add_replay_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``replay`` to a parser."""
    parser.description = (
        "Compute the masks of a click record again, each by the model that computed it, and write them as a label "
        "image: the same pixels, on the same machine."
    )
    parser.epilog = (
        "Click records are written from the window (Export, with a click record beside it) and by segment --record. "
        "Elsewhere, or with other versions of torch, a few pixels of a mask may come out otherwise: this is said for "
        "each such object."
    )
    parser.add_argument("record", type=Path, metavar="RECORD", help="NAME.clicks.json")
    parser.add_argument(
        "--image", type=Path, metavar="PATH", help="the image (default: where the record says it lay, or beside it)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="labels: .tif, or .png in 2D up to 65535"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    parser.add_argument(
        "--model", metavar="NAME", help="name or file of the model (default: found by its SHA-256 among those here)"
    )
    parser.add_argument(
        "--device", metavar="DEV", help="auto, cpu, cuda, cuda:1, mps (default: the one recorded, if it is here)"
    )
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="go on with another model, or an image of the same shape with other pixels",
    )


def run_replay(args: argparse.Namespace) -> int:
    """Replay, and return the exit code."""
    from napari_fbrs.annotation.replaying import replay

    replayed = replay(
        args.record,
        args.image,
        output=args.output,
        overwrite=args.overwrite,
        model=args.model,
        device=args.device,
        anyway=args.anyway,
        progress=_tell_masks if sys.stderr.isatty() else None,
    )
    for line in replayed.report():
        _say(line)
    _say(f"labels written to {args.output}")
    return 0


def _tell_masks(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    sys.stderr.write(f"\rmask {done} of {total}{end}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
