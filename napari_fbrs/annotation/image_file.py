"""Image files: PNG, JPEG and TIFF in; label images, masks, probabilities and pictures of them out."""

from __future__ import annotations

import logging
import lzma
import math
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageDraw
import tifffile
from skimage.segmentation import find_boundaries

from napari_fbrs.annotation.labels import LabelStore
from napari_fbrs.annotation.output import replacing
from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError
from napari_fbrs.inference.plane import Crop, make_plane

TIFF_SUFFIXES = (".tif", ".tiff")
READABLE = (".png", ".jpg", ".jpeg", *TIFF_SUFFIXES)
WRITABLE = (".png", *TIFF_SUFFIXES)

_BIG_TIFF_BYTES = 2**31  # a good way below 4 GiB, where offsets of a classic TIFF end
_DAMAGED = (  # what the libraries are known to raise on bytes that are no image
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    tifffile.TiffFileError,
    zlib.error,
)

_OVERLAY_SIDE = 900  # small images are enlarged about to this, so that clicks do not hide what they are on
_OBJECT_COLOURS = np.array(
    [(230, 159, 0), (86, 180, 233), (240, 228, 66), (204, 121, 167), (0, 114, 178), (160, 110, 255)], dtype=np.float32
)
_TINT = 0.35
_POSITIVE, _NEGATIVE, _RIM = "#2ecc71", "#ff3860", "white"

Array = npt.NDArray[Any]


def read_image(path: Path) -> tuple[Array, bool]:
    """Return the pixels of an image file as they are stored.

    Parameters
    ----------
    path : Path
        PNG, JPEG or TIFF, by its suffix.

    Returns
    -------
    pixels : ndarray
        Grey: (..., rows, columns), leading axes being those of a stack. Colours: (..., rows, columns, 3 or 4).
    rgb : bool
        Whether the last axis holds colours.

    Raises
    ------
    InputError
        If the file is missing, damaged or not such an image.

    Notes
    -----
    What is a stack and what are colours in a TIFF is what its metadata say. Of several series in one TIFF the first is
    read. Palettes are applied, save for ImageJ's, where the indices are the intensities. Grey with alpha becomes RGBA;
    colours of 16 bits in a PNG are read with 8. A camera's note on how to turn a JPEG is not followed, as in napari, so
    that rows and columns are those of the file.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder, not an image")
    if not path.is_file():
        raise InputError(f"no image at {path}")
    suffix = path.suffix.lower()
    if suffix not in READABLE:
        raise InputError(f"{path.name} is none of the formats that can be read: {', '.join(READABLE)}")
    pixels, rgb = _read_tiff(path) if suffix in TIFF_SUFFIXES else _read_picture(path)
    if pixels.dtype.kind not in "buif" or 0 in pixels.shape:
        raise InputError(f"{path.name} holds {pixels.dtype} of shape {pixels.shape}; an image needs real numbers")
    return pixels, rgb


def check_label_file(path: Path, ndim: int, largest: int) -> None:
    """Raise an error unless `write_labels` can write such labels to a file of this name.

    Parameters
    ----------
    path : Path
        File to write.
    ndim : int
        Dimensions of the label image.
    largest : int
        Largest label.

    Raises
    ------
    InputError
        If the suffix is unknown, the folder is missing, or a PNG cannot hold the labels.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise InputError(f"labels are written as {', '.join(WRITABLE)}, not as {path.name}")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} to")
    if suffix == ".png" and (ndim != 2 or largest > 65535):
        found = f"{ndim} dimensions" if ndim != 2 else f"label {largest}"
        raise InputError(f"a PNG holds a 2D image with labels up to 65535, this one has {found}; write a .tif")


def write_labels(path: Path, labels: npt.NDArray[np.integer[Any]]) -> None:
    """Write a label image with the smallest unsigned type that holds it; a file of that name is replaced.

    Parameters
    ----------
    path : Path
        TIFF (compressed without loss) or, in 2D up to 65535, PNG.
    labels : ndarray of int
        Not negative.

    Raises
    ------
    InputError
        If they cannot be written so; see `check_label_file`.
    """
    labels = np.asarray(labels)
    smallest = labels.min(initial=0)
    if labels.dtype.kind not in "biu" or smallest < 0:
        raise InputError(f"labels must be whole numbers from 0, found {labels.dtype} from {smallest}")
    _write_label_planes(path, labels.shape, labels.__getitem__)


