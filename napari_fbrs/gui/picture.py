"""What the network is shown: an image layer, channels of one, or several layers as colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Layer

from napari_fbrs.annotation.image import Channel, Composite
from napari_fbrs.annotation.image import Image as AnnotatedImage
from napari_fbrs.errors import InputError
from napari_fbrs.inference.plane import Limits

_TRANSFORM = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


@dataclass(frozen=True)
class Picture:
    """What of which image layers is annotated; the layers are never modified.

    An axis of channels stays, one position long and as wide in the world as all channels together. So what lies on it
    (points, masks) is there whichever channel is displayed, axes keep their numbers, and masks fit the layer's array by
    NumPy's rules of broadcasting.

    Parameters
    ----------
    layer : Image
        The image, or the first of several.
    axis : int, optional
        Its axis of channels.
    channels : tuple of int, optional
        Those shown, one in grey, two or three as red, green and blue. Empty where there is no such axis.
    others : tuple of Image, optional
        Layers shown as green and blue, the first one being red.

    Raises
    ------
    InputError
        If the layers, or the channels, are no image together.
    """

    layer: Image
    axis: int | None = None
    channels: tuple[int, ...] = ()
    others: tuple[Image, ...] = ()

    def __post_init__(self) -> None:
        if self.others and any(layer.rgb for layer in self.layers):
            raise InputError("layers with colours of their own cannot be colours of another image: choose one layer")
        for other in self.others:
            _check_alike(self.layer, other)
        if self.axis is not None and not (self.channels and self.layer.ndim > 2 and not self.layer.rgb):
            raise InputError("there are no channels to choose from: the image needs an axis besides rows and columns")

    @property
    def name(self) -> str:
        """The layer's name."""
        return str(self.layer.name)

    @property
    def layers(self) -> tuple[Image, ...]:
        """The layers, the first one first."""
        return self.layer, *self.others

    @property
    def ndim(self) -> int:
        """Number of axes, colours not counted."""
        return int(self.layer.ndim)

    @property
    def rgb(self) -> bool:
        """Whether the layer has colours."""
        return bool(self.layer.rgb)

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent in pixels, colours not counted; 1 along channels."""
        shape = image_shape(self.layer)
        return shape if self.axis is None else (*shape[: self.axis], 1, *shape[self.axis + 1 :])

    def image(self) -> AnnotatedImage:
        """Return it as an image whose planes are read when they are needed."""
        alike = takewhile(lambda arrays: len({array.shape for array in arrays}) == 1, self._levels())
        finest, *coarser = (Composite(arrays) if len(arrays) > 1 else arrays[0] for arrays in alike)
        return AnnotatedImage(finest, rgb=self.rgb, coarser=coarser)

    def grey(self) -> Any:
        """Return the array, of this shape, whose intensities are measured: the first channel."""
        return next(self._levels())[0]

    def _levels(self) -> Iterator[list[Any]]:
        """Yield the array of each colour, at full resolution and at the coarser levels that all of them have."""
        if self.axis is None:
            yield from map(list, zip(*(levels(layer) for layer in self.layers), strict=False))
            return
        for data in levels(self.layer):
            if data.shape[self.axis] == level_0(self.layer).shape[self.axis]:
                yield [Channel(data, self.axis, channel) for channel in self.channels]

    def limits(self) -> Limits | None:
        """Return the intensities that are displayed as black and white, of each channel; None for colours."""
        if self.axis is None:
            limits = [shown_limits(layer) for layer in self.layers]
        else:
            limits = [shown_limits(self.layer)] * len(self.channels)
        return sum((each for each in limits if each is not None), ()) or None

    def like(self, other: Picture | None) -> bool:
        """Whether another one shows the same of the same layers."""
        return other is not None and self.layer == other.layer and self._shown == other._shown

    @property
    def _shown(self) -> tuple[object, ...]:
        return self.axis, self.channels, tuple(layer.unique_id for layer in self.others)

    def transform(self) -> dict[str, Any]:
        """Return the arguments that give a new layer its transform."""
        told = transform_of(self.layer)
        return told | {"scale": self.layer.scale * self._width, "translate": self.layer.translate + self._moved()}

    @property
    def moved(self) -> tuple[Any, ...]:
        """The events after which `transform` is another one; of several layers, masks lie on the first."""
        return tuple(self.layer.events[name] for name in _TRANSFORM)

    def data_to_world(self, position: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return where a pixel lies in the world."""
        return np.array(self.layer.data_to_world(np.asarray(position) * self._width + self._middle))

    def world_to_data(self, position: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the pixel at a position in the world, with fractions."""
        data: npt.NDArray[np.float64] = (np.array(self.layer.world_to_data(position)) - self._middle) / self._width
        return data

    @property
    def _width(self) -> npt.NDArray[np.float64]:
        """Pixels of the layer to one here, along each axis."""
        return np.divide(image_shape(self.layer), self.shape)

    @property
    def _middle(self) -> npt.NDArray[np.float64]:
        """Pixel of the layer at which the first one here has its middle."""
        return (self._width - 1) / 2

    def _moved(self) -> npt.NDArray[np.float64]:
        """Return how far from the layer's origin, before its affine, the first pixel here lies."""
        there = np.subtract(self.layer.data_to_world(self._middle), self.layer.data_to_world(np.zeros(self.ndim)))
        moved: npt.NDArray[np.float64] = np.linalg.solve(self.layer.affine.linear_matrix, there)
        return moved


def transform_of(layer: Layer) -> dict[str, Any]:
    """Return the arguments that give another layer the transform of one."""
    told = {name: getattr(layer, name) for name in _TRANSFORM}
    return told | {"affine": layer.affine.affine_matrix}  # not napari's own object, which both would share


def levels(image: Image) -> Sequence[Any]:
    """Return an image layer's data at full resolution, and its coarser levels if it has them."""
    return image.data if image.multiscale else [image.data]


def level_0(image: Image) -> Any:
    """Return an image layer's data at full resolution."""
    return levels(image)[0]


def image_shape(image: Image) -> tuple[int, ...]:
    """Return the extent of an image layer in pixels, colours not counted."""
    return tuple(level_0(image).shape[: image.ndim])


def shown_limits(image: Image) -> tuple[float, float] | None:
    """Return the intensities that an image layer shows as black and white; None for colours."""
    if image.rgb:
        return None
    low, high = image.contrast_limits
    return float(low), float(high)


def alike(a: Image, b: Image) -> bool:
    """Whether the pixels of two layers lie on each other."""
    return image_shape(a) == image_shape(b) and np.allclose(_corners(a), _corners(b))


def _corners(image: Image) -> npt.NDArray[np.float64]:
    """Return where the first pixel lies, and the last one along each axis."""
    last = np.subtract(image_shape(image), 1)
    return np.array([image.data_to_world(at) for at in (np.zeros(image.ndim), *np.diag(last))])


def _check_alike(first: Image, other: Image) -> None:
    if first == other:
        raise InputError(f"{other.name!r} was chosen twice: choose another layer for each colour")
    if not alike(first, other):
        raise InputError(
            f"{first.name!r} and {other.name!r} do not lie on each other ({image_shape(first)} and "
            f"{image_shape(other)} pixels, each with its transform): choose layers of one shape and transform"
        )
