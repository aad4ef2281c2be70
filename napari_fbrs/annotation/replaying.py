"""From a click record to its masks: they are computed again, each by what computed it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fbrs.annotation.click_record import (
    Record,
    Recorded,
    compose,
    digest,
    levels_read,
    plane_digest,
    read_record,
    versions,
)
from napari_fbrs.annotation.history import History
from napari_fbrs.annotation.image import Composite, Image, PlaneIndex
from napari_fbrs.annotation.image_file import check_label_file, write_label_store
from napari_fbrs.annotation.labels import PlaneMask, SparseLabels, slice_indices
from napari_fbrs.annotation.opening import is_image_path, open_image
from napari_fbrs.annotation.output import check_may_write
from napari_fbrs.annotation.recovery import fingerprint
from napari_fbrs.annotation.session import Session
from napari_fbrs.errors import FBRSError, InputError, ModelFileError
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import Method
from napari_fbrs.models.checkpoint import Model, load_checkpoint
from napari_fbrs.models.zoo import choose_device, find_fingerprint, find_model, models_folder

_NAMED = 10  # masks that are named in a report
_MOST_CHANNELS = 8  # that are tried for those of a record

Cancelled = Callable[[], bool]
PredictorOf = Callable[[Method], Predictor]


@dataclass(frozen=True)
class Replayed:
    """What came of a record.

    Parameters
    ----------
    session : Session
        Ready to be clicked on.
    record : Record
        What was replayed.
    different : tuple of Recorded
        Masks that came out other than recorded: computed by another version of torch, or on another kind of machine.
    """

    session: Session
    record: Record
    different: tuple[Recorded, ...]

    @property
    def labels(self) -> npt.NDArray[Any]:
        """The label image."""
        return np.asarray(self.session.labels.read((slice(None),) * self.session.image.ndim))

    def report(self) -> list[str]:
        """Return in words whether the masks are those recorded, and what may be why where they are not."""
        count, others = len(self.record.masks), len(self.different)
        masks = f"{count} mask{'s' * (count != 1)}"
        if not others:
            return [f"{masks}, as recorded"]
        which = [_name(mask) for mask in self.different[:_NAMED]] + ["..."] * (others > _NAMED)
        here, there = versions() | {"device": str(self.session.predictor.model.device)}, self.record.made
        changed = [f"{name} {there[name]} then, {now} now" for name, now in here.items() if there.get(name, now) != now]
        lines = [f"{masks}, {others} of them not as recorded: {', '.join(which)}"]
        return lines + ([f"versions differ: {'; '.join(changed)}"] if changed else [])


class Predictors:
    """Makes what a record's masks were predicted by, once each.

    Parameters
    ----------
    device : str, optional
        See `choose_device`.
    model : str or Path, optional
        Name or file of the model; found by its hash by default.
    anyway : bool, optional
        Whether `model`, or the bundled one, takes the place of a model that is not here.
    loaded : Model, optional
        One that is in memory already, and need not be loaded again.
    """

    def __init__(
        self,
        device: str = "auto",
        model: str | Path | None = None,
        *,
        anyway: bool = False,
        loaded: Model | None = None,
    ) -> None:
        self._device, self._name, self._anyway = choose_device(device), model, anyway
        self._models = {} if loaded is None else {loaded.fingerprint: loaded}
        self._made: dict[Method, Predictor] = {}

    def __call__(self, method: Method) -> Predictor:
        """Return what predicts as recorded.

        Raises
        ------
        ModelFileError
            If its model is not on this machine.
        """
        if method not in self._made:
            self._made[method] = Predictor(self._model(method), method.mode, settings=method.settings)
        return self._made[method]

    def _model(self, method: Method) -> Model:
        if method.sha256 not in self._models:
            self._models[method.sha256] = load_checkpoint(self._path(method), self._device)
        return self._models[method.sha256]

    def _path(self, method: Method) -> Path:
        path = find_fingerprint(method.sha256, self._name)
        if path is None and self._anyway:
            return find_model(self._name or "default")
        if path is None:
            what = "among the models on this machine" if self._name is None else f"what {self._name} holds"
            raise ModelFileError(
                f"the masks recorded are of the model {method.model!r} (SHA-256 {method.sha256[:12]}...), which is not "
                f"{what}: put its file in {models_folder()} or say where it is (--model), or go on with another one, "
                "and other masks (--anyway)"
            )
        return path


def replay(
    record: Record | Path | str,
    image: npt.ArrayLike | Image | Path | str | None = None,
    predictor_of: PredictorOf | None = None,
    *,
    output: Path | str | None = None,
    overwrite: bool = False,
    model: str | Path | None = None,
    device: str | None = None,
    anyway: bool = False,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Cancelled = lambda: False,
) -> Replayed:
    """Compute the masks of a click record again.

    Parameters
    ----------
    record : Record or path
        What was recorded, or the file it is in.
    image : array_like, Image or path, optional
        The image annotated; by default it is read from where the record says it lay, or from beside the record.
    predictor_of : callable, optional
        Returns what predicts as recorded; `Predictors` of `model` and `device` by default.
    output : path, optional
        File to write the labels to: ``.tif``, or ``.png`` in 2D up to 65535.
    overwrite : bool, optional
        Replace that file if it is there.
    model : str or Path, optional
        Name or file of the model; found by its SHA-256 among those here by default.
    device : str, optional
        See `choose_device`; the one recorded by default, if it is here.
    anyway : bool, optional
        Go on where the image is another one of the same shape; and, by default, with the bundled model where the
        model recorded is not here.
    progress : callable, optional
        Told how many masks are there, and how many there will be.
    cancelled : callable, optional
        When it answers True, `CancelledError` is raised.

    Returns
    -------
    Replayed
        The labels, and the session that made them, without anything to undo.

    Raises
    ------
    InputError
        If the record cannot be read, or the image is not the one recorded.
    ModelFileError
        If a model is not on this machine.
    CancelledError
        If called off.

    Examples
    --------
    >>> from napari_fbrs import replay
    >>> replayed = replay("cells.clicks.json")  # doctest: +SKIP
    >>> replayed.report()  # doctest: +SKIP
    ['12 masks, as recorded']
    """
    source = None if isinstance(record, Record) else Path(record)
    record = record if isinstance(record, Record) else read_record(record)
    if image is None:
        image = find_image(record, source.parent if source else None)
    if output is not None:
        check_label_file(Path(output), len(record.image.shape), record.largest)
        inputs = [path for path in (image, source) if isinstance(path, str | Path)]
        check_may_write(Path(output), map(Path, inputs), overwrite=overwrite)
    if isinstance(image, str | Path):
        image = shown_image(record, open_image(image)).with_levels(record.image.levels)
    elif not isinstance(image, Image):
        image = shown_image(record, Image(image, rgb=record.image.rgb))
    predictor_of = predictor_of or Predictors(device or recorded_device(record), model, anyway=anyway)
    check_image(record, image, anyway=anyway)
    masks = recompute(record, image, predictor_of, anyway=anyway, progress=progress, cancelled=cancelled)
    session = Session(image, predictor_of(record.methods_used[-1]), labels=SparseLabels(image.shape))
    bring_back(session, record, masks)
    replayed = Replayed(session, record, different(record, masks))
    if output is not None:
        write_label_store(Path(output), session.labels, image.shape)
    return replayed


def recorded_device(record: Record) -> str:
    """Return the device that masks were computed on, if there is such a one here; else the best there is."""
    device = record.made.get("device", "auto")
    try:
        choose_device(device)
    except InputError:
        return "auto"
    return device


_ELSEWHERE = ("//", "\\\\", "\\/", "/\\")  # how paths begin that lead to another machine


def find_image(record: Record, folder: Path | None = None) -> Path:
    """Return the file of a record's image: where it lay, or one of its name in `folder`.

    A place on another machine is not looked at: on Windows that alone would tell it who the user is.

    Raises
    ------
    InputError
        If there is none.
    """
    source = record.image.source
    places = [] if source is None or source.startswith(_ELSEWHERE) else [Path(source)]
    places += [folder / Path(source).name] if source is not None and folder else []
    for path in places:
        if is_image_path(path):
            return path
    raise InputError(
        f"the image of the record, {source or record.image.name or 'which has no name'}, is not there: say where it is "
        "(--image)"
    )


def shown_image(record: Record, image: Image) -> Image:
    """Return what a record's network was shown of a file's image: the channels that the record names, if it does.

    Raises
    ------
    InputError
        If the channels are not in this file.
    """
    channels = record.image.channels
    if channels is None:
        return image
    if channels.axis is not None:
        return image.of_channels(channels)
    alike = None
    for composite in _split(image, record.image.shape, len(channels.shown)):
        if fingerprint(composite) == record.image.fingerprint:
            if all(plane_digest(composite, at) == sha256 for at, sha256 in record.image.planes.items()):
                return composite
            alike = alike or composite
    if alike is not None:
        return alike
    raise InputError(
        f"the record is of {len(channels.shown)} layers shown as colours, which are not all in this file: open the "
        "layers in napari and the record there, or call replay(record, Image(Composite([red, green, blue])))"
    )


def _split(image: Image, shape: tuple[int, ...], count: int) -> Iterator[Image]:
    """Yield the images of a shape that a file's channels make, as colours in any order; napari makes them layers."""
    whole = tuple(image.data.shape)
    for axis, extent in enumerate(whole):
        if whole[:axis] + whole[axis + 1 :] == shape and extent <= _MOST_CHANNELS:
            coarser = [level for level in image.coarser if level.shape[axis] == extent]
            levels = [np.moveaxis(level, axis, 0) for level in (image.data, *coarser)]
            for order in permutations(range(extent), count):
                composites = [Composite([parts[i] for i in order]) for parts in levels]
                yield Image(composites[0], coarser=composites[1:])


