"""Click records: all that is needed to get the masks of an annotation again, in one JSON file that people can read.

A record holds no masks that a model can compute: it holds what they follow from, and in which order they came into the
labels. Pixels that do not follow from it (painted by hand, erased, taken in another order) are added at the end, so
that labels replayed are the labels recorded, pixel by pixel. ``click_record.schema.json``, beside this module, says
what stands where.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from napari_fbrs.annotation import encoding
from napari_fbrs.annotation.history import Place, Refinement
from napari_fbrs.annotation.image import LARGE, Channels, Image, PlaneIndex, channels_of
from napari_fbrs.annotation.labels import Indices, LabelChange, PlaneMask, Values, slice_indices
from napari_fbrs.annotation.output import replacing
from napari_fbrs.annotation.recovery import fingerprint
from napari_fbrs.annotation.session import Seen, Session
from napari_fbrs.errors import InputError
from napari_fbrs.inference.settings import Method

FORMAT, VERSION = "napari-fbrs click record", 1
SUFFIX = ".clicks.json"
_LARGEST_FILE = 2**30  # bytes
_VERSIONS_OF = ("napari-fbrs", "torch", "numpy", "scipy", "scikit-image")
_LINES = ("planes", "predictors", "objects", "masks")  # lists in a record that take a line for each item

Json = Any


@dataclass(frozen=True)
class Recorded:
    """What a mask follows from.

    Parameters
    ----------
    place : Place
        The object and the plane, resolved.
    refinement : Refinement
        Clicks, and what else decides the mask.
    method : Method or None
        What predicted it; None where nothing had to be predicted, or where it is `kept`.
    digest : str
        Of the mask; see `digest`.
    kept : bool
        Whether the mask itself is recorded: it was not predicted from `refinement` by anything that is known.
    mask : PlaneMask or None
        The mask that is `kept`; None is an empty one.
    """

    place: Place
    refinement: Refinement
    method: Method | None
    digest: str
    kept: bool = False
    mask: PlaneMask | None = None


@dataclass(frozen=True)
class ImageIdentity:
    """Which image an annotation belongs to.

    Parameters
    ----------
    name : str
        For people.
    source : str or None
        The file it came from.
    shape : tuple of int
        Colours not counted.
    dtype : str
        Of its pixels.
    rgb : bool
        Whether it has colours.
    fingerprint : str
        From `fingerprint`.
    planes : mapping of PlaneIndex to str
        SHA-256 of the pixels of each plane that has clicks.
    channels : Channels, optional
        Which ones it is made of, if not of one array as it is.
    levels : tuple of (tuple of int), optional
        Shapes of the coarser arrays of a pyramid, if planes were read from them.
    """

    name: str
    source: str | None
    shape: tuple[int, ...]
    dtype: str
    rgb: bool
    fingerprint: str
    planes: Mapping[PlaneIndex, str] = field(default_factory=dict)
    channels: Channels | None = None
    levels: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Record:
    """A click record.

    Parameters
    ----------
    image : ImageIdentity
        The image annotated.
    method : Method
        What predicted when it was recorded.
    masks : tuple of Recorded
        In the order in which objects took their pixels.
    painted : tuple of (tuple of ndarray of int, ndarray of int)
        Indices, an array an axis, and labels of the pixels that do not follow from the masks.
    notes : mapping of str to object
        What else the user had chosen, by the names of a session's attributes.
    made : mapping of str to str
        When, with which versions, and on what device.
    """

    image: ImageIdentity
    method: Method
    masks: tuple[Recorded, ...]
    painted: tuple[Indices, Values]
    notes: Mapping[str, Any]
    made: Mapping[str, str]

    @property
    def methods(self) -> tuple[Method, ...]:
        """All that predicted, each once; first what did when it was recorded."""
        return tuple(dict.fromkeys((self.method, *(m.method for m in self.masks if m.method is not None))))

    @property
    def methods_used(self) -> tuple[Method, ...]:
        """What replay needs: all that predicted masks in the record, each once; `method` where nothing did."""
        return tuple(dict.fromkeys(m.method for m in self.masks if m.method is not None)) or (self.method,)

    @property
    def largest(self) -> int:
        """The largest label; 0 where there is none."""
        return max([int(self.painted[1].max(initial=0)), *(mask.place.object for mask in self.masks)])


@dataclass(frozen=True)
class Moment:
    """A session at a moment; cheap to take, nothing in it changes.

    Parameters
    ----------
    image : Image
        The image annotated.
    masks : tuple of (Place, Refinement, PlaneMask or None, bool)
        As `Session.state` returns them, the places that nothing was done on left out.
    method : Method
        Of the predictor.
    device : str
        On which it computes.
    notes : mapping of str to object
        See `Record`.
    """

    image: Image
    masks: tuple[tuple[Place, Refinement, PlaneMask | None, Seen], ...]
    method: Method
    device: str
    notes: Mapping[str, Any]


def moment_of(session: Session) -> Moment:
    """Return a session as it is now; its labels are not part of it."""
    masks = tuple(item for item in session.state() if item[1].clicks or item[1].base or item[2])
    predictor = session.predictor
    return Moment(session.image, masks, predictor.method, str(predictor.model.device), session.choices())


def record_of(session: Session, *, name: str = "", source: str | None = None) -> Record:
    """Return the record of a session.

    Parameters
    ----------
    session : Session
        What was annotated; its image is read where there are clicks, its labels everywhere.
    name : str, optional
        Of the image.
    source : str, optional
        The file it came from: where `replay` looks for it.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_fbrs import Click, Predictor, Session, load_model
    >>> from napari_fbrs.annotation.click_record import record_of, write_record
    >>> image = np.zeros((64, 64), dtype=np.uint8)
    >>> image[20:40, 20:40] = 200
    >>> session = Session(image, Predictor(load_model(device="cpu")))
    >>> _ = session.click(Click(30, 30))
    >>> write_record("square.clicks.json", record_of(session, name="square"))
    """
    labels = np.asarray(session.labels.read((slice(None),) * session.image.ndim))
    return make_record(moment_of(session), labels, name=name, source=source)


def make_record(moment: Moment, labels: Values, *, name: str = "", source: str | None = None) -> Record:
    """Return the record of a moment and the labels at that moment; may take long.

    Parameters
    ----------
    moment : Moment
        From `moment_of`.
    labels : ndarray of int
        Of the image's shape.
    name, source : str, optional
        See `record_of`.
    """
    image = moment.image
    masks = tuple(_recorded(*item) for item in moment.masks)
    composed = compose(
        ((place, mask) for place, _, mask, _ in moment.masks),
        image.shape,
        labels.dtype,
        overwrite=moment.notes["overwrite"],
    )
    planes = {plane: plane_digest(image, plane) for plane in dict.fromkeys(m.place.plane for m in masks)}
    about = name, source, image.shape, str(image.data.dtype), image.rgb, fingerprint(image)
    identity = ImageIdentity(*about, planes, channels_of(image), levels_read(image, planes))
    made = {"at": datetime.now(UTC).isoformat(timespec="seconds")} | versions() | {"device": moment.device}
    return Record(identity, moment.method, masks, _different(composed, labels), moment.notes, made)


def _recorded(place: Place, refinement: Refinement, mask: PlaneMask | None, seen: Seen) -> Recorded:
    predicted = bool(refinement.asking)  # else the mask is that of the base, or empty
    method = mask.method if mask is not None else None
    kept = seen is not Seen.CURRENT or (predicted and method is None)
    return Recorded(
        place, refinement, method if predicted and not kept else None, digest(mask), kept, mask if kept else None
    )


def compose(
    masks: Iterable[tuple[Place, PlaneMask | None]], shape: Sequence[int], dtype: Any, *, overwrite: bool
) -> Values:
    """Return labels made of masks alone: a pixel belongs to the object that took it first.

    Parameters
    ----------
    masks : iterable of (Place, PlaneMask or None)
        In order, on planes that are resolved.
    shape : sequence of int
        Of the image.
    dtype : dtype
        Of the labels.
    overwrite : bool
        Pixels belong to the object that took them last.
    """
    labels = np.zeros(tuple(shape), dtype=dtype)
    for place, mask in masks:
        if mask is not None:
            part = labels[place.plane.select(*mask.crop.slices)]
            part = part.T if place.plane.transposed else part
            part[mask.pixels if overwrite else mask.pixels & (part == 0)] = place.object
    return labels


def digest(mask: PlaneMask | None) -> str:
    """Return a short hash of a mask: the first 16 digits of the SHA-256 of its box and bits."""
    hashed = hashlib.sha256()
    if mask is not None:
        crop = mask.crop
        box = (crop.row_min, crop.row_max, crop.column_min, crop.column_max)
        hashed.update(np.array(box, dtype="<i8").tobytes() + mask.bits.tobytes())
    return hashed.hexdigest()[:16]


def plane_digest(image: Image, plane: PlaneIndex) -> str:
    """Return the SHA-256 of the pixels of a plane: axes as in the image, numbers with the low byte first."""
    first = min(plane.axes)
    extent = image.shape[first]
    chunk = image.chunk(plane)[plane.axes.index(first)]
    step = max(1, LARGE * extent // max(1, image.plane_nbytes(plane)) // chunk) * chunk  # in the order of the bytes
    step = extent if image.in_one_chunk(plane) else step
    hashed = hashlib.sha256()
    for start in range(0, extent, step):
        strip = slice(start, start + step), slice(None)
        pixels = np.asarray(image.data[plane.select(*strip[:: -1 if plane.transposed else 1])])
        hashed.update(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes())
    return hashed.hexdigest()


def levels_read(image: Image, planes: Iterable[PlaneIndex]) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of the coarser levels that some planes of an image are read from, if they are."""
    if not any(image.read_in_parts(plane) for plane in planes):
        return ()
    return tuple(tuple(map(int, level.shape)) for level in image.coarser)


