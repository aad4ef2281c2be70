"""What was measured, as tables, as JSON and as a plot."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_fbrs.annotation.output import replacing
from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.latency.measure import NETWORK, NO_PASS, PUBLISHED, SHIPPED, Row, Stages
from napari_fbrs.evaluation.latency.timing import Spread, ratios
from napari_fbrs.evaluation.report import aligned, new_figure

ENCODE, DECODE, FIRST = "SAM ViT-B, image encoding", "SAM ViT-B, one prompt", "first mask"
_CLICK_LIMIT = 8  # clicks that the network is shown, published and shipped


@dataclass(frozen=True)
class Target:
    """A figure that is to be reached.

    Parameters
    ----------
    name, goal : str
        What it is, and what it is to be.
    spread : Spread
        What it is.
    met : bool or None
        None where it could not be measured.
    figures : int
        How many figures it is made of.
    """

    name: str
    goal: str
    spread: Spread
    met: bool | None
    figures: int


@dataclass
class Report:
    """All that was measured with one model.

    Parameters
    ----------
    facts : mapping
        Model, device, threads, versions.
    """

    facts: Mapping[str, Any]
    rows: list[Row] = field(default_factory=list)
    firsts: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # by scene, then by what
    stages: dict[str, Stages] = field(default_factory=dict)
    peaks: dict[str, int | None] = field(default_factory=dict)
    warm_up: dict[str, list[float]] = field(default_factory=dict)  # seconds of a first click, by what was done before
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return {
            "facts": dict(self.facts),
            "clicks": [dataclasses.asdict(row) for row in self.rows],
            "first masks": self.firsts,
            "stages": {name: dataclasses.asdict(stages) for name, stages in self.stages.items()},
            "peak bytes": self.peaks,
            "first click of a process": self.warm_up,
            "targets": [_without_nan(dataclasses.asdict(target)) for target in targets(self)],
            "notes": self.notes,
        }

    def text(self) -> str:
        """Return the tables."""
        return "\n".join(_sections(self))


def targets(report: Report) -> list[Target]:
    """Return the targets of the work on speed, with what they came to."""
    fast, published = SHIPPED + NO_PASS, PUBLISHED + NO_PASS
    firsts = report.firsts.values()
    encodings = [ratio for first in firsts for ratio in ratios(first.get(ENCODE, []), first[FIRST])]
    prompts = [seconds for first in firsts for seconds in first.get(DECODE, [])]
    later = [seconds for row in report.rows if row.what == SHIPPED and row.count > 1 for seconds in row.seconds]
    prompt = statistics.median(prompts) if prompts else math.nan
    return [
        _target("RGB-BRS / f-BRS-B beyond the limit", 20, _ratios(report.rows, "RGB-BRS", fast)),
        _target("published way / f-BRS-B beyond the limit", 5, _ratios(report.rows, published, fast)),
        _target("f-BRS-B within the limit / network alone", -1.3, _ratios(report.rows, SHIPPED, NETWORK, _within)),
        _target("SAM image encoding / first mask", 100, encodings),
        _target("later click / SAM prompt decoding", -1, [seconds / prompt for seconds in later] if prompts else []),
        _target("IoU of the masks, all clicks met by both", 0.99, _agreements(report.rows, _met), mean=True),
        _target("IoU, their squares met by both as well", 0.99, _agreements(report.rows, _squares_met), mean=True),
    ]


def _within(row: Row) -> bool:
    return 1 < row.count <= _CLICK_LIMIT


def _ratios(rows: Sequence[Row], dividend: str, divisor: str, counted: Any = lambda _row: True) -> list[float]:
    divisors = {(row.scene, row.count): row.seconds for row in rows if row.what == divisor}
    found: list[float] = []
    for row in rows:
        if row.what == dividend and counted(row):
            found += ratios(row.seconds, divisors.get((row.scene, row.count), ()))
    return found


def _met(row: Row) -> bool:
    return not row.unmet


def _squares_met(row: Row) -> bool:
    return _met(row) and bool(row.converged)


def _agreements(rows: Sequence[Row], converged: Callable[[Row], bool]) -> list[float]:
    """Return how alike the masks of optimisers are where both the shipped and the published way have converged."""
    reference = {(row.scene, row.count) for row in rows if row.what == PUBLISHED and converged(row)}
    return [
        row.agreement
        for row in rows
        if row.what == SHIPPED and converged(row) and (row.scene, row.count) in reference and row.agreement is not None
    ]


def _target(name: str, goal: float, values: Sequence[float], *, mean: bool = False) -> Target:
    """Return a target; a negative goal is the most that it may be."""
    spread = Spread.of(values)
    if mean and values:
        spread = Spread(statistics.fmean(values), min(values), max(values))
    met = None if not values else (spread.median >= goal if goal > 0 else spread.median <= -goal)
    return Target(name, f"{'at least' if goal > 0 else 'at most'} {abs(goal):g}", spread, met, len(values))


def _sections(report: Report) -> Iterator[str]:
    for scene in dict.fromkeys(row.scene for row in report.rows):
        yield f"\n{scene}: milliseconds by number of clicks"
        yield from aligned(list(_click_lines([row for row in report.rows if row.scene == scene])))
        yield from _stage_lines(report.stages.get(scene))
    yield "\nfirst masks and SAM: milliseconds"
    yield from aligned([
        {"": scene} | {what: _milliseconds(seconds) for what, seconds in first.items()}
        for scene, first in report.firsts.items()
    ])  # fmt: skip
    if report.warm_up:
        yield "\nfirst click of a process: milliseconds"
        yield from aligned([{"": how, "ms": _milliseconds(seconds)} for how, seconds in report.warm_up.items()])
    yield "\npeak memory: MB"
    yield from aligned([{"": name, "MB": _megabytes(peak)} for name, peak in report.peaks.items()])
    yield "\ntargets: median and quartiles (of the masks: mean, least and most), of how many"
    yield from aligned([_target_line(target) for target in targets(report)])
    yield from report.notes


def _click_lines(rows: Sequence[Row]) -> Iterator[dict[str, str]]:
    for what in dict.fromkeys(row.what for row in sorted(rows, key=lambda row: row.count)):
        line = {"": what}
        for row in rows:
            if row.what == what:
                steps = f" ({row.evaluations})" if row.evaluations else ""
                line[str(row.count)] = _milliseconds(row.seconds) + steps
        yield dict([("", what), *sorted(((k, v) for k, v in line.items() if k), key=lambda item: int(item[0]))])


def _stage_lines(stages: Stages | None) -> Iterator[str]:
    if stages is None or not stages.seconds:
        return
    told = (f"{stage} {_milliseconds(seconds)}" for stage, seconds in stages.seconds.items())
    yield f"a session's stages: {', '.join(told)}"
    cache = stages.cache
    asked = max(1, cache["hits"] + cache["misses"])
    yield (
        f"cache: {cache['hits']} of {asked} found ({100 * cache['hits'] / asked:.0f} %), "
        f"{_megabytes(cache['bytes'])} of {_megabytes(cache['budget'])} MB used"
    )
    reused = (f"{name} {found} of {wanted}" for name, (found, wanted) in stages.reuse.items())
    yield f"found again: {', '.join(reused)}"


def _target_line(target: Target) -> dict[str, str]:
    spread = target.spread
    figures = "" if target.met is None else f"{spread.median:.3g} ({spread.low:.3g} to {spread.high:.3g})"
    verdict = {True: "met", False: "not met", None: "not measured"}[target.met]
    return {"": target.name, "is": figures, "of": str(target.figures), "goal": target.goal, " ": verdict}


def _milliseconds(seconds: Sequence[float]) -> str:
    return f"{1000 * statistics.median(seconds):.3g}" if seconds else ""


def _megabytes(count: int | None) -> str:
    return "?" if count is None else f"{count / 1e6:.0f}"


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    """Return a dictionary for JSON, which has no NaN."""
    values["spread"] = {k: None if math.isnan(v) else v for k, v in values["spread"].items()}
    return values


def write_plot(path: Path, report: Report) -> None:
    """Draw milliseconds against the number of clicks, a panel for each scene.

    Raises
    ------
    InputError
        If matplotlib is not there, or the file cannot be written.
    """
    scenes = list(dict.fromkeys(row.scene for row in report.rows))
    figure = new_figure((5.2 * len(scenes), 4.6))
    for number, scene in enumerate(scenes, 1):
        axes = figure.add_subplot(1, len(scenes), number)
        for what in dict.fromkeys(row.what for row in report.rows if row.scene == scene):
            rows = sorted((r for r in report.rows if (r.scene, r.what) == (scene, what)), key=lambda row: row.count)
            spreads = [Spread.of([1000 * seconds for seconds in row.seconds]) for row in rows]
            counts = [row.count for row in rows]
            (line,) = axes.plot(counts, [s.median for s in spreads], marker=".", label=what)
            axes.fill_between(
                counts, [s.low for s in spreads], [s.high for s in spreads], color=line.get_color(), alpha=0.2
            )
        axes.set(title=scene, xlabel="clicks", ylabel="milliseconds" if number == 1 else "", yscale="log")
        axes.legend(fontsize="x-small")
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150, bbox_inches="tight")
    except ValueError as error:
        raise InputError(f"cannot draw into {path}: {error}") from error
