"""Everything that is timed on a scene, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from napari_fbrs.annotation.image import Image
from napari_fbrs.annotation.session import Session
from napari_fbrs.evaluation.baselines import RandomWalker
from napari_fbrs.evaluation.latency.memory import peak_bytes
from napari_fbrs.evaluation.latency.scenes import Moment, Picture, Scene
from napari_fbrs.evaluation.latency.timing import Clock, Task, alternate
from napari_fbrs.evaluation.simulation import iou
from napari_fbrs.inference.objective import ClickMasks
from napari_fbrs.inference.prediction import Prediction
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import MODES, PredictorSettings
from napari_fbrs.inference.zoom import to_crop
from napari_fbrs.models.checkpoint import Model
from napari_fbrs.strokes import shown

SHIPPED, PUBLISHED, WALKER = "f-BRS-B", "published way", "random walker"
NO_PASS = ", features there"
NETWORK = "NoBRS"
_SLOW = ("RGB-BRS", "DistMap-BRS", "f-BRS-A", PUBLISHED)


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Parameters
    ----------
    counts : tuple of int
        Numbers of clicks that are timed.
    rounds : int
        How often.
    slow_counts, slow_rounds : tuple of int, int
        The same for what takes seconds a click.
    """

    counts: tuple[int, ...] = (1, 2, 3, 5, 8, 10, 15, 20)
    rounds: int = 7
    slow_counts: tuple[int, ...] = (2, 5, 10, 20)
    slow_rounds: int = 2


QUICK = Effort(counts=(1, 2, 5, 10), rounds=3, slow_counts=(2, 10), slow_rounds=1)


@dataclass(frozen=True)
class Row:
    """What one click cost one contender.

    Parameters
    ----------
    scene, what : str
        Names.
    count : int
        Number of clicks, this one with them.
    seconds : tuple of float
        One a round.
    evaluations : int or None
        Of the objective; None where there is no such thing.
    unmet : int or None
        Clicks that the mask contradicts; here and below the optimiser's, nothing being mended after it.
    agreement : float or None
        IoU of the mask with that of the published way, from the same state.
    converged : bool or None
        Whether every pixel of the squares around the clicks is right, which is what ends the published optimisation.
    """

    scene: str
    what: str
    count: int
    seconds: tuple[float, ...]
    evaluations: int | None = None
    unmet: int | None = None
    agreement: float | None = None
    converged: bool | None = None


@dataclass
class Stages:
    """Seconds by stage of every click of a session."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    cache: dict[str, int] = field(default_factory=dict)
    reuse: dict[str, tuple[int, int]] = field(default_factory=dict)  # what the cache found and was asked, by action

    def add(self, stage: str, seconds: float) -> None:
        """Take note of a stage of a click."""
        self.seconds.setdefault(stage, []).append(seconds)


def published_way(model: Model) -> PredictorSettings:
    """Return settings that look where the shipped ones look, and do all else as it was published."""
    shipped = PredictorSettings.of_model(model.settings)
    return replace(PredictorSettings(), zoom=shipped.zoom, input_size=shipped.input_size, first_look=shipped.first_look)


def without(model: Model) -> Mapping[str, PredictorSettings]:
    """Return the shipped settings with one step of the work put back, by what is left out."""
    shipped = PredictorSettings.of_model(model.settings)
    return {
        f"{SHIPPED} without bfloat16": replace(shipped, half=False),
        f"{SHIPPED} without folding": replace(shipped, folded=False),
        f"{SHIPPED} without local decoding": replace(shipped, local=False),
    }


def contenders(model: Model) -> dict[str, Predictor]:
    """Return what answers clicks, by its name in tables."""
    reference = published_way(model)
    predictors = {mode: Predictor(model, mode) for mode in ("f-BRS-B", "f-BRS-C", "f-BRS-A", "NoBRS")}
    predictors[PUBLISHED] = Predictor(model, "f-BRS-B", settings=reference)
    predictors |= {mode: Predictor(model, mode, settings=reference) for mode in ("RGB-BRS", "DistMap-BRS")}
    return predictors | {name: Predictor(model, settings=settings) for name, settings in without(model).items()}


def measure_clicks(
    scene: Scene, predictors: Mapping[str, Predictor], effort: Effort, clock: Clock
) -> Iterator[list[Row]]:
    """Yield the rows of each number of clicks; every contender answers the same click from the same state."""
    counts = dict.fromkeys((*effort.counts, *effort.slow_counts))
    for moment in scene.at(tuple(sorted(counts))):
        answers = {
            name: Answer(scene, moment, predictor)
            for name, predictor in predictors.items()
            if len(moment.clicks) in (effort.slow_counts if name in _SLOW else effort.counts)
        }
        rounds = {name: effort.slow_rounds if name in _SLOW else effort.rounds for name in answers}
        tasks = {name: answer.task(rounds[name]) for name, answer in answers.items()}
        for name in (SHIPPED, PUBLISHED):
            if name in answers and answers[name].optimises:
                tasks[name + NO_PASS] = answers[name].again(rounds[name])
        seconds = alternate(tasks, effort.rounds, clock)
        if len(moment.clicks) in effort.slow_counts:
            # On its own: what comes after it takes twice its time, which would always be the same contenders'.
            seconds |= alternate({WALKER: _walk(scene, moment, effort)}, effort.rounds, clock)
        reference = answers.get(PUBLISHED)
        yield [
            answers[name.removesuffix(NO_PASS)].row(name, times, reference)
            if name != WALKER
            else Row(scene.picture.name, name, len(moment.clicks), tuple(times))
            for name, times in seconds.items()
        ]


class Answer:
    """A contender's answer to a click; given once when made, so that nothing is run for the first time when timed."""

    def __init__(self, scene: Scene, moment: Moment, predictor: Predictor) -> None:
        self._scene, self._moment, self._predictor = scene, moment, predictor
        same = MODES[predictor.mode] is MODES[SHIPPED]  # whose variables the state holds
        state = moment.state
        self._state = state if same or state is None else replace(state, variables=None)
        self.prediction = self._predict()

    @cached_property
    def optimised(self) -> Prediction:
        """What the optimisation alone comes to."""
        whole, settings = self._predictor, self._predictor.settings
        if not settings.contained:
            return self.prediction
        alone = Predictor(whole.model, whole.mode, settings=replace(settings, contained=False))
        return alone.predict(self._scene.plane, self._moment.clicks, self._state)

    @property
    def optimises(self) -> bool:
        """Whether there is more to do than a pass."""
        return bool(self.prediction.evaluations)

    def _predict(self) -> Prediction:
        return self._predictor.predict(self._scene.plane, self._moment.clicks, self._state)

    def task(self, rounds: int) -> Task:
        """Return the click as it is when the user makes it: within the click limit nothing is known yet."""
        limit = self._predictor.settings.network_clicks if MODES[self._predictor.mode] else None
        known = limit is not None and len(self._moment.clicks) > limit
        return Task(self._predict, (lambda: None) if known else self._predictor.cache.clear, rounds)

    def again(self, rounds: int) -> Task:
        """Return the click with its features known."""
        return Task(self._predict, self._predict_features, rounds)

    def _predict_features(self) -> None:
        if not self._predictor.cache.nbytes:
            self._predict()

    def row(self, name: str, seconds: Sequence[float], reference: Answer | None) -> Row:
        """Return what is known of it."""
        prediction = self.optimised
        agreement = None
        if reference is not None:
            agreement = iou(reference.optimised.mask().astype(int), prediction.mask())
        return Row(
            self._scene.picture.name,
            name,
            len(self._moment.clicks),
            tuple(seconds),
            len(prediction.evaluations),
            len(prediction.unmet),
            agreement,
            squares_met(prediction),
        )

    def peak(self) -> int | None:
        """Return the memory it takes at most, in bytes."""
        self._predictor.cache.clear()
        return peak_bytes(self._predict, self._predictor.model.device)