def check_image(record: Record, image: Image, *, anyway: bool = False) -> None:
    """Raise `InputError` unless an image is the one recorded, as far as can be told without reading its planes."""
    about = record.image
    if image.shape != about.shape or image.rgb != about.rgb:
        raise InputError(
            f"this is not the image of the record: it has shape {image.shape}{' in colours' * image.rgb}, "
            f"{about.name or 'that one'} had {about.shape}{' in colours' * about.rgb}"
        )
    if not anyway and (str(image.data.dtype) != about.dtype or fingerprint(image) != about.fingerprint):
        raise InputError(_other_pixels(record))
    levels = levels_read(image, about.planes)
    if not anyway and levels != about.levels:
        raise InputError(
            f"the record is of an image {_with(about.levels)}, this one {_with(levels)}, in which a mask may be another"
            ": open the image as it was, or go on with this one (--anyway)"
        )


def recompute(
    record: Record,
    image: Image,
    predictor_of: PredictorOf,
    *,
    anyway: bool = False,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Cancelled = lambda: False,
) -> list[PlaneMask | None]:
    """Return the masks of a record, in its order; may run in any thread.

    Parameters
    ----------
    record, image, predictor_of, anyway, progress, cancelled
        See `replay`; the image has been checked by `check_image`.
    """
    session = Session(image, predictor_of(record.methods_used[0]))
    checked: set[PlaneIndex] = set()
    masks = []
    for count, mask in enumerate(record.masks):
        plane = mask.place.plane
        if plane not in checked and not anyway and plane_digest(image, plane) != record.image.planes[plane]:
            raise InputError(_other_pixels(record, plane))
        checked.add(plane)
        masks.append(_computed(session, mask, predictor_of, cancelled))
        if progress is not None:
            progress(count + 1, len(record.masks))
    return masks


