"""Images with known objects: zips or folders of ``images/NAME.*`` and ``labels/NAME.*``, decoded when needed."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.files import Files, dataset_name
from napari_fbrs.inference.plane import Crop, Plane, make_plane

_IMAGES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
_LABELS = (".png", ".tif", ".tiff")
_LARGEST_LABEL = 2**16  # memory is taken for every label up to the largest of an image
_VALIDATION_SHARE = 10  # one image in ten


def is_validation(source: str, name: str) -> bool:
    """Return whether an image is kept from training.

    Parameters
    ----------
    source : str
        Name of the set: the zip's or the folder's stem.
    name : str
        The image's file name without its extension.

    Examples
    --------
    >>> is_validation("ecssd", "0003"), is_validation("ecssd", "0001")
    (False, False)
    """
    return zlib.crc32((source + name).encode()) % _VALIDATION_SHARE == 0


@dataclass(frozen=True)
class LabelledImage:
    """An image and its objects.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    labels : ndarray of int, shape (H, W)
        0 is background.
    """

    image: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int32]

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self.image.nbytes + self.labels.nbytes

    @cached_property
    def areas(self) -> npt.NDArray[np.int64]:
        """Pixels of every label; entry 0, the background, is 0."""
        counts = np.bincount(self.labels.ravel())
        counts[0] = 0
        return counts

    @cached_property
    def boxes(self) -> list[tuple[slice, slice] | None]:
        """Bounding box of label 1, label 2, ...; None where there is no such label."""
        return list(ndimage.find_objects(self.labels))

    def pick_object(self, rng: np.random.Generator, min_area: int) -> int | None:
        """Return a random label of at least `min_area` pixels, else the largest one; None when there is no object."""
        eligible = np.flatnonzero(self.areas >= max(min_area, 1))
        if len(eligible) > 0:
            return int(rng.choice(eligible))
        return int(self.areas.argmax()) if self.areas.any() else None


class Source:
    """The training images of one zip or folder, the validation images, or all.

    Parameters
    ----------
    path : Path
        Holds ``images/NAME.(jpg|png|tif)`` and ``labels/NAME.(png|tif)``.
    validation : bool or None, optional
        Which part of the split, see `is_validation`; None: all.
    max_bytes : int, optional
        Memory for decoded images.

    Raises
    ------
    InputError
        If there are no such images at `path`.
    """

    def __init__(self, path: Path, *, validation: bool | None = False, max_bytes: int = 2**28) -> None:
        self.path = path
        self.name = dataset_name(path)
        self._files = Files(path, ("images", "labels"))
        stems = {pair: PurePosixPath(pair[0]).stem for pair in _pairs(self._files.names)}
        pairs = [p for p, stem in stems.items() if validation is None or is_validation(self.name, stem) is validation]
        if not pairs and not validation:
            raise InputError(f"{path} holds no images/NAME.jpg (.png, .tif) with a labels/NAME.png (.tif)")
        self._pairs = pairs
        self._max_bytes = max_bytes
        self._decoded: OrderedDict[int, LabelledImage] = OrderedDict()
        self._held = 0

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> LabelledImage:
        if index in self._decoded:
            self._decoded.move_to_end(index)
            return self._decoded[index]
        picture = self._decode(*self._pairs[index])
        self._decoded[index] = picture
        self._held += picture.nbytes
        while self._held > self._max_bytes and len(self._decoded) > 1:
            self._held -= self._decoded.popitem(last=False)[1].nbytes
        return picture

    def _decode(self, image: str, labels: str) -> LabelledImage:
        pixels, objects = self._files.image(image), self._files.labels(labels)
        if objects.ndim != 2 or objects.shape != pixels.shape[:2]:
            raise InputError(f"{self.path}: {labels} has shape {objects.shape}, its image {pixels.shape[:2]}")
        smallest, largest = int(objects.min(initial=0)), int(objects.max(initial=0))
        if smallest < 0:
            raise InputError(f"{self.path}: {labels} must hold no label below 0, the background; found {smallest}")
        if largest > _LARGEST_LABEL:
            objects = _renumbered(objects)
        try:
            return LabelledImage(as_rgb(pixels), objects.astype(np.int32))
        except InputError as error:
            raise InputError(f"{self.path}: {image} cannot be used: {error}") from error


def as_rgb(pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Return an image, grey or colour, as 8-bit RGB, shape (H, W, 3).

    One of 8 bits stays as it is, without its alpha; any other is seen as a predictor sees it.

    Raises
    ------
    InputError
        If it holds no numbers, or is no plane.
    """
    array = np.asarray(pixels)
    if array.ndim == 3 and array.shape[2] not in (3, 4):
        array = array[..., 0] if array.shape[2] < 3 else array[..., :3]
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        return plane_as_rgb(make_plane(array))
    if array.ndim == 2:
        return np.repeat(array[..., None], 3, axis=2)
    return np.ascontiguousarray(array[..., :3])


def plane_as_rgb(plane: Plane) -> npt.NDArray[np.uint8]:
    """Return a plane as a predictor sees it, as 8-bit RGB, shape (H, W, 3)."""
    seen = plane.read(Crop.whole(plane.shape), plane.shape)
    return np.ascontiguousarray((255 * seen).round().astype(np.uint8).transpose(1, 2, 0))


def _renumbered(labels: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """Return labels numbered from 1 on, in their order; 0 stays 0."""
    values, numbers = np.unique(labels, return_inverse=True)
    return np.asarray(numbers.reshape(labels.shape) + (values[0] > 0))


def _pairs(members: Sequence[str]) -> list[tuple[str, str]]:
    labels, images = _by_stem(members, "labels", _LABELS), _by_stem(members, "images", _IMAGES)
    return [(images[name], labels[name]) for name in sorted(images.keys() & labels.keys())]


def _by_stem(members: Sequence[str], folder: str, suffixes: Sequence[str]) -> dict[str, str]:
    paths = map(PurePosixPath, members)
    return {p.stem: str(p) for p in paths if str(p.parent) == folder and p.suffix.lower() in suffixes}
