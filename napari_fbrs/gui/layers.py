"""The napari layers of an annotation: clicks as Points, masks as Labels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels, Layer, Points
from napari.utils.colormaps.standardize_color import transform_color
from napari.utils.events import Event

from napari_fbrs.annotation.labels import Indices, LabelChange, Values, empty_labels, no_room
from napari_fbrs.annotation.reconcile import Point
from napari_fbrs.errors import InputError
from napari_fbrs.gui.picture import Picture, transform_of

NEW = "napari-fbrs new"  # key in the metadata of a Labels layer that nothing has been written into yet
_SIZE_ON_SCREEN = 14  # pixels, whatever the zoom
# Border and face of one colour: at a fixed size on screen napari draws the border as wide as if there were no limit.
_STYLE: dict[bool, dict[str, Any]] = {
    True: {"symbol": "disc", "face_color": "#2ecc71", "border_color": "#2ecc71"},
    False: {"symbol": "x", "face_color": "#ff3860", "border_color": "#ff3860"},
}
_UNMET = np.array([1, 214 / 255, 10 / 255, 1], dtype=np.float32)  # yellow: lighter than both signs, in any eyes
_SIGN_NAMES = {True: "positive", False: "negative"}


def new_points(image: Picture, *, positive: bool) -> Points:
    """Return an empty Points layer for clicks of one sign."""
    return Points(
        ndim=image.ndim,
        name=f"{image.name} {_SIGN_NAMES[positive]}",
        size=_SIZE_ON_SCREEN,
        canvas_size_limits=(_SIZE_ON_SCREEN, _SIZE_ON_SCREEN),
        opacity=1.0,
        **_STYLE[positive],
        **image.transform(),
    )


def new_labels(image: Picture) -> Labels:
    """Return an empty Labels layer for masks."""
    return Labels(
        empty_labels(image.shape),
        name=f"{image.name} objects",
        metadata={NEW: True},
        opacity=0.5,
        **image.transform(),
    )


def check_points(points: Points, image: Picture) -> None:
    """Raise `InputError` if a Points layer cannot hold clicks on an image."""
    if points.ndim != image.ndim:
        raise InputError(
            f"the Points layer {points.name!r} has {points.ndim} dimensions, the image {image.name!r} has "
            f"{image.ndim}: choose another layer or let Start make one"
        )


def check_labels(labels: Labels, image: Picture) -> None:
    """Raise `InputError` if a Labels layer cannot hold masks of an image."""
    name = f"the Labels layer {labels.name!r}"
    if labels.multiscale:
        raise InputError(f"{name} is multiscale and cannot be edited: let Start make one")
    if type(labels.data).__module__.startswith("dask"):
        raise InputError(f"{name} is a dask array and cannot be edited: load it into memory, or let Start make one")
    if _read_only(labels.data):
        raise InputError(f"{name} is read-only: duplicate it, or let Start make one")
    if tuple(labels.data.shape) != image.shape:
        raise InputError(
            f"{name} has shape {tuple(labels.data.shape)}, the image {image.name!r} has {image.shape}"
            f"{'' if image.axis is None else ' without its channels'}: choose another layer or let Start make one"
        )


def _read_only(data: Any) -> bool:
    """Whether an array says that it cannot be written into: one of NumPy's, or of zarr."""
    flags = getattr(data, "flags", None)
    return bool(getattr(data, "read_only", False)) or not getattr(flags, "writeable", True)


def largest_label(labels: Labels) -> int:
    """Return the largest label of a layer, 0 where there is none, read slice by slice: the data may be on a disk."""
    slices = (np.asarray(labels.data[index]) for index in np.ndindex(*labels.data.shape[:-2]))
    return max((int(labels.max(initial=0)) for labels in slices), default=0)


def check_room(labels: Labels) -> None:
    """Raise `InputError` if a Labels layer has no label left for one more object."""
    largest, limit = largest_label(labels), int(np.iinfo(labels.data.dtype).max)
    if largest >= limit:
        raise InputError(f"the Labels layer {labels.name!r} holds the label {largest}, and {no_room(limit)}")


