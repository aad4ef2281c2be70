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
from napari_fbrs.evaluation.files import Files

_IMAGES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
_LABELS = (".png", ".tif", ".tiff")
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
        self.name = path.stem if path.suffix == ".zip" else path.name
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
        return LabelledImage(as_rgb(pixels), objects.astype(np.int32))


def as_rgb(pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Return an image of 8 or 16 bits, grey or colour (alpha is dropped), as 8-bit RGB, shape (H, W, 3)."""
    array = np.asarray(pixels)
    if array.dtype == np.uint16:
        low, high = int(array.min()), int(array.max())
        array = (array.astype(np.float32) - low) * (255 / max(high - low, 1))
    array = array.astype(np.uint8)
    if array.ndim == 2 or array.shape[2] < 3:
        grey = array if array.ndim == 2 else array[..., 0]
        return np.repeat(grey[..., None], 3, axis=2)
    return np.ascontiguousarray(array[..., :3])


def _pairs(members: Sequence[str]) -> list[tuple[str, str]]:
    labels = {p.stem: str(p) for p in map(PurePosixPath, members) if str(p.parent) == "labels" and p.suffix in _LABELS}
    images = {p.stem: str(p) for p in map(PurePosixPath, members) if str(p.parent) == "images" and p.suffix in _IMAGES}
    return [(images[name], labels[name]) for name in sorted(images.keys() & labels.keys())]
