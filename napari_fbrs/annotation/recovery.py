"""Keeps a session in a journal as it goes on, and brings it back from one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from napari_fbrs.annotation import encoding
from napari_fbrs.annotation.history import History, Place, Refinement
from napari_fbrs.annotation.image import Image
from napari_fbrs.annotation.journal import Entry, Journal, Pending
from napari_fbrs.annotation.labels import Indices, LabelChange, LabelStore, PlaneMask, Values
from napari_fbrs.annotation.session import Session
from napari_fbrs.errors import InputError

MAX_BYTES = 64 * 2**20  # of a journal, beyond which it is written anew from what there is now
_SAMPLE = 2**16  # pixels that tell images apart


def fingerprint(image: Image) -> str:
    """Return what tells an image from others of its shape: a hash of pixels spread over its middle plane."""
    middle = tuple(n // 2 for n in image.shape[:-2])
    plane = np.asarray(image.data[middle])
    step = max(1, math.isqrt(math.prod(image.shape[-2:]) // _SAMPLE))
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


def belongs(journal: Mapping[str, Any], image: Image) -> bool:
    """Whether a journal's header is about an image."""
    same_kind = journal.get("shape") == list(image.shape) and journal.get("dtype") == str(image.data.dtype)
    return same_kind and journal.get("fingerprint") == fingerprint(image)


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
        self._session = session
        self._max_bytes = max_bytes
        self._shape = session.image.shape
        self._store = session.labels
        self._notes: dict[str, Any] = {}
        session.labels = _Recorded(self._store, self.wrote)
        session.observer = self
        self._write_anew()

    def refined(self, place: Place, refinement: Refinement) -> None:
        """Record what decides a mask."""
        self._append(partial(_refine_entry, place, refinement))

    def shown(self, place: Place, mask: PlaneMask | None, *, current: bool) -> None:
        """Record what was predicted last."""
        self._append(partial(_show_entry, place, mask, current))

    def wrote(self, indices: Indices, values: Values) -> None:
        """Record pixels that have been written."""
        values = np.array(np.broadcast_to(values, indices[0].shape))
        self._append(partial(_write_entry, LabelChange(indices, values, values), self._shape))

    def note(self) -> None:
        """Record what else the user has chosen: the object, names, locks, settings of what is to come."""
        notes = _notes(self._session)
        if notes != self._notes:
            self._notes = notes
            self._append({"do": "note"} | notes)

    def saved(self) -> None:
        """Record that all masks are safe in files of the user's."""
        self._append({"do": "saved"})

    def stop(self, *, discard: bool) -> None:
        """Follow no longer; keep the journal for another time, or remove it."""
        session = self._session
        if session.observer is self:
            session.observer, session.labels = None, self._store
        (self.journal.discard if discard else self.journal.close)()

    def _append(self, entry: Pending) -> None:
        if self.journal.nbytes > max(self._max_bytes, 2 * self.journal.nbytes_anew):
            self._write_anew()  # the session has changed already: what is written holds the entry
        else:
            self.journal.append(entry)

    def _write_anew(self) -> None:
        self._notes = _notes(self._session)
        self.journal.rewrite([*_snapshot(self._session, self._store, self._notes)])


