"""Annotations as JSON, and back: clicks a person can read, pixels compressed."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fbrs.annotation.history import Base, Place, Refinement
from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.annotation.labels import LabelChange, PlaneMask
from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.errors import InputError
from napari_fbrs.inference.first_look import Expected
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.settings import MODES, Method, PredictorSettings
from napari_fbrs.inference.zoom import Zoom
from napari_fbrs.strokes import Stroke

Json = Any
_DAMAGE = (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError, MemoryError, RecursionError)
_MOST_VARIABLES = 2**26  # a bias of every pixel of the network's input, and more


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Turn what goes wrong when foreign JSON is decoded into an `InputError` that says where.

    Parameters
    ----------
    what : str
        What is being read, for the message.
    """
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what} is damaged: {type(error).__name__} {error}") from error


def encode_click(click: Click) -> Json:
    """Return a click as ``[row, column, 1 or 0]``, a stroke as ``{"stroke": runs, "positive": 1 or 0}``."""
    if isinstance(click, Stroke):
        return {"stroke": click.text, "positive": int(click.positive)}
    return [click.row, click.column, int(click.positive)]


def decode_click(data: Json) -> Click:
    """Return what `encode_click` was given."""
    if isinstance(data, Mapping):
        return Stroke.parse(data["stroke"], positive=_sign(data["positive"]))
    row, column, positive = data
    return Click(_number(row), _number(column), _sign(positive))


def encode_rounds(clicks: ClickList) -> Json:
    """Return clicks as a list of rounds."""
    return [[encode_click(click) for click in round_] for round_ in clicks.rounds]


def decode_rounds(data: Json) -> ClickList:
    """Return what `encode_rounds` was given."""
    return ClickList(tuple(tuple(decode_click(click) for click in round_) for round_ in data))


def encode_place(place: Place) -> Json:
    """Return an object and a plane."""
    return {"object": place.object, "plane": list(place.plane.position), "axes": list(place.plane.axes)}


def decode_place(data: Json) -> Place:
    """Return what `encode_place` was given."""
    first, second = data["axes"]
    position = tuple(_whole(at) for at in data["plane"])
    return Place(_whole(data["object"], 1), PlaneIndex(position, (_whole(first), _whole(second))))


def encode_refinement(refinement: Refinement) -> Json:
    """Return what decides a mask; what is as usual is left out."""
    expected, base = refinement.expected, refinement.base
    optional = {
        "limits": list(refinement.limits) if refinement.limits else None,
        "expected": [expected.extent, expected.certain] if expected else None,
        "base": _encode_base(base) if base else None,
    }
    return {"rounds": encode_rounds(refinement.clicks), "threshold": refinement.threshold} | {
        key: value for key, value in optional.items() if value is not None
    }


def decode_refinement(data: Json) -> Refinement:
    """Return what `encode_refinement` was given."""
    limits, expected, base = (data.get(key) for key in ("limits", "expected", "base"))
    if limits is not None:
        if len(limits) not in (2, 4, 6):
            raise ValueError(f"limits are two numbers a channel, not {len(limits)}")
        limits = tuple(_number(limit) for limit in limits)
    if expected is not None:
        extent, certain = expected
        expected = Expected(_number(extent), bool(certain))
    return Refinement(
        decode_rounds(data["rounds"]),
        _number(data["threshold"]),
        limits,
        expected,
        _decode_base(base) if base is not None else None,
    )


def encode_method(method: Method) -> Json:
    """Return what masks are predicted by."""
    return asdict(method)


def decode_method(data: Json) -> Method:
    """Return what `encode_method` was given."""
    settings = dict(data["settings"])
    zoom = settings.pop("zoom")
    if data["mode"] not in MODES:
        raise ValueError(f"no mode is called {data['mode']!r}")
    chosen = PredictorSettings(zoom=None if zoom is None else Zoom(**zoom), **settings)
    return Method(str(data["model"]), str(data["sha256"]), data["mode"], chosen)


def encode_mask(mask: PlaneMask | None) -> Json:
    """Return a mask of a plane; None where it is empty."""
    if mask is None:
        return None
    crop = mask.crop
    data = {"box": [crop.row_min, crop.row_max, crop.column_min, crop.column_max], "bits": _packed(mask.bits)}
    return data if mask.method is None else data | {"method": encode_method(mask.method)}


