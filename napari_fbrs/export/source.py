"""What is exported: a label image, and what is known of its axes, its scale and its objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_fbrs.errors import InputError

PIXEL = "pixel"
# As pint, and so napari, writes them: short and long names are both met with in files and layers.
_UNITS = {
    "angstrom": ("å", "ångström", "angstroms"),
    "nanometer": ("nm", "nanometers", "nanometre"),
    "micrometer": ("um", "µm", "μm", "micron", "microns", "micrometers", "micrometre"),
    "millimeter": ("mm", "millimeters", "millimetre"),
    "centimeter": ("cm", "centimeters", "centimetre"),
    "meter": ("m", "meters", "metre"),
    "millisecond": ("ms", "msec", "milliseconds"),
    "second": ("s", "sec", "seconds"),
    "minute": ("min", "minutes"),
    "hour": ("h", "hr", "hours"),
    PIXEL: ("px", "pixels", "", "dimensionless", "none"),
}
_AXES = {"time": "t", "frame": "t", "channel": "c", "depth": "z", "plane": "z", "slice": "z", "row": "y", "column": "x"}
_USUAL = ("t", "c", "z")  # what leading axes are taken for, counted from the last, where nothing is said
_USUAL_BY_COUNT = {0: (), 1: ("z",), 2: ("t", "z"), 3: ("t", "c", "z")}


@dataclass(frozen=True, eq=False)
class LabelImage:
    """A label image to export.

    Parameters
    ----------
    data : array_like of int, shape (..., rows, columns)
        Labels of objects, 0 off them. NumPy, dask, zarr or memory-mapped; read plane by plane.
    name : str, optional
        Goes into file names and metadata, with "?" for what is not UTF-8 in the name of a file.
    axes : sequence of str, optional
        A name for each axis, the last two being ``"y", "x"``; found from the number of axes by default: a stack is
        taken for z, two leading axes for t and z.
    scale : sequence of float, optional
        Size of a pixel along each axis, in `units`; 1 by default, and for 0. Of an axis that runs backwards, as in a
        layer, the size is positive.
    units : sequence of str, optional
        Unit of each axis, such as ``"micrometer"`` or ``"second"``; ``"pixel"`` by default.
    translate : sequence of float, optional
        Where the centre of the first pixel lies, in `units`; 0 by default.
    classes : mapping of int to str, optional
        Class of each object that has one.
    intensities : array_like, optional
        An image of the same shape, measured where measurements are exported.

    Raises
    ------
    InputError
        If the labels are not whole numbers, a size is not finite, or the rest does not fit their shape.
    """

    data: Any
    name: str = "labels"
    axes: Sequence[str] = ()
    scale: Sequence[float] = ()
    units: Sequence[str] = ()
    translate: Sequence[float] = ()
    classes: Mapping[int, str] = field(default_factory=dict)
    intensities: Any = None

    def __post_init__(self) -> None:
        data = self.data if hasattr(self.data, "dtype") else np.asarray(self.data)
        ndim = len(data.shape)
        if np.dtype(data.dtype).kind not in "biu" or ndim < 2:
            raise InputError(f"labels are whole numbers in at least 2 dimensions, found {data.dtype} of {data.shape}")
        for what, values in (("axes", self.axes), ("scale", self.scale), ("units", self.units)):
            if len(values) not in (0, ndim):
                raise InputError(f"labels of shape {tuple(data.shape)} need {ndim} {what}, found {len(values)}")
        if not all(math.isfinite(size) for size in self.scale):
            raise InputError(f"sizes of a pixel are finite, found scale {', '.join(map(str, self.scale))}")
        if self.intensities is not None and tuple(self.intensities.shape) != tuple(data.shape):
            raise InputError(
                f"the image to measure has shape {tuple(self.intensities.shape)}, the labels have {tuple(data.shape)}"
            )
        keep = object.__setattr__  # of a frozen dataclass
        keep(self, "data", data)
        keep(self, "name", self.name.encode("utf-8", "replace").decode())
        keep(self, "axes", _axes(self.axes, ndim))
        keep(self, "scale", tuple(abs(float(size)) or 1.0 for size in self.scale) or (1.0,) * ndim)
        keep(self, "units", tuple(unit_name(unit) for unit in self.units) or (PIXEL,) * ndim)
        keep(self, "translate", tuple(float(at) for at in self.translate) or (0.0,) * ndim)
        keep(self, "classes", {int(label): str(name) for label, name in self.classes.items()})

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent along each axis, in pixels."""
        return tuple(int(extent) for extent in self.data.shape)

    @property
    def leading(self) -> tuple[str, ...]:
        """Names of the axes before rows and columns."""
        return tuple(self.axes[:-2])

    def size_of(self, axis: str) -> tuple[float, str] | None:
        """Return the size of a pixel along an axis and its unit, None where there is no such axis."""
        if axis not in self.axes:
            return None
        at = tuple(self.axes).index(axis)
        return float(self.scale[at]), self.units[at]


