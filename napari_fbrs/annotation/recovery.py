"""Keeps a session in a journal as it goes on, and brings it back from one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from napari_fbrs.annotation import encoding
from napari_fbrs.annotation.history import History, Place, Refinement
from napari_fbrs.annotation.image import Image, PlaneIndex
from napari_fbrs.annotation.journal import Entry, Journal, Pending
from napari_fbrs.annotation.labels import (
    Indices,
    LabelChange,
    LabelsBefore,
    LabelStore,
    PlaneMask,
    Values,
    slice_indices,
)
from napari_fbrs.annotation.session import Seen, Session
from napari_fbrs.errors import InputError
from napari_fbrs.inference.plane import Crop

MAX_BYTES = 64 * 2**20  # of a journal, beyond which it is written anew from what there is now
_SAMPLE = 2**16  # pixels that tell images apart
_TILES, _TILE = 4, 256  # along each side of large planes, and their rows and columns, that they are taken from
_LARGEST = 2**31  # what labels and sizes stay below
_CHANGES = ("refine", "show", "write")


def fingerprint(image: Image) -> str:
    """Return what tells an image from others of its shape: a hash of pixels spread over its middle plane.

    Of a plane too large to be read as a whole, pixels of tiles spread over it.
    """
    middle = tuple(n // 2 for n in image.shape[:-2])
    index = PlaneIndex(middle).resolved(image.ndim)
    rows, columns = (
        [slice(int(at), int(at) + _TILE) for at in np.linspace(0, max(0, n - _TILE), _TILES)] for n in image.shape[-2:]
    )
    large = image.is_large(index)
    if large and not image.in_one_chunk(index):
        plane = np.concatenate([np.asarray(image.data[(*middle, *tile)]) for tile in product(rows, columns)])
    else:
        plane = np.asarray(image.data[(*middle, slice(None), slice(None))])
        plane = np.concatenate([plane[tile] for tile in product(rows, columns)]) if large else plane
    step = max(1, math.isqrt(math.prod(plane.shape[:2]) // _SAMPLE))
    return hashlib.sha256(np.ascontiguousarray(plane[::step, ::step]).tobytes()).hexdigest()[:16]


def header(image: Image, *, name: str, source: str | None = None, model: str = "", sha256: str = "") -> dict[str, Any]:
    """Return what a journal says of the image and the model it belongs to.

    Parameters
    ----------
    image : Image
        The image annotated.
    name : str
        Of its layer.
    source : str, optional
        The file it came from.
    model, sha256 : str, optional
        What computed the masks.
    """
    return {
        "image": name,
        "source": source,
        "shape": list(image.shape),
        "dtype": str(image.data.dtype),
        "fingerprint": fingerprint(image),
        "model": model,
        "model_sha256": sha256,
    }


def belongs(journal: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether a journal's header is about the image of another header."""
    return all(journal.get(key) == about[key] for key in ("shape", "dtype", "fingerprint"))


