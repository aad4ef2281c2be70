"""Data sets in the folders they are published in, read as the published f-BRS evaluation reads them."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import scipy.io
from scipy.io.matlab import MatReadError

from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.datasets import as_rgb, is_validation
from napari_fbrs.evaluation.files import Files, dataset_name, top_folders
from napari_fbrs.evaluation.objects import Truth
from napari_fbrs.evaluation.simulation import IGNORE
from napari_fbrs.inference.plane import Plane, make_plane

PARTS = ("all", "validation", "training")
_IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
_UNKNOWN = 128  # in GrabCut's masks: the band along the border that does not count


def trimap(files: Files, name: str) -> Truth:
    """Return a mask of one object: 1 or above 128 is object, 128 does not count (GrabCut, Berkeley)."""
    values = _first_channel(files.image(name))
    return np.where(values == _UNKNOWN, IGNORE, (values == 1) | (values > _UNKNOWN)).astype(int)


def union(files: Files, name: str) -> Truth:
    """Return a mask whose objects, all that is not black, count as one (DAVIS, COCO_MVal)."""
    values = files.image(name)
    colours = values[..., None] if values.ndim == 2 else values[..., : 1 if values.shape[2] < 3 else 3]
    return np.asarray(colours != 0).any(axis=2).astype(int)


def instances(files: Files, name: str) -> Truth:
    """Return the objects of a MATLAB file of SBD."""
    try:
        content = scipy.io.loadmat(io.BytesIO(files.read(name)))
        return np.asarray(content["GTinst"][0][0][0]).astype(int)
    except (MatReadError, ValueError, TypeError, LookupError, OSError, NotImplementedError) as error:
        raise InputError(
            f"{files.path}: {name} is no file of SBD, whose GTinst holds the objects: {error!r}"
        ) from error


def label_image(files: Files, name: str) -> Truth:
    """Return the objects of a label image: 0 is background."""
    return files.labels(name).astype(int)


@dataclass(frozen=True)
class Layout:
    """Where a data set keeps its files, and what its masks mean.

    Parameters
    ----------
    images, masks : str
        Folders; an image and its mask have the same name but for the extension.
    read : callable
        Gives the labels in a mask's file.
    listing : str, optional
        File with the names of the images used, one a line; "": all.
    complete : bool, optional
        Whether an image without a mask is a mistake; else it is left out.
    min_area : int, optional
        Smallest object used by default, in pixels.
    zoom : int, optional
        Longer side, in pixels, that crops are brought to in the published evaluation.
    """

    images: str
    masks: str
    read: Callable[[Files, str], Truth]
    listing: str = ""
    complete: bool = True
    min_area: int = 1
    zoom: int = 400


LAYOUTS = MappingProxyType(
    {
        "grabcut": Layout("data_GT", "boundary_GT", trimap),
        "berkeley": Layout("images", "masks", trimap),
        "davis": Layout("img", "gt", union, zoom=600),
        "coco_mval": Layout("img", "gt", union),
        "sbd": Layout("img", "inst", instances, listing="val.txt"),
        "folder": Layout("images", "labels", label_image, complete=False, min_area=100),
    }
)


class Pictures:
    """A data set in files.

    Parameters
    ----------
    path : Path
        Folder or zip.
    layout : str
        One of `LAYOUTS`.
    part : {"all", "validation", "training"}, optional
        Which images, see `is_validation`.

    Raises
    ------
    InputError
        If there are no such images at `path`, or some lack their masks.
    """

    def __init__(self, path: Path, layout: str, part: str = "all") -> None:
        self.path, self._layout = path, LAYOUTS[layout]
        self.name = dataset_name(path)
        self.min_area = self._layout.min_area
        folders = (self._layout.images, self._layout.masks, *filter(None, [self._layout.listing]))
        self._files = Files(path, folders)
        self._pairs = [pair for pair in self._paired() if part == "all" or self._part(pair[0]) == part]
        if not self._pairs:
            raise InputError(self._nothing(part))
        self._held: tuple[int, Truth] | None = None

    def __len__(self) -> int:
        return len(self._pairs)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the images' names and sizes, and of what is in the masks' files."""
        digest = hashlib.sha256()
        for image, mask in self._pairs:
            digest.update(f"{image} {self._files.size(image)} {mask} {zlib.crc32(self._files.read(mask))}\n".encode())
        return digest.hexdigest()

    def title(self, image: int) -> str:
        """Return the name of an image's file without its extension."""
        return _stem(self._pairs[image][0])

    def labels(self, image: int) -> Truth:
        """Return the labels of an image, shape (H, W): 0 off all objects, -1 where it does not count."""
        if self._held is None or self._held[0] != image:
            labels = self._layout.read(self._files, self._pairs[image][1])
            if labels.ndim != 2:
                raise InputError(f"{self.path}: {self._pairs[image][1]} must be (rows, columns), found {labels.shape}")
            self._held = image, labels
        return self._held[1]

    def plane(self, image: int) -> Plane:
        """Return an image, to be predicted on.

        Raises
        ------
        InputError
            If its mask has another shape.
        """
        pixels = self._files.image(self._pairs[image][0])
        plane = make_plane(as_rgb(pixels) if pixels.dtype == np.uint8 else pixels)
        if plane.shape != self.labels(image).shape:
            shapes = f"{self.labels(image).shape}, its image {plane.shape}"
            raise InputError(f"{self.path}: {self._pairs[image][1]} has shape {shapes}")
        return plane

    def _paired(self) -> list[tuple[str, str]]:
        masks = {_stem(name): name for name in self._inside(self._layout.masks)}
        images = self._inside(self._layout.images)
        if self._layout.listing:
            images = self._listed(images)
        lacking = [name for name in images if _stem(name) not in masks]
        if lacking and self._layout.complete:
            raise InputError(f"{self.path}: {lacking[0]} has no mask of that name in {self._layout.masks}/")
        return [(name, masks[_stem(name)]) for name in images if _stem(name) in masks]

    def _inside(self, folder: str) -> list[str]:
        names = (n for n in self._files.inside(folder) if PurePosixPath(n).suffix.lower() in (*_IMAGES, ".mat"))
        return sorted(names, key=_stem)

    def _listed(self, images: Sequence[str]) -> list[str]:
        listing = self._layout.listing
        if listing not in self._files.names:
            raise InputError(f"{self.path} has no {listing}, which names the images to use")
        by_stem = {_stem(name): name for name in images}
        names = self._files.read(listing).decode().split()
        missing = [name for name in names if name not in by_stem]
        if missing:
            raise InputError(f"{self.path}: {listing} names {missing[0]}, which is not in {self._layout.images}/")
        return [by_stem[name] for name in names]

    def _part(self, image: str) -> str:
        return "validation" if is_validation(self.name, _stem(image)) else "training"

    def _nothing(self, part: str) -> str:
        wanted = f"{self._layout.images}/NAME.jpg (.png, .tif) with masks of the same names in {self._layout.masks}/"
        of_part = "" if part == "all" else f" in its {part} part"
        return f"{self.path} holds no {wanted}{of_part}; found the folders {_listed(top_folders(self.path))}"


def find_layout(path: Path) -> str:
    """Return the layout that fits the folders of a data set; DAVIS' where COCO_MVal's would do as well.

    Raises
    ------
    InputError
        If none does.
    """
    found = top_folders(path)
    for name, layout in LAYOUTS.items():
        if layout.images in found and layout.masks in found:
            return "coco_mval" if name == "davis" and "coco" in path.name.lower() else name
    known = "; ".join(f"{layout.images}/ and {layout.masks}/ ({name})" for name, layout in LAYOUTS.items())
    raise InputError(f"{path} is laid out in no way known here: found the folders {_listed(found)}, looked for {known}")


def open_pictures(path: Path, layout: str | None = None, part: str = "all") -> Pictures:
    """Return a data set in files; its layout is found by its folders where it is not given."""
    if not path.exists():
        raise InputError(f"there is no {path}")
    return Pictures(path, layout or find_layout(path), part)


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return shown or "(none)"


def _first_channel(values: npt.NDArray[np.generic]) -> Truth:
    """Return grey values; blue where there are colours, as in the published code."""
    return (values if values.ndim == 2 else values[..., 2 if values.shape[2] > 2 else 0]).astype(int)