def write_label_store(path: Path, store: LabelStore, shape: tuple[int, ...]) -> None:
    """Write the labels of a session as `write_labels` does, plane by plane: a stack may be larger than memory.

    Parameters
    ----------
    path : Path
        See `write_labels`.
    store : LabelStore
        The labels.
    shape : tuple of int
        Of the label image.
    """
    _write_label_planes(path, shape, store.read)


def _write_label_planes(path: Path, shape: tuple[int, ...], read: Callable[[tuple[int, ...]], Array]) -> None:
    """Write labels whose planes are read one by one; twice, first to see how large they are."""
    largest = max((int(read(at).max(initial=0)) for at in np.ndindex(shape[:-2])), default=0)
    check_label_file(path, len(shape), largest)
    dtype = np.min_scalar_type(largest)
    planes = (np.asarray(read(at)).astype(dtype) for at in np.ndindex(shape[:-2]))
    if Path(path).suffix.lower() == ".png":
        write_png(path, next(planes))
    else:
        _write_planes(path, planes, shape, dtype)


def write_tiff(path: Path, array: Array) -> None:
    """Write an array of grey planes as a TIFF, compressed without loss; a file of that name is replaced.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    _write_planes(path, map(array.__getitem__, np.ndindex(array.shape[:-2])), array.shape, array.dtype)


def _write_planes(path: Path, planes: Iterator[Array], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            planes,
            shape=shape,
            dtype=dtype,
            photometric="minisblack",
            compression="zlib",
            bigtiff=math.prod(shape) * dtype.itemsize > _BIG_TIFF_BYTES,
        )


def write_png(path: Path, pixels: Array) -> None:
    """Write a picture as a PNG; a file of that name is replaced.

    Parameters
    ----------
    path : Path
        File to write.
    pixels : ndarray of uint8 or uint16, shape (H, W), or of uint8, shape (H, W, 3) or (H, W, 4)
        Grey or colours.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    with replacing(path) as temporary:
        PIL.Image.fromarray(np.ascontiguousarray(pixels)).save(temporary, format="PNG")


