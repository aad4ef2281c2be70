"""How good masks are that were carried from slice to slice, with and without the scales and biases of f-BRS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fbrs.annotation.propagation import Propagation, write
from napari_fbrs.annotation.session import Session
from napari_fbrs.clicks import Click
from napari_fbrs.evaluation.simulation import TARGET, Mask, iou, next_click
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.predictor import Predictor

_CLICKS = 8  # on a slice, at most
_SAME = 0.3  # IoU of two slices of one object at least, where labels are numbered slice by slice

Labels = npt.NDArray[np.int_]


@dataclass(frozen=True)
class Carried:
    """An object carried forward.

    Parameters
    ----------
    first : float
        IoU on the slice that was clicked.
    ious : tuple of float
        On each further slice of the object; 0 where it was given up too early.
    beyond : int
        Slices written after the object had ended.
    """

    first: float
    ious: tuple[float, ...]
    beyond: int


def followed(labels: Labels, at: int, label: int, slices: int, *, by_overlap: bool) -> list[Mask]:
    """Return the masks of an object on a slice and on those after it, up to where it ends.

    Parameters
    ----------
    labels : ndarray of int, shape (Z, H, W)
        0 off all objects.
    at, label : int
        Slice and label it starts from.
    slices : int
        Most slices after the first.
    by_overlap : bool
        Whether labels are numbered anew on every slice: then what overlaps most is the same object.
    """
    masks = [labels[at] == label]
    for plane in labels[at + 1 : at + 1 + slices]:
        mask = _most_like(plane, masks[-1]) if by_overlap else plane == label
        if not mask.any():
            break
        masks.append(mask)
    return masks


def carried(
    predictor: Predictor, image: npt.NDArray[Any], truth: list[Mask], at: int, *, slices: int
) -> Iterator[Carried]:
    """Yield what becomes of an object that is clicked on one slice and carried forward: with variables, without.

    Parameters
    ----------
    predictor : Predictor
        Computes masks.
    image : ndarray, shape (Z, H, W)
        The stack.
    truth : list of ndarray of bool
        From `followed`.
    at : int
        The first slice.
    slices : int
        How many slices to carry it over at most.
    """
    session = Session(image, predictor)
    whole = Crop.whole((image.shape[1], image.shape[2]))
    _, first = _refined(session, truth[0], at)
    for carry in (True, False):
        propagation = Propagation(session, session.place((at,)), 0, carry=carry)
        found = [one.mask.within(whole) for one in propagation.run(propagation.targets(1)[:slices])]
        ious = [iou(mask.astype(int), found[i]) if i < len(found) else 0.0 for i, mask in enumerate(truth[1:])]
        yield Carried(first, tuple(ious), max(0, len(found) - len(ious)))


def clicks_to_correct(
    predictor: Predictor, image: npt.NDArray[Any], truth: list[Mask], at: int
) -> list[tuple[int, int]]:
    """Return, for each slice after the first, clicks to an IoU of 0.9 where an object was carried to, and from nothing.

    Parameters
    ----------
    predictor, image, truth, at
        See `carried`.
    """
    session, anew = Session(image, predictor), Session(image, predictor)
    _refined(session, truth[0], at)
    propagation = Propagation(session, session.place((at,)), 0)
    write(session, list(propagation.run(propagation.targets(1)[: len(truth) - 1])))
    return [
        (_refined(session, mask, at + i)[0], _refined(anew, mask, at + i)[0]) for i, mask in enumerate(truth[1:], 1)
    ]


def _refined(session: Session, truth: Mask, at: int) -> tuple[int, float]:
    """Click on an object until its mask is good; return how many clicks that took, and its IoU."""
    clicks: list[Click] = []
    mask: Mask = session.labels.read((at,)) == session.object
    while iou(truth.astype(int), mask) < TARGET and len(clicks) < _CLICKS:
        click = next_click(truth.astype(int), mask, clicks)
        if click is None:
            break
        clicks.append(click)
        session.click(click, position=(at,))
        mask = session.labels.read((at,)) == session.object
    return len(clicks), iou(truth.astype(int), mask)


def _most_like(plane: Labels, mask: Mask) -> Mask:
    labels, counts = np.unique(plane[mask], return_counts=True)
    counts = np.where(labels == 0, 0, counts)
    same: Mask = (plane == labels[counts.argmax()]) & bool(counts.max())
    return same if iou(mask.astype(int), same) >= _SAME else np.zeros_like(mask)
