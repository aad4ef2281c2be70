"""Many planes, many objects: clicks are the document, masks are written from them."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_fbrs.annotation.history import Base, History, Place, Refinement, Step
from napari_fbrs.annotation.image import Image, PlaneIndex
from napari_fbrs.annotation.labels import (
    ArrayLabels,
    Indices,
    LabelChange,
    LabelStore,
    PlaneMask,
    Values,
    empty_labels,
    mask_change,
    no_room,
)
from napari_fbrs.annotation.reconcile import Edit
from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.errors import InputError, MemoryShortageError
from napari_fbrs.inference.cache import ByteCache
from napari_fbrs.inference.contradictions import contradicted
from napari_fbrs.inference.correction import corrected, state_from
from napari_fbrs.inference.first_look import Expected
from napari_fbrs.inference.plane import Crop, Limits, Plane
from napari_fbrs.inference.prediction import Prediction, State
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import Method
from napari_fbrs.inference.shortage import lighter_ones
from napari_fbrs.inference.zoom import bounding_box

SESSION = "napari-fbrs session"  # key in the metadata of a Labels layer: lives as long as the masks do
_PREDICTION_BYTES = 256 * 2**20
_PLANES = 4
_ALIKE = 20  # objects before, of which a new one's size is expected


@dataclass(frozen=True, eq=False)
class Result:
    """The mask of a refinement, computed and not yet shown.

    Parameters
    ----------
    place : Place
        Where it belongs.
    refinement : Refinement
        What it was computed from.
    prediction : Prediction or None
        None where there are no clicks.
    mask : PlaneMask or None
        None where it is empty.
    unmet : tuple of int
        Positions, among the clicks, of those that the mask contradicts.
    """

    place: Place
    refinement: Refinement
    prediction: Prediction | None
    mask: PlaneMask | None
    unmet: tuple[int, ...] = ()


class Seen(IntEnum):
    """How a mask predicted last stands to what decides it now."""

    OUTDATED = 0  # predicted from something else, and from another base
    BASED = 1  # predicted from something else, on the same base
    CURRENT = 2


class Observer(Protocol):
    """What is told of all that changes an annotation."""

    def refined(self, place: Place, refinement: Refinement, seen: Seen) -> None:
        """Take note of what decides a mask now, and how it stands to the one predicted last."""

    def shown(self, place: Place, mask: PlaneMask | None, seen: Seen) -> None:
        """Take note of the mask predicted last, and how it stands to what decides it."""

    def wrote(self, indices: Indices, values: Values) -> None:
        """Take note of pixels painted by somebody else."""

    def saved(self) -> None:
        """Take note that all masks are safe in files of the user's."""

    def together(self) -> AbstractContextManager[None]:
        """Take what is told meanwhile for one thing, that happens as a whole or not at all."""