def squares_met(prediction: Prediction) -> bool:
    """Return whether every pixel of the squares around the clicks is right where the network was shown them."""
    probability = prediction.network_probability
    size = (probability.shape[0], probability.shape[1])
    clicks = to_crop(shown(prediction.clicks), prediction.crop, size)
    masks = ClickMasks(clicks, size, flip=False, device=torch.device("cpu"))
    return masks.met(torch.from_numpy(probability)[None, None])


def _walk(scene: Scene, moment: Moment, effort: Effort) -> Task:
    attempt = RandomWalker().start(scene.plane)
    attempt(moment.clicks)
    return Task(lambda: attempt(moment.clicks), rounds=effort.slow_rounds)


def measure_first(scene: Scene, model: Model) -> Task:
    """Return the first click on an image nobody has looked at, from its pixels to its mask."""
    predictor = Predictor(model)

    def first() -> None:
        predictor.predict(predictor.prepare(scene.picture.pixels), scene.moments[0].clicks).mask()

    first()
    return Task(first, predictor.cache.clear)


def measure_stages(picture: Picture, scene: Scene, model: Model) -> Stages:
    """Have a session answer the clicks of a scene one by one."""
    image, stages = Image(picture.pixels, rgb=picture.pixels.ndim == 3), Stages()
    predictor = Predictor(model)
    session = Session(image, predictor)
    place = session.place()
    for click in scene.moments[-1].clicks if scene.moments else ():
        start = time.perf_counter()
        image.plane(place.plane, image.limits())
        stages.add("read plane", time.perf_counter() - start)
        session.add(place, [click], image.limits())
        start = time.perf_counter()
        result = session.compute(place, session.refinement(place))
        computed = time.perf_counter() - start
        start = time.perf_counter()
        session.show(result)
        stages.add("write labels", time.perf_counter() - start)
        assert result.prediction is not None
        for stage, seconds in result.prediction.timings.items():
            stages.add("normalise" if stage == "read" else stage, seconds)
        stages.add("other", computed - sum(result.prediction.timings.values()))
    cache = predictor.cache
    stages.cache = {"bytes": cache.nbytes, "budget": cache.budget, "hits": cache.hits, "misses": cache.misses}
    if scene.moments:
        stages.reuse = dict(_reuse(session, image))
    return stages


def _reuse(session: Session, image: Image) -> Iterator[tuple[str, tuple[int, int]]]:
    """Have a session do what needs nothing new, and yield what its predictor's cache found and was asked."""
    place, cache = session.place(), session.predictor.cache
    clicks, limits = session.refinement(place).clicks.flat, image.limits()

    def undo_and_redo() -> None:
        session.undo()
        session.redo()

    def another_threshold() -> None:
        session.set_threshold(place, 0.6)
        session.update(place)

    def another_object() -> None:
        session.object += 1
        session.add(session.place(), clicks[:1], limits)
        session.update(session.place())

    def another_mode() -> None:
        session.predictor = Predictor(session.predictor.model, NETWORK)
        session.object -= 1
        session.outdate(place)
        session.update(place)

    actions = {
        "undo and redo": undo_and_redo,
        "another threshold": another_threshold,
        "another object, the same first click": another_object,
        "back to the first object, in another mode": another_mode,
    }
    for name, act in actions.items():
        hits, misses = cache.hits, cache.misses
        act()
        found = cache.hits - hits
        yield name, (found, found + cache.misses - misses)
