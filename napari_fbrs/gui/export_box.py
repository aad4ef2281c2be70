"""The part of the widget that writes all masks of a Labels layer to files, beside the window."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QDir, Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QLabel,
    QLineEdit,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QWidget,
)
from superqt import QCollapsible

from napari_fbrs.annotation.click_record import SUFFIX, Moment, make_record, write_record
from napari_fbrs.errors import FBRSError, InputError
from napari_fbrs.export import FORMATS, Exported, Format, LabelImage, Options, Selection, export_labels, from_layer
from napari_fbrs.export.command import report
from napari_fbrs.export.selection import parse_crop, parse_objects, parse_slices
from napari_fbrs.export.writing import check_may_write, target_path
from napari_fbrs.gui.boxes import layer_box, row
from napari_fbrs.gui.worker import LatestWorker

_NARROW = 12  # characters
_WHOLE, _WIDEST = -1, 10_000  # of the margin around objects; the first stands for masks as large as the slice
_ROWS = MappingProxyType({"Value": "Masks hold", "Margin": "Mask size"})
_LONGEST = 80  # characters of a layer's name in that of a file, three bytes each at most
_LOOK_AGAIN = 50  # milliseconds between looks at whether a mask is still being computed


@dataclass(eq=False)
class _Job:
    """One export."""

    layer: Labels
    path: Path
    format: Format
    selection: Selection
    options: Options
    overwrite: bool
    record_path: Path | None = None
    image: LabelImage | None = None
    moment: tuple[Moment, Mapping[str, Any]] | None = None
    called_off: bool = False
    exported: Exported | None = None


class ExportBox(QCollapsible):
    """Exports a Labels layer: every object of every slice, or those chosen.

    Parameters
    ----------
    computing : callable
        Tells whether a mask is being computed for a layer: the export waits for it.
    known_of : callable
        Returns what is known of a layer beyond the layer, by the names of `LabelImage`: classes, intensities.
    moment_of : callable
        Returns what a click record of a layer follows from, and what `make_record` takes besides; None where there are
        no clicks that led to it.
    """

    saved = Signal(object)  # a Labels layer, all masks of which, as they are now, are in a file

    _progressed = Signal(int, int)  # done, of how much; from the thread

    def __init__(
        self,
        computing: Callable[[Labels], bool],
        known_of: Callable[[Labels], Mapping[str, Any]],
        moment_of: Callable[[Labels], tuple[Moment, Mapping[str, Any]] | None],
    ) -> None:
        super().__init__("Export")
        self._computing, self._known_of, self._moment_of = computing, known_of, moment_of
        self._job: _Job | None = None
        self._folder = Path(QDir.homePath())
        self._worker = LatestWorker(self)
        self._worker.failed.connect(self._failed)
        self._worker.idle.connect(self._ended)
        self._progressed.connect(self._progress)
        self._build()
        self._format_chosen()
        self._refresh()

    def reset_choices(self) -> None:
        """Offer the Labels layers there are now."""
        self.labels.reset_choices()

    def start(self) -> None:
        """Ask where to, then export in a thread."""
        try:
            layer = self.labels.value
            if layer is None:
                raise InputError("there is no Labels layer to export: press Start and click on an object first")
            format_ = self._chosen_format()
            format_.check_usable()
            selection, options = self._selection(), self._options(format_)
            path = self._ask_path(layer, format_)
            if path is None:
                return
            path = target_path(path, format_)
            record_path = self._record_path(layer, path, format_)
            there = [one for one in (path, record_path) if one is not None and one.exists()]
            overwrite = bool(there) and self._may_replace(*there)
            if there and not overwrite:
                return
            check_may_write(path, format_, overwrite=overwrite)
        except InputError as error:
            self._refused(str(error))
            return
        except OSError as error:  # of a name that is too long, a folder that may not be looked into
            self._refused(f"cannot write {error.filename}: {error.strerror}; choose another name")
            return
        self._folder = path.parent
        self._job = _Job(layer, path, format_, selection, options, overwrite, record_path)
        self.bar.setRange(0, 0)
        self._refresh()
        self._when_computed(self._job)

    def cancel(self) -> None:
        """Stop; nothing is written."""
        if self._job is not None:
            self._job.called_off = True
            self._say("Stopping ...")
            self._worker.cancel()
            if not self._worker.busy:
                self._ended()

    def shut(self) -> None:
        """Stop, for good."""
        self._job = None
        self._worker.close()

    # -- building

    def _build(self) -> None:
        self.labels = layer_box(Labels)
        self.format = QComboBox()
        for format_ in FORMATS.values():
            self.format.addItem(format_.title, format_.name)
        self.format.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.format.setMinimumContentsLength(_NARROW)  # long titles shall not widen the window
        self.format.setCurrentIndex(self.format.findData("masks"))
        self.format.currentIndexChanged.connect(self._format_chosen)
        self.objects = _line("all", "Labels of the objects to export, such as 1, 4-9")
        self.classes = _line("all", "Classes of the objects to export, joined by commas")
        self.slices = _line("all", "Slices to export, such as 3 or 3:10 (the end does not belong to it), counted from "
                            "0;\nwhere there is more than one slider, one such for each, as in 0;3:10")  # fmt: skip
        self.crop = _line("whole slices", "Part of each slice to export, as rows,columns: 100:200,0:50 are rows 100 to "
                          "199\nand columns 0 to 49, counted from 0; 100:,:50 begins at row 100, and ends before "
                          "column 50")  # fmt: skip
        self.value = QComboBox()
        self.margin = QSpinBox()
        self.margin.setRange(_WHOLE, _WIDEST)
        self.margin.setSpecialValueText("as large as the slice")
        self.margin.setSuffix(" px around the object")
        self.margin.setValue(_WHOLE)
        self.names = _line("usual", "How files are called: {name}, {object}, {class}, {plane}, {z}, {t};\n"
                           "a slash makes folders, as in {class}/{object}")  # fmt: skip
        self.record = QCheckBox("Click record beside it")
        self.record.setToolTip(
            "Write the clicks, and all else that the masks follow from, to a file of their own: to go on from it here\n"
            "(Open click record ...), or to compute the masks again without a window (napari-fbrs replay)."
        )
        inner = QWidget()
        self._form = QFormLayout(inner)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.addRow("Labels", self.labels.native)
        for name in ("Format", "Objects", "Classes", "Slices", "Crop", "Value", "Margin", "Names"):
            self._form.addRow(_ROWS.get(name, name), getattr(self, name.lower()))
        self._form.addRow("", self.record)
        for part in self._running_parts():
            self._form.addRow(part)
        self.addWidget(inner)

    def _running_parts(self) -> tuple[QWidget, ...]:
        self.export_button = QPushButton("Export ...")
        self.export_button.clicked.connect(self.start)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.clicked.connect(self.cancel)
        self.bar = QProgressBar()
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        return row(self.export_button, self.cancel_button), self.bar, self.status

    def _format_chosen(self) -> None:
        """Show what can be said about files of this format."""
        format_ = self._chosen_format()
        for name, box in (("value", self.value), ("margin", self.margin), ("names", self.names)):
            box.setVisible(name in format_.uses)
            label = self._form.labelForField(box)
            if label is not None:
                label.setVisible(name in format_.uses)
        self.value.clear()
        if format_.name == "slices":
            self.value.addItem("labels", None)
        self.value.addItem("0 and 255", 255)
        self.value.addItem("0 and 1", 1)

    # -- what was chosen

    def _chosen_format(self) -> Format:
        return FORMATS[self.format.currentData()]

    def _selection(self) -> Selection:
        classes = {name.strip() for name in self.classes.text().split(",")} - {""}
        rows, columns = parse_crop(self.crop.text()) if self.crop.text().strip() else (None, None)
        slices = parse_slices(self.slices.text())
        return Selection(parse_objects(self.objects.text()), classes or None, slices, rows, columns)

    def _options(self, format_: Format) -> Options:
        uses = format_.uses
        margin = self.margin.value()
        return Options(
            self.value.currentData() if "value" in uses else None,
            margin if "margin" in uses and margin != _WHOLE else None,
            (self.names.text().strip() or None) if "names" in uses else None,
        )

    def _ask_path(self, layer: Labels, format_: Format) -> Path | None:
        suffix = format_.suffixes[0] if format_.suffixes else f" {format_.name}"
        usual = str(self._folder / f"{_file_name(layer.name)}{suffix}")
        kind = " ".join(f"*{suffix}" for suffix in format_.suffixes)
        path, _ = QFileDialog.getSaveFileName(
            self,
            f"Export to a new {'folder' if format_.folder else 'file'}",
            usual,
            f"{format_.title} ({kind or '*'})",
            options=QFileDialog.Option.DontConfirmOverwrite,  # asked once the suffix is known
        )
        return Path(path) if path else None

    def _record_path(self, layer: Labels, path: Path, format_: Format) -> Path | None:
        """Return where the click record goes, if one is wanted."""
        if not self.record.isChecked():
            return None
        if self._moment_of(layer) is None:
            raise InputError(
                f"no clicks led to {layer.name!r}: choose the layer that is clicked on, or no click record"
            )
        ending = next((suffix for suffix in format_.suffixes if path.name.lower().endswith(suffix)), "")
        return path.with_name(path.name[: len(path.name) - len(ending)] + SUFFIX)

    def _may_replace(self, *paths: Path) -> bool:
        yes, no = QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.No
        there = " and ".join(path.name for path in paths) + (" are" if len(paths) > 1 else " is")
        replace_ = f"{there} there already. Replace {'them' if len(paths) > 1 else 'it'}?"
        answer = QMessageBox.question(self, "Export", replace_, yes | no)
        return bool(answer == yes)

    # -- exporting

    def _when_computed(self, job: _Job) -> None:
        """Run a job as soon as no mask is being computed, so that the object in progress is exported as it will be."""
        if job is not self._job:
            return
        if self._computing(job.layer):
            self._say("Waiting for the mask that is being computed ...")
            QTimer.singleShot(_LOOK_AGAIN, lambda: self._when_computed(job))
            return
        try:
            image, known = _snapshot(job.layer), self._known_of(job.layer)
            classes = {**image.classes, **known.get("classes", {})}  # names given here win over those of the layer
            job.image = image = replace(image, **{**known, "classes": classes})
            job.moment = self._moment_of(job.layer)
        except InputError as error:
            self._job = None
            self._refused(str(error))
            self._refresh()
            return
        self._say(f"Exporting {job.layer.name} ...")
        self._worker.submit(lambda cancelled: self._export(job, image, cancelled))

    def _export(self, job: _Job, image: LabelImage, cancelled: Callable[[], bool]) -> None:
        """Export; runs in a thread."""
        told = -1

        def progress(done: int, total: int) -> None:
            nonlocal told
            if 100 * done // max(1, total) != told:
                told = 100 * done // max(1, total)
                self._progressed.emit(done, total)

        job.exported = export_labels(
            image,
            job.path,
            job.format.name,
            job.selection,
            job.options,
            overwrite=job.overwrite,
            progress=progress,
            cancelled=cancelled,
        )
        if job.record_path is not None and job.moment is not None:
            moment, names = job.moment
            write_record(job.record_path, make_record(moment, np.asarray(image.data), **names))

    # -- telling

    def _progress(self, done: int, total: int) -> None:
        if self._job is not None:
            self.bar.setRange(0, total)
            self.bar.setValue(done)

    def _ended(self) -> None:
        job, self._job = self._job, None
        if job is None:
            return
        if job.exported is not None:
            text = report(job.exported)
            show_info(text)
            record = f", click record to {job.record_path.name}" if job.record_path is not None else ""
            self._say(f"{report(job.exported, short=True)}{record}.")
            self.status.setToolTip(str(job.exported.path))
            if self._holds_everything(job):
                self.saved.emit(job.layer)
        elif job.called_off:
            self._say("Called off: nothing was written.")
        self._refresh()

    def _holds_everything(self, job: _Job) -> bool:
        """Return whether all masks of a layer, as they are now, can be got back from what was exported."""
        if (
            job.image is None
            or not job.format.holds_masks
            or job.selection != Selection()
            or self._computing(job.layer)
        ):
            return False
        return isinstance(job.image.data, np.ndarray) and np.array_equal(job.image.data, job.layer.data)

    def _failed(self, error: Exception) -> None:
        self._job = None
        if isinstance(error, InputError):
            self._refused(str(error))
        else:
            if not isinstance(error, FBRSError):
                logging.getLogger(__name__).error("export failed", exc_info=error)
                error = RuntimeError(f"the export failed ({type(error).__name__}: {error}); nothing was written")
            show_error(str(error))
            self._say(str(error))
        self._refresh()

    def _refused(self, message: str) -> None:
        show_warning(message)
        self._say(message)

    def _say(self, text: str) -> None:
        self.status.setText(text)

    def _refresh(self) -> None:
        running = self._job is not None
        self.export_button.setEnabled(not running)
        self.cancel_button.setEnabled(running)
        self.bar.setVisible(running)


def _snapshot(layer: Labels) -> LabelImage:
    """Return a layer as it is now: a copy, as it may be edited while it is written; what is not in memory stays so."""
    data, meta, _ = layer.as_layer_data_tuple()
    if layer.multiscale:
        data = data[0]
    if isinstance(data, np.ndarray):
        if not data.any():
            raise InputError(f"there is no object in {layer.name!r} yet")
        try:
            data = data.copy()
        except MemoryError as error:
            raise InputError(f"there is no memory for a copy of {layer.name!r} to export") from error
    return from_layer(data, meta)


def _file_name(name: str) -> str:
    """Return a layer's name as one that every file system takes: without slashes, and not too long."""
    return re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name)[:_LONGEST].strip(" .") or "labels"


def _line(placeholder: str, tooltip: str) -> QLineEdit:
    line = QLineEdit()
    line.setPlaceholderText(placeholder)
    line.setToolTip(tooltip)
    return line
