"""From a refined slice to its neighbours: scales and biases learn its mask, and find the object again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from napari_fbrs.annotation.history import Base, Place, Refinement
from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.annotation.labels import PlaneMask
from napari_fbrs.annotation.session import Result, Session
from napari_fbrs.errors import InputError
from napari_fbrs.inference.following import Follower
from napari_fbrs.inference.optimizer import Variables
from napari_fbrs.inference.plane import Limits, Plane
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.zoom import bounding_box

ENDED = 0.35  # confidence below which the object is taken to have ended
DOUBTFUL = 0.7  # confidence below which a slice is to be checked
_SHRUNK = 0.15  # of the area before, below which the object is taken to have ended


@dataclass(frozen=True, eq=False)
class Slice:
    """What was carried to one slice.

    Parameters
    ----------
    place : Place
        Where it belongs.
    mask : PlaneMask
        Never empty.
    variables : ndarray of float32 or None
        Scales and biases it was found with.
    confidence : float
        In [0, 1]: how sure the network is, times how much the same it sees when it is not shown the mask before,
        in relation to that on the slice it all started from; times the confidence of the slice before, as errors add
        up on the way.
    """

    place: Place
    mask: PlaneMask
    variables: Variables | None
    confidence: float


class Propagation:
    """Carries an object from a refined slice along an axis; reads the session, and writes nothing.

    Parameters
    ----------
    session : Session
        With a mask at `start`.
    start : Place
        The object, and the slice that it is carried from.
    axis : int
        Of the image; not one that the slices span.
    carry : bool, optional
        Whether scales and biases are carried along.
    limits : tuple of float, optional
        Intensities seen as black and white where nobody has clicked; by default the smallest and largest of each slice.

    Raises
    ------
    InputError
        If there is no mask, or no such axis.
    """

    def __init__(
        self, session: Session, start: Place, axis: int, *, carry: bool = True, limits: Limits | None = None
    ) -> None:
        if axis in start.plane.axes or not 0 <= axis < session.image.ndim:
            raise InputError("an object is carried along an axis that is not displayed: choose one with a slider")
        mask = session.mask(start)
        if mask is None:
            raise InputError(f"object {start.object} has no mask on this slice: click on it first")
        self._session, self._start, self._mask, self._carry = session, start, mask, carry
        self._predictor: Predictor = session.predictor
        self._refinement = session.refinement(start)
        self._limits = self._refinement.limits if self._refinement.clicks else limits
        self._along = sorted(set(range(session.image.ndim)) - set(start.plane.axes)).index(axis)
        self._extent = session.image.shape[axis]
        refined = {p for p in session.places(start.object) if p.plane.axes == start.plane.axes}
        self._stops = {p.plane.position[self._along] for p in refined if self._in_line(p.plane)}

    def targets(self, direction: int) -> list[int]:
        """Return the slices forward (1) or backward (-1), up to the end or to one that has clicks of its own."""
        slices = []
        at = self._here + direction
        while 0 <= at < self._extent and at not in self._stops:
            slices.append(at)
            at += direction
        return slices

    def until_refined(self, direction: int) -> tuple[list[int], Place]:
        """Return the half, nearer to this slice, of those up to the next one with clicks, and that one's place.

        Raises
        ------
        InputError
            If there is no refined slice in this direction.
        """
        between = self.targets(direction)
        at = self._here + direction * (len(between) + 1)
        if at not in self._stops:
            raise InputError(
                "no other slice of this object has clicks in this direction: click on one, or go another way"
            )
        return between[: (len(between) + 1) // 2], self._at(at)

    def run(self, slices: Sequence[int], cancelled: Callable[[], bool] = lambda: False) -> Iterator[Slice]:
        """Yield what is found slice by slice, until the object ends. May run in any thread.

        Parameters
        ----------
        slices : sequence of int
            Neighbours of the start, the nearest first.
        cancelled : callable, optional
            When it answers True, `CancelledError` is raised.
        """
        follower, threshold, mask = Follower(self._predictor, cancelled), self._refinement.threshold, self._mask
        plane = self._plane(self._start)
        variables = follower.learn(plane, mask.crop, mask.pixels) if self._carry else None
        confidence = 1.0
        surest = follower.find(plane, mask.crop, mask.pixels, variables, threshold).sureness
        for at in slices:
            place = self._at(at)
            seen = follower.find(self._plane(place), mask.crop, mask.pixels, variables, threshold)
            confidence *= min(1.0, seen.sureness / surest) if surest else seen.sureness
            box = bounding_box(seen.mask, seen.crop)
            shrunk = np.count_nonzero(seen.mask) < _SHRUNK * np.count_nonzero(mask.pixels)
            if box is None or shrunk or confidence < ENDED:
                return
            mask = PlaneMask.pack(box, seen.mask[box.within(seen.crop).slices])
            yield Slice(place, mask, variables, confidence)

    def check_unchanged(self) -> None:
        """Check that the object is still what is carried, and may be written; on the thread the session belongs to.

        Raises
        ------
        InputError
            If it has been locked, or changed where it is carried from: deleted, undone, merged, clicked on, painted.
        """
        session, object_ = self._session, self._start.object
        session.check_unlocked(object_)
        mask, refined = session.mask(self._start), session.refinement(self._start)
        if not self._mask.same_pixels(mask) or _decided(refined) != _decided(self._refinement):
            raise InputError(f"object {object_} was changed meanwhile: nothing was carried")

    @property
    def _here(self) -> int:
        return self._start.plane.position[self._along]

    def _in_line(self, plane: PlaneIndex) -> bool:
        mine = self._start.plane.position
        return all(a == b for i, (a, b) in enumerate(zip(plane.position, mine, strict=True)) if i != self._along)

    def _at(self, index: int) -> Place:
        position = list(self._start.plane.position)
        position[self._along] = index
        return Place(self._start.object, PlaneIndex(tuple(position), self._start.plane.axes))

    def _plane(self, place: Place) -> Plane:
        return self._session.plane(place.plane, self._limits)


def _decided(refinement: Refinement) -> Refinement | None:
    """Return what decides a mask; None where nobody has decided yet, and settings are those of places to come."""
    return refinement if refinement.clicks or refinement.base else None


def write(session: Session, slices: Sequence[Slice]) -> None:
    """Write what was carried into the labels of a session; one step to undo. Slices with clicks stay as they are."""
    with session.together():
        for found in slices:
            before = session.refinement(found.place)
            if before.clicks:
                continue
            base = Base(found.mask, variables=found.variables, found=False, confidence=found.confidence)
            after = Refinement(threshold=before.threshold, limits=before.limits, base=base)
            session.edit(found.place, after)
            session.show(Result(found.place, after, None, found.mask))


def to_check(session: Session, object_: int) -> list[tuple[Place, float]]:
    """Return the slices of an object that were carried there, nobody has clicked on, and are doubtful; worst first."""
    places = [p for p in session.annotated() if p.object == object_]
    bases = [(place, session.refinement(place)) for place in places]
    doubtful = [
        (place, refinement.base.confidence)
        for place, refinement in bases
        if refinement.base is not None and refinement.base.confidence is not None and not refinement.clicks
    ]
    return sorted((pair for pair in doubtful if pair[1] < DOUBTFUL), key=lambda pair: pair[1])
