"""From recorded clicks to masks, one click after the other."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import normpath
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fbrs.annotation.click_file import RecordedClick, images_of, read_click_rows
from napari_fbrs.annotation.click_record import record_of, write_record
from napari_fbrs.annotation.history import Place, Refinement
from napari_fbrs.annotation.image import Image
from napari_fbrs.annotation.image_file import check_label_file, write_label_store
from napari_fbrs.annotation.labels import LabelStore, SparseLabels
from napari_fbrs.annotation.opening import open_image, stem_of
from napari_fbrs.annotation.output import check_apart, check_may_write
from napari_fbrs.annotation.points_file import is_points_file, read_points
from napari_fbrs.annotation.session import Result, Session
from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError
from napari_fbrs.inference.plane import Limits
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import DEFAULT_MODE
from napari_fbrs.models import zoo
from napari_fbrs.models.checkpoint import Model
from napari_fbrs.strokes import Stroke

Cancelled = Callable[[], bool]
Clicks = Mapping[Any, Iterable[Click]]


@dataclass
class ObjectReport:
    """What became of an object.

    Parameters
    ----------
    object : int
        Its label.
    seconds : list of float
        What each click took.
    last : dict of Place to Result
        On each plane, what the last click gave.
    area : int
        Pixels it has in the end, on all planes.
    """

    object: int
    seconds: list[float] = field(default_factory=list)
    last: dict[Place, Result] = field(default_factory=dict)
    area: int = 0

    @property
    def unmet(self) -> int:
        """How many clicks its masks contradict."""
        return sum(len(result.unmet) for result in self.last.values())

    def line(self) -> str:
        """Return the report as one line."""
        clicks = len(self.seconds)
        met = f"{self.unmet} not met" if self.unmet else "all met"
        milliseconds = 1000 * statistics.median(self.seconds)
        return (
            f"object {self.object}: {clicks} click{'s' * (clicks > 1)}, {met}, {self.area} pixels, "
            f"{milliseconds:.0f} ms a click"
        )


@dataclass(frozen=True)
class Segmented:
    """What came of clicks.

    Parameters
    ----------
    session : Session
        Ready to be clicked on.
    objects : tuple of ObjectReport
        What became of each object.
    """

    session: Session
    objects: tuple[ObjectReport, ...]

    @property
    def labels(self) -> npt.NDArray[Any]:
        """The label image."""
        return np.asarray(self.session.labels.read((slice(None),) * self.session.image.ndim))

    def report(self) -> list[str]:
        """Return in words what became of each object."""
        return [report.line() for report in self.objects]


class Segmentation:
    """Recorded clicks done one after the other.

    Parameters
    ----------
    image : Image
        What is clicked on.
    predictor : Predictor
        Computes masks.
    threshold : float, optional
        Probability from which on a pixel belongs to an object.
    limits : tuple of float, optional
        Intensities seen as black and white.
    labels : LabelStore, optional
        Where masks are written; only planes that are clicked on take memory by default.
    """

    def __init__(
        self,
        image: Image,
        predictor: Predictor,
        threshold: float = 0.5,
        limits: Limits | None = None,
        labels: LabelStore | None = None,
    ) -> None:
        self.session = Session(image, predictor, labels=labels or SparseLabels(image.shape))
        self._threshold = threshold
        self._limits = limits

    def run(self, rows: Sequence[RecordedClick], cancelled: Cancelled = lambda: False) -> Iterator[ObjectReport]:
        """Do the clicks in order; yield the report on each object after its last one.

        Raises
        ------
        CancelledError
            If called off.
        """
        last = {row.object: number for number, row in enumerate(rows)}
        reports = {row.object: ObjectReport(row.object) for row in rows}
        for number, row in enumerate(rows):
            report = reports[row.object]
            start = time.perf_counter()
            result = self._do(row, cancelled)
            report.seconds.append(time.perf_counter() - start)
            report.last[result.place] = result
            if number == last[row.object]:
                report.area = sum(self._area(place) for place in report.last)
                yield report

    def _do(self, row: RecordedClick, cancelled: Cancelled) -> Result:
        session = self.session
        session.object = row.object
        place = session.place(row.plane)
        clicks = session.refinement(place).clicks.added([row.click])
        refinement = Refinement(clicks, self._threshold, self._limits)
        session.edit(place, refinement)
        result = session.compute(place, refinement, cancelled)
        session.show(result)
        return result

    def _area(self, place: Place) -> int:
        return int((self.session.labels.read((*place.plane.position, slice(None), slice(None))) == place.object).sum())


def segment(
    image: npt.ArrayLike | Image | Path | str,
    clicks: Path | str | Clicks,
    *,
    output: Path | str | None = None,
    record: Path | str | None = None,
    overwrite: bool = False,
    threshold: float = 0.5,
    contrast_limits: tuple[float, float] | None = None,
    model: str | Path | Model = "default",
    mode: str = DEFAULT_MODE,
    device: str = "auto",
    rgb: bool = False,
    progress: Callable[[str], None] = lambda _: None,
    cancelled: Cancelled = lambda: False,
) -> Segmented:
    """Segment the objects of an image from clicks.

    Parameters
    ----------
    image : array_like, Image or path
        What is clicked on: grey, or colours last if `rgb`; or the path of a PNG, JPEG, TIFF or zarr array.
    clicks : path or mapping
        A click file, points saved from napari, or the clicks of each object in order: keys are labels from 1, in 2D, or
        pairs of label and plane, as in ``{(1, (3,)): [Click(52, 118)]}``.
    output : path, optional
        File to write the labels to: ``.tif``, or ``.png`` in 2D up to 65535.
    record : path, optional
        File to write a click record to.
    overwrite : bool, optional
        Replace those files if they are there.
    threshold : float, optional
        Probability from which on a pixel belongs to an object; at least 0, below 1.
    contrast_limits : tuple of float, optional
        Intensities seen as black and white in a grey image; 0 to 255 for 8 bits, else the smallest and largest of the
        image (of the plane, in a zarr array) by default.
    model : str, Path or Model, optional
        Name or file; or a model that is loaded already, whose device is taken.
    mode : str, optional
        Where the network is corrected; see `Predictor`.
    device : str, optional
        See `choose_device`.
    rgb : bool, optional
        Whether the last axis of an array holds colours; files say so themselves.
    progress : callable, optional
        Told in words which model it is, and what became of an object after its last click; ``print``, for one.
    cancelled : callable, optional
        When it answers True, `CancelledError` is raised.

    Returns
    -------
    Segmented
        The labels, and the session that made them.

    Raises
    ------
    InputError
        If something cannot be read or written as asked; nothing is written then.
    ModelFileError
        If the model cannot be loaded.
    CancelledError
        If called off.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_fbrs import Click, segment
    >>> image = np.zeros((64, 64), dtype=np.uint8)
    >>> image[20:40, 20:40] = 200
    >>> segment(image, {1: [Click(30, 30)]}, device="cpu").labels[30, 30]
    np.int32(1)
    """
    if not 0 <= threshold < 1:
        raise InputError(f"the threshold must be at least 0 and below 1, found {threshold}")
    source = Path(image) if isinstance(image, str | Path) else None
    rows, called = _rows(clicks, source)
    inputs = [Path(path) for path in (image, clicks) if isinstance(path, str | Path)]
    opened = open_image(source) if source else image if isinstance(image, Image) else Image(image, rgb=rgb)
    check_clicks(rows, opened, called)
    if output is not None:
        check_label_file(Path(output), opened.ndim, max(row.object for row in rows))
    outputs = [Path(path) for path in (output, record) if path is not None]
    check_apart(outputs)
    for path in outputs:
        check_may_write(path, inputs, overwrite=overwrite)
    limits = checked_limits(contrast_limits, opened)
    loaded = model if isinstance(model, Model) else zoo.load_model(model, device)
    predictor = Predictor(loaded, mode)
    progress(f"model {loaded.name} on {loaded.device}, {predictor.mode}")
    work = Segmentation(opened, predictor, threshold, limits)
    reports = []
    for report in work.run(rows, cancelled):
        reports.append(report)
        progress(report.line())
    segmented = Segmented(work.session, tuple(reports))
    if output is not None:
        write_label_store(Path(output), work.session.labels, opened.shape)
    if record is not None:
        name, lay = (source.name, str(source.resolve())) if source else ("", None)
        write_record(record, record_of(work.session, name=name, source=lay))
    return segmented


def read_clicks_of_any_kind(path: Path, image: Path | None = None, name: str | None = None) -> list[RecordedClick]:
    """Return the clicks on an image in a click file, or in a file of points saved from napari.

    Parameters
    ----------
    path : Path
        Of the file. If it is a click file of several images, those on others are left out.
    image : Path, optional
        The image.
    name : str, optional
        What the file may call it, without suffix, besides its path; its own name by default.

    Raises
    ------
    InputError
        If the file cannot be read, or holds no clicks on the image.
    """
    if is_points_file(path):
        return read_points(path)
    if image is None or len(images_of(path)) < 2:
        return read_click_rows(path)
    called = {stem_of(image.name) if name is None else name, normpath(image.absolute())}
    return read_click_rows(path, lambda cell: not called.isdisjoint(meant_by(path, cell)))


def meant_by(table: Path, cell: str) -> set[str]:
    """Return what a cell of a click file's column ``image`` may mean: an image's name without suffix, or its path.

    Parameters
    ----------
    table : Path
        The click file, from which paths go on.
    cell : str
        What stands there.
    """
    return {stem_of(cell), normpath(table.absolute().parent / cell)}


def check_clicks(rows: Iterable[RecordedClick], image: Image, name: str) -> None:
    """Raise `InputError`, which names the line, for the first click that is not on the image."""
    extents, plane = image.shape[:-2], (image.shape[-2], image.shape[-1])
    for row in rows:
        where = f"{name}, line {row.line}" if row.line else f"object {row.object}"
        if len(row.plane) != len(extents):
            raise InputError(
                f"{where}: an image of shape {image.shape} needs {len(extents)} plane "
                f"index(es), found {len(row.plane)}; write them as {_plane_example(extents)}"
            )
        for at, extent in zip(row.plane, extents, strict=True):
            if at >= extent:
                raise InputError(f"{where}: plane {at} is outside an image with planes 0 to {extent - 1}")
        if not row.click.inside(plane):
            raise InputError(f"{where}: {_outside(row.click)} the image of {plane[0]} x {plane[1]} pixels")


def checked_limits(given: Sequence[float] | None, image: Image) -> Limits | None:
    """Return the intensities seen as black and white: those given, or those of the image.

    Raises
    ------
    InputError
        If they are not finite or not in order, or the image has colours.
    """
    if given is None:
        return image.limits()
    if image.rgb:
        raise InputError("contrast limits are for grey images, this one has colours")
    return black_and_white(given)


def black_and_white(limits: Sequence[float]) -> tuple[float, float]:
    """Return intensities seen as black and white; `InputError` if they are not two, finite and in this order."""
    if len(limits) != 2 or not -math.inf < limits[0] < limits[1] < math.inf:
        found = " ".join(f"{limit:g}" for limit in limits)
        raise InputError(f"contrast limits must be two finite numbers, black below white; found {found}")
    return limits[0], limits[1]


def _rows(clicks: Path | str | Clicks, image: Path | None) -> tuple[list[RecordedClick], str]:
    """Return clicks as the rows of a click file, and what they are called."""
    if isinstance(clicks, str | Path):
        return read_clicks_of_any_kind(Path(clicks), image), Path(clicks).name
    places = [(key if isinstance(key, tuple) else (key, ()), given) for key, given in clicks.items()]
    rows = [RecordedClick(0, label, tuple(plane), click) for (label, plane), given in places for click in given]
    if not rows:
        raise InputError("there are no clicks to segment objects from")
    if min(row.object for row in rows) < 1:
        raise InputError(f"labels of objects are whole numbers from 1, found {min(row.object for row in rows)}")
    return rows, "clicks"


def _plane_example(extents: Sequence[int]) -> str:
    return ";".join("0" for _ in extents) if extents else "nothing"


def _outside(click: Click) -> str:
    if isinstance(click, Stroke):
        return f"the stroke {click.text[:40]} leaves"
    return f"row {click.row:g}, column {click.column:g} is outside"
