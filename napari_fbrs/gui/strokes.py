"""The Labels layer in which strokes are painted with napari's own brush, and shapes that become strokes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from napari.layers import Labels, Shapes
from napari.utils.colormaps import DirectLabelColormap
from skimage import draw, morphology

from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.annotation.scribbles import VALUES, strokes_of, value_of
from napari_fbrs.errors import InputError
from napari_fbrs.gui.layers import LayerLabels, mapped
from napari_fbrs.gui.picture import Picture
from napari_fbrs.strokes import Stroke

Drawn = tuple[PlaneIndex, Stroke]
_COLORS = {None: "transparent", 0: "transparent", 1: "#2ecc71", 2: "#ff3860"}  # those of the points
_BRUSH_SHARE = 0.01  # of the image's longer side
_POSITIVE = "positive"  # name of a feature of shapes
_LINES = ("path", "line")


def new_strokes(image: Picture) -> Labels:
    """Return an empty layer for strokes."""
    layer = Labels(
        np.zeros(image.shape, dtype=np.uint8),
        name=f"{image.name} strokes",
        opacity=0.6,
        colormap=DirectLabelColormap(color_dict=_COLORS),
        **image.transform(),
    )
    layer.brush_size = max(3, round(_BRUSH_SHARE * max(image.shape[-2:])))
    return layer


class StrokeLayer:
    """A Labels layer that shows, and takes, the strokes of the current object.

    Parameters
    ----------
    layer : Labels
        1 lies on the object, 2 off it.
    """

    def __init__(self, layer: Labels) -> None:
        self.layer = layer
        self.store = LayerLabels(layer)
        self._shown: dict[Drawn, None] = {}

    @property
    def writing(self) -> bool:
        """Whether a change of the layer is this object's own doing."""
        return self.store.writing

    @property
    def positive(self) -> bool:
        """Whether the brush paints positive strokes."""
        return bool(self.layer.selected_label != dict(VALUES)[False])

    def take_brush(self, positive: bool) -> None:
        """Have napari's brush paint strokes of a sign."""
        self.layer.selected_label = dict(VALUES)[positive]
        self.layer.mode = "paint"

    def read(self, axes: tuple[int, int], known: Iterable[Drawn]) -> Iterator[Drawn]:
        """Yield what has been painted before, on planes of these axes, but for strokes that are known already.

        Raises
        ------
        InputError
            If it is no layer of strokes.
        """
        for plane, stroke in known:
            self._paint(plane, stroke, 0)
        data = np.asarray(self.layer.data)
        others = [axis for axis in range(data.ndim) if axis not in axes]
        for position in np.unique(np.argwhere(data)[:, others], axis=0).tolist():
            plane = PlaneIndex(tuple(position), axes)
            labels = data[plane.select(slice(None), slice(None))]
            yield from ((plane, stroke) for stroke in strokes_of(labels.T if plane.transposed else labels))

    def write(self, strokes: Iterable[Drawn]) -> None:
        """Show these strokes and no others."""
        wanted = dict.fromkeys(strokes)
        for plane, stroke in self._shown:
            if (plane, stroke) not in wanted:
                self._paint(plane, stroke, 0)
        for plane, stroke in wanted:
            self._paint(plane, stroke, value_of(stroke))
        self._shown = wanted

    def painted(self, strokes: Iterable[Drawn]) -> None:
        """Take note of what the layer shows already, by somebody else's hand."""
        self._shown = dict.fromkeys(strokes)

    def _paint(self, plane: PlaneIndex, stroke: Stroke, value: int) -> None:
        rows, columns = stroke.pixels.T
        at = tuple(np.full(len(rows), position) for position in plane.position)
        where = PlaneIndex(at, plane.axes).select(rows, columns)  # type: ignore[arg-type]
        self.store.write(where, np.full(len(rows), value, dtype=self.layer.data.dtype))


