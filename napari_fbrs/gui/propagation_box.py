"""Carrying an object to other slices, in the widget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_fbrs.annotation.history import Place
from napari_fbrs.annotation.propagation import Propagation, Slice, to_check, write
from napari_fbrs.errors import CancelledError, InputError
from napari_fbrs.gui.annotator import Annotator
from napari_fbrs.gui.boxes import row
from napari_fbrs.gui.worker import LatestWorker

_FORWARD, _BACKWARD, _WHOLE, _BETWEEN = "forward", "backward", "whole", "between"
_BUTTONS = {
    _BACKWARD: ("\N{LEFTWARDS ARROW}", "Carry the mask backward, until the object ends"),
    _WHOLE: ("\N{LEFT RIGHT ARROW}", "Carry the mask both ways, until the object ends"),
    _FORWARD: ("\N{RIGHTWARDS ARROW}", "Carry the mask forward, until the object ends"),
    _BETWEEN: ("Between", "Fill the slices between this one and the next one with clicks (or the one before)"),
}
_CHECK_HEIGHT = 90  # pixels

Legs = list[tuple[Propagation, list[int]]]  # where from, and to which slices


class PropagationBox(QWidget):
    """Buttons that carry the current object along an axis; progress; the slices to look at afterwards."""

    _came = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._annotator: Annotator | None = None
        self._shown: list[tuple[Place, float]] = []
        self._way = ""
        self._legs: Legs = []  # of what is being carried
        self._worker = LatestWorker(self)
        self._worker.returned.connect(self._finished)
        self._worker.failed.connect(self._failed)
        self._worker.idle.connect(lambda: self.refresh(self._annotator))
        self._came.connect(self._progress)
        self.axis = QComboBox()
        self.axis.setToolTip("The axis along which the object is carried: depth or time")
        self.buttons = {way: QPushButton(text) for way, (text, _) in _BUTTONS.items()}
        for way, button in self.buttons.items():
            button.setToolTip(_BUTTONS[way][1])
            button.clicked.connect(lambda _checked, way=way: self.start(way))
        self.carry = QCheckBox("Carry scales and biases too")
        self.carry.setChecked(True)
        self.carry.setToolTip("Each slice starts from what f-BRS has found on the slice before, besides its mask")
        self.bar = QProgressBar()
        self.cancel = QPushButton("Cancel")
        self.cancel.clicked.connect(self.stop)
        self.check = QListWidget()
        self.check.setMaximumHeight(_CHECK_HEIGHT)
        self.check.setToolTip("Slices on which the mask is doubtful, the worst first: click to go there")
        self.check.itemClicked.connect(self._go)
        self._build()

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        form = QFormLayout()
        form.addRow("Along", self.axis)
        layout.addLayout(form)
        layout.addWidget(row(*self.buttons.values()))
        layout.addWidget(self.carry)
        self.running = row(self.bar, self.cancel)
        self.running.hide()
        layout.addWidget(self.running)
        form = QFormLayout()
        form.addRow("To check", self.check)
        layout.addLayout(form)

    def close_down(self) -> None:
        """Stop computing, for good."""
        self._worker.close()

    @property
    def busy(self) -> bool:
        """Whether an object is being carried."""
        return self._worker.busy

    def refresh(self, annotator: Annotator | None) -> None:
        """Show the axes there are, and the slices to check of the current object."""
        if annotator is not self._annotator:
            self.stop()
            self._annotator = annotator
        axes = _axes(annotator) if annotator is not None else {}
        names = list(axes)
        if names != [self.axis.itemText(i) for i in range(self.axis.count())]:
            with QSignalBlocker(self.axis):
                self.axis.clear()
                for name, axis in axes.items():
                    self.axis.addItem(name, axis)
        for button in self.buttons.values():
            button.setEnabled(bool(names) and not self.busy)
        self._list_doubtful()

    def start(self, way: str) -> None:
        """Carry the current object from the displayed slice."""
        annotator = self._annotator
        if annotator is not None and not self.busy:
            self._start(annotator, way)

    def _start(self, annotator: Annotator, way: str) -> None:
        try:
            legs = self._planned(annotator, way)
        except InputError as error:
            annotator.refused.emit(str(error))
            return
        self._way, self._legs = way, legs
        self.bar.setRange(0, sum(len(slices) for _, slices in legs))
        self.bar.setValue(0)
        self.running.show()
        self._worker.submit(lambda cancelled: self._carry(annotator, legs, cancelled))
        self.refresh(annotator)

    def stop(self) -> None:
        """Call off what is being computed; nothing of it is written."""
        self._worker.cancel()
        self._legs = []
        self.running.hide()

    def _planned(self, annotator: Annotator, way: str) -> Legs:
        session, axis, carry = annotator.session, self.axis.currentData(), self.carry.isChecked()
        options: dict[str, Any] = {"carry": carry, "limits": annotator.layers.image.limits()}
        here = Propagation(session, annotator.place(), axis, **options)
        here.check_unchanged()
        if way != _BETWEEN:
            directions = {_FORWARD: [1], _BACKWARD: [-1], _WHOLE: [1, -1]}[way]
            return [(here, here.targets(direction)) for direction in directions]
        try:
            direction = 1
            near, end = here.until_refined(direction)
        except InputError:
            direction = -1
            near, end = here.until_refined(direction)
        far = [at for at in reversed(here.targets(direction)) if at not in near]
        return [(here, near), (Propagation(session, end, axis, **options), far)]

    def _carry(self, annotator: Annotator, legs: Legs, cancelled: Callable[[], bool]) -> tuple[Annotator, list[Slice]]:
        """Compute, in a thread."""
        found = []
        for propagation, slices in legs:
            for one in propagation.run(slices, cancelled):
                if cancelled():
                    raise CancelledError("called off")
                found.append(one)
                self._came.emit(len(found))
        return annotator, found

    def _progress(self, count: int) -> None:
        if self._still_holds():
            self.bar.setValue(count)

    def _still_holds(self) -> bool:
        """Return whether what is being carried is still what it was; where it is not, stop, and say so."""
        try:
            for propagation in {propagation for propagation, _ in self._legs}:
                propagation.check_unchanged()
        except InputError as error:
            self.stop()
            if self._annotator is not None:
                self._annotator.refused.emit(str(error))
            return False
        return True

    def _finished(self, outcome: tuple[Annotator, list[Slice]]) -> None:
        annotator, slices = outcome
        self.running.hide()
        if annotator is not self._annotator or not self._still_holds():
            return
        if slices:
            annotator.perform(lambda: write(annotator.session, slices))
        else:
            annotator.refused.emit("the object was not found on the next slice: it ends here, or click on it there")

    def _failed(self, error: Exception) -> None:
        self.running.hide()
        annotator = self._annotator
        if annotator is not None and annotator.make_do(error):
            self._start(annotator, self._way)
        elif annotator is not None:
            signal: Any = annotator.refused if isinstance(error, InputError) else annotator.crashed
            signal.emit(str(error) if isinstance(error, InputError) else error)
            self.refresh(annotator)

    def _list_doubtful(self) -> None:
        annotator = self._annotator
        doubtful = to_check(annotator.session, annotator.session.object) if annotator is not None else []
        if doubtful == self._shown:
            return
        self._shown = doubtful
        self.check.clear()
        for place, confidence in doubtful:
            where = ", ".join(map(str, place.plane.position))
            self.check.addItem(QListWidgetItem(f"Slice {where}: confidence {confidence:.0%}"))

    def _go(self, item: QListWidgetItem) -> None:
        if self._annotator is not None:
            self._annotator.display(self._shown[self.check.row(item)][0].plane)


def _axes(annotator: Annotator) -> dict[str, int]:
    """Return the axes with a slider, by name."""
    image = annotator.layers.image
    try:
        displayed = annotator.axes()
    except InputError:
        return {}
    shape = annotator.session.image.shape
    return {
        f"{image.layer.axis_labels[axis]} (axis {axis})": axis
        for axis in range(len(shape))
        if axis not in displayed and shape[axis] > 1
    }
