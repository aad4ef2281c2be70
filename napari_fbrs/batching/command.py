"""``napari-fbrs batch``: its options, and what it does."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from napari_fbrs.annotation.command import add_prediction_arguments, intensity, probability, whole_number
from napari_fbrs.batching.cluster import LOCAL
from napari_fbrs.batching.running import batch
from napari_fbrs.batching.seeds import KINDS
from napari_fbrs.export.formats import FORMATS
from napari_fbrs.export.options import VALUES
from napari_fbrs.processes import available_processors
from napari_fbrs.progress import Progress

SOME_FAILED = 1  # exit code
_count = whole_number(1)
DESCRIPTION = "Segment the objects of many images from clicks. Repeat the command to go on where it was stopped."
EPILOG = f"""\
INPUT is any number of
  images       PNG, JPEG, TIFF or OME-TIFF; zarr arrays and OME-Zarr images, which are read plane by plane
  folders      all images in them
  patterns     'plates/**/*.tif', in quotes; results lie in folders as the images do
  records      NAME.clicks.json, whose masks are computed again
  tables       CSV with the columns image and, if wanted, clicks, labels, output; paths are relative to the table
  clicks       CSV of clicks on several images: image,object,row,column,positive[,plane][,stroke]; paths likewise

Clicks of NAME.tif are looked for beside it, or in the folder, or the CSV with a column image, that --clicks names:
  NAME.clicks.json                      a click record
  NAME.clicks.csv, NAME.csv             clicks: object,row,column,positive[,plane][,stroke]
                                        or points as napari saves them: index,axis-0,axis-1,...
  NAME_positive.csv, NAME_negative.csv  points as napari saves them, one file for each sign, or the first alone
In that folder, and for {{name}}, plates/p1/A.tif of 'plates/**/*.tif' is called p1/A, else A; nothing is shared by two.
Of points, columns positive (1 or 0) and object count, if there are such. Without positive, points are negative in a
file whose name ends in negative, else positive; without object, each positive point is an object of its own, and
negative ones belong to the nearest.

OUT holds the results, called as the images are, and manifest.jsonl, which says what was done, from what, with what.
Repeated, the command does what has failed and what has changed. Files are replaced if the manifest knows them, and only
if nobody has changed them, or with --overwrite. OUT may lie among the images, or be their folder: results are not taken
for images. One that fails stops no others: exit code {SOME_FAILED} then.

examples:
  napari-fbrs batch images -o masks --format masks             images/NAME.tif with images/NAME.csv
  napari-fbrs batch 'plates/**/*.tif' --clicks 'clicks/{{name}}.csv' -o labels --jobs 4
  napari-fbrs batch images --seeds centroids --labels cellpose -o corrected
  napari-fbrs batch images --seeds distance --diameter 30 -o labels
  napari-fbrs batch table.csv -o labels --scheduler tcp://node:8786
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="images; see below")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the results")
    parser.add_argument("--overwrite", action="store_true", help="replace what is in the way in OUT")
    _add_clicks(parser.add_argument_group("clicks"))
    _add_results(parser.add_argument_group("results"))
    _add_prediction(parser.add_argument_group("prediction"))
    _add_work(parser.add_argument_group("work"))


def _add_clicks(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--clicks", metavar="WHERE", help="folder, path with {name} for what an image is called, "
                       "or CSV with a column image")  # fmt: skip
    group.add_argument("--seeds", choices=KINDS, help="click on what can be guessed at in images without clicks: the "
                       "middle of each object of a label image; maxima of the smoothed image; or of the distance to "
                       "the background, which takes touching objects apart")  # fmt: skip
    group.add_argument("--labels", metavar="WHERE", help="label images for --seeds centroids, as --clicks")
    group.add_argument("--diameter", type=float, metavar="PIXELS", help="of objects, about, for the other seeds")
    group.add_argument("--dark", action="store_true", help="objects are darker than what is around them, for seeds")


def _add_results(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--format", choices=FORMATS, default="tiff", metavar="F", help="as of `napari-fbrs export`: "
                       f"{', '.join(FORMATS)} (default: tiff)")  # fmt: skip
    group.add_argument("--value", type=int, choices=VALUES, help="what masks hold on the object")
    group.add_argument("--margin", type=int, metavar="PIXELS", help="cut masks to their objects and so much around")
    group.add_argument("--names", metavar="PATTERN", help="names of files in a folder; see `napari-fbrs export`")
    group.add_argument("--records", action="store_true", help="write a click record of each image, too")


def _add_prediction(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--threshold", type=probability, default=0.5, metavar="T", help="probability from which on a "
                       "pixel belongs to an object (default: 0.5)")  # fmt: skip
    group.add_argument("--contrast-limits", type=intensity, nargs=2, metavar=("LO", "HI"), help="intensities seen as "
                       "black and white in grey images (default: of each image its own)")  # fmt: skip
    add_prediction_arguments(group)
    group.add_argument("--anyway", action="store_true", help="replay click records with another model or image too")


def _add_work(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--jobs", type=_count, metavar="N", help="processes, of about 1 GB each (default: half as many "
                       "as there are processors, 1 on a GPU)")  # fmt: skip
    group.add_argument("--threads", type=_count, default=1, metavar="N", help="of each on a CPU; the last bits of a "
                       "prediction depend on it (default: 1)")  # fmt: skip
    group.add_argument("--scheduler", metavar="ADDRESS", help="of a dask cluster whose workers see the same files, "
                       f"such as tcp://node:8786; {LOCAL}: one of --jobs workers here")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Do a batch, and return the exit code."""
    options = {key: value for key, value in vars(args).items() if key not in ("run", "inputs", "output")}
    options["jobs"] = args.jobs or usual_jobs(args.device)
    bar: list[Progress] = []

    def progress(_done: int, total: int, wrong: str | None) -> None:
        if not bar:
            bar.append(Progress(total, "images", logged=True))
        if wrong:
            bar[0].say(f"failed: {wrong}")
        bar[0].step()

    done = batch(args.inputs, args.output, apart=True, progress=progress, **options)
    sys.stdout.writelines(f"{line}\n" for line in done.report())
    return SOME_FAILED if done.failed else 0


def usual_jobs(device: str) -> int:
    """Return how many processes a batch takes on a device where nothing is said."""
    from napari_fbrs.models.zoo import choose_device

    return max(1, available_processors() // 2) if choose_device(device).type == "cpu" else 1
