"""From clicks to probabilities: one image, one object."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_fbrs.clicks import Click, ClickList, network_points
from napari_fbrs.errors import InputError, PredictionError
from napari_fbrs.inference.cache import ByteCache
from napari_fbrs.inference.containment import Probability, contained, departs, insisted
from napari_fbrs.inference.first_look import Expected, candidate_crops, choose_look
from napari_fbrs.inference.interruption import Interruptible, stop_if
from napari_fbrs.inference.objective import THRESHOLD, ClickMasks
from napari_fbrs.inference.optimizer import Evaluation, Objective, Variables, optimise
from napari_fbrs.inference.plane import Crop, Plane, make_plane
from napari_fbrs.inference.prediction import Prediction, State
from napari_fbrs.inference.prior import Prior
from napari_fbrs.inference.settings import DEFAULT_MODE, MODES, Method, PredictorSettings, check_mode
from napari_fbrs.inference.zoom import Zoom, bounding_box, resized_shape, stroke_to_crop, to_crop
from napari_fbrs.models.checkpoint import Model
from napari_fbrs.models.memory import tells_shortage
from napari_fbrs.models.network import Cut, Features
from napari_fbrs.models.precision import fast_bfloat16
from napari_fbrs.strokes import Stroke, outline, shown

_INPUT_CLICKS = 5  # the most clicks the network is shown in the modes that optimise its input (METHOD section 5)
_CACHE_BYTES = 512 * 2**20
_LOOKS_AT_ONCE = 4  # more would gain little, and take longer to be called off
_STEADY_IOU = 0.9  # with the mask before; less is more than one late click is likely to mean
_CONTAINED_FROM = 3  # clicks; the second tells what the object is as often as where its outline runs
_LEAST_FOR_HALF = 32  # pixels; on images a pixel wide, oneDNN's bfloat16 convolutions read memory nobody has written


class Predictor:
    """Predicts masks of one object at a time; a function of what it is given, apart from its cache.

    Parameters
    ----------
    model : Model
        From `load_model`.
    mode : {"f-BRS-B", "f-BRS-A", "f-BRS-C", "RGB-BRS", "DistMap-BRS", "NoBRS"}, optional
        Where the auxiliary variables sit (METHOD section 5); NoBRS has none.
    settings : PredictorSettings, optional
        How to look at planes; what suits the model by default.
    cache_bytes : int, optional
        Memory for features that may be needed again.

    Raises
    ------
    InputError
        If the mode is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_fbrs import Click, Predictor, load_model
    >>> image = np.zeros((64, 64), dtype=np.uint8)
    >>> image[20:40, 20:40] = 200
    >>> predictor = Predictor(load_model(device="cpu"))
    >>> plane = predictor.prepare(image)
    >>> prediction = predictor.predict(plane, [Click(30, 30)])
    >>> prediction.probability.shape
    (64, 64)
    >>> prediction.mask()[30, 30]
    np.True_
    """

    def __init__(
        self,
        model: Model,
        mode: str = DEFAULT_MODE,
        *,
        settings: PredictorSettings | None = None,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        check_mode(mode)
        self.model = model
        self.mode = mode
        self._cut = MODES[mode]
        self.settings = settings or PredictorSettings.of_model(model.settings)
        self.cache = ByteCache(cache_bytes)  # may be shared: keys tell all that values depend on
        self._warm = False
        self._network = model.folded if self.settings.folded else model.network
        self._half = self.settings.half and fast_bfloat16(model.device)
        computed = self.settings.folded, self.settings.local, self._half
        self._computed_by = (model.fingerprint, str(model.device), *computed)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.device

    @property
    def method(self) -> Method:
        """What its predictions follow from, besides the image and the clicks."""
        return Method(self.model.name, self.model.fingerprint, self.mode, self.settings)

    def prepare(self, image: npt.ArrayLike, limits: tuple[float, float] | None = None) -> Plane:
        """Return a plane that can be predicted on.

        Parameters
        ----------
        image : array_like, shape (H, W), (H, W, 3) or (H, W, 4)
            Grey, RGB or RGBA; any integer, float or boolean dtype; NaN and infinities are allowed.
        limits : tuple of float, optional
            Intensities shown as black and white. By default the dtype's range for uint8 and colours, else the
            smallest and largest finite value.

        Raises
        ------
        InputError
            If shape, dtype or limits cannot be used.
        """
        return make_plane(image, limits)

    @tells_shortage
    def warm_up(self, plane: Plane, *, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Do ahead what a first click on a plane needs, wherever it is made.

        The plane is read as a whole, and before the first prediction one is made for nothing: the network's first run
        is far slower than those after it. When called off, that stops within the pass: a click elsewhere has no use for
        the rest of it. (A prediction called off ends its pass: the one that replaces it often needs the same features.)

        Parameters
        ----------
        plane : Plane
            From `prepare`.
        cancelled : callable, optional
            Asked before every operation of the network; when it answers True, `CancelledError` is raised.

        Raises
        ------
        CancelledError
            If `cancelled` said so.
        """
        stop_if(cancelled)
        whole = Crop.whole(plane.shape)
        size = self._size(whole, zoomed=self.settings.zoom is not None)
        self.cache.get((plane.token, whole, size), partial(plane.read, whole, size))
        if not self._warm:
            middle = Click(plane.shape[0] // 2, plane.shape[1] // 2)
            with Interruptible(cancelled):
                self.predict(plane, [middle], cancelled=cancelled)

    @tells_shortage
    def predict(
        self,
        plane: Plane,
        clicks: Sequence[Click],
        state: State | None = None,
        *,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Prediction:
        """Return the prediction for some clicks.

        Parameters
        ----------
        plane : Plane
            From `prepare`.
        clicks : sequence of Click
            All clicks on the object, in order; at least one.
        state : State, optional
            Of the prediction from the clicks before the last ones. None: start anew. Of one in a mode with another
            number of variables, all but these is continued from; they start at zeros.
        cancelled : callable, optional
            Asked between stages and optimiser steps; when it answers True, `CancelledError` is raised.

        Raises
        ------
        InputError
            If there is no click, or one lies outside the plane.
        CancelledError
            If `cancelled` said so.
        PredictionError
            If the network's output is not a number.
        MemoryShortageError
            If the device has too little memory; `lighter_ones` take less.
        """
        clicks = tuple(clicks)
        _check(clicks, plane.shape)
        previous = state or State()
        told = previous.implied.before(clicks) if previous.implied else clicks
        timings = {"read": 0.0, "embed": 0.0, "optimise": 0.0, "resize": 0.0}
        crop, seen = self._crop(plane, told, previous, timings, cancelled) if self.settings.zoom else (None, None)
        stop_if(cancelled)
        looked_at = crop or Crop.whole(plane.shape)
        size = self._size(looked_at, zoomed=crop is not None, found=previous.box is not None)
        points = shown(told)
        local = to_crop(points, looked_at, size)

        def answer(limit: int | None, seen: Features | None = None) -> _Answer:
            features = self._features(plane, looked_at, size, local, timings, previous.prior, seen, limit)
            stop_if(cancelled)
            with self._timed(timings, "optimise"):
                start = previous.variables if self._carries_over(previous, looked_at, size) else None
                logits, variables, evaluations = self._refine(features, told, looked_at, start, cancelled)
                return _Answer(self._probability(logits), variables, evaluations)

        limit = self._network_clicks
        probability, variables, evaluations = answer(limit, seen)
        late = self.modulates and limit is not None and len(points) > limit
        if late and self.settings.steady and _breaks(previous.last, looked_at, probability):
            limit = None
            probability, variables, evaluations = answer(limit)
        threshold = self.settings.zoom.threshold if self.settings.zoom else 0.5
        with self._timed(timings, "resize"):
            probability = self._contained(previous, probability, looked_at, clicks, threshold)
            prediction = Prediction(plane.shape, looked_at, probability, clicks, State(), timings, evaluations)
            mask = prediction.crop_mask(threshold)
            box = bounding_box(mask, looked_at)
        self._warm = True
        last = Prior(looked_at, probability)
        prior = previous.prior if limit and len(points) >= limit else last
        state = State(crop or previous.crop, variables, box, prior, previous.expected, previous.implied, last)
        return replace(prediction, state=state, packed=(threshold, np.packbits(mask)))

    def _contained(
        self, previous: State, probability: Probability, crop: Crop, clicks: Sequence[Click], threshold: float
    ) -> Probability:
        """Return probabilities with the changes that the clicks ask for alone, where an object was there before."""
        if not self.settings.contained or self._cut is None or previous.box is None:
            return probability
        if previous.last is not None and len(clicks) >= _CONTAINED_FROM:
            before = previous.last.seen(crop, probability.shape)
            probability = contained(before, probability, crop, clicks, threshold)
        return insisted(probability, crop, clicks)

    @property
    def modulates(self) -> bool:
        """Whether its variables are scales and biases of channels, which mean the same on other planes."""
        return self._cut is not None and not self._cut.is_input

    @tells_shortage
    def features(self, plane: Plane, crop: Crop, clicks: Sequence[Click], prior: Prior | None = None) -> Features:
        """Return the network's features of a part of a plane, from memory where they are there.

        Parameters
        ----------
        plane : Plane
            From `prepare`.
        crop : Crop
            The part.
        clicks : sequence of Click
            What the network is told.
        prior : Prior, optional
            What else it is told, where it can be.
        """
        size = self._size(crop, zoomed=self.settings.zoom is not None, found=True)
        timings = {"read": 0.0, "embed": 0.0}
        local = to_crop(shown(clicks), crop, size)
        return self._features(plane, crop, size, local, timings, prior, None, self._network_clicks)

    def logits(self, features: Features, scale: Tensor, bias: Tensor) -> Tensor:
        """Return logits, shape (B, 1, rows, columns), of features with scales and biases; for gradients."""
        return self._network.decode(features, scale, bias)

    @torch.no_grad()
    def decode(self, features: Features, variables: Variables | None = None) -> npt.NDArray[np.float32]:
        """Return the probabilities, shape of the network's input, of features with scales and biases."""
        if variables is None:
            return self._probability(self._network.decode(features))
        scale, bias = torch.from_numpy(variables).to(features.x.device).chunk(2)
        return self._probability(self._network.decode(features, scale, bias))

    def replay(self, plane: Plane, clicks: ClickList, state: State | None = None) -> Iterator[Prediction]:
        """Yield the prediction after each round of clicks, each continuing from the one before.

        Parameters
        ----------
        plane : Plane
            From `prepare`.
        clicks : ClickList
            In rounds.
        state : State, optional
            What the first one starts from.
        """
        for count in range(1, len(clicks.rounds) + 1):
            prediction = self.predict(plane, ClickList(clicks.rounds[:count]).flat, state)
            state = prediction.state
            yield prediction

    def _crop(
        self,
        plane: Plane,
        clicks: Sequence[Click],
        previous: State,
        timings: dict[str, float],
        cancelled: Callable[[], bool],
    ) -> tuple[Crop | None, Features | None]:
        """Return what is to be looked at, None for the whole plane; and its features, where they are there already."""
        zoom = self.settings.zoom
        assert zoom is not None
        if previous.box is not None:
            return zoom.choose(previous.crop, previous.box, outline(clicks), plane.shape), None
        if not self.settings.first_look:
            return None, None
        return self._first_look(plane, clicks, zoom, previous.expected, timings, cancelled)

    def _first_look(
        self,
        plane: Plane,
        clicks: Sequence[Click],
        zoom: Zoom,
        expected: Expected | None,
        timings: dict[str, float],
        cancelled: Callable[[], bool],
    ) -> tuple[Crop | None, Features | None]:
        """Return the crop in which an object of unknown size is seen best, as `_crop` does."""
        reach, points = outline(clicks), shown(clicks)
        crops = candidate_crops(plane.shape, reach, zoom, expected)
        if len(crops) == 1:
            return None if crops[0] == Crop.whole(plane.shape) else crops[0], None
        looks = self._looks(plane, crops, points, timings, cancelled)
        best = choose_look(crops, [look.probability for look in looks], expected)
        look = Prediction(plane.shape, crops[best], looks[best].probability, (), State())
        box = bounding_box(look.crop_mask(zoom.threshold), look.crop)
        if box is None or look.crop.contains(proposed := zoom.propose(box, reach, plane.shape)):
            return look.crop, looks[best].features
        return proposed, None  # an object that all but fills its crop may have been cut off

    def _looks(
        self,
        plane: Plane,
        crops: Sequence[Crop],
        clicks: Sequence[Click],
        timings: dict[str, float],
        cancelled: Callable[[], bool],
    ) -> list[_Look]:
        """Return what the network makes of each of some crops; those of one size go through it together."""
        sizes = [self._size(crop, zoomed=True) for crop in crops]
        looks: dict[Crop, _Look] = {}
        for size in dict.fromkeys(sizes):
            same = [crop for crop, its in zip(crops, sizes, strict=True) if its == size]
            for first in range(0, len(same), _LOOKS_AT_ONCE):
                stop_if(cancelled)
                batch = tuple(same[first : first + _LOOKS_AT_ONCE])
                looks |= zip(batch, self._look(plane, batch, size, clicks, timings).each, strict=True)
        return [looks[crop] for crop in crops]

    def _look(
        self,
        plane: Plane,
        crops: tuple[Crop, ...],
        size: tuple[int, int],
        clicks: Sequence[Click],
        timings: dict[str, float],
    ) -> _Looks:
        """Return what the network makes of crops brought to one size."""
        points = np.stack([network_points(to_crop(clicks, crop, size), self._network_clicks) for crop in crops])

        def make() -> _Looks:
            with self._timed(timings, "read"):
                read = partial(plane.read, size=size)
                images = [self.cache.get((plane.token, crop, size), partial(read, crop)) for crop in crops]
            with self._timed(timings, "embed"):
                features = self._embed(np.stack(images), points, Cut.B, None)
                return _Looks(_checked(torch.sigmoid(self._decode(features))[:, 0].cpu().numpy()), features)

        return self.cache.get((self._computed_by, plane.token, crops, size, points.tobytes()), make)

    def _size(self, crop: Crop, *, zoomed: bool, found: bool = False) -> tuple[int, int]:
        """Return rows and columns of the network's input; a first look, before the object is found, is a coarse one."""
        side = self.settings.input_size
        if zoomed and (zoom := self.settings.zoom):
            side = zoom.side(crop) if found else zoom.target_size
        return resized_shape(crop.shape, side) if side else crop.shape

    @property
    def _network_clicks(self) -> int | None:
        limit = self.settings.network_clicks
        if self._cut is None or limit is None:
            return None
        return min(limit, _INPUT_CLICKS) if self._cut.is_input else limit

    def _features(
        self,
        plane: Plane,
        crop: Crop,
        size: tuple[int, int],
        clicks: Sequence[Click],
        timings: dict[str, float],
        prior: Prior | None,
        seen: Features | None,
        limit: int | None,
    ) -> Features:
        """Return features of a crop; `seen` are those of a first look at it with these clicks, if there was one."""
        cut = self._cut or Cut.B
        points = network_points(clicks, limit)
        if not self._network.takes_prior:
            prior = None
        flip = self.settings.flip
        told = (points.tobytes(), prior and prior.token)
        half = seen if flip and cut is Cut.B and prior is None else None
        # With it the last bits may differ: for the same mask ever after, it depends on the clicks alone which it is.
        key = (self._computed_by, plane.token, crop, size, flip, cut, told, half is not None)

        def make() -> Features:
            with self._timed(timings, "read"):
                image = self.cache.get((plane.token, crop, size), partial(plane.read, crop, size))
            with self._timed(timings, "embed"):
                mask = prior.seen(crop, size) if prior else None
                views = [(image, points, mask), _mirrored(image, points, mask)][half is not None : 1 + flip]
                images, clicked, masks = zip(*views, strict=True)
                priors = None if mask is None else np.stack(masks)[:, None]
                features = self._embed(np.stack(images), np.stack(clicked), cut, priors)
                return features if half is None else half.followed_by(features)

        return self.cache.get(key, make)

    @torch.no_grad()
    def _embed(
        self,
        images: npt.NDArray[np.float32],
        points: npt.NDArray[np.float32],
        cut: Cut,
        priors: npt.NDArray[np.float32] | None,
    ) -> Features:
        device = self.device
        batch = torch.from_numpy(images).to(device)
        coordinates = torch.from_numpy(points).to(device)
        mask = torch.from_numpy(priors).to(device) if priors is not None else None
        if device.type in ("cpu", "cuda"):
            batch = batch.contiguous(memory_format=torch.channels_last)
        half = self._half and min(batch.shape[2:]) >= _LEAST_FOR_HALF
        # Where nothing is to be cast, nothing is said of it: not every device and version knows of bfloat16.
        with torch.autocast(device.type, torch.bfloat16) if half else nullcontext():
            features = self._network.embed(batch, coordinates, cut, mask)
        features = replace(features, x=features.x.float(), aside=tuple(tensor.float() for tensor in features.aside))
        if not self.settings.local:
            return features
        ahead = self._network.ahead(features)
        return replace(ahead, x=ahead.x.bfloat16()) if half and ahead.ahead else ahead

    def _carries_over(self, previous: State, crop: Crop, size: tuple[int, int]) -> bool:
        """Return whether variables still mean the same: not a bias of pixels in another crop, or at another size."""
        last = previous.last
        if self._cut is None or not self._cut.is_input:
            return True
        return last is not None and (last.crop, last.probability.shape) == (crop, size)

    @torch.no_grad()
    def _decode(self, features: Features) -> Tensor:
        return self._network.decode(features)

    def _refine(
        self,
        features: Features,
        clicks: Sequence[Click],
        crop: Crop,
        start: Variables | None,
        cancelled: Callable[[], bool],
    ) -> tuple[Tensor, Variables | None, tuple[Evaluation, ...]]:
        """Return logits, the variables they were computed with, and what the optimiser did."""
        if self._cut is None or len(shown(clicks)) < 2:
            return self._decode(features), start, ()
        masks = self._click_masks(clicks, crop, features.size)
        objective = Objective(
            self._network, features, masks, cancelled, insist=self.settings.insist, local=self.settings.local
        )
        zeros = objective.zeros()
        # Those of a state from another mode mean nothing here.
        optimum = optimise(objective, start if start is not None and start.shape == zeros.shape else zeros)
        return optimum.logits, optimum.variables, optimum.evaluations

    def _click_masks(self, clicks: Sequence[Click], crop: Crop, size: tuple[int, int]) -> ClickMasks:
        strokes = [click for click in clicks if isinstance(click, Stroke)]
        return ClickMasks(
            to_crop([click for click in clicks if not isinstance(click, Stroke)], crop, size),
            size,
            flip=self.settings.flip,
            device=self.model.device,
            strokes=[(stroke_to_crop(stroke, crop, size), stroke.positive) for stroke in strokes],
        )

    @contextmanager
    def _timed(self, timings: dict[str, float], stage: str) -> Iterator[None]:
        """Add the time that something takes to that of its stage; a GPU is waited for, or the next would pay for it."""
        start = time.perf_counter()
        try:
            yield
            _finish(self.device)
        finally:
            timings[stage] += time.perf_counter() - start

    def _probability(self, logits: Tensor) -> npt.NDArray[np.float32]:
        if len(logits) == 2:  # the mirrored half
            logits = 0.5 * (logits[:1] + logits[1:].flip(3))
        return _checked(torch.sigmoid(logits)[0, 0].cpu().numpy())


class _Answer(NamedTuple):
    """What an optimisation came to."""

    probability: npt.NDArray[np.float32]
    variables: Variables | None
    evaluations: tuple[Evaluation, ...]


class _Look(NamedTuple):
    """What the network made of a crop."""

    probability: npt.NDArray[np.float32]
    features: Features


@dataclass(frozen=True, eq=False)
class _Looks:
    """What it made of several of one size at once."""

    probabilities: npt.NDArray[np.float32]
    features: Features

    @property
    def nbytes(self) -> int:
        return self.probabilities.nbytes + self.features.nbytes

    @property
    def each(self) -> Iterator[_Look]:
        return (_Look(probability, self.features.only(i)) for i, probability in enumerate(self.probabilities))


_View = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32] | None]