class Session:
    """The annotation of one image.

    Everything but `compute` belongs to one thread; `compute` may run in another.

    Parameters
    ----------
    image : array_like or Image
        nD image; an array is taken as grey.
    predictor : Predictor
        Computes masks; may be exchanged at any time.
    labels : LabelStore, optional
        Where masks are written; a new int32 array of the image's shape by default.
    first_object : int, optional
        Label of the first object, from 1 on.

    Raises
    ------
    InputError
        If `first_object` is 0, which is the background, or less.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_fbrs import Click, Predictor, Session, load_model
    >>> image = np.zeros((3, 64, 64), dtype=np.uint8)
    >>> image[1, 20:40, 20:40] = 200
    >>> session = Session(image, Predictor(load_model(device="cpu")))
    >>> _ = session.click(Click(30, 30), position=(1,))
    >>> session.labels.read((1, 30, 30))
    array(1, dtype=int32)
    >>> _ = session.undo()
    >>> int(session.labels.read((1, 30, 30)))
    0
    """

    def __init__(
        self,
        image: npt.ArrayLike | Image,
        predictor: Predictor,
        *,
        labels: LabelStore | None = None,
        first_object: int = 1,
    ) -> None:
        if first_object < 1:
            raise InputError(f"objects have labels from 1 on, 0 being the background: got first_object={first_object}")
        self.image = image if isinstance(image, Image) else Image(image)
        self.labels = labels or ArrayLabels(empty_labels(self.image.shape))
        self.history = History()
        self.object = first_object
        self.threshold = 0.5  # of places not clicked on yet
        self.extent: float | None = None  # longer side of objects not clicked on yet, in pixels; None: find out
        self.overwrite = False  # whether an object takes pixels from others where they overlap
        self.locked: set[int] = set()  # objects that never change
        self.classes: dict[int, str] = {}  # names the user has given to objects
        self.observer: Observer | None = None
        self.kept: Path | None = None  # where its journal lies, or lay until nobody followed it any longer
        self.unsaved = False  # whether something has changed since all masks were exported
        self._group: object | None = None
        self._largest = first_object
        self._lighter = lighter_ones(predictor)
        self._refinements: dict[Place, Refinement] = {}
        # What was written last for each place; no refinement: by a predictor that has been exchanged since.
        self._shown: dict[Place, tuple[Refinement | None, PlaneMask | None]] = {}
        self._unmet: dict[Place, tuple[PlaneMask | None, ClickList, tuple[int, ...]]] = {}  # of mask and clicks
        # One attribute, for another thread reads it: predictions are those of this predictor, of this image.
        self._computing = predictor, ByteCache(_PREDICTION_BYTES)
        self._planes: dict[tuple[PlaneIndex, Limits | None], Plane] = {}
        self._before: frozenset[int] = frozenset()  # numbers of channels of images looked at before
        self._looked: set[Place] = set()  # of all whose plane has been compared with what was shown,
        self._most: dict[PlaneIndex, int] = {}  # and the largest label on planes that were read for that,
        self._stamp: object | None = None  # when the labels had this stamp

    @property
    def predictor(self) -> Predictor:
        """What computes masks; after an exchange, masks shown are those of the one before until computed again."""
        return self._computing[0]

    @predictor.setter
    def predictor(self, predictor: Predictor) -> None:
        predictor.cache = self.predictor.cache  # in another mode much of it is the same
        self._exchange(predictor)
        self._lighter = lighter_ones(predictor)

    def lighten(self) -> str | None:
        """Exchange a predictor whose memory has run out for one that takes less; say what it does otherwise.

        None: there is none that takes less.
        """
        predictor, told = next(self._lighter, (None, None))
        if predictor is not None:
            self._exchange(predictor)
            logging.getLogger(__name__).warning("memory has run out, from now on %s", told)
        return told

    def _exchange(self, predictor: Predictor) -> None:
        self._computing = predictor, ByteCache(_PREDICTION_BYTES)

    def look_at(self, image: Image) -> None:
        """Look at other pixels from now on; masks stay as they are until something is clicked there again.

        Raises
        ------
        InputError
            If the image has another shape.
        """
        if image.shape != self.image.shape:
            raise InputError(f"the annotation is of an image of shape {self.image.shape}, not of {image.shape}")
        self.image, self._before = image, self._before | {self.image.channels}
        self._planes = {}
        self._exchange(self.predictor)

    def plane(self, index: PlaneIndex, limits: Limits | None) -> Plane:
        """Read a plane; with limits of its own where those given were of more or fewer channels, looked at before."""
        image = self.image
        if limits is not None and image.channels != len(limits) // 2 in self._before:
            limits = None
        return image.plane(index, limits)

    def refinement(self, place: Place) -> Refinement:
        """Return what decides the mask at a place; without clicks where there is none yet."""
        return self._refinements.get(place, Refinement(threshold=self.threshold))

    def annotated(self) -> list[Place]:
        """Return the places that have clicks or a mask, of any object."""
        return [p for p, refinement in self._refinements.items() if refinement.clicks or refinement.base]

    def mask(self, place: Place) -> PlaneMask | None:
        """Return what the labels hold of an object on a plane now, whoever has put it there; None if nothing."""
        whole = Crop.whole(self.image.plane_shape(place.plane))
        return PlaneMask.of_plane(self._read(place.plane, whole) == place.object)

    def state(self) -> list[tuple[Place, Refinement, PlaneMask | None, Seen]]:
        """Return what decides each mask, the mask predicted last, and how that stands to it: what `adopt` takes."""
        return [
            (place, refinement, self._shown.get(place, (None, None))[1], self._seen(place))
            for place, refinement in self._refinements.items()
        ]

    def choices(self) -> dict[str, Any]:
        """Return what the user has chosen besides clicks, by name: what `choose` takes."""
        return {
            "object": self.object,
            "threshold": self.threshold,
            "extent": self.extent,
            "overwrite": self.overwrite,
            "locked": set(self.locked),
            "classes": dict(self.classes),
        }

    def choose(self, choices: Mapping[str, Any]) -> None:
        """Take over what a user has chosen; from `choices`."""
        for name, value in choices.items():
            setattr(self, name, copy(value))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Have all that is done meanwhile undone by one undo."""
        self._group = object()
        try:
            with self._observed_together():
                yield
        finally:
            self._group = None

    def saved(self) -> None:
        """Say that all masks are in files of the user's: there is nothing to restore until the next change."""
        if self.observer is not None:
            self.observer.saved()

    def places(self, object_: int) -> list[Place]:
        """Return the places where an object has clicks."""
        return [p for p, refinement in self._refinements.items() if p.object == object_ and refinement.clicks]

    def edit(self, place: Place, refinement: Refinement) -> None:
        """Change what decides a mask, as a step that can be undone; the mask follows by `compute` and `show`.

        Raises
        ------
        InputError
            If the object is locked.
        """
        before = self.refinement(place)
        if refinement != before:
            self.check_unlocked(place.object)
            self._set_refinement(place, refinement)
            self.history.record(Step(place, before, refinement, group=self._group))

    def add(self, place: Place, clicks: Sequence[Click], limits: Limits | None = None) -> None:
        """Add clicks as a round; they join the last round while its mask is not shown yet."""
        before = self.refinement(place)
        waiting = place in self.waiting()
        after = before.clicks.added(clicks, to_last_round=waiting)
        expected = before.expected if before.clicks else self._expected(place)
        base = self._base(place, before)
        self.edit(place, replace(before, clicks=after, limits=limits, expected=expected, base=base))

    def apply(self, place: Place, edit: Edit, limits: Limits | None = None) -> None:
        """Take over what has happened to the clicks of a place."""
        before = self.refinement(place)
        if edit.kept != before.clicks:
            self.edit(place, replace(before, clicks=edit.kept, limits=limits))
        if edit.added:
            self.add(place, edit.added, limits)

    def set_threshold(self, place: Place, threshold: float) -> None:
        """Change the threshold of a mask; changes in a row are one step."""
        self._slide(place, threshold=threshold)

    def set_extent(self, place: Place, extent: float | None) -> None:
        """Say how large an object is, in pixels; changes in a row are one step.

        Parameters
        ----------
        place : Place
            The object and plane; it is looked at anew.
        extent : float or None
            Longer side of its bounding box; None: find out.
        """
        clicked = bool(self.refinement(place).clicks)
        if clicked:
            self.check_unlocked(place.object)
        self.extent = extent
        if clicked:
            self._slide(place, expected=self._expected(place))

    def _slide(self, place: Place, **values: Any) -> None:
        """Change a setting of a place; changes in a row are one step."""
        self.check_unlocked(place.object)
        before = self.refinement(place)
        after = replace(before, **values)
        last = next(self.history.newest_first(), None)
        joins = last is not None and last.place == place and replace(last.before, **values) == after
        if last is None or not joins or self.history.can_redo:
            self.edit(place, after)
        elif after == last.before and self.locked.isdisjoint(_objects_of(last)):  # as if it had not been touched
            self._take_back(self.history.forget_newest())
        else:
            last.after = after
            self._set_refinement(place, after)

    def _expected(self, place: Place) -> Expected | None:
        """Return what is known of an object's size: what the user says, or that of the objects before it."""
        if self.extent is not None:
            return Expected(self.extent, certain=True)
        extents = [
            max(mask.crop.shape)
            for other, (_, mask) in self._shown.items()
            if mask is not None and other.object != place.object and other.plane.axes == place.plane.axes
        ]
        return Expected(float(np.median(extents[-_ALIKE:]))) if extents else None

    def outdate(self, place: Place) -> None:
        """Have the mask at a place computed anew, by a predictor that was exchanged; a locked one stays as it is."""
        refinement, mask = self._shown.get(place, (None, None))
        if refinement is not None and place.object not in self.locked:
            # No threshold equals this one, so that it is not what is wanted.
            self._set_shown(place, _never(refinement), mask)

    def waiting(self) -> list[Place]:
        """Return the places whose mask is not that of their refinement yet."""
        return [place for place in self._refinements if not self._is_shown(place)]

    def compute(self, place: Place, refinement: Refinement, cancelled: Callable[[], bool] = lambda: False) -> Result:
        """Return the mask of a refinement; nothing is written. May run in any thread.

        Parameters
        ----------
        place : Place
            The object and plane.
        refinement : Refinement
            From `refinement`.
        cancelled : callable, optional
            When it answers True, `CancelledError` is raised.

        Raises
        ------
        InputError
            If a click or the plane lies outside the image.
        """
        if not refinement.clicks and refinement.base is None:
            return Result(place, refinement, None, None)
        if refinement.base is not None and not refinement.asking:
            return Result(place, refinement, None, refinement.base.mask)
        prediction, method = self._predict(place.plane, refinement, cancelled)
        crop, pixels = prediction.crop, prediction.crop_mask(refinement.threshold)
        if refinement.base is not None and refinement.base.mask is not None:
            there = refinement.base.mask
            crop, pixels = corrected(there.crop, there.pixels, crop, pixels, refinement.asking)
        box = bounding_box(pixels, crop)
        mask = None
        if box is not None:
            row, column = box.row_min - crop.row_min, box.column_min - crop.column_min
            mask = PlaneMask.pack(box, pixels[row : row + box.shape[0], column : column + box.shape[1]], method)
        return Result(place, refinement, prediction, mask, contradicted(prediction.clicks, pixels, crop))

    def warm_up(
        self,
        plane: PlaneIndex,
        limits: Limits | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Do ahead what a first click on a plane needs; may run where `compute` runs, not beside it.

        Parameters
        ----------
        plane : PlaneIndex
            Resolved.
        limits : tuple of float, optional
            Intensities shown as black and white.
        cancelled : callable, optional
            When it answers True, `CancelledError` is raised.
        """
        self.predictor.warm_up(self._plane(plane, limits), cancelled=cancelled)

    def show(self, result: Result) -> bool:
        """Write a mask into the labels; return False, writing nothing, if its refinement is not the current one now."""
        place = result.place
        if self.refinement(place) != result.refinement:
            return False
        shown, old = self._shown.get(place, (None, None))
        change = self._change(place, result.refinement, result.mask)
        looked = self._looked_over(place)
        with self._observed_together():
            change.do(self.labels)
            self._set_shown(place, result.refinement, result.mask)
        self._stamp = self.labels.stamp  # by this write no object has come to where it is not shown
        self._looked |= {place} if looked else set()
        step = next((s for s in self.history.newest_first() if s.place == place), None)
        if step is not None:
            if step.change is None:
                step.change, step.shown_before, step.mask_before = change, shown, old
            else:  # the same step computed anew, by another predictor
                step.change = step.change.then(change)
            step.shown_after, step.mask_after = result.refinement, result.mask
            self.history.grown(step)
        self._prefix_undone(place, change)
        return True

    def _prefix_undone(self, place: Place, change: LabelChange) -> None:
        """Have the step that a redo comes to begin where the labels are now, though they were not when it was done."""
        step = next((s for s in self.history.undone() if s.place == place and s.change is not None), None)
        if step is not None and step.change is not None:
            step.change = change.inverse().then(step.change)
            step.shown_before, step.mask_before = self._shown[place]

    def unmet(self, place: Place) -> tuple[int, ...] | None:
        """Return the positions of the clicks that the mask at a place contradicts; None while that is not known."""
        if place not in self._refinements or not self._is_shown(place):
            return None
        clicks, (_, mask) = self._refinements[place].clicks, self._shown.get(place, (None, None))
        known = self._unmet.get(place)
        if known is None or known[0] is not mask or known[1] != clicks:
            pixels, crop = (mask.pixels, mask.crop) if mask else (np.zeros((1, 1), dtype=bool), Crop(0, 0, 0, 0))
            known = self._unmet[place] = mask, clicks, contradicted(clicks.flat, pixels, crop)
        return known[2]

    def click(self, click: Click, *, position: tuple[int, ...] = (), axes: tuple[int, int] = (-2, -1)) -> Result:
        """Add a click to the current object and return its new mask, written into the labels.

        Parameters
        ----------
        click : Click
            In pixels of the plane.
        position : tuple of int, optional
            Index of the plane along the axes that it does not span.
        axes : tuple of int, optional
            Axes that are the plane's rows and columns.
        """
        place = self.place(position, axes)
        if not click.inside(self.image.plane_shape(place.plane)):
            raise InputError(
                f"the click at {click.pixel} is outside the plane of {self.image.plane_shape(place.plane)}"
            )
        self.add(place, [click], self.refinement(place).limits or self.image.limits())
        return self.update(place)

    def update(self, place: Place) -> Result:
        """Compute and show the mask at a place; where memory runs out, with a predictor that takes less.

        Raises
        ------
        MemoryShortageError
            If there is none that takes less.
        """
        try:
            result = self.compute(place, self.refinement(place))
        except MemoryShortageError:
            if self.lighten() is None:
                raise
            return self.update(place)
        self.show(result)
        return result

    def place(self, position: tuple[int, ...] = (), axes: tuple[int, int] = (-2, -1)) -> Place:
        """Return the current object on a plane.

        Raises
        ------
        InputError
            If the plane does not fit the image.
        """
        return Place(self.object, self.image.checked(PlaneIndex(position, axes).resolved(self.image.ndim)))

    def next_object(self) -> int:
        """Turn to a new object with the next free label, and return it; stay where nothing has been clicked yet.

        Raises
        ------
        InputError
            If the labels hold no larger ones.
        """
        if self.places(self.object) or self.object in self.locked:
            self.object = self.free_label()
        return self.object

    def free_label(self, above: int = 0) -> int:
        """Return a label that no object has had, larger than `above`; it is taken from now on.

        Raises
        ------
        InputError
            If the labels hold no larger ones.
        """
        label = max(self._largest, above) + 1
        if label > self.labels.largest:
            raise InputError(no_room(self.labels.largest))
        self._largest = label
        return label

    def painted(self, change: LabelChange) -> None:
        """Record pixels painted by somebody else, so that undo goes back through them in order."""
        self.history.record(Step(None, Refinement(), Refinement(), change, group=self._group))
        if self.observer is not None:
            self.observer.wrote(change.indices, change.after)
        self._largest = max(self._largest, int(change.after.max(initial=0)))

    def undo(self) -> Step | None:
        """Take back the last step, clicks and pixels together, and return it; None when there is none.

        Steps that were made together are taken back together, and the first of them is returned. Its object becomes
        the current one. `waiting` says whether a mask must be computed.

        Raises
        ------
        InputError
            If that would change a locked object.
        """
        steps = self.history.to_undo()
        self._check_untouched(steps)
        with self._observed_together():
            for step in steps:
                self.history.undo()
                self._take_back(step)
        return steps[-1] if steps else None

    def redo(self) -> Step | None:
        """Do the step undone last again, clicks and pixels together, and return it; None when there is none.

        Raises
        ------
        InputError
            If that would change a locked object.
        """
        steps = self.history.to_redo()
        self._check_untouched(steps)
        with self._observed_together():
            for step in steps:
                self.history.redo()
                if step.change is not None:
                    step.change = step.change.do(self.labels)
                self._went(step, step.after, step.shown_after, step.mask_after)
        return steps[-1] if steps else None

    def check_unlocked(self, *objects: int) -> None:
        """Raise `InputError` if an object, or one of several, is locked."""
        locked = self.locked.intersection(objects)
        if locked:
            raise InputError(f"object {min(locked)} is locked: unlock it in the list of objects to change it")

    def _check_untouched(self, steps: Sequence[Step]) -> None:
        """Raise `InputError` if steps that are about to be undone, or done again, change a locked object."""
        for step in steps if self.locked else ():
            self.check_unlocked(*_objects_of(step))

    def _base(self, place: Place, refinement: Refinement) -> Base | None:
        """Return what a refinement is to correct: what somebody else has made of the object since it was shown."""
        shown, mask = self._shown.get(place, (None, None))
        base = refinement.base
        whole = Crop.whole(self.image.plane_shape(place.plane))
        if base is not None and base.found and base is not (shown and shown.base):  # waits to be corrected
            same = self._is_as_shown(place, base.mask, whole)
        else:
            if not self._looked_over(place) and self._stamp is not None:
                self._most[place.plane] = int(self._read(place.plane, whole).max())
            if self._looked_over(place):  # then it is nowhere but where it is shown, if it still is there
                same = mask is None or self._is_as_shown(place, mask, mask.crop)
            else:
                same = self._is_as_shown(place, mask, whole)
                self._looked |= {place} if same else set()
        return base if same else Base(self.mask(place), self._settled(place, refinement))

    def _settled(self, place: Place, refinement: Refinement) -> tuple[Click, ...]:
        """Return the clicks that what is in the labels accounts for: not those whose mask is still waited for."""
        if place not in self.waiting():
            return refinement.clicks.flat
        shown, _ = self._shown.get(place, (None, None))
        before = Counter(shown.clicks.flat if shown is not None else ())
        before |= Counter(refinement.base.settled if refinement.base is not None else ())
        return tuple((Counter(refinement.clicks.flat) & before).elements())

    def _looked_over(self, place: Place) -> bool:
        """Whether all of a plane has been compared with what was shown of an object, and only we have written since.

        An object with a label larger than all that were there has not been there.
        """
        if self._stamp is None or self._stamp is not self.labels.stamp:
            self._looked.clear()
            self._most.clear()
        self._stamp = self.labels.stamp
        return place in self._looked or place.object > self._most.get(place.plane, place.object)

    def _is_as_shown(self, place: Place, shown: PlaneMask | None, crop: Crop) -> bool:
        """Whether the labels hold, in a part of a plane, what was shown of an object, less what others have kept.

        They may also hold what was shown of it on planes that lie across.
        """
        labels = self._read(place.plane, crop)
        there = labels == place.object
        if shown is None and not there.any():  # at a glance, however large the plane
            return True
        wanted = shown.within(crop) if shown else np.zeros_like(there)
        if not self.overwrite:
            wanted &= (labels == 0) | there
        if (wanted & ~there).any():
            return False
        rows, columns = np.nonzero(there & ~wanted)
        return bool(self._shown_across(place, rows + crop.row_min, columns + crop.column_min).all())

    def _shown_across(self, place: Place, rows: Values, columns: Values) -> npt.NDArray[np.bool_]:
        """Return which pixels of a plane were shown of its object on planes that lie across."""
        at = np.broadcast_arrays(*place.plane.select(rows, columns))
        across = np.zeros(len(rows), dtype=bool)
        for other, (_, mask) in self._shown.items() if len(rows) else ():
            if mask is not None and other.object == place.object and {*other.plane.axes} != {*place.plane.axes}:
                across |= _holds(mask, other.plane, at)
        return across

    def _read(self, plane: PlaneIndex, crop: Crop) -> Values:
        """Return the labels of a part of a plane."""
        slices = crop.slices
        labels = self.labels.read(plane.select(*slices))
        return labels.T if plane.transposed else labels

    def _change(self, place: Place, refinement: Refinement, mask: PlaneMask | None) -> LabelChange:
        """Return what brings a mask into the labels."""
        shown, old = self._shown.get(place, (None, None))
        base = refinement.base
        if base is not None and base.found and base is not (shown and shown.base):
            old = base.mask
        return mask_change(
            self.labels, place.plane, place.object, old, mask, overwrite=self.overwrite, locked=self.locked
        )

    def _take_back(self, step: Step) -> None:
        if step.change is not None:  # what is not taken back is not to be done again
            step.change = step.change.undo(self.labels)
        self._went(step, step.before, step.shown_before, step.mask_before)

    def _went(self, step: Step, now: Refinement, shown: Refinement | None, mask: PlaneMask | None) -> None:
        if step.place is None:
            return
        self.object = step.place.object
        self._set_refinement(step.place, now)
        if step.change is not None:
            self._set_shown(step.place, shown, mask)

    def adopt(self, place: Place, refinement: Refinement, mask: PlaneMask | None, seen: Seen = Seen.CURRENT) -> None:
        """Take over what decides a mask, and the mask that the labels hold already; nothing that undo takes back.

        Parameters
        ----------
        place : Place
            The object and plane.
        refinement : Refinement
            Takes the place of the one there is.
        mask : PlaneMask or None
            What was predicted last; None is an empty one.
        seen : Seen, optional
            How that stands to `refinement`; unless it is current, the place is `waiting`.
        """
        self._largest = max(self._largest, place.object)
        self._set_refinement(place, refinement)
        before = {Seen.CURRENT: refinement, Seen.BASED: _never(refinement), Seen.OUTDATED: None}[seen]
        self._set_shown(place, before, mask)

    def _set_refinement(self, place: Place, refinement: Refinement) -> None:
        self._refinements[place] = refinement
        if self.observer is not None:
            self.observer.refined(place, refinement, self._seen(place))

    def _set_shown(self, place: Place, refinement: Refinement | None, mask: PlaneMask | None) -> None:
        self._shown[place] = (refinement, mask)
        self._looked.discard(place)
        if self.observer is not None:
            self.observer.shown(place, mask, self._seen(place))

    def _seen(self, place: Place) -> Seen:
        if place not in self._refinements:
            return Seen.OUTDATED
        if self._is_shown(place):
            return Seen.CURRENT
        shown, _ = self._shown.get(place, (None, None))
        based = shown is not None and shown.base is self._refinements[place].base
        return Seen.BASED if based else Seen.OUTDATED

    def _observed_together(self) -> AbstractContextManager[None]:
        return self.observer.together() if self.observer is not None else nullcontext()

    def _is_shown(self, place: Place) -> bool:
        now = self._refinements[place]
        shown, mask = self._shown.get(place, (None, None))
        return shown == now or (not now.clicks and now.base is None and mask is None)

    def _predict(
        self, index: PlaneIndex, refinement: Refinement, cancelled: Callable[[], bool]
    ) -> tuple[Prediction, Method]:
        """Return the prediction after the last round, starting from the longest run of rounds known; by what it is."""
        predictor, predictions = self._computing
        rounds, base = refinement.clicks.rounds, refinement.base
        seen = (index, refinement.limits, refinement.expected, base)
        first = refinement.settled_rounds
        prediction: Any = None
        known = len(rounds)
        while known > first and prediction is None:
            prediction = predictions.peek((*seen, rounds[:known]))
            known -= prediction is None
        for count in range(known + 1, len(rounds) + 1):
            plane = self._plane(index, refinement.limits)
            state = prediction.state if prediction is not None else _start(refinement)
            prediction = predictor.predict(plane, ClickList(rounds[:count]).flat, state, cancelled=cancelled)
            predictions.put((*seen, rounds[:count]), prediction)
        assert isinstance(prediction, Prediction)
        return prediction, predictor.method

    def _plane(self, index: PlaneIndex, limits: Limits | None) -> Plane:
        key, planes = (index, limits), self._planes  # which may be exchanged meanwhile, with the image
        plane = planes.pop(key, None) or self.plane(index, limits)
        planes[key] = plane
        while len(planes) > _PLANES:
            del planes[next(iter(planes))]
        return plane


def _start(refinement: Refinement) -> State:
    """Return what the first prediction starts from."""
    base = refinement.base
    if base is None or base.mask is None:
        return State(expected=refinement.expected)
    return state_from(base.mask.crop, base.mask.pixels, base.variables)


def _objects_of(step: Step) -> set[int]:
    """Return the object of a step, and those whose pixels it took or gave; 0, the background, may be among them."""
    objects = set() if step.place is None else {step.place.object}
    if step.change is not None:
        objects.update(np.unique(np.concatenate((step.change.before, step.change.after))).tolist())
    return objects


def _never(refinement: Refinement) -> Refinement:
    """Return a refinement that none equals, as no threshold equals its own: what it led to is not what is wanted."""
    return replace(refinement, threshold=math.nan)


def _holds(mask: PlaneMask, plane: PlaneIndex, at: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """Return which pixels of the image, by one index array an axis, belong to a mask on a plane."""
    others = [axis for axis in range(len(at)) if axis not in plane.axes]
    rows, columns = (at[axis] for axis in plane.axes)
    held: npt.NDArray[np.bool_] = np.ones(len(rows), dtype=bool)
    for axis, index in zip(others, plane.position, strict=True):
        held &= at[axis] == index
    crop = mask.crop
    held &= (
        (rows >= crop.row_min) & (rows <= crop.row_max) & (columns >= crop.column_min) & (columns <= crop.column_max)
    )
    held[held] = mask.pixels[rows[held] - crop.row_min, columns[held] - crop.column_min]
    return held
