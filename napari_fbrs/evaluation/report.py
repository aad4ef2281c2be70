"""Results as a table, as JSON and as a plot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_fbrs.annotation.output import replacing
from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.noc import mean_iou, spread, summary
from napari_fbrs.evaluation.objects import Sample
from napari_fbrs.evaluation.record import as_json
from napari_fbrs.evaluation.simulation import MAX_CLICKS, TARGET, Run


@dataclass(frozen=True)
class Row:
    """What one subject did on one data set.

    Parameters
    ----------
    subject : str
        Its name.
    runs : tuple of Run
        On each object, the user clicking in the middle of the largest error.
    people : tuple of tuple of Run
        The same for each person who clicks elsewhere.
    """

    subject: str
    runs: tuple[Run, ...]
    people: tuple[tuple[Run, ...], ...] = ()


@dataclass(frozen=True)
class Result:
    """What came out on one data set.

    Parameters
    ----------
    name : str
        Of the data set.
    samples : tuple of Sample
        The objects, as in every row's runs.
    titles : tuple of str
        Name of each object's image.
    rows : tuple of Row
        One a subject.
    limit : int
        Most clicks on an object.
    facts : mapping of str to str
        Whatever else is to be told of the data set in JSON.
    """

    name: str
    samples: tuple[Sample, ...]
    titles: tuple[str, ...]
    rows: tuple[Row, ...]
    limit: int = MAX_CLICKS
    facts: Mapping[str, str] = field(default_factory=dict)


def table(result: Result) -> str:
    """Return the figures of a data set as text, a line for each subject."""
    lines: list[dict[str, str]] = []
    for row in result.rows:
        figures = summary(row.runs, result.limit)
        lines.append({"": row.subject} | {name: _written(name, value) for name, value in figures.items()})
        if row.people:
            spreads = spread(row.people, result.limit).items()
            values = {name: f"{mean:.2f} ± {deviation:.2f}" for name, (mean, deviation) in spreads}
            lines.append({"": f"  {len(row.people)} people"} | values)
    return "\n".join([_title(result), *aligned(lines)])


def as_dict(result: Result) -> dict[str, Any]:
    """Return all that is known of a data set, for JSON."""
    objects = [
        {"image": title, "label": sample.label} for title, sample in zip(result.titles, result.samples, strict=True)
    ]
    return {
        "name": result.name,
        **result.facts,
        "objects": objects,
        "subjects": [_row_as_dict(row, result.limit) for row in result.rows],
    }


def write_plot(path: Path, results: Sequence[Result]) -> None:
    """Draw the mean IoU against the number of clicks, a panel for each data set.

    Parameters
    ----------
    path : Path
        PNG, PDF or SVG.
    results : sequence of Result
        At least one.

    Raises
    ------
    InputError
        If matplotlib is not there, or the file cannot be written.
    """
    figure = new_figure((5.2 * len(results), 4.2))
    for number, result in enumerate(results, 1):
        axes = figure.add_subplot(1, len(results), number)
        counts = range(1, result.limit + 1)
        for row in result.rows:
            (line,) = axes.plot(counts, mean_iou(row.runs, result.limit), marker=".", label=row.subject)
            for runs in row.people:
                axes.plot(counts, mean_iou(runs, result.limit), color=line.get_color(), alpha=0.35, linewidth=0.8)
        axes.axhline(TARGET, color="0.6", linewidth=0.8, linestyle=":")
        if any(row.people for row in result.rows):
            axes.plot([], [], color="0.5", alpha=0.6, linewidth=0.8, label="each person")
        axes.set(title=_title(result), xlabel="clicks", ylim=(0, 1))
        axes.set_xticks(_ticks(result.limit))
        axes.set_ylabel(f"mean IoU (runs stop at {TARGET})" if number == 1 else "")
        axes.legend(fontsize="small", loc="lower right")
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150, bbox_inches="tight")
    except ValueError as error:
        raise InputError(f"cannot draw into {path}: {error}") from error


def require_plots(*paths: Path) -> None:
    """Raise an `InputError` where matplotlib is not installed, or draws into no files of such names."""
    known = new_figure((1, 1)).canvas.get_supported_filetypes()
    for path in paths:
        if path.suffix[1:].lower() not in known:
            raise InputError(f"cannot draw into {path}: give it a name that ends in .png, .pdf or .svg")


def new_figure(size: tuple[float, float]) -> Any:
    """Return a figure of a size in inches; raise an `InputError` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError('a plot needs matplotlib: pip install "napari-fbrs[evaluation]"') from error
    return Figure(size, layout="constrained")


def _title(result: Result) -> str:
    count = len(result.samples)
    return f"{result.name}, {count} object{'s' * (count != 1)}"


def _ticks(limit: int) -> list[int]:
    step = next(step for step in (1, 2, 5, 10, limit) if limit / step <= 10)
    return sorted({1, *range(step, limit + 1, step)})


def _row_as_dict(row: Row, limit: int) -> dict[str, Any]:
    people = {
        name: {"mean": mean, "standard deviation": deviation}
        for name, (mean, deviation) in (spread(row.people, limit) if row.people else {}).items()
    }
    return {
        "subject": row.subject,
        "figures": summary(row.runs, limit),
        "mean IoU": mean_iou(row.runs, limit),
        "runs": [as_json(run) for run in row.runs],
        "people": {"figures": people, "runs": [[as_json(run) for run in runs] for runs in row.people]},
    }


def _written(name: str, value: float) -> str:
    if name.startswith("failed"):
        return f"{value:.0f}"
    return f"{value:.0f}" if name.startswith("ms") else f"{value:.2f}"


def aligned(lines: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield a table of the values that lines have by column: the heads, then the lines."""
    if not lines:
        return
    columns = list(dict.fromkeys(name for line in lines for name in line))
    widths = [max(len(text) for text in (name, *(line.get(name, "") for line in lines))) for name in columns]
    for line in ({name: name for name in columns}, *lines):
        first, *others = (line.get(name, "") for name in columns)
        cells = [first.ljust(widths[0]), *(text.rjust(width) for text, width in zip(others, widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()
