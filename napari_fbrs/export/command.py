"""``napari-fbrs export``: from a label file to other formats, without a window."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

from napari_fbrs.annotation.output import check_not_read
from napari_fbrs.errors import InputError
from napari_fbrs.export.formats import FORMATS, find_format
from napari_fbrs.export.options import VALUES, Options
from napari_fbrs.export.reading import read_classes, read_intensities, read_label_image
from napari_fbrs.export.selection import Selection, parse_crop, parse_objects, parse_slices
from napari_fbrs.export.writing import Exported, export_labels, target_path

DESCRIPTION = "Write the objects of a label image for other programs: all objects of all slices, or those chosen."


def examples() -> str:
    """Return the table of formats, and examples, as the help shows them."""
    width = max(map(len, FORMATS))
    lines = [
        f"  {name:{width}}  {format_.title} {'[a folder]' if format_.folder else '/'.join(format_.suffixes)}"
        for name, format_ in FORMATS.items()
    ]
    return "\n".join(
        [
            "formats:",
            *lines,
            "",
            "examples:",
            "  napari-fbrs export labels.tif --format masks -o masks            a 0/255 PNG for each object and slice",
            "  napari-fbrs export labels.tif --format coco -o labels.json --classes classes.csv",
            "  napari-fbrs export labels.tif --format csv -o cells.csv --image stack.tif --slices 3:10",
            "  napari-fbrs export labels.tif --format masks -o set --names '{class}/{object}_{z}' --margin 8",
        ]
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument("labels", type=Path, metavar="LABELS", help="TIFF, PNG, NPY, or NPZ as written by export")
    parser.add_argument("--format", required=True, choices=FORMATS, metavar="F", help="one of those below")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="file, or folder, to write")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there; a folder only if it "
                        "holds nothing but an earlier export")  # fmt: skip
    what = parser.add_argument_group("what")
    what.add_argument("--objects", type=_parsed(parse_objects), metavar="1,4-9", help="these labels only")
    what.add_argument("--class", action="append", dest="chosen", metavar="NAME", help="objects of this class only; "
                      "may be given again for others")  # fmt: skip
    what.add_argument("--slices", type=_parsed(parse_slices), metavar="3:10", help="these slices only, counted from 0, "
                      "the end not among them; join leading axes by semicolons, as in '0;3:10'")  # fmt: skip
    what.add_argument("--crop", type=_parsed(parse_crop), metavar="R0:R1,C0:C1", help="this part of each slice only")
    known = parser.add_argument_group("what is known of the labels, where the file does not say")
    known.add_argument("--classes", type=Path, metavar="CSV", help="classes of objects: columns object,class")
    known.add_argument("--image", type=Path, metavar="IMAGE", help="grey image whose intensities csv measures")
    known.add_argument("--axes", metavar="TZYX", help="a letter for each axis")
    known.add_argument("--scale", type=_parsed(_size), nargs="+", metavar="SIZE", help="size of a pixel along each "
                       "axis")  # fmt: skip
    known.add_argument("--units", nargs="+", metavar="UNIT", help="unit of each axis, such as um; of all, if it is one")
    known.add_argument("--name", help="name of the image, for file names (default: that of the file)")
    how = parser.add_argument_group("how")
    how.add_argument("--value", type=int, choices=VALUES, help="what masks hold on the object (default: 255); for "
                     "slices: write masks instead of labels")  # fmt: skip
    how.add_argument("--margin", type=int, metavar="PIXELS", help="cut masks to their objects and so much around them")
    how.add_argument("--names", metavar="PATTERN", help="names of files in a folder, or of images in COCO: {name}, "
                     "{object}, {class}, {plane}, {z}, ..., and slashes for folders")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Export, and return the exit code."""
    image = read_label_image(
        args.labels,
        name=args.name,
        axes=args.axes or "",
        scale=args.scale or (),
        units=args.units or (),
        classes=read_classes(args.classes) if args.classes else {},
    )
    if args.image:
        image = read_intensities(image, args.image)
    inputs = [path for path in (args.labels, args.image, args.classes) if path]
    check_not_read(target_path(args.output, find_format(args.format)), inputs)
    rows, columns = args.crop or (None, None)
    selection = Selection(args.objects, args.chosen, args.slices, rows, columns)
    options = Options(args.value, args.margin, args.names)
    progress = _Bar() if sys.stderr.isatty() else None
    try:
        exported = export_labels(
            image, args.output, args.format, selection, options, overwrite=args.overwrite, progress=progress
        )
    finally:
        if progress is not None:
            progress.end()
    sys.stdout.write(f"{report(exported)}\n")
    return 0


def report(exported: Exported, *, short: bool = False) -> str:
    """Return in words what was written, and where: the whole path, or its last part."""
    objects, planes = exported.objects, exported.planes
    slices = "" if planes == 1 else f" of {planes} slices"
    where = exported.path.name if short else exported.path
    return f"{objects} object{'' if objects == 1 else 's'}{slices} written to {where}"


def _size(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if not 0 < size < math.inf:
        raise InputError(f"a pixel has a size that is finite and above 0, found {text!r}")
    return size


class _Bar:
    """Says on the standard error how much is done, in whole percents."""

    def __init__(self) -> None:
        self._percent = -1

    def __call__(self, done: int, total: int) -> None:
        percent = 100 * done // max(1, total)
        if percent != self._percent:
            self._percent = percent
            sys.stderr.write(f"\r{percent:3d} %")

    def end(self) -> None:
        """Go on to the next line."""
        if self._percent >= 0:
            sys.stderr.write("\r     \r")


def _parsed(parse: Callable[[str], object]) -> Callable[[str], object]:
    def parsed(text: str) -> object:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed
