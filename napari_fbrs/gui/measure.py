"""How many clicks the objects of a Labels layer would take: what is measured, and how it is told."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from napari.layers import Image, Labels

from napari_fbrs.errors import CancelledError, InputError
from napari_fbrs.evaluation.arrays import MIN_AREA, LabelledArray
from napari_fbrs.evaluation.noc import evaluate, summary
from napari_fbrs.evaluation.objects import Truth, sample_objects
from napari_fbrs.evaluation.simulation import MAX_CLICKS, Run
from napari_fbrs.evaluation.subjects import Predicting, Predicts
from napari_fbrs.gui.picture import image_shape, level_0, shown_limits

Cancelled = Callable[[], bool]

OBJECTS = 20
_APART = 0.5  # pixels by which two layers that show the same place may differ
_COUNTS = (1, 2, 3, 5)  # clicks after which the IoU is told


@dataclass(frozen=True)
class Measured:
    """What came out so far.

    Parameters
    ----------
    runs : tuple of Run
        One an object.
    total : int
        Objects there will be.
    clicks : int
        Most clicks on an object.
    """

    runs: tuple[Run, ...]
    total: int
    clicks: int

    def with_run(self, run: Run) -> Measured:
        """Return what there is with one more object; one without a click had been erased meanwhile."""
        if not run.clicks:
            return replace(self, total=self.total - 1)
        return replace(self, runs=(*self.runs, run))

    def figures(self) -> dict[str, str]:
        """Return what is told of the runs, by name; empty where there is none."""
        if not self.runs:
            return {}
        values = summary(self.runs, self.clicks)
        told = {name: f"{values[name]:.2f}" for name in values if name.startswith("NoC")}
        for target in ("85", "90"):
            missed = values[f"failed@{target}"]
            told[f"Not 0.{target} in {_clicks(self.clicks)}"] = f"{missed:.0f} of {len(self.runs)}"
        for count in _COUNTS:
            if f"IoU after {count}" in values:
                told[f"IoU after {_clicks(count)}"] = f"{values[f'IoU after {count}']:.2f}"
        return told | {"ms a click": f"{values['ms a click']:.0f}"}


class LayerObjects(LabelledArray):
    """An image layer and the objects of a Labels layer; neither is changed.

    Parameters
    ----------
    image : Image
        2D or a stack, seen as it is displayed: the contrast limits decide.
    labels : Labels
        Covers the same pixels.

    Raises
    ------
    InputError
        If the layers do not fit each other.
    """

    def __init__(self, image: Image, labels: Labels) -> None:
        check_same_place(image, labels)
        super().__init__(level_0(image), level_0(labels), labels.name, rgb=image.rgb, limits=shown_limits(image))
        self.cancelled: Cancelled = lambda: False  # asked at every plane that is read

    def labels(self, image: int) -> Truth:
        """Return the labels of a plane, shape (H, W)."""
        if self.cancelled():
            raise CancelledError("measuring was called off")
        return super().labels(image)


@dataclass(frozen=True)
class Amount:
    """How much is measured.

    Parameters
    ----------
    objects : int, optional
        How many; which of them, a seed decides.
    min_area : int, optional
        Smallest object, in pixels of a plane.
    clicks : int, optional
        Most clicks on an object.
    """

    objects: int = OBJECTS
    min_area: int = MIN_AREA
    clicks: int = MAX_CLICKS


def measure(
    dataset: LayerObjects,
    amount: Amount,
    predictor: Predicts,
    progressed: Callable[[Measured], None],
    cancelled: Cancelled = lambda: False,
) -> Measured:
    """Let a simulated user click on some objects of a Labels layer.

    Parameters
    ----------
    dataset : LayerObjects
        Image and objects.
    amount : Amount
        How much of it.
    predictor : Predictor
        Makes the masks.
    progressed : callable
        Called with what there is at the start and after each object.
    cancelled : callable, optional
        When it answers True, the work stops with a `CancelledError`.

    Raises
    ------
    InputError
        If there is no object that is large enough.
    CancelledError
        If `cancelled` said so.
    """
    dataset.cancelled = cancelled
    try:
        samples = sample_objects(dataset, amount.objects, amount.min_area, spread=True)
    except InputError as error:
        raise InputError(
            f"the Labels layer {dataset.name!r} has no object of at least {amount.min_area} pixels in a plane: "
            "choose another layer, or take smaller objects too"
        ) from error
    measured = Measured((), len(samples), amount.clicks)
    progressed(measured)
    for run in evaluate(Predicting(predictor, cancelled=cancelled), dataset, samples, amount.clicks):
        measured = measured.with_run(run)
        progressed(measured)
    return measured


def check_same_place(image: Image, labels: Labels) -> None:
    """Raise `InputError` unless each pixel of a Labels layer lies on the pixel of the same index of an image."""
    names = f"the Labels layer {labels.name!r} and the image {image.name!r}"
    shapes = image_shape(labels), image_shape(image)
    if shapes[0] != shapes[1]:
        raise InputError(f"{names} have the shapes {shapes[0]} and {shapes[1]}: choose two that cover the same pixels")
    for corner in itertools.product(*((0, extent - 1) for extent in shapes[0])):
        if np.abs(image.world_to_data(labels.data_to_world(corner)) - corner).max() > _APART:
            raise InputError(
                f"{names} do not lie on each other (scale, translation, rotation, shear or affine differ): choose two "
                "that cover the same pixels"
            )


def _clicks(count: int) -> str:
    return f"{count} click{'' if count == 1 else 's'}"