def _mirrored(
    image: npt.NDArray[np.float32], points: npt.NDArray[np.float32], mask: npt.NDArray[np.float32] | None
) -> _View:
    """Return an image, clicks as `network_points` gives them, and a mask as a mirror shows them."""
    there = points.copy()
    present = points.max(axis=1) >= 0
    there[present, 1] = image.shape[2] - 1 - points[present, 1]
    return image[:, :, ::-1], there, None if mask is None else mask[:, ::-1]


def _breaks(before: Prior | None, crop: Crop, probability: npt.NDArray[np.float32]) -> bool:
    """Return whether too much of a mask has changed for a late click."""
    if before is None:
        return False
    return departs(before.seen(crop, probability.shape) > THRESHOLD, probability > THRESHOLD, _STEADY_IOU)


def _check(clicks: tuple[Click, ...], shape: tuple[int, int]) -> None:
    if not clicks:
        raise InputError("a prediction needs at least one click")
    outside = next((click for click in clicks if not click.inside(shape)), None)
    if outside is not None:
        if isinstance(outside, Stroke):
            raise InputError(f"a stroke ends outside the plane of {shape[0]} x {shape[1]} pixels: {outside.text[:60]}")
        raise InputError(
            f"the click at row {outside.row:g}, column {outside.column:g} is outside the plane of "
            f"{shape[0]} x {shape[1]} pixels"
        )


def _checked(probability: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if not np.isfinite(probability).all():
        raise PredictionError("the network's output was not a number; choose another model or device")
    return probability


def _finish(device: torch.device) -> None:
    """Wait for what a device was given to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