def versions() -> dict[str, str]:
    """Return the versions of what computes masks here."""
    python = ".".join(map(str, sys.version_info[:3]))
    return {name: metadata.version(name) for name in _VERSIONS_OF} | {"python": python}


def _different(composed: Values, labels: Values) -> tuple[Indices, Values]:
    """Return indices and labels of the pixels that are not as composed."""
    found = [slice_indices(at, composed[at] != labels[at]) for at in np.ndindex(labels.shape[:-2])]
    indices = tuple(np.concatenate(axis) for axis in zip(*found, strict=True))
    return indices, labels[indices]


# writing


def write_record(path: Path | str, record: Record) -> None:
    """Write a record as a file, usually called ``NAME.clicks.json``; a file of that name is replaced.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    with replacing(Path(path)) as temporary:
        # A name that is not UTF-8 becomes an escape of JSON's, from which the image is found again.
        temporary.write_text(_text(encode_record(record)), encoding="utf-8", errors="backslashreplace")


def encode_record(record: Record) -> dict[str, Json]:
    """Return a record as JSON; what is as usual is left out."""
    image, notes, methods = record.image, record.notes, record.methods
    channels = image.channels
    indices, values = record.painted
    painted = encoding.encode_change(LabelChange(indices, values, values), image.shape) if len(values) else None
    return {
        "format": FORMAT,
        "version": VERSION,
        "made": dict(record.made),
        "image": {
            "name": image.name,
            "source": image.source,
            "shape": list(image.shape),
            "dtype": image.dtype,
            "rgb": image.rgb,
            "fingerprint": image.fingerprint,
        }
        | ({"channels": {"axis": channels.axis, "shown": list(channels.shown)}} if channels else {})
        | ({"levels": [list(shape) for shape in image.levels]} if image.levels else {}),
        "planes": [_encode_plane(plane) | {"sha256": sha256} for plane, sha256 in image.planes.items()],
        "predictors": [encoding.encode_method(method) for method in methods],
        "settings": {name: notes[name] for name in ("object", "threshold", "extent")},
        "overlaps": "last" if notes["overwrite"] else "first",
        "objects": list(_encode_objects(record)),
        "masks": [_encode_mask(mask, methods) for mask in record.masks],
    } | ({"painted": painted} if painted else {})


def _encode_plane(plane: PlaneIndex) -> dict[str, Json]:
    return {"plane": list(plane.position), "axes": list(plane.axes)}


def _encode_objects(record: Record) -> Iterator[Json]:
    classes, locked = record.notes["classes"], record.notes["locked"]
    for label in sorted({*classes, *locked, *(mask.place.object for mask in record.masks)}):
        yield {"object": label, "class": classes.get(label), "locked": label in locked}


def _encode_mask(mask: Recorded, methods: Sequence[Method]) -> Json:
    data = {**encoding.encode_place(mask.place), **encoding.encode_refinement(mask.refinement), "digest": mask.digest}
    if mask.method is not None:
        data["predictor"] = methods.index(mask.method)
    return data | ({"kept": encoding.encode_mask(mask.mask)} if mask.kept else {})


def _text(data: Mapping[str, Json]) -> str:
    """Return JSON with a line for each click list, so that people find their way, and diffs are small."""
    parts = []
    for key, value in data.items():
        if key in _LINES and value:
            lines = ",\n".join(f"    {json.dumps(item, ensure_ascii=False, allow_nan=False)}" for item in value)
            text = f"[\n{lines}\n  ]"
        else:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        parts.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


# reading


def read_record(path: Path | str) -> Record:
    """Return the record that a file holds.

    Raises
    ------
    InputError
        If the file cannot be read, is damaged, or is of a newer version.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"{path.name} is too large for a click record")
        data = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_refuse_constant)
    except OSError as error:
        raise InputError(f"cannot read a click record from {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path.name} is no click record: it is damaged, or not JSON ({error})") from error
    return decode_record(data, path.name)


