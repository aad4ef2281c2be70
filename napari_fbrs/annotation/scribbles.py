"""From a painted label image to strokes: 1 lies on the object, 2 off it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.annotation.labels import LabelChange
from napari_fbrs.annotation.reconcile import Edit
from napari_fbrs.clicks import ClickList
from napari_fbrs.errors import InputError
from napari_fbrs.strokes import Stroke

VALUES = ((True, 1), (False, 2))  # sign, and how it is painted
_TOUCHING = np.ones((3, 3), dtype=int)

_Pixels = npt.NDArray[np.int64]


def value_of(stroke: Stroke) -> int:
    """Return what a stroke is painted as."""
    return dict(VALUES)[stroke.positive]


def repainted(
    known: Mapping[PlaneIndex, ClickList], change: LabelChange, axes: tuple[int, int]
) -> dict[PlaneIndex, Edit]:
    """Return what painting has done to the clicks of an object.

    What is painted at once, on one plane and of one sign, is a stroke. Painting over a stroke, or erasing it, takes the
    pixels from it; clicks that are points stay as they are.

    Parameters
    ----------
    known : mapping of PlaneIndex to ClickList
        The object's clicks by plane; planes are resolved.
    change : LabelChange
        Pixels of the painted image.
    axes : tuple of int
        Axes displayed: planes of new strokes.

    Returns
    -------
    dict of PlaneIndex to Edit
        Only the planes on which something has happened.
    """
    places = np.stack([np.asarray(axis, dtype=np.int64) for axis in change.indices], axis=1)
    painted = np.isin(change.after, [value for _, value in VALUES])
    others = [axis for axis in range(places.shape[1]) if axis not in axes]
    new = [PlaneIndex(tuple(at), axes) for at in np.unique(places[painted][:, others], axis=0).tolist()]
    edits = {}
    for plane in dict.fromkeys((*known, *new)):
        on = _on_plane(places, plane)
        clicks = known.get(plane, ClickList())
        pixels, values = places[on][:, plane.axes], change.after[on]
        edit = Edit(_left(clicks, pixels, values), _strokes(pixels, values) if plane.axes == axes else ())
        if edit.added or edit.kept != clicks:
            edits[plane] = edit
    return edits


def strokes_of(labels: npt.NDArray[np.integer]) -> list[Stroke]:
    """Return the strokes of a plane that was painted before: what is connected and of one sign.

    Parameters
    ----------
    labels : ndarray of int, shape (H, W)
        1 on the object, 2 off it, 0 elsewhere.

    Raises
    ------
    InputError
        If it holds anything else.
    """
    if labels.min(initial=0) < 0 or labels.max(initial=0) > len(VALUES):
        raise InputError(
            f"strokes are painted as 1 (on the object) and 2 (off it), found {labels.min()} to {labels.max()}: "
            "choose another layer"
        )
    strokes = []
    for positive, value in VALUES:
        parts, _ = ndimage.label(labels == value, _TOUCHING)
        for index, around in enumerate(ndimage.find_objects(parts), 1):
            corner = [axis.start for axis in around]
            strokes.append(Stroke.of(np.argwhere(parts[around] == index) + corner, positive=positive))
    return strokes


def _on_plane(places: _Pixels, plane: PlaneIndex) -> npt.NDArray[np.bool_]:
    others = [axis for axis in range(places.shape[1]) if axis not in plane.axes]
    on: npt.NDArray[np.bool_] = (places[:, others] == plane.position).all(axis=1)
    return on


def _strokes(pixels: _Pixels, values: npt.NDArray[np.integer]) -> tuple[Stroke, ...]:
    return tuple(
        Stroke.of(pixels[values == value], positive=positive) for positive, value in VALUES if (values == value).any()
    )


def _left(clicks: ClickList, pixels: _Pixels, values: npt.NDArray[np.integer]) -> ClickList:
    """Return clicks without what was painted over of their strokes."""
    gone = []
    for index, click in enumerate(clicks):
        if isinstance(click, Stroke):
            left = _without(click.pixels, pixels[values != value_of(click)])
            if not len(left):
                gone.append(index)
            elif len(left) < len(click.pixels):
                clicks = clicks.replaced(index, Stroke.of(left, positive=click.positive))
    return clicks.removed(gone)


def _without(pixels: _Pixels, others: _Pixels) -> _Pixels:
    if not len(others):
        return pixels
    width = max(pixels[:, 1].max(), others[:, 1].max()) + 1
    return pixels[~np.isin(pixels @ (width, 1), others @ (width, 1))]
