"""What a soak does in the window: every action from three numbers, so that a list of them can be done again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import napari
import numpy as np
import numpy.typing as npt

from napari_fbrs.gui.annotator import Annotator
from napari_fbrs.gui.layers import mapped
from napari_fbrs.gui.widget import FBRSWidget

# How often each is done, in relation to the others.
WEIGHTS = MappingProxyType(
    {
        "click": 30, "move": 4, "remove": 2, "undo": 9, "redo": 7, "next": 12, "slice": 10, "pick": 8, "threshold": 6,
        "brush": 6, "stroke": 3, "propagate": 2, "mode": 2, "size": 2, "overlap": 2, "save": 2, "lock": 1, "unlock": 3,
        "delete": 1, "merge": 1, "clear": 1, "turn": 1, "reopen": 1,
    }
)  # fmt: skip
_MODES = ("f-BRS-B", "NoBRS", "f-BRS-C")
_WAYS = ("forward", "backward", "whole", "between")
_HURRIED = 0.3  # share of the actions that do not wait for what the one before has set going


@dataclass(frozen=True)
class Action:
    """One thing that a user does.

    Parameters
    ----------
    kind : str
        A key of `WEIGHTS`.
    at : tuple of float
        Three numbers in [0, 1): where, and which of the things there are.
    hurried : bool, optional
        Whether the next action comes before this one has had its consequences.
    """

    kind: str
    at: tuple[float, float, float]
    hurried: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it for a file."""
        return asdict(self)


def draw(count: int, seed: int) -> list[Action]:
    """Return random actions; the first ones of a seed are the same however many are drawn."""
    kinds, weights = list(WEIGHTS), np.array(list(WEIGHTS.values()), dtype=float)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(count):
        kind = kinds[rng.choice(len(kinds), p=weights / weights.sum())]
        first, second, third, hurry = rng.random(4).tolist()
        drawn.append(Action(kind, (first, second, third), hurry < _HURRIED))
    return drawn


class Hands:
    """Does actions in a viewer, through the widget's own buttons and the layers that it works on.

    Parameters
    ----------
    viewer : Viewer
        With the widget docked.
    widget : FBRSWidget
        Started.
    open_widget : callable
        Closes the widget and returns another one, started on the same image.
    folder : Path
        Where files may be written.
    """

    def __init__(
        self, viewer: napari.Viewer, widget: FBRSWidget, open_widget: Callable[[], FBRSWidget], folder: Path
    ) -> None:
        self.viewer, self.widget, self.folder = viewer, widget, folder
        self._open_widget = open_widget

    @property
    def annotator(self) -> Annotator:
        """What the widget works with."""
        assert self.widget.annotator is not None
        return self.widget.annotator

    def do(self, action: Action) -> None:
        """Do one action; where there is nothing to do it to, nothing happens."""
        getattr(self, f"_{action.kind}")(*action.at)

    def _pixel(self, row: float, column: float) -> npt.NDArray[np.float64]:
        """Return a pixel of the plane displayed, as an index of the image."""
        plane = self.annotator.plane()
        rows, columns = self.annotator.session.image.plane_shape(plane)
        return np.array(plane.select(int(row * rows), int(column * columns)), dtype=float)

    def _click(self, sign: float, row: float, column: float) -> None:
        layer = self.annotator.clicks.by_sign[sign < 0.7]
        layer.add(mapped(self._pixel(row, column)[None], self.annotator.layers.image, layer))

    def _point(self, which: float) -> tuple[Any, int] | None:
        """Return one of the points there are: its layer, and its number."""
        there = [(layer, number) for layer in self.annotator.clicks for number in range(len(layer.data))]
        return there[int(which * len(there))] if there else None

    def _move(self, which: float, row: float, column: float) -> None:
        point = self._point(which)
        if point is not None:
            layer, number = point
            positions = np.array(layer.data)
            positions[number] = mapped(self._pixel(row, column)[None], self.annotator.layers.image, layer)[0]
            layer.data = positions

    def _remove(self, which: float, *_: float) -> None:
        point = self._point(which)
        if point is not None:
            layer, number = point
            layer.selected_data = {number}
            layer.remove_selected()

    def _undo(self, *_: float) -> None:
        self.widget.undo_button.click()

    def _redo(self, *_: float) -> None:
        self.widget.redo_button.click()

    def _next(self, *_: float) -> None:
        self.widget.next_button.click()

    def _slice(self, which: float, *_: float) -> None:
        self.viewer.dims.set_point(0, int(which * self.annotator.session.image.shape[0]))

    def _label(self, which: float) -> int | None:
        known = sorted(self.annotator.objects.known())
        return known[int(which * len(known))] if known else None

    def _pick(self, which: float, *_: float) -> None:
        label = self._label(which)
        if label is not None:
            self.annotator.layers.labels.selected_label = label

    def _threshold(self, value: float, *_: float) -> None:
        self.widget.threshold.setValue(0.05 + 0.9 * value)

    def _brush(self, what: float, row: float, column: float) -> None:
        """Paint with napari's brush, or erase with it."""
        labels = self.annotator.layers.labels
        labels.brush_size = 1 + int(8 * what)
        labels.paint(tuple(self._pixel(row, column)), 0 if what < 0.4 else self.annotator.session.object)

    def _stroke(self, sign: float, row: float, column: float) -> None:
        """Paint a stroke, and go back to clicking."""
        annotator = self.annotator
        annotator.set_drawing(True)
        annotator.set_sign(sign < 0.7)
        if annotator.strokes is not None:
            layer = annotator.strokes.layer
            layer.brush_size = 3
            layer.paint(tuple(self._pixel(row, column)), layer.selected_label)
        annotator.set_drawing(False)

    def _propagate(self, way: float, *_: float) -> None:
        self.widget.propagation.start(_WAYS[int(way * len(_WAYS))])

    def _mode(self, which: float, *_: float) -> None:
        self.widget.mode.setCurrentText(_MODES[int(which * len(_MODES))])
        self.widget.mode.activated.emit(self.widget.mode.currentIndex())

    def _size(self, extent: float, *_: float) -> None:
        self.widget.extent.setValue(0 if extent < 0.4 else 5 + int(60 * extent))

    def _overlap(self, which: float, *_: float) -> None:
        self.widget.objects.overlap.setCurrentIndex(int(2 * which))

    def _save(self, *_: float) -> None:
        self.annotator.layers.labels.save(str(self.folder / "saved.tif"), plugin="napari-fbrs")

    def _lock(self, which: float, *_: float) -> None:
        label = self._label(which)
        if label is not None:
            self.annotator.objects.lock(label, True)

    def _unlock(self, *_: float) -> None:
        for label in sorted(self.annotator.session.locked):
            self.annotator.objects.lock(label, False)

    def _delete(self, which: float, *_: float) -> None:
        label = self._label(which)
        if label is not None:
            self.annotator.perform(lambda: self.annotator.objects.delete(label))

    def _merge(self, which: float, into: float, _: float) -> None:
        label, other = self._label(which), self._label(into)
        if label is not None and other is not None:
            self.annotator.perform(lambda: self.annotator.objects.merge(label, other))

    def _clear(self, *_: float) -> None:
        self.annotator.clear()

    def _turn(self, *_: float) -> None:
        """Display other axes."""
        order = self.viewer.dims.order
        self.viewer.dims.order = (order[1], order[0], order[2]) if order[0] == 0 else (0, 1, 2)

    def _reopen(self, *_: float) -> None:
        self.widget = self._open_widget()