def unit_name(unit: object) -> str:
    """Return a unit by its long name: ``"micrometer"`` for µm, um, micron or pint's object; others as they are."""
    text = str(unit).strip()
    known = [name for name, others in _UNITS.items() if text.lower() in (name, *others)]
    return known[0] if known else text


def unit_symbol(unit: str) -> str:
    """Return a unit as it is written after a number: ``"µm"`` for ``"micrometer"``."""
    symbols = {"angstrom": "Å", "micrometer": "µm", PIXEL: "px"}
    return symbols.get(unit, _UNITS[unit][0] if unit in _UNITS else unit)


def from_layer(data: Any, meta: Mapping[str, Any]) -> LabelImage:
    """Return the label image of a napari Labels layer.

    Parameters
    ----------
    data : array_like or list of array_like
        The layer's data; the first of a multiscale layer's levels is used.
    meta : mapping
        The layer's attributes, as `Layer.as_layer_data_tuple` returns them and npe2 hands them to writers.

    Returns
    -------
    LabelImage
        Classes are taken from the columns ``index`` and ``class`` of the layer's features, where there are such.

    Raises
    ------
    InputError
        If the layer holds no labels.
    """
    if not hasattr(data, "dtype") and len(data) and hasattr(data[0], "dtype"):
        data = data[0]
    return LabelImage(
        data,
        name=str(meta.get("name") or "labels"),
        axes=_layer_axes(meta.get("axis_labels") or (), len(data.shape)),
        scale=_values(meta, "scale"),
        units=[str(unit) for unit in _values(meta, "units")],
        translate=_values(meta, "translate"),
        classes=classes_of(meta.get("features")),
    )


def classes_of(features: Any) -> dict[int, str]:
    """Return the classes in a table of features with the columns ``index`` and ``class``; empty without them."""
    if features is None or not {"index", "class"} <= set(features):
        return {}
    pairs = zip(features["index"], features["class"], strict=True)
    return {int(label): str(name) for label, name in pairs if isinstance(name, str) and name}


def _values(meta: Mapping[str, Any], key: str) -> Sequence[Any]:
    values = meta.get(key)
    return () if values is None else tuple(values)


def _layer_axes(names: Sequence[str], ndim: int) -> Sequence[str]:
    """Return a layer's axis labels, none where they are napari's numbers or do not name rows and columns last."""
    known = [_AXES.get(str(name).lower(), str(name).lower()) for name in names]
    given = len(known) == ndim and all(name.isalpha() for name in known) and len(set(known)) == ndim
    return known if given and known[-2:] == ["y", "x"] else ()


def _axes(names: Sequence[str], ndim: int) -> tuple[str, ...]:
    if not names:
        leading = _USUAL_BY_COUNT.get(ndim - 2)
        if leading is None:
            leading = tuple(f"axis{number}" for number in range(ndim - 2 - len(_USUAL))) + _USUAL
        return (*leading, "y", "x")
    axes = tuple(_AXES.get(str(name).lower(), str(name).lower()) for name in names)
    if axes[-2:] != ("y", "x") or len(set(axes)) != ndim or not all(name.isidentifier() for name in axes):
        raise InputError(f"axes are different names that end in y, x, such as t, z, y, x; found {', '.join(names)}")
    return axes