def decode_mask(data: Json) -> PlaneMask | None:
    """Return what `encode_mask` was given."""
    if data is None:
        return None
    crop = Crop(*(_whole(at) for at in data["box"]))
    if min(crop.shape) < 1:
        raise ValueError(f"a mask cannot have {crop.shape} pixels")
    bits = _unpacked(data["bits"], np.dtype(np.uint8), math.ceil(math.prod(crop.shape) / 8))
    return PlaneMask(crop, bits, _known_method(data.get("method")))


def encode_change(change: LabelChange, shape: Sequence[int]) -> Json:
    """Return pixels and their new labels, in an image of `shape`."""
    flat = np.ravel_multi_index(change.indices, tuple(shape)) if len(change.after) else np.zeros(0, np.int64)
    order = np.argsort(flat, kind="stable")
    steps = np.diff(flat[order], prepend=0).astype(np.int64)
    return {
        "pixels": len(flat),
        "steps": _packed(steps),
        "labels": _packed(np.asarray(change.after)[order].astype(np.int64)),
    }


def decode_change(data: Json, shape: Sequence[int]) -> tuple[tuple[npt.NDArray[np.intp], ...], npt.NDArray[np.int64]]:
    """Return indices of pixels, an array an axis, and their new labels.

    Raises
    ------
    ValueError
        If there are pixels beyond the image.
    """
    count = _whole(data["pixels"])
    if count > math.prod(shape):
        raise ValueError(f"{count} pixels changed in an image of {tuple(shape)}")
    flat = np.cumsum(_unpacked(data["steps"], np.dtype(np.int64), count))
    labels = _unpacked(data["labels"], np.dtype(np.int64), count)
    return np.unravel_index(flat, tuple(shape)), labels


def encode_plane(at: Sequence[int], labels: npt.NDArray[Any]) -> Json:
    """Return the labels of a plane along the last two axes, at an index of those before."""
    return {"at": list(at), "labels": _packed(labels.astype(np.int64), level=1)}


def decode_plane(data: Json, shape: Sequence[int]) -> tuple[tuple[int, ...], npt.NDArray[np.int64]]:
    """Return what `encode_plane` was given, in an image of `shape`."""
    at = tuple(_whole(index) for index in data["at"])
    if len(at) != len(shape) - 2 or any(index >= n for index, n in zip(at, shape[:-2], strict=True)):
        raise ValueError(f"there is no plane {at} in an image of {tuple(shape)}")
    rows, columns = shape[-2:]
    return at, _unpacked(data["labels"], np.dtype(np.int64), rows * columns).reshape(rows, columns)


def _known_method(data: Json) -> Method | None:
    """Return what predicted a mask; None where that is not said, or in words of another version: the mask counts."""
    try:
        return None if data is None else decode_method(data)
    except (KeyError, TypeError, ValueError):
        return None


def _encode_base(base: Base) -> Json:
    return {
        "mask": encode_mask(base.mask),
        "settled": [encode_click(click) for click in base.settled],
        "variables": None if base.variables is None else _packed(np.asarray(base.variables, np.float32)),
        "variables_shape": None if base.variables is None else list(np.shape(base.variables)),
        "found": base.found,
        "confidence": base.confidence,
    }


def _decode_base(data: Json) -> Base:
    variables = None
    if data["variables"] is not None:
        shape = tuple(_whole(n) for n in data["variables_shape"])
        if math.prod(shape) > _MOST_VARIABLES:
            raise ValueError(f"{shape} is more than there can be of scales and biases")
        variables = _unpacked(data["variables"], np.dtype(np.float32), math.prod(shape)).reshape(shape)
    confidence = data["confidence"]
    return Base(
        decode_mask(data["mask"]),
        tuple(decode_click(click) for click in data["settled"]),
        variables,
        bool(data["found"]),
        None if confidence is None else _number(confidence),
    )


def _packed(array: npt.NDArray[Any], level: int = -1) -> str:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return base64.b64encode(zlib.compress(little.tobytes(), level)).decode("ascii")


def _unpacked(text: str, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    """Return an array of `count` numbers; no more memory is used than that, whatever the text promises."""
    size = count * dtype.itemsize
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(text, validate=True), size + 1)
    except (zlib.error, binascii.Error) as error:
        raise ValueError(f"compressed pixels cannot be read: {error}") from error
    if len(data) != size:
        raise ValueError(f"there should be {size} bytes of pixels")
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype)


def _whole(value: Any, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
        raise ValueError(f"a whole number from {least} was expected, not {value!r}")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"a number was expected, not {value!r}")
    return value


def _sign(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError(f"the sign of a click is 1 or 0, not {value!r}")
    return bool(value)
