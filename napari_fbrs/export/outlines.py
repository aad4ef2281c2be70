"""Outlines along the edges of pixels: polygons that hold exactly the pixels of an object, holes and islands too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import label as connected_components

Ring = npt.NDArray[np.int64]  # (corners, 2): row and column of corners of pixels, clockwise around the object

# Sides of a pixel in the order in which they are walked: top, right, bottom, left.
_STARTS = np.array([(0, 0), (0, 1), (1, 1), (1, 0)])  # the corner where each begins, from that of the pixel
_OUTWARD = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])  # the neighbour across each
_AHEAD = np.roll(_OUTWARD, -1, axis=0)  # the neighbour beyond the end of each


@dataclass(frozen=True, eq=False)
class Polygon:
    """A part of an object whose pixels hang together by their edges.

    Parameters
    ----------
    shell : ndarray of int, shape (corners, 2)
        Row and column of its corners; (0, 0) is the corner of the first pixel, not its centre. Not closed.
    holes : list of ndarray of int
        The same of its holes, the other way round.
    """

    shell: Ring
    holes: list[Ring] = field(default_factory=list)


def outlines(labels: npt.NDArray[np.integer[Any]]) -> dict[int, list[Polygon]]:
    """Return the polygons of each object on a plane.

    No polygon touches itself, and holes touch their shell and each other in single points at most, as OGC's simple
    features and GeoJSON want it.

    Parameters
    ----------
    labels : ndarray of int, shape (rows, columns)
        0 off the objects.

    Returns
    -------
    dict of int to list of Polygon
        By label. The objects are in no order.
    """
    polygons: dict[int, Polygon] = {}
    holes: list[tuple[int, Ring]] = []
    by_label: dict[int, list[Polygon]] = {}
    for ring in _rings(labels):
        if ring.area > 0:
            polygons[ring.part] = Polygon(ring.corners)
            by_label.setdefault(ring.label, []).append(polygons[ring.part])
        else:
            holes.append((ring.part, ring.corners))
    for part, corners in holes:
        polygons[part].holes.append(corners)
    return by_label


def without_holes(mask: npt.NDArray[np.bool_]) -> list[Ring]:
    """Return rings that together hold exactly the pixels of a mask, none of which has a hole.

    Objects with holes are cut along rows, each hole being cut into at least once.
    """
    bands = np.zeros(mask.shape[0], dtype=np.int64)
    bands[_cuts(mask)] = 1
    pieces = np.where(mask, np.cumsum(bands)[:, None] + 1, 0)
    return [polygon.shell for parts in outlines(pieces).values() for polygon in parts]


def _cuts(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Return rows before which to cut so that every hole is cut into: the fewest there can be."""
    # A pocket that is closed by two pixels touching at a corner counts as a hole: its ring would touch itself.
    around, count = ndimage.label(~np.pad(mask, 1))
    outside = around[0, 0]
    boxes = ndimage.find_objects(around, count)
    spans = [(box[0].stop - 1, box[0].start - 1) for number, box in enumerate(boxes, 1) if number != outside]
    cuts: list[int] = []
    for end, first in sorted(spans):  # rows first to end - 1 of the mask
        if not cuts or cuts[-1] < first:
            cuts.append(end)
    return cuts


@dataclass(frozen=True, eq=False)
class _Ring:
    """A ring, the part it belongs to, and twice its area: positive for a shell, negative for a hole."""

    part: int
    label: int
    area: int
    corners: Ring