def bring_back(session: Session, record: Record, masks: list[PlaneMask | None]) -> None:
    """Have a session that nothing has been done in hold what was recorded; it has nothing to undo afterwards.

    Parameters
    ----------
    session : Session
        Of the image recorded, its labels empty.
    record : Record
        What was recorded.
    masks : list of PlaneMask or None
        From `recompute`.

    Raises
    ------
    InputError
        If something has been clicked or painted there, or the labels cannot hold the objects; nothing is changed then.
    """
    dtype = session.labels.read((0,) * session.image.ndim).dtype
    _check_empty(session)
    _check_fits(record, dtype)
    places = [mask.place for mask in record.masks]
    labels = compose(zip(places, masks, strict=True), session.image.shape, dtype, overwrite=record.notes["overwrite"])
    indices, values = record.painted
    labels[indices] = values
    for at in np.ndindex(labels.shape[:-2]):
        where = slice_indices(at, labels[at] != 0)
        if where[-1].size:
            session.labels.write(where, labels[where])
    for recorded, mask in zip(record.masks, masks, strict=True):
        session.adopt(recorded.place, recorded.refinement, mask)
    session.choose(record.notes)
    largest = int(labels.max(initial=0))
    if largest > max((place.object for place in places), default=1):
        session.free_label(above=largest - 1)  # which is this one, of a painted object
    session.history = History()


def different(record: Record, masks: list[PlaneMask | None]) -> tuple[Recorded, ...]:
    """Return the masks of a record that came out other than they were."""
    pairs = zip(record.masks, masks, strict=True)
    return tuple(mask for mask, now in pairs if digest(now) != mask.digest)


def _computed(session: Session, mask: Recorded, predictor_of: PredictorOf, cancelled: Cancelled) -> PlaneMask | None:
    if mask.kept:
        return mask.mask
    if mask.method is not None:
        predictor = predictor_of(mask.method)
        if predictor is not session.predictor:
            session.predictor = predictor
    try:
        return session.compute(mask.place, mask.refinement, cancelled).mask
    except (RuntimeError, ValueError, IndexError) as error:  # scales and biases of another network, for one
        if isinstance(error, FBRSError):
            raise
        raise InputError(
            f"object {mask.place.object} on plane {mask.place.plane.position} cannot be computed from what the record "
            f"says: {error}"
        ) from error


def _name(mask: Recorded) -> str:
    position = mask.place.plane.position
    return f"object {mask.place.object}" + (f" on plane {', '.join(map(str, position))}" if position else "")


def _check_empty(session: Session) -> None:
    if session.annotated():
        raise InputError("something has been clicked on this image already: a record needs a fresh start")
    if any(session.labels.read(at).any() for at in np.ndindex(session.image.shape[:-2])):
        raise InputError("there are masks in this Labels layer already: a record needs an empty one")


def _check_fits(record: Record, dtype: np.dtype[Any]) -> None:
    if record.largest > np.iinfo(dtype).max:
        raise InputError(f"the record holds object {record.largest}, labels of {dtype} do not: convert them to int32")


def _with(levels: tuple[tuple[int, ...], ...]) -> str:
    return f"with coarser levels of {', '.join(map(str, levels))}" if levels else "without coarser levels"


def _other_pixels(record: Record, plane: PlaneIndex | None = None) -> str:
    where = "" if plane is None or not plane.position else f" on plane {', '.join(map(str, plane.position))}"
    return (
        f"this is not the image of the record: it has other pixels{where} than {record.image.name or 'that one'} had; "
        "name the right one (--image), or go on with this one, and other masks (--anyway)"
    )