def unsaved(entries: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Return how many objects and clicks a journal could bring back; none where all was saved at its end.

    Objects are those clicked on; where there are none, one stands for pixels painted.
    """
    clicks: dict[str, int] = {}
    changed = painted = False
    for entry in entries:
        what = entry.get("do")
        if what == "refine":
            key = str([entry.get(part) for part in ("object", "plane", "axes")])
            clicks[key] = sum(map(len, entry.get("rounds", ())))
        changed = what != "saved" and (changed or what in ("refine", "show", "write"))
        painted = painted or what == "write"
    if not changed:
        return 0, 0
    objects = {key.split(",")[0] for key, count in clicks.items() if count}
    return max(len(objects), int(painted)), sum(clicks.values())


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
        written = _written(entries, session)
        refinements, shown, notes = _replayed(entries, session.image)
    _clear(session)
    for indices, values in written:
        session.labels.write(indices, values)
    for place, refinement in refinements.items():
        mask, current = shown.get(place, (None, False))
        session.adopt(place, refinement, mask, current=current)
    for name, value in notes.items():
        setattr(session, name, value)
    session.history = History()


def _written(entries: Sequence[Mapping[str, Any]], session: Session) -> list[tuple[Indices, Values]]:
    dtype = session.labels.read((0,) * session.image.ndim).dtype
    written = []
    for entry in entries:
        if entry["do"] == "write":
            indices, values = encoding.decode_change(entry, session.image.shape)
            if values.max(initial=0) > np.iinfo(dtype).max:
                raise InputError(f"the journal holds object {values.max()}, labels of {dtype} do not: convert them")
            written.append((indices, values.astype(dtype)))
    return written


def _replayed(
    entries: Sequence[Mapping[str, Any]], image: Image
) -> tuple[dict[Place, Refinement], dict[Place, tuple[PlaneMask | None, bool]], dict[str, Any]]:
    refinements: dict[Place, Refinement] = {}
    shown: dict[Place, tuple[PlaneMask | None, bool]] = {}
    notes: dict[str, Any] = {}
    for entry in entries:
        what = entry["do"]
        if what in ("refine", "show"):
            place = encoding.decode_place(entry)
            image.checked(place.plane.resolved(image.ndim))
            if what == "refine":
                refinements[place] = encoding.decode_refinement(entry)
                shown[place] = (shown[place][0] if place in shown else None, False)
            else:
                shown[place] = (encoding.decode_mask(entry["mask"]), bool(entry["current"]))
        elif what == "note":
            notes = _checked_notes(entry)
        elif what not in ("write", "saved"):
            raise InputError(f"the journal holds {what!r}, which this version does not know")
    return refinements, shown, notes


def _clear(session: Session) -> None:
    """Empty the labels, a plane at a time."""
    for at in _leading(session.image.shape):
        rows, columns = np.nonzero(session.labels.read(at))
        if rows.size:
            indices = (*(np.full(rows.shape, position) for position in at), rows, columns)
            session.labels.write(indices, np.zeros(rows.shape, session.labels.read(at).dtype))


def _leading(shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return product(*(range(n) for n in shape[:-2]))


def _notes(session: Session) -> dict[str, Any]:
    return {
        "object": session.object,
        "threshold": session.threshold,
        "extent": session.extent,
        "overwrite": session.overwrite,
        "locked": sorted(session.locked),
        "classes": {str(object_): name for object_, name in sorted(session.classes.items())},
    }


def _checked_notes(entry: Mapping[str, Any]) -> dict[str, Any]:
    extent = entry["extent"]
    return {
        "object": int(entry["object"]),
        "threshold": float(entry["threshold"]),
        "extent": None if extent is None else float(extent),
        "overwrite": bool(entry["overwrite"]),
        "locked": {int(object_) for object_ in entry["locked"]},
        "classes": {int(object_): str(name) for object_, name in dict(entry["classes"]).items()},
    }


def _snapshot(session: Session, store: LabelStore, notes: Entry) -> Iterator[Pending]:
    """Yield the entries that lead to where a session is now."""
    shape = session.image.shape
    for at in _leading(shape):
        plane = np.array(store.read(at))
        if plane.any():
            yield partial(_plane_entry, at, plane, shape)
    for place, refinement, mask, current in session.state():
        yield partial(_refine_entry, place, refinement)
        yield partial(_show_entry, place, mask, current)
    yield {"do": "note"} | dict(notes)


def _refine_entry(place: Place, refinement: Refinement) -> Entry:
    return {"do": "refine", **encoding.encode_place(place), **encoding.encode_refinement(refinement)}


def _show_entry(place: Place, mask: PlaneMask | None, current: bool) -> Entry:
    return {"do": "show", **encoding.encode_place(place), "mask": encoding.encode_mask(mask), "current": current}


def _write_entry(change: LabelChange, shape: Sequence[int]) -> Entry:
    return {"do": "write", **encoding.encode_change(change, shape)}


def _plane_entry(at: tuple[int, ...], plane: Values, shape: Sequence[int]) -> Entry:
    rows, columns = np.nonzero(plane)
    indices = (*(np.full(rows.shape, position) for position in at), rows, columns)
    return _write_entry(LabelChange(indices, plane[rows, columns], plane[rows, columns]), shape)


class _Recorded:
    """A label store that tells what is written into it."""

    def __init__(self, store: LabelStore, wrote: Callable[[Indices, Values], None]) -> None:
        self._store = store
        self._wrote = wrote

    def read(self, index: tuple[Any, ...]) -> Values:
        """Return the labels at an index of the nD array."""
        return self._store.read(index)

    def write(self, indices: Indices, values: Values) -> None:
        """Set single pixels, given one index array an axis."""
        self._store.write(indices, values)
        self._wrote(indices, values)
