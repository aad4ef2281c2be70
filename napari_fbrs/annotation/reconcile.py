"""From points on a canvas back to the clicks they stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.strokes import Stroke

Pixel = tuple[int, ...]


@dataclass(frozen=True)
class Point:
    """A point of a Points layer.

    Parameters
    ----------
    pixel : tuple of int
        Index into the nD image.
    positive : bool
        Whether its layer holds positive clicks.
    """

    pixel: Pixel
    positive: bool


def point_of(plane: PlaneIndex, click: Click) -> Point:
    """Return the point that shows a click; the plane must be resolved."""
    return Point(plane.select(*click.pixel), click.positive)


def click_of(point: Point, axes: tuple[int, int]) -> tuple[PlaneIndex, Click]:
    """Return the plane with these axes through a point, and the click on it."""
    position = tuple(at for axis, at in enumerate(point.pixel) if axis not in axes)
    return PlaneIndex(position, axes), Click(point.pixel[axes[0]], point.pixel[axes[1]], point.positive)


@dataclass(frozen=True)
class Edit:
    """What has happened to the clicks of one plane.

    Parameters
    ----------
    kept : ClickList
        The clicks that were there before, moved ones at their new place, removed ones gone.
    added : tuple of Click
        New ones.
    """

    kept: ClickList
    added: tuple[Click, ...] = ()


def reconcile(
    clicks: Mapping[PlaneIndex, ClickList], points: Sequence[Point], axes: tuple[int, int]
) -> dict[PlaneIndex, Edit]:
    """Return what has happened to an object's clicks, given the points that are there now.

    Works from positions alone, so that it does not matter how points were changed: by the mouse, pasted, or by a
    script. A click whose point is still there is kept. Clicks without a point and points without a click, if there are
    as many on one plane and of one sign, are taken for moves, in order.

    Parameters
    ----------
    clicks : mapping of PlaneIndex to ClickList
        The object's clicks by plane; planes are resolved.
    points : sequence of Point
        All points of the object, each sign in the order of its layer.
    axes : tuple of int
        Axes displayed now: planes of new points.

    Returns
    -------
    dict of PlaneIndex to Edit
        Only the planes on which something has happened.
    """
    free = Counter(points)
    lost: dict[PlaneIndex, list[int]] = {}
    for plane, known in clicks.items():
        for index, click in enumerate(known):
            if isinstance(click, Stroke):  # has no point, and is not touched by what happens to points
                continue
            point = point_of(plane, click)
            if free[point]:
                free[point] -= 1
            else:
                lost.setdefault(plane, []).append(index)
    new: dict[PlaneIndex, list[Click]] = {}
    for point in points:
        if free[point]:
            free[point] -= 1
            plane, click = click_of(point, axes)
            new.setdefault(plane, []).append(click)
    return {
        plane: _edit(clicks.get(plane, ClickList()), lost.get(plane, []), new.get(plane, []))
        for plane in {**lost, **new}
    }


def _edit(known: ClickList, lost: Sequence[int], new: Sequence[Click]) -> Edit:
    removed: list[int] = []
    added: list[Click] = []
    for sign in (True, False):
        gone = [index for index in lost if known[index].positive is sign]
        come = [click for click in new if click.positive is sign]
        if len(gone) == len(come):
            for index, click in zip(gone, come, strict=True):
                known = known.replaced(index, click)
        else:
            removed += gone
            added += come
    return Edit(known.removed(removed), tuple(added))