class Recorder:
    """Has a session's journal follow it.

    Parameters
    ----------
    session : Session
        Followed from now on; what it holds already is written first.
    folder : Path
        Where the journal is kept.
    header : mapping
        From `header`.
    failed : callable
        See `Journal`.
    max_bytes : int, optional
        Size of the journal beyond which it is written anew.
    """

    def __init__(
        self,
        session: Session,
        folder: Path,
        header: Mapping[str, Any],
        failed: Callable[[str], None],
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.journal = Journal(folder, header, failed)
        self.users = 1  # widgets that work on the session
        self._session = session
        self._max_bytes = max_bytes
        self._shape = session.image.shape
        self._store = session.labels
        self._notes: dict[str, Any] = {}
        self._group: list[Pending] | None = None
        session.labels = self._recorded = _Recorded(self._store, self.wrote)
        session.observer = self
        session.kept = self.journal.path
        self._write_anew()

    def refined(self, place: Place, refinement: Refinement, seen: Seen) -> None:
        """Record what decides a mask."""
        self._changed(partial(_refine_entry, place, refinement, seen), key=place)

    def shown(self, place: Place, mask: PlaneMask | None, seen: Seen) -> None:
        """Record what was predicted last."""
        self._changed(partial(_show_entry, place, mask, seen))

    def wrote(self, indices: Indices, values: Values) -> None:
        """Record pixels that have been written."""
        values = np.array(np.broadcast_to(values, indices[0].shape))
        self._changed(partial(_write_entry, LabelChange(indices, values, values), self._shape))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Record what happens meanwhile on one line, which a crash leaves whole or cuts as a whole."""
        if self._group is not None:
            yield
            return
        group = self._group = []
        try:
            yield
        finally:
            self._group = None
            if group:
                self._append(partial(_group_entry, group))

    def note(self) -> None:
        """Record what else the user has chosen: the object, names, locks, settings of what is to come."""
        notes = _notes(self._session)
        if notes != self._notes:
            renamed = {"classes", "locked"} & {key for key in notes if notes[key] != self._notes.get(key)}
            self._session.unsaved = self._session.unsaved or bool(renamed)
            self._notes = _notes(self._session)
            self._append({"do": "note"} | self._notes)

    def saved(self) -> None:
        """Record that all masks are safe in files of the user's."""
        self._session.unsaved = False
        self._notes = _notes(self._session)
        self._append({"do": "note"} | self._notes)

    def stop(self, *, discard: bool) -> None:
        """Follow no longer; keep the journal for another time, or remove it."""
        session = self._session
        if session.observer is self:
            session.observer = None
        if session.labels is self._recorded:
            session.labels = self._store
        (self.journal.discard if discard else self.journal.close)()

    def _changed(self, entry: Pending, key: Hashable = None) -> None:
        self._session.unsaved = True
        if self._group is not None:
            self._group.append(entry)
        else:
            self._append(entry, key)

    def _append(self, entry: Pending, key: Hashable = None) -> None:
        journal = self.journal
        if not journal.alive:
            return
        too_large = journal.nbytes > max(self._max_bytes, 2 * journal.nbytes_anew)
        if too_large and not journal.rewriting and self._group is None:
            self._write_anew()  # the session has changed already: what is written holds the entry
        else:
            journal.append(entry, key)

    def _write_anew(self) -> None:
        self._notes = _notes(self._session)
        self.journal.rewrite([*_snapshot(self._session, self._store, self._notes)])


def unsaved(entries: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Return how many objects and clicks a journal could bring back; none where all was exported at its end.

    Objects are those clicked on; where there are none, one stands for pixels painted.

    Raises
    ------
    InputError
        If it is damaged.
    """
    clicks: dict[Place, int] = {}
    changed = False
    with encoding.decoding("the journal"):
        for entry in _flat(entries):
            if entry["do"] == "refine":
                clicks[encoding.decode_place(entry)] = sum(len(round_) for round_ in entry["rounds"])
            changed = entry["unsaved"] if entry["do"] == "note" else changed or entry["do"] in _CHANGES
    if not changed:
        return 0, 0
    return max(len({place.object for place, count in clicks.items() if count}), 1), sum(clicks.values())


def restore(session: Session, entries: Sequence[Mapping[str, Any]]) -> None:
    """Bring a session that nothing has been done in to where a journal ends; masks are written as they were shown.

    Parameters
    ----------
    session : Session
        Of the image that the journal belongs to. Its labels are cleared first, and it has nothing to undo afterwards.
    entries : sequence of mapping
        From `read_journal`.

    Raises
    ------
    InputError
        If the journal is damaged or belongs to another image; nothing has been changed then.
    """
    with encoding.decoding("the journal"):
        flat = [*_flat(entries)]
        written = _written(flat, session)
        refinements, seen, notes = _replayed(flat, session.image)
        _check_labels(session, flat)
    _clear(session)
    for indices, values in written:
        session.labels.write(indices, values)
    for place, refinement in refinements.items():
        session.adopt(place, refinement, *seen.get(place, (None, Seen.OUTDATED)))
    session.choose(notes)
    session.history = History()


def _flat(entries: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield entries, those of a line that happened together one by one."""
    for entry in entries:
        yield from entry["entries"] if entry["do"] == "together" else (entry,)


def _written(entries: Sequence[Mapping[str, Any]], session: Session) -> list[tuple[Indices, Values]]:
    dtype, shape = session.labels.read((0,) * session.image.ndim).dtype, session.image.shape
    written = []
    for entry in entries:
        if entry["do"] == "write":
            indices, values = encoding.decode_change(entry, shape)
        elif entry["do"] == "labels":
            indices, values = _pixels(*encoding.decode_plane(entry, shape))
        else:
            continue
        if values.max(initial=0) > np.iinfo(dtype).max or values.min(initial=0) < 0:
            raise InputError(f"the journal holds labels up to {values.max()}, which {dtype} does not: convert them")
        written.append((indices, values.astype(dtype)))
    return written


def _replayed(
    entries: Sequence[Mapping[str, Any]], image: Image
) -> tuple[dict[Place, Refinement], dict[Place, tuple[PlaneMask | None, Seen]], dict[str, Any]]:
    refinements: dict[Place, Refinement] = {}
    seen: dict[Place, tuple[PlaneMask | None, Seen]] = {}
    notes: dict[str, Any] = {}
    for entry in entries:
        what = entry["do"]
        if what in ("refine", "show"):
            place = encoding.decode_place(entry)
            shape = image.plane_shape(image.checked(place.plane.resolved(image.ndim)))
            if what == "refine":
                refinements[place] = _checked(encoding.decode_refinement(entry), shape)
                mask = seen[place][0] if place in seen else None
            else:
                mask = _checked_mask(encoding.decode_mask(entry["mask"]), shape)
            seen[place] = (mask, Seen(entry["seen"]))
        elif what == "note":
            notes = _checked_notes(entry)
        elif what not in ("write", "labels"):
            raise InputError(f"the journal holds {what!r}, which this version does not know")
    return refinements, seen, notes


def _checked(refinement: Refinement, shape: tuple[int, int]) -> Refinement:
    outside = next((click for click in refinement.clicks if not click.inside(shape)), None)
    if outside is not None:
        raise ValueError(f"a click at {outside.pixel} is outside the plane of {shape}")
    if not 0 <= refinement.threshold <= 1:
        raise ValueError(f"a threshold of {refinement.threshold}")
    if refinement.base is not None:
        _checked_mask(refinement.base.mask, shape)
    return refinement


def _checked_mask(mask: PlaneMask | None, shape: tuple[int, int]) -> PlaneMask | None:
    if mask is not None and not Crop.whole(shape).contains(mask.crop):
        raise ValueError(f"a mask of {mask.crop} does not lie in the plane of {shape}")
    return mask


def _check_labels(session: Session, entries: Sequence[Mapping[str, Any]]) -> None:
    """Raise `InputError` if there are labels that are not those the journal began with: they would be lost."""
    shape = session.image.shape
    begun = takewhile(lambda entry: entry["do"] == "labels", entries)
    first = dict(encoding.decode_plane(entry, shape) for entry in begun)
    for at in np.ndindex(shape[:-2]):
        plane = np.asarray(session.labels.read(at))
        if plane.any() and not (at in first and np.array_equal(plane, first[at])):
            raise InputError("the labels hold masks that a restoration would remove: restore into a new Labels layer")


def _clear(session: Session) -> None:
    """Empty the labels, a plane at a time."""
    for at in np.ndindex(session.image.shape[:-2]):
        indices, values = _pixels(at, np.asarray(session.labels.read(at)))
        if values.size:
            session.labels.write(indices, np.zeros_like(values))


def _pixels(at: tuple[int, ...], plane: Values) -> tuple[Indices, Values]:
    """Return the pixels of a plane that are not 0: indices in the nD array, and labels."""
    indices = slice_indices(at, plane != 0)
    return indices, plane[indices[-2:]]


def _notes(session: Session) -> dict[str, Any]:
    return session.choices() | {
        "locked": sorted(session.locked),
        "classes": {str(object_): name for object_, name in sorted(session.classes.items())},
        "unsaved": session.unsaved,
    }


def _checked_notes(entry: Mapping[str, Any]) -> dict[str, Any]:
    extent, threshold, labels = entry["extent"], float(entry["threshold"]), [entry["object"], *entry["locked"]]
    classes = {int(object_): str(name) for object_, name in dict(entry["classes"]).items()}
    if not (0 <= threshold <= 1 and (extent is None or 0 < extent < _LARGEST)):
        raise ValueError(f"a threshold of {threshold} and a size of {extent}")
    if not all(isinstance(label, int) and 0 < label < _LARGEST for label in (*labels, *classes)):
        raise ValueError("labels that no object can have")
    return {
        "object": entry["object"],
        "threshold": threshold,
        "extent": None if extent is None else float(extent),
        "overwrite": bool(entry["overwrite"]),
        "locked": set(entry["locked"]),
        "classes": classes,
    }


def _snapshot(session: Session, store: LabelStore, notes: Entry) -> Iterator[Pending]:
    """Yield the entries that lead to where a session is now."""
    for at in np.ndindex(session.image.shape[:-2]):
        plane = np.array(store.read(at))
        if plane.any():
            yield partial(_plane_entry, at, plane)
    for place, refinement, mask, seen in session.state():
        yield partial(_refine_entry, place, refinement, seen)
        yield partial(_show_entry, place, mask, seen)
    yield {"do": "note"} | dict(notes)


def _plane_entry(at: tuple[int, ...], plane: Values) -> Entry:
    return {"do": "labels", **encoding.encode_plane(at, plane)}


def _refine_entry(place: Place, refinement: Refinement, seen: Seen) -> Entry:
    decided = encoding.encode_refinement(refinement)
    return {"do": "refine", **encoding.encode_place(place), **decided, "seen": int(seen)}


def _show_entry(place: Place, mask: PlaneMask | None, seen: Seen) -> Entry:
    return {"do": "show", **encoding.encode_place(place), "mask": encoding.encode_mask(mask), "seen": int(seen)}


def _write_entry(change: LabelChange, shape: Sequence[int]) -> Entry:
    return {"do": "write", **encoding.encode_change(change, shape)}


def _group_entry(group: Sequence[Pending]) -> Entry:
    return {"do": "together", "entries": [entry() if callable(entry) else entry for entry in group]}


class _Recorded(LabelsBefore):
    """A label store that tells what is written into it."""

    def __init__(self, store: LabelStore, wrote: Callable[[Indices, Values], None]) -> None:
        super().__init__(store)
        self._wrote = wrote

    def write(self, indices: Indices, values: Values) -> None:
        """Set single pixels, given one index array an axis."""
        super().write(indices, values)
        self._wrote(indices, values)
