"""Prints what a model of one's own is worth: ``python docs/measure_fine_tuning.py DATA.zip``.

Of the images of a zip of `images` and `labels`, every third one, by name, up to a number, is for
`napari-fbrs train --fine-tune`; on all others the bundled model and the tuned one are measured.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

COMMAND = (sys.executable, "-c", "from napari_fbrs.cli import main; main()")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="zip of images/ and labels/")
    parser.add_argument("--images", type=int, default=20, help="to train on (default: 20)")
    parser.add_argument("--samples", type=int, default=1200, help="crops to train on (default: 1200)")
    parser.add_argument("--limit", type=int, default=50, help="objects to measure on (default: 50)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        split(args.data, folder, args.images)
        measure = ("evaluate", folder / "held", "--part", "all", "--limit", args.limit)
        call(*measure)
        run = folder / "run"
        call("train", run, "--source", folder / "train", "--fine-tune", "--samples", args.samples)
        call("train", run, "--export", folder / "tuned.safetensors")
        call(*measure, "--model", folder / "tuned.safetensors")


def split(data: Path, folder: Path, count: int) -> None:
    """Lay images and labels into the folders `train` and `held`."""
    shutil.unpack_archive(data, folder / "all")
    images = sorted((folder / "all" / "images").iterdir())
    chosen = {path.stem for path in images[::3][:count]}
    for part in ("images", "labels"):
        for path in (folder / "all" / part).iterdir():
            target = folder / ("train" if path.stem in chosen else "held") / part
            target.mkdir(parents=True, exist_ok=True)
            path.rename(target / path.name)


def call(*arguments: object) -> None:
    """Call the command line."""
    subprocess.run([*COMMAND, *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
