"""A dock widget that tells how many clicks the objects of a Labels layer would take."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import napari
from napari.layers import Image, Labels
from napari.utils.events import Event
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QGuiApplication, QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QFormLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_fbrs.errors import FBRSError, InputError
from napari_fbrs.gui.boxes import ModelBoxes, device_text, layer_box, row
from napari_fbrs.gui.measure import Amount, LayerObjects, Measured, measure
from napari_fbrs.gui.panel import Panel
from napari_fbrs.gui.worker import LatestWorker
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.models.zoo import load_model

_MOST_OBJECTS, _MOST_CLICKS, _LARGEST = 10_000, 100, 1_000_000
_WHAT = (
    "A simulated user clicks on objects that are right in a Labels layer, always in the middle of the largest error, "
    "until the mask has an IoU of 0.9. NoC@85 is the mean number of clicks to an IoU of 0.85."
)


@dataclass(frozen=True, eq=False)
class _Job:
    """One measurement."""

    layers: tuple[Image, Labels]
    model: str


@dataclass(frozen=True)
class _Report:
    """What has come out of a measurement so far."""

    job: _Job
    device: str
    measured: Measured

    def title(self) -> str:
        image, labels = self.job.layers
        return f"{labels.name} on {image.name}, model {self.job.model} on {self.device}"

    def text(self) -> str:
        """Return the figures as text, with tabs between its columns."""
        lines = [f"{name}\t{value}" for name, value in self.measured.figures().items()]
        return "\n".join([self.title(), f"Objects\t{len(self.measured.runs)}", *lines]) + "\n"


class MeasureWidget(Panel):
    """Measures how many clicks objects take that are right already.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the layers are; they are not changed.
    """

    _progressed = Signal(object)  # a _Report, from the thread

    # The annotation is not quoted: napari finds the viewer to inject by its type.
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self._job: _Job | None = None  # the one that runs
        self._report: _Report | None = None  # what is in the table
        self._worker = LatestWorker(self)
        self._worker.returned.connect(self._finished)
        self._worker.failed.connect(self._failed)
        self._worker.idle.connect(self._refresh)
        self._progressed.connect(self._progress)
        self._build()
        viewer.layers.events.removed.connect(self._layer_removed)
        self.reset_choices()
        self._say(_WHAT)
        self._refresh()

    def reset_choices(self, _event: Any = None) -> None:
        """Offer the layers there are now; napari calls this when layers come and go."""
        for box in (self.image, self.labels):
            box.reset_choices()

    def start(self) -> None:
        """Measure, in a thread."""
        image, labels = self.image.value, self.labels.value
        try:
            if image is None or labels is None:
                raise InputError("choose an image layer, and a Labels layer in which some objects are right")
            dataset = LayerObjects(image, labels)
        except InputError as error:
            self._refused(str(error))
            return
        amount = Amount(self.objects.value(), self.min_area.value(), self.clicks.value())
        name, device = self._boxes.names
        job = self._job = _Job((image, labels), name)

        def work(cancelled: Callable[[], bool]) -> _Report:
            predictor = Predictor(load_model(name, device))
            where = device_text(predictor.model.device)

            def progressed(measured: Measured) -> None:
                self._progressed.emit(_Report(job, where, measured))

            return _Report(job, where, measure(dataset, amount, predictor, progressed, cancelled))

        self.bar.setRange(0, 0)  # busy: nobody knows yet how much there is
        self._say("Loading the model and looking for objects ...")
        self._worker.submit(work)
        self._refresh()

    def cancel(self) -> None:
        """Stop; what has been measured stays in the table."""
        self._stop("Called off")

    def copy(self) -> None:
        """Put the table on the clipboard, as text."""
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None and self._report is not None:
            clipboard.setText(self._report.text())

    def shut_down(self) -> None:
        """Stop measuring."""
        self._job = None
        self._worker.close()
        self._boxes.close()
        self.viewer.layers.events.removed.disconnect(self._layer_removed)

    # -- building

    def _build(self) -> None:
        self.image, self.labels = layer_box(Image), layer_box(Labels)
        self._boxes = ModelBoxes(self)
        self._boxes.failed.connect(lambda error: show_error(str(error)))
        self.model, self.device = self._boxes.model, self._boxes.device
        usual = Amount()
        self.objects = _number(1, _MOST_OBJECTS, usual.objects)
        self.objects.setToolTip("How many objects are clicked on; the same ones each time. In a stack, planes count.")
        self.min_area = _number(1, _LARGEST, usual.min_area, " px")
        self.min_area.setToolTip("Pixels, in a plane, of the smallest object that is clicked on")
        self.clicks = _number(1, _MOST_CLICKS, usual.clicks)
        self.clicks.setToolTip("Clicks after which an object is given up; it then counts as that many")
        form = QFormLayout()
        form.addRow("Image", self.image.native)
        form.addRow("Labels", self.labels.native)
        form.addRow("Objects", self.objects)
        form.addRow("Smallest area", self.min_area)
        form.addRow("Most clicks", self.clicks)
        self._boxes.add_to(form)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        for part in self._running_parts():
            layout.addWidget(part)
        layout.addStretch()

    def _running_parts(self) -> tuple[QWidget, ...]:
        self.measure_button = QPushButton("Measure")
        self.measure_button.clicked.connect(self.start)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.clicked.connect(self.cancel)
        self.bar = QProgressBar()
        self.bar.setFormat("%v of %m objects")
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.table = _table()
        QShortcut(QKeySequence(QKeySequence.StandardKey.Copy), self.table, self.copy).setContext(
            Qt.ShortcutContext.WidgetShortcut
        )
        self.copy_button = QPushButton("Copy as text")
        self.copy_button.clicked.connect(self.copy)
        return row(self.measure_button, self.cancel_button), self.bar, self.status, self.table, self.copy_button

    # -- telling

    def _progress(self, report: _Report) -> None:
        if report.job is not self._job:  # it has been called off
            return
        measured = report.measured
        self.bar.setRange(0, measured.total)
        self.bar.setValue(len(measured.runs))
        self._say(f"Measuring {report.title()}.")
        self._show(report)

    def _finished(self, report: _Report) -> None:
        if report.job is self._job:
            self._job = None
            self._say(f"{_objects(len(report.measured.runs))} of {report.title()}.")
            self._show(report)

    def _stop(self, why: str) -> None:
        """End the job that runs, if there is one."""
        job, self._job = self._job, None
        if job is None:
            return
        self._worker.cancel()
        if self._report is not None and self._report.job is job:
            measured = self._report.measured
            why += f" after {len(measured.runs)} of {_objects(measured.total)}"
        self._say(f"{why}.")
        self._refresh()

    def _layer_removed(self, event: Event) -> None:
        if self._job is not None and any(layer == event.value for layer in self._job.layers):
            show_warning(f"the layer {event.value.name!r} was removed: measuring has ended")
            self._stop(f"The layer {event.value.name!r} was removed: measuring ended")

    def _refused(self, message: str) -> None:
        show_warning(message)
        self._say(message)

    def _failed(self, error: Exception) -> None:
        if self._job is None:  # nobody waits for it any more
            return
        self._job = None
        if isinstance(error, InputError):
            self._refused(str(error))
        else:
            if not isinstance(error, FBRSError):
                logging.getLogger(__name__).error("measuring failed", exc_info=error)
                error = RuntimeError(f"measuring failed ({type(error).__name__}: {error})")
            show_error(str(error))
            self._say(str(error))
        self._refresh()

    def _say(self, text: str) -> None:
        self.status.setText(text)

    def _show(self, report: _Report) -> None:
        self._report = report
        figures = report.measured.figures()
        self.table.setRowCount(len(figures))
        for line, cells in enumerate(figures.items()):
            for column, text in enumerate(cells):
                self.table.setItem(line, column, QTableWidgetItem(text))
        height = sum(self.table.rowHeight(line) for line in range(len(figures)))
        self.table.setFixedHeight(height + 2 * self.table.frameWidth())
        self._refresh()

    def _refresh(self) -> None:
        """Bring buttons, bar and table up to date."""
        running = self._job is not None
        filled = self.table.rowCount() > 0
        self.measure_button.setEnabled(not running)
        self.cancel_button.setEnabled(running)
        self.bar.setVisible(running)
        self.table.setVisible(filled)
        self.copy_button.setVisible(filled)


def _number(lowest: int, highest: int, value: int, unit: str = "") -> QSpinBox:
    box = QSpinBox()
    box.setRange(lowest, highest)
    box.setValue(value)
    box.setSuffix(unit)
    return box


def _table() -> QTableWidget:
    table = QTableWidget(0, 2)
    table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
    table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    names = QHeaderView(Qt.Orientation.Horizontal)
    table.setHorizontalHeader(names)
    names.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    names.hide()
    numbers = QHeaderView(Qt.Orientation.Vertical)
    table.setVerticalHeader(numbers)
    numbers.hide()
    return table


def _objects(count: int) -> str:
    return f"{count} object{'' if count == 1 else 's'}"