def write_mask_png(path: Path, mask: npt.NDArray[np.bool_]) -> None:
    """Write a mask, shape (H, W), as a PNG in which the object is white; a file of that name is replaced.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    write_png(path, np.where(mask, np.uint8(255), np.uint8(0)))


def write_overlay_png(
    path: Path,
    image: npt.ArrayLike,
    labels: npt.NDArray[np.integer[Any]],
    clicks: Iterable[Click] = (),
    limits: tuple[float, float] | None = None,
) -> None:
    """Write a picture of an image with its objects outlined and tinted and its clicks marked.

    Positive clicks are green discs, negative ones red crosses. Small images are enlarged.

    Parameters
    ----------
    path : Path
        File to write; a file of that name is replaced.
    image : array_like, shape (H, W), (H, W, 3) or (H, W, 4)
        What is looked at.
    labels : ndarray of int, shape (H, W)
        0 off the objects.
    clicks : iterable of Click, optional
        Where they lie.
    limits : tuple of float, optional
        Intensities shown as black and white.

    Raises
    ------
    InputError
        If the image cannot be shown, the labels do not fit it, or the file cannot be written.
    """
    plane = make_plane(image, limits)
    if labels.shape != plane.shape:
        raise InputError(f"labels of shape {labels.shape} do not fit an image of {plane.shape}")
    grey = plane.read(Crop.whole(plane.shape), plane.shape).transpose(1, 2, 0) * 255
    factor = max(1, _OVERLAY_SIDE // max(plane.shape))
    indices = labels.astype(np.int64)
    picture, objects = (array.repeat(factor, axis=0).repeat(factor, axis=1) for array in (grey, indices))
    strength = _TINT * (objects > 0) + (1 - _TINT) * find_boundaries(objects, mode="inner")
    colours = _OBJECT_COLOURS[(objects - 1) % len(_OBJECT_COLOURS)]
    blended = picture + strength[..., None].astype(np.float32) * (colours - picture)
    canvas = PIL.Image.fromarray(np.rint(blended).astype(np.uint8))
    _draw_clicks(canvas, clicks, factor)
    with replacing(path) as temporary:
        canvas.save(temporary, format="PNG")


def _draw_clicks(canvas: PIL.Image.Image, clicks: Iterable[Click], factor: int) -> None:
    draw = PIL.ImageDraw.Draw(canvas)
    size = max(2, round(max(canvas.size) / 150))
    for click in clicks:
        x, y = ((at + 0.5) * factor for at in (click.column, click.row))
        if click.positive:
            draw.ellipse((x - size, y - size, x + size, y + size), fill=_POSITIVE, outline=_RIM)
            continue
        for colour, width in ((_RIM, size // 2 + 3), (_NEGATIVE, size // 2 + 1)):
            draw.line((x - size, y - size, x + size, y + size), fill=colour, width=width)
            draw.line((x - size, y + size, x + size, y - size), fill=colour, width=width)


def _read_picture(path: Path) -> tuple[Array, bool]:
    with _damage_named(path), warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # large is allowed; huge raises
        with PIL.Image.open(path, formats=("PNG", "JPEG")) as picture:
            return _picture_pixels(picture)


def _picture_pixels(picture: PIL.Image.Image) -> tuple[Array, bool]:
    if picture.mode in ("1", "L", "F") or picture.mode.startswith("I"):
        pixels = np.asarray(picture)
        # A PNG has no more than 16 bits; some versions of Pillow read them as 32.
        return (pixels.astype(np.uint16) if picture.mode.startswith("I") else pixels), False
    return np.asarray(picture.convert("RGBA" if picture.has_transparency_data else "RGB")), True


def _read_tiff(path: Path) -> tuple[Array, bool]:
    with _damage_named(path), _complaints_raised(), tifffile.TiffFile(path) as file:
        series = file.series[0]
        page = series.keyframe
        compression = getattr(page.compression, "name", str(page.compression))
        pixels = series.asarray()
        palette = None if file.is_imagej else page.colormap
        alpha = page.extrasamples[:1] in ((1,), (2,))
        photometric = tifffile.PHOTOMETRIC(page.photometric).name
        if photometric == "YCBCR" and "JPEG" in compression:
            photometric = "RGB"  # as the decoder returns it
    return _arranged(path, pixels, series.axes, photometric, palette, alpha=alpha)


def _arranged(
    path: Path, pixels: Array, axes: str, photometric: str, palette: Array | None, *, alpha: bool
) -> tuple[Array, bool]:
    """Return pixels with rows, columns and, if there are, colours last, and whether there are."""
    if "Y" not in axes or "X" not in axes:
        raise InputError(f"{path.name} holds no rows and columns: its axes are {axes}, of shape {pixels.shape}")
    if photometric == "PALETTE" and palette is not None:
        return np.moveaxis(palette[:, pixels], 0, -1), True
    if photometric == "MINISWHITE" and pixels.dtype.kind in "bu":
        pixels = ~pixels
    samples = pixels.shape[axes.index("S")] if "S" in axes else 1
    spatial = [axes.index("Y"), axes.index("X")]
    if photometric == "RGB" and samples in (3, 4):
        return np.moveaxis(pixels, [*spatial, axes.index("S")], [-3, -2, -1]), True
    if photometric in ("MINISBLACK", "MINISWHITE") and samples == 2 and alpha:
        grey, opacity = np.moveaxis(pixels, [axes.index("S"), *spatial], [0, -2, -1])
        return np.stack((grey, grey, grey, opacity), axis=-1), True
    if photometric not in ("MINISBLACK", "MINISWHITE", "PALETTE", "CFA") and samples > 1:
        raise InputError(f"{path.name} holds {samples} {photometric} values a pixel; convert it to RGB or grey")
    return np.moveaxis(pixels, spatial, [-2, -1]), False


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except PIL.Image.DecompressionBombError as error:
        raise InputError(f"{path.name} has too many pixels for a PNG or JPEG: save it as a TIFF ({error})") from error
    except PermissionError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except MemoryError as error:
        raise InputError(f"{path.name} needs more memory than there is: {error}") from error
    except _DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path.name} is damaged or not a {path.suffix[1:].upper()} image: {reason}") from error


@contextmanager
def _complaints_raised() -> Iterator[None]:
    """Raise what tifffile only logs when pages are missing: it would return those that are left, or zeros."""
    complaints = _Complaints()
    logger = logging.getLogger("tifffile")
    logger.addHandler(complaints)
    try:
        yield
    finally:
        logger.removeHandler(complaints)
    if complaints.incomplete:
        raise ValueError(complaints.incomplete[0])


class _Complaints(logging.Handler):
    """Keeps messages that say that pages are missing."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.incomplete: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's message if it is such a one."""
        message = record.getMessage()
        page_lost = record.levelno >= logging.ERROR and "TiffPages" in message  # the chain of pages breaks off
        if page_lost or "zeroed" in message:
            self.incomplete.append(message)