def strokes_of_shapes(shapes: Shapes, image: Picture, axes: tuple[int, int]) -> list[Drawn]:
    """Return shapes as strokes: lines as wide as they are drawn, other shapes filled.

    They are positive, unless a feature called "positive" says something else.

    Parameters
    ----------
    shapes : Shapes
        Each on one plane of these axes; what lies outside the image is cut off.
    image : Picture
        What they are drawn on.
    axes : tuple of int
        Axes of the planes.

    Raises
    ------
    InputError
        If a shape lies across planes, or nowhere on the image, or its sign is neither True nor False, 1 nor 0.
    """
    signs, enlarged = _signs(shapes), _enlargement(shapes, image, axes)
    extent = image.shape
    drawn = []
    parts = zip(shapes.data, shapes.shape_type, shapes.edge_width, signs, strict=True)
    for number, (vertices, kind, width, positive) in enumerate(parts, 1):
        corners = mapped(np.asarray(vertices, dtype=float), shapes, image)
        others = [axis for axis in range(len(extent)) if axis not in axes]
        position = np.rint(corners[:, others])
        if len(position) and (position != position[0]).any():
            raise InputError(f"shape {number} of {shapes.name!r} lies across planes: draw it on one")
        size = extent[axes[0]], extent[axes[1]]
        pixels = np.argwhere(_raster(corners[:, axes], kind, enlarged * width, size))
        within = all(0 <= at < extent[axis] for at, axis in zip(position[0], others, strict=True))
        if not len(pixels) or not within:
            raise InputError(f"shape {number} of {shapes.name!r} lies outside the image {image.name!r}")
        plane = PlaneIndex(tuple(map(int, position[0])), axes)
        drawn.append((plane, Stroke.of(pixels, positive=positive)))
    return drawn


def _signs(shapes: Shapes) -> list[bool]:
    if _POSITIVE not in shapes.features:
        return [True] * len(shapes.data)
    signs = shapes.features[_POSITIVE].tolist()
    for number, sign in enumerate(signs, 1):
        if not isinstance(sign, int | float) or sign not in (0, 1):
            raise InputError(
                f'shape {number} of {shapes.name!r} has {sign!r} as its feature "{_POSITIVE}": make it True or False'
            )
    return list(map(bool, signs))


def _enlargement(shapes: Shapes, image: Picture, axes: tuple[int, int]) -> float:
    """Return how many pixels of an image a unit of shapes is long, on planes of these axes."""
    ends = mapped(np.vstack((np.zeros(shapes.ndim), np.eye(shapes.ndim))), shapes, image)
    return float(np.sqrt(np.prod(np.linalg.svd((ends[1:] - ends[0])[:, list(axes)], compute_uv=False))))


def _raster(corners: npt.NDArray[np.float64], kind: str, width: float, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the pixels of a shape, shape `size`; a line is `width` pixels wide, at least one."""
    mask = np.zeros(size, dtype=bool)
    if kind == "ellipse":  # drawn in a box with these corners
        angles = np.linspace(0, 2 * np.pi, 128, endpoint=False)
        middle, a, b = corners.mean(axis=0), (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
        corners = middle + np.outer(np.cos(angles), a) + np.outer(np.sin(angles), b)
    if kind not in _LINES:
        mask[draw.polygon(corners[:, 0], corners[:, 1], shape=size)] = True
        return mask
    for first, last in pairwise(corners):
        line = np.array(draw.line(*np.rint((*first, *last)).astype(int).tolist()))
        inside = ((line >= 0) & (line < np.reshape(size, (2, 1)))).all(axis=0)
        mask[tuple(line[:, inside])] = True
    thick: npt.NDArray[np.bool_] = morphology.dilation(mask, _disc(max(1, round(width))))
    return thick


def _disc(diameter: int) -> npt.NDArray[np.bool_]:
    """Return a disc of as many pixels across; those of scikit-image have an odd number."""
    away = np.arange(diameter) - (diameter - 1) / 2
    disc: npt.NDArray[np.bool_] = np.hypot(away[:, None], away) <= diameter / 2
    return disc
