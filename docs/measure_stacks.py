"""Prints what starting from masks, and carrying objects through a stack, is worth.

``python docs/measure_stacks.py corrections SET.zip [SET.zip ...]`` and
``python docs/measure_stacks.py slices [STACK.zip]``, where a stack is a zip whose images, by name, are the slices
(without one: the generated nuclei).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from napari_fbrs import Predictor, load_model
from napari_fbrs.evaluation.carrying import carried, clicks_to_correct, followed
from napari_fbrs.evaluation.corrections import corrections
from napari_fbrs.evaluation.datasets import Source
from napari_fbrs.evaluation.layouts import find_layout
from napari_fbrs.evaluation.measuring import DataSpec
from napari_fbrs.evaluation.objects import sample_objects
from napari_fbrs.evaluation.simulation import MAX_CLICKS
from napari_fbrs.samples import generate_nuclei

_MIN_AREA = 250


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["corrections", "slices"])
    parser.add_argument("data", type=Path, nargs="*")
    parser.add_argument("--limit", type=int, default=10, help="objects (default: 10)")
    parser.add_argument("--slices", type=int, default=5, help="how far objects are carried (default: 5)")
    args = parser.parse_args()
    predictor = Predictor(load_model("default", "cpu"))
    if args.what == "corrections":
        for path in args.data:
            measure_corrections(predictor, path, args.limit)
    else:
        measure_slices(predictor, args.data[0] if args.data else None, args.limit, args.slices)


def measure_corrections(predictor: Predictor, path: Path, limit: int) -> None:
    """Print mean clicks from masks with planted errors, and from nothing, on validation images."""
    dataset = DataSpec(path, find_layout(path), "validation").open()
    done = list(corrections(predictor, dataset, sample_objects(dataset, limit, spread=True)))
    reached = [c for c in done if min(c.corrected, c.anew) < MAX_CLICKS]
    print(f"{path.stem}: {len(done)} objects, IoU of the masks {np.mean([c.start for c in done]):.2f}; clicks to 0.9:")
    for what, some in (("all", done), ("those that get there either way", reached)):
        from_mask, anew = (float(np.mean([getattr(c, name) for c in some])) for name in ("corrected", "anew"))
        print(f"    {what} ({len(some)}): {from_mask:.2f} from them, {anew:.2f} from nothing, {from_mask / anew:.2f}")


def measure_slices(predictor: Predictor, path: Path | None, limit: int, slices: int) -> None:
    """Print mean IoU by slice, with and without carried variables."""
    if path is None:
        image, labels = generate_nuclei()
    else:
        source = Source(path, validation=None)
        image, labels = (np.stack(part) for part in zip(*((p.image[..., 0], p.labels) for p in source), strict=True))
    rng = np.random.default_rng(0)
    places = [
        (z, label)
        for z in range(len(image) - slices)
        for label, area in zip(*np.unique(labels[z], return_counts=True), strict=True)
        if label and area >= _MIN_AREA
    ]
    truths = ((z, followed(labels, z, n, slices, by_overlap=path is not None)) for z, n in rng.permutation(places))
    several = [(z, truth) for z, truth in truths if len(truth) > 2][:limit]
    runs = [list(carried(predictor, image, truth, z, slices=slices)) for z, truth in several]
    for name, which in (("with scales and biases", 0), ("without", 1)):
        by_slice = [[run[which].ious[i] for run in runs if i < len(run[which].ious)] for i in range(slices)]
        ious = ", ".join(f"{np.mean(values):.2f}" for values in by_slice if values)
        beyond = np.mean([run[which].beyond for run in runs])
        print(f"{name}: mean IoU {ious} after 1, 2, ... slices; {beyond:.1f} slices beyond the end")
    counts = np.array([pair for z, truth in several for pair in clicks_to_correct(predictor, image, truth, z)])
    carried_to, anew = counts.mean(axis=0)
    print(f"clicks a slice to IoU 0.9, 8 at most: {carried_to:.2f} where carried to, {anew:.2f} from nothing")


if __name__ == "__main__":
    main()
