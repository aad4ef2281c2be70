"""A page of the objects that went worst, as pictures: what was to be found, what was found, and the clicks."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from napari_fbrs.clicks import Click
from napari_fbrs.evaluation.noc import held
from napari_fbrs.evaluation.simulation import IGNORE, Mask, Run
from napari_fbrs.inference.plane import Crop, Plane
from napari_fbrs.inference.zoom import resized_shape

_SIDE = 360  # longer side of a picture, in pixels
_MARGIN = 0.25  # around object, mask and clicks, as a share of their extent
_SMALLEST = 64  # crop, in pixels of the image
_TRUTH, _MASK = (255, 200, 0), (0, 150, 255)
_POSITIVE, _NEGATIVE = (0, 200, 60), (235, 30, 30)

Pixels = npt.NDArray[np.uint8]

_PAGE = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #222; }}
.cases {{ display: flex; flex-wrap: wrap; gap: 1.5em; }}
figure {{ margin: 0; }} img {{ display: block; }} figcaption {{ max-width: 46em; padding-top: .3em; }}
.t {{ color: rgb(190, 140, 0); }} .m {{ color: rgb{mask}; }} .p {{ color: rgb{positive}; }}
.n {{ color: rgb{negative}; }}
</style></head><body><h1>{title}</h1>
<p><b class="t">Outline</b>: the object. <b class="m">Blue</b>: the last mask. <b class="p">Green discs</b> and
<b class="n">red crosses</b>: positive and negative clicks, the first with a ring. Left: the image alone.</p>
{sections}
</body></html>
"""


@dataclass(frozen=True)
class Case:
    """One object to be shown.

    Parameters
    ----------
    title : str
        Says which.
    plane : Plane
        The image.
    truth : ndarray of int, shape (H, W)
        1 on the object, 0 off it, -1 where it does not count.
    mask : ndarray of bool, shape (H, W)
        After the last click.
    run : Run
        What was done.
    """

    title: str
    plane: Plane
    truth: npt.NDArray[np.int_]
    mask: Mask
    run: Run


def worst(runs: Sequence[Run], count: int, limit: int) -> list[int]:
    """Return the positions of the runs with the lowest IoU, averaged over all clicks; the worst first."""
    values = [float(np.mean(held(run, limit))) for run in runs]
    clicked = [position for position in np.argsort(values, kind="stable") if runs[position].clicks]
    return [int(position) for position in clicked[:count]]


def page(title: str, sections: Iterable[tuple[str, Iterable[Case]]]) -> str:
    """Return a page in HTML that holds its pictures itself.

    Parameters
    ----------
    title : str
        Of the page.
    sections : iterable of (str, iterable of Case)
        Headings, and what to show below.
    """
    body = "\n".join(
        f'<h2>{html.escape(heading)}</h2><div class="cases">{"".join(map(_figure, cases))}</div>'
        for heading, cases in sections
    )
    return _PAGE.format(title=html.escape(title), sections=body, mask=_MASK, positive=_POSITIVE, negative=_NEGATIVE)


def picture(case: Case) -> Pixels:
    """Return the image beside the image with truth, mask and clicks, both cropped around them."""
    crop = _around(case)
    size = resized_shape(crop.shape, _SIDE)
    image = np.round(255 * case.plane.read(crop, size).transpose(1, 2, 0)).astype(np.uint8)
    drawn = _tinted(image, _enlarged(case.mask[crop.slices], size))
    drawn[_outline(_enlarged(case.truth[crop.slices] == 1, size))] = _TRUTH
    ignored = _enlarged(case.truth[crop.slices] == IGNORE, size)
    drawn[ignored] = drawn[ignored] // 2
    canvas = Image.fromarray(drawn)
    draw = ImageDraw.Draw(canvas)
    for number, click in reversed(list(enumerate(case.run.clicks))):
        _mark(draw, click, _centre(click, crop, size), first=number == 0)
    gap = np.full((size[0], 8, 3), 255, dtype=np.uint8)
    return np.concatenate([image, gap, np.asarray(canvas)], axis=1)


def _figure(case: Case) -> str:
    pixels = picture(case)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    ious = case.run.ious
    said = f"{case.title}: IoU {ious[0]:.2f} after the first click, {ious[-1]:.2f} after {len(ious)}"
    text = html.escape(said)
    size = f'width="{pixels.shape[1]}" height="{pixels.shape[0]}"'
    return f'<figure><img src="{source}" {size} alt="{text}"><figcaption>{text}</figcaption></figure>\n'


def _around(case: Case) -> Crop:
    """Return the crop that shows object, mask and clicks."""
    shown = case.mask | (case.truth == 1)
    for click in case.run.clicks:
        shown[click.pixel] = True
    return Crop(*_interval(shown.any(axis=1)), *_interval(shown.any(axis=0)))


def _interval(shown: npt.NDArray[np.bool_]) -> tuple[int, int]:
    first, last = int(shown.argmax()), len(shown) - 1 - int(shown[::-1].argmax())
    side = max(_SMALLEST, round((1 + 2 * _MARGIN) * (last - first + 1)))
    low = max(0, (first + last - side) // 2)
    return low, min(len(shown) - 1, low + side)


def _enlarged(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> Mask:
    nearest = (np.arange(new) * old // new for new, old in zip(size, mask.shape, strict=True))
    return mask[np.ix_(*nearest)]


def _outline(mask: Mask) -> Mask:
    return np.asarray(ndimage.binary_dilation(mask) & ~ndimage.binary_erosion(mask))


def _tinted(image: Pixels, mask: Mask) -> Pixels:
    tinted = image.copy()
    tinted[mask] = (0.55 * image[mask] + 0.45 * np.array(_MASK)).astype(np.uint8)
    return tinted


def _centre(click: Click, crop: Crop, size: tuple[int, int]) -> tuple[float, float]:
    """Return column and row of a click in the picture."""
    rows, columns = crop.shape
    return (
        (click.column - crop.column_min + 0.5) * size[1] / columns,
        (click.row - crop.row_min + 0.5) * size[0] / rows,
    )


def _mark(draw: ImageDraw.ImageDraw, click: Click, centre: tuple[float, float], *, first: bool) -> None:
    column, row = centre
    if first:
        draw.ellipse(_box(column, row, 9), outline="white", width=2)
    if click.positive:
        draw.ellipse(_box(column, row, 5), fill=_POSITIVE, outline="white")
        return
    for colour, width in (("white", 5), (_NEGATIVE, 3)):
        for ends in _cross(column, row, 5):
            draw.line(ends, fill=colour, width=width)


def _box(column: float, row: float, radius: float) -> tuple[float, float, float, float]:
    return column - radius, row - radius, column + radius, row + radius


def _cross(column: float, row: float, reach: float) -> Iterator[tuple[float, float, float, float]]:
    yield column - reach, row - reach, column + reach, row + reach
    yield column - reach, row + reach, column + reach, row - reach
