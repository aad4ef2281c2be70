"""Planes of an image of any dimension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fbrs.errors import InputError
from napari_fbrs.inference.plane import Plane, default_limits, make_plane
from napari_fbrs.models.memory import is_shortage


@dataclass(frozen=True)
class PlaneIndex:
    """Which plane of an nD image: the axes it spans, and where it lies along the others.

    Parameters
    ----------
    position : tuple of int, optional
        Index along each axis that the plane does not span, in the order of the axes.
    axes : tuple of int, optional
        Axes of the image that are the plane's rows and columns; the last two by default.
    """

    position: tuple[int, ...] = ()
    axes: tuple[int, int] = (-2, -1)

    def resolved(self, ndim: int) -> PlaneIndex:
        """Return the same plane with axes counted from the front.

        Raises
        ------
        InputError
            If the plane does not fit an image of `ndim` dimensions.
        """
        axes = tuple(axis + ndim if axis < 0 else axis for axis in self.axes)
        if len(self.position) != ndim - 2 or not all(0 <= axis < ndim for axis in axes) or axes[0] == axes[1]:
            raise InputError(
                f"a plane of an image with {ndim} dimensions needs {ndim - 2} position(s), got "
                f"{self.position or 'none'} with axes {self.axes}"
            )
        return PlaneIndex(self.position, (axes[0], axes[1]))

    def select(self, rows: Any, columns: Any) -> tuple[Any, ...]:
        """Return what indexes `rows` and `columns` of this plane in the nD array; the plane must be resolved."""
        others = iter(self.position)
        spanned = {self.axes[0]: rows, self.axes[1]: columns}
        return tuple(spanned[axis] if axis in spanned else next(others) for axis in range(len(self.position) + 2))

    @property
    def transposed(self) -> bool:
        """Whether the plane's rows come after its columns in the array."""
        return self.axes[0] > self.axes[1]


class Image:
    """An nD image whose planes are read when they are needed.

    Parameters
    ----------
    data : array_like
        NumPy, dask, zarr or memory-mapped array: spatial and other axes, colours last if `rgb`.
    rgb : bool, optional
        Whether the last axis holds 3 or 4 colours.

    Raises
    ------
    InputError
        If there are fewer than two dimensions, or `rgb` does not fit.
    """

    def __init__(self, data: Any, *, rgb: bool = False) -> None:
        if not hasattr(data, "ndim"):
            data = np.asarray(data)
        if rgb and (data.ndim < 3 or data.shape[-1] not in (3, 4)):
            raise InputError(f"a colour image needs 3 or 4 colours in its last axis, got shape {data.shape}")
        self.data = data
        self.rgb = rgb
        self.shape: tuple[int, ...] = tuple(data.shape[:-1] if rgb else data.shape)
        if len(self.shape) < 2:
            raise InputError(f"an image needs at least two dimensions, got shape {data.shape}")

    @property
    def ndim(self) -> int:
        """Number of dimensions, colours not counted."""
        return len(self.shape)

    def plane_shape(self, index: PlaneIndex) -> tuple[int, int]:
        """Return rows and columns of a resolved plane."""
        return self.shape[index.axes[0]], self.shape[index.axes[1]]

    def limits(self) -> tuple[float, float] | None:
        """Return black and white for the whole image, None where finding them would read all of a lazy array."""
        return default_limits(self.data, rgb=self.rgb) if isinstance(self.data, np.ndarray) else None

    def plane(self, index: PlaneIndex, limits: tuple[float, float] | None = None) -> Plane:
        """Read one plane.

        Parameters
        ----------
        index : PlaneIndex
            Resolved.
        limits : tuple of float, optional
            Intensities shown as black and white.

        Raises
        ------
        InputError
            If the position lies outside the image, or what holds the image cannot be read (any more).
        """
        where = self.checked(index).select(slice(None), slice(None))
        try:
            pixels: npt.NDArray[Any] = np.asarray(self.data[where])
        except Exception as error:  # of a file, a server, a chunk's codec: there is nothing a lazy array does not raise
            if is_shortage(error):
                raise
            reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'nothing more is known'}"
            raise InputError(
                f"the image could not be read ({reason[:300]}): see that its file is where it was, and click again"
            ) from error
        return make_plane(pixels.swapaxes(0, 1) if index.transposed else pixels, limits)

    def checked(self, index: PlaneIndex) -> PlaneIndex:
        """Return a resolved plane as it is.

        Raises
        ------
        InputError
            If the position lies outside the image.
        """
        others = [extent for axis, extent in enumerate(self.shape) if axis not in index.axes]
        if not all(0 <= at < extent for at, extent in zip(index.position, others, strict=True)):
            raise InputError(f"there is no plane {index.position} in an image of shape {self.shape}")
        return index