def decode_record(data: Json, name: str = "the record") -> Record:
    """Return what `encode_record` was given.

    Parameters
    ----------
    data : object
        What JSON holds; anything may stand in it.
    name : str, optional
        What it is called in messages.

    Raises
    ------
    InputError
        If it is no record, is damaged, or is of a newer version.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError(f"{name} is no click record of napari-fbrs")
    if data.get("version") != VERSION:
        raise InputError(
            f"{name} is a click record of version {data.get('version')!r}, this napari-fbrs reads version {VERSION}: "
            "a newer napari-fbrs may read it"
        )
    error = jsonschema.exceptions.best_match(_validator().iter_errors(data))
    if error is not None:
        where = "".join(f"[{part!r}]" for part in error.absolute_path) or "the file"
        raise InputError(f"{name} is damaged: in {where}, {error.message[:200]}")
    with encoding.decoding(name):
        return _decoded(data)


def schema() -> dict[str, Json]:
    """Return the JSON Schema of records."""
    text = resources.files("napari_fbrs.annotation").joinpath("click_record.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Json] = json.loads(text)
    return loaded


@cache
def _validator() -> Any:
    usual = jsonschema.Draft202012Validator
    checker = usual.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)  # 1.0 is none here
    return jsonschema.validators.extend(usual, type_checker=checker)(schema())


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _decoded(data: Mapping[str, Json]) -> Record:
    about, settings = data["image"], data["settings"]
    shape = tuple(about["shape"])
    methods = [encoding.decode_method(method) for method in data["predictors"]]
    planes = {_decode_plane(plane, shape): plane["sha256"] for plane in data["planes"]}
    masks = tuple(_decode_mask(mask, methods, shape) for mask in data["masks"])
    if len({mask.place for mask in masks}) < len(masks):
        raise InputError("an object appears twice on a plane")
    if any(mask.place.plane not in planes for mask in masks):
        raise InputError("a plane with clicks is not in the list of planes")
    notes = {
        **settings,
        "overwrite": data["overlaps"] == "last",
        "locked": {item["object"] for item in data["objects"] if item["locked"]},
        "classes": {item["object"]: item["class"] for item in data["objects"] if item["class"]},
    }
    channels = _decode_channels(about.get("channels"), len(shape))
    levels = tuple(tuple(level) for level in about.get("levels", ()))
    identity = ImageIdentity(**(about | {"shape": shape, "channels": channels, "levels": levels}), planes=planes)
    return Record(identity, methods[0], masks, _decode_painted(data.get("painted"), shape), notes, data["made"])


def _decode_channels(data: Json, ndim: int) -> Channels | None:
    if data is None:
        return None
    if data["axis"] is not None and data["axis"] >= ndim:
        raise InputError(f"there is no axis {data['axis']} of channels in an image of {ndim} axes")
    return Channels(data["axis"], tuple(data["shown"]))


def _decode_plane(data: Mapping[str, Json], shape: tuple[int, ...]) -> PlaneIndex:
    first, second = data["axes"]
    plane = PlaneIndex(tuple(data["plane"]), (first, second)).resolved(len(shape))
    others = [extent for axis, extent in enumerate(shape) if axis not in plane.axes]
    if any(at >= extent for at, extent in zip(plane.position, others, strict=True)):
        raise InputError(f"there is no plane {plane.position} in an image of shape {shape}")
    return plane


def _decode_mask(data: Mapping[str, Json], methods: Sequence[Method], shape: tuple[int, ...]) -> Recorded:
    plane = _decode_plane(data, shape)
    extents = shape[plane.axes[0]], shape[plane.axes[1]]
    kept, base = data.get("kept"), data.get("base")
    for mask in (kept, base and base["mask"]):  # before anything is unpacked
        _check_box(mask, extents)
    refinement = encoding.decode_refinement(data)
    outside = [click.pixel for click in refinement.clicks if not click.inside(extents)]
    if outside:
        raise InputError(f"the click at {outside[0]} is outside the plane of {extents}")
    recorded = Recorded(
        replace(encoding.decode_place(data), plane=plane),
        refinement,
        methods[data["predictor"]] if "predictor" in data else None,
        data["digest"],
        "kept" in data,
        encoding.decode_mask(kept),
    )
    if refinement.asking and recorded.method is None and not recorded.kept:
        raise InputError(f"object {recorded.place.object} has clicks, but nothing to predict its mask from them")
    return recorded


def _check_box(mask: Json, extents: tuple[int, int]) -> None:
    if mask is None:
        return
    row_min, row_max, column_min, column_max = mask["box"]
    if not (row_min <= row_max < extents[0] and column_min <= column_max < extents[1]):
        raise InputError(f"a mask reaches beyond the plane of {extents}")


def _decode_painted(data: Json, shape: tuple[int, ...]) -> tuple[Indices, Values]:
    if data is None:
        return (np.zeros(0, dtype=np.intp),) * len(shape), np.zeros(0, dtype=np.int64)
    indices, values = encoding.decode_change(data, shape)
    if values.min(initial=0) < 0 or values.max(initial=0) >= 2**31:
        raise InputError("labels of painted pixels are whole numbers from 0")
    return indices, values