class LayerLabels:
    """A Labels layer as the store of an annotation.

    Parameters
    ----------
    layer : Labels
        Edited through napari, so that only what changes is drawn again.
    """

    def __init__(self, layer: Labels) -> None:
        self.layer = layer
        self.writing = False
        self._stamp = object()
        # The brush and fill say what they paint; undo, other data, and refresh() after a script, that all is new.
        for happened in (layer.events.paint, layer.events.set_data, layer.events.data):
            happened.connect(self._written)

    @property
    def stamp(self) -> object | None:
        """What is another one once the labels have been written; None where that is not known.

        A layer that is hidden says nothing of what scripts write.
        """
        return self._stamp if self.layer.visible else None

    @property
    def largest(self) -> int:
        """The largest label there is room for."""
        return int(np.iinfo(self.layer.data.dtype).max)

    def _written(self, _event: Event | None = None) -> None:
        self._stamp = object()

    def read(self, index: tuple[Any, ...]) -> Values:
        """Return the labels at an index of the nD array."""
        return np.asarray(self.layer.data[index])

    def write(self, indices: Indices, values: Values) -> None:
        """Set single pixels, given one index array an axis."""
        self.writing = True
        try:
            with self.layer.block_history():
                self.layer.data_setitem(indices, values)
        finally:
            self.writing = False
            self._written()


def painted_change(event: Event) -> LabelChange | None:
    """Return the pixels that a ``paint`` event of a Labels layer reports; None if there are none."""
    change = None
    for atom in event.value:
        now = _atom_change(atom)
        change = now if change is None else change.then(now)
    return change


def _atom_change(atom: Any) -> LabelChange:
    """Return one entry of a paint event: (indices, before, after), or from napari 0.9 on a region and a mask of it."""
    if not hasattr(atom, "slice_key"):
        indices, before, after = atom
        arrays = tuple(np.asarray(axis) for axis in indices)
    else:
        before, after = atom.old_values, atom.new_value
        starts = [key.start if isinstance(key, slice) else key for key in atom.slice_key]
        shape = np.shape(before) if atom.mask is None else atom.mask.shape
        mask = np.ones(shape, dtype=bool) if atom.mask is None else atom.mask
        within = iter(np.nonzero(mask))
        count = np.count_nonzero(mask)
        arrays = tuple(
            next(within) + start if isinstance(key, slice) else np.full(count, start)
            for key, start in zip(atom.slice_key, starts, strict=True)
        )
    return LabelChange(
        arrays,
        np.broadcast_to(np.ravel(before), arrays[0].shape),
        np.broadcast_to(np.ravel(after), arrays[0].shape),
    )


class Look:
    """The colours of a Points layer: its own, but for the points that the mask contradicts.

    Colours are set point by point. The colours of the layer for points to come, its features, and what is selected are
    not made use of, for napari's own editing changes them: whoever selects a point makes its colour that of the next.

    Parameters
    ----------
    layer : Points
        As it is now, its colours for points to come are its own.
    """

    def __init__(self, layer: Points) -> None:
        self._layer = layer
        self._own = layer.current_face_color, layer.current_border_color

    def show(self, unmet: npt.NDArray[np.bool_]) -> None:
        """Colour the points in question, shape (points,), and give those coloured before their own colour back."""
        for kind, own in zip(("face_color", "border_color"), self._own, strict=True):
            now = np.asarray(getattr(self._layer, kind))
            wanted = now.copy()
            wanted[(now == _UNMET).all(axis=1)] = transform_color(own)[0]
            wanted[unmet] = _UNMET
            if not np.array_equal(wanted, now):
                setattr(self._layer, kind, wanted)

    def of_points_to_come(self) -> None:
        """Give points to come the layer's own colours, if no point is selected that would be coloured with them."""
        if not self._layer.selected_data:
            self._layer.current_face_color, self._layer.current_border_color = self._own


def mapped(positions: npt.NDArray[np.float64], from_: Layer | Picture, to: Layer | Picture) -> npt.NDArray[np.float64]:
    """Return positions, shape (N, ndim), in the data of another layer; the way there is affine."""
    if not len(positions):
        return positions
    ndim = positions.shape[1]
    corners = [to.world_to_data(from_.data_to_world(p)) for p in np.vstack((np.zeros(ndim), np.eye(ndim)))]
    origin, matrix = np.array(corners[0]), np.array(corners[1:]) - corners[0]
    mapped: npt.NDArray[np.float64] = positions @ matrix + origin
    return mapped