def _rings(labels: npt.NDArray[np.integer[Any]]) -> Iterator[_Ring]:
    """Yield every ring of a plane. All rings are found together: there may be a hundred thousand small ones."""
    parts = np.pad(connected_components(labels, background=0, connectivity=1), 1)
    flat, width = parts.ravel(), parts.shape[1]
    stride = np.array((width, 1))
    steps = _OUTWARD @ stride, _AHEAD @ stride
    inside = np.flatnonzero(flat)
    if not len(inside):
        return
    edges = [inside[flat[inside + steps[0][side]] != flat[inside]] for side in range(4)]
    sides = np.repeat(np.arange(4), [len(pixels) for pixels in edges])
    pixels = np.concatenate(edges)
    order, ends = _cycles(_following(flat, pixels, sides, steps))
    starts = np.concatenate(([0], ends[:-1]))
    first = pixels[order[starts]]
    rows, columns = np.divmod(pixels[order], width)
    corners = np.stack((rows, columns), axis=1) + _STARTS[sides[order]] - 1

    before = _previous(sides[order], starts, ends)
    turns = sides[order] != before
    ends = np.cumsum(turns)[ends - 1]
    starts = np.concatenate(([0], ends[:-1]))
    corners = corners[turns]
    ring_parts, ring_labels = flat[first].tolist(), labels[tuple(np.array(np.divmod(first, width)) - 1)].tolist()
    touching = _touching(corners, starts, ends)
    areas = np.add.reduceat(_cross(_previous(corners, starts, ends), corners), starts).tolist()
    for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        ring, part, label = corners[start:end], ring_parts[number], ring_labels[number]
        if touching[number]:
            yield from (_Ring(part, label, _area(piece), piece) for piece in _split(ring))
        else:
            yield _Ring(part, label, areas[number], ring)


def _previous(values: npt.NDArray[Any], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return what stands before each value in its ring."""
    before = np.roll(values, 1, axis=0)
    before[starts] = values[ends - 1]
    return before


def _touching(corners: Ring, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which rings pass through a corner twice."""
    ring = np.repeat(np.arange(len(starts)), ends - starts)
    rows, columns = corners.max(axis=0) + 1
    keys = np.sort((ring * rows + corners[:, 0]) * columns + corners[:, 1])
    twice = keys[1:][keys[1:] == keys[:-1]]
    touching = np.zeros(len(starts), dtype=bool)
    touching[twice // (rows * columns)] = True
    return touching


def _following(
    flat: npt.NDArray[np.integer[Any]],
    pixels: npt.NDArray[np.int64],
    sides: npt.NDArray[np.int64],
    steps: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
) -> npt.NDArray[np.int64]:
    """Return the edge that follows each edge, walking clockwise, around the same pixel where there is a choice."""
    outward, ahead = steps[0][sides], steps[1][sides]
    part = flat[pixels]
    goes_on = flat[pixels + ahead] == part
    turns_left = goes_on & (flat[pixels + ahead + outward] == part)
    next_pixels = pixels + np.where(goes_on, ahead, 0) + np.where(turns_left, outward, 0)
    next_sides = (sides + np.where(turns_left, 3, np.where(goes_on, 0, 1))) % 4
    # Edges are in the order of their sides and, for each side, of their pixels.
    size = len(flat)
    return np.searchsorted(sides * size + pixels, next_sides * size + next_pixels)


def _cycles(following: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the edges of all rings, ring after ring and each in order, and where each ring ends."""
    after = following.tolist()
    seen = bytearray(len(after))
    order: list[int] = []
    ends: list[int] = []
    for edge in range(len(after)):
        if seen[edge]:
            continue
        at = edge
        while not seen[at]:
            seen[at] = 1
            order.append(at)
            at = after[at]
        ends.append(len(order))
    return np.array(order), np.array(ends)


def _split(ring: Ring) -> list[Ring]:
    """Return a ring as rings that pass through no corner twice."""
    rings: list[Ring] = []
    path: list[tuple[int, ...]] = []
    places: dict[tuple[int, ...], int] = {}
    for corner in map(tuple, ring.tolist()):
        if corner in places:
            at = places[corner]
            rings.append(_straightened(path[at:]))
            for passed in path[at:]:
                del places[passed]
            del path[at:]
        places[corner] = len(path)
        path.append(corner)
    return [*rings, _straightened(path)]


def _straightened(path: list[tuple[int, ...]]) -> Ring:
    """Return a ring without the corners where it goes straight on."""
    ring = np.array(path)
    turns = _cross(ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring) != 0
    corners: Ring = ring[turns]
    return corners


def _area(ring: Ring) -> int:
    return int(_cross(np.roll(ring, 1, axis=0), ring).sum())


def _cross(first: Ring, second: Ring) -> npt.NDArray[np.int64]:
    """Return the cross product of pairs, row by row; positive where the second lies clockwise of the first."""
    product: npt.NDArray[np.int64] = second[:, 0] * first[:, 1] - first[:, 0] * second[:, 1]
    return product