class Followers:
    """The layers that lie on an image: they go where it goes, for what they hold belongs to its pixels.

    Parameters
    ----------
    image : Picture
        The image as it lies now.
    """

    def __init__(self, image: Picture) -> None:
        self._image = image
        self._lay = self._corners(image)

    def follow(self, layers: Iterable[Layer]) -> None:
        """Give layers that have lain on the image its transform as it is now; others stay where they were put."""
        before, self._lay = self._lay, self._corners(self._image)
        told = self._image.transform()
        following = [layer for layer in layers if np.allclose(self._corners(layer), before)]
        in_other_units = [layer for layer in following if layer.units != told["units"]]
        for layer in following:
            now = transform_of(layer)
            for name, value in told.items():
                if not np.array_equal(now[name], value):  # each draws the layer anew
                    setattr(layer, name, value)
        if in_other_units:  # napari slices at a place in the old units, beside the image
            for layer in (*self._image.layers, *following):
                layer.events.reload(layer=layer)
                layer.refresh()

    def _corners(self, layer: Layer | Picture) -> npt.NDArray[np.float64]:
        """Return where the first pixel of the image would lie in a layer, and the end of each axis."""
        ends = np.zeros(self._image.ndim), *np.diag(self._image.shape)
        return np.array([layer.data_to_world(at) for at in ends])


class ClickLayers:
    """The two Points layers that show, and take, the clicks of the current object.

    Parameters
    ----------
    image : Picture
        The image clicked on; never modified.
    positive, negative : Points
        One layer a sign.
    """

    def __init__(self, image: Picture, positive: Points, negative: Points) -> None:
        self.image = image
        self.by_sign = {True: positive, False: negative}
        self._looks = [Look(layer) for layer in self]
        self._writing = False

    def __iter__(self) -> Iterator[Points]:
        return iter(self.by_sign.values())

    @property
    def writing(self) -> bool:
        """Whether a change of the layers is this object's own doing."""
        return self._writing

    def read(self) -> tuple[list[Point], int]:
        """Return the points on pixels of the image, and how many lie outside it."""
        shape = np.array(self.image.shape)
        points, outside = [], 0
        for positive, layer in self.by_sign.items():
            pixels = self._pixels(layer)
            inside = ((pixels >= 0) & (pixels < shape)).all(axis=1)  # which NaN is not
            outside += int(np.count_nonzero(~inside))
            points += [Point(tuple(pixel), positive) for pixel in pixels[inside].astype(int).tolist()]
        return points, outside

    def write(self, points: Iterable[Point]) -> None:
        """Show these points and no others."""
        points = list(points)
        with self._own_change():
            for positive, layer in self.by_sign.items():
                pixels = np.array([p.pixel for p in points if p.positive is positive], dtype=float)
                layer.data = mapped(pixels.reshape(-1, layer.ndim), self.image, layer)
                layer.selected_data = set()

    def _pixels(self, layer: Points) -> npt.NDArray[np.float64]:
        return np.rint(mapped(np.asarray(layer.data, dtype=float), layer, self.image))

    def move_last(self, layer: Points) -> None:
        """Move the newest point of a layer to the layer of the other sign."""
        other = next(points for points in self if points != layer)
        position = other.world_to_data(layer.data_to_world(layer.data[-1]))
        with self._own_change():
            layer.data = layer.data[:-1]
            other.add([position])

    def deselect(self) -> None:
        """Take the highlight off points just added, which would hide their colour."""
        with self._own_change():
            for layer in self.by_sign.values():
                layer.selected_data = set()
        for look in self._looks:
            look.of_points_to_come()

    def centre(self) -> None:
        """Move points to the middle of the channels: there they are displayed, whichever channel is."""
        axis = self.image.axis
        if axis is None:
            return
        with self._own_change():
            for layer in self:
                pixels = mapped(np.asarray(layer.data, dtype=float), layer, self.image)
                wide = np.allclose(layer.scale, self.image.transform()["scale"])  # not one that the user has made
                if wide and not np.allclose(pixels[:, axis], 0):
                    pixels[:, axis] = 0
                    layer.data = mapped(pixels, self.image, layer)

    def mark(self, unmet: Collection[Point]) -> None:
        """Show which points the mask contradicts, by their colour; all else about points stays as it is."""
        with self._own_change():
            for (positive, layer), look in zip(self.by_sign.items(), self._looks, strict=True):
                points = [Point(tuple(map(int, pixel)), positive) for pixel in self._pixels(layer)]
                look.show(np.array([point in unmet for point in points], dtype=np.bool_))

    @contextmanager
    def _own_change(self) -> Iterator[None]:
        self._writing = True
        try:
            yield
        finally:
            self._writing = False
