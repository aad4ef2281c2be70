"""The list of objects in the widget: go to one, name it, lock it, delete it, merge it."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFormLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_fbrs.annotation.objects import ObjectRow
from napari_fbrs.gui.annotator import Annotator
from napari_fbrs.gui.boxes import row

_COLUMNS = ("Object", "Class", "Slices", "Clicks", "Area", "Lock")
_LABEL, _CLASS, _LOCK = 0, 1, 5
_OVERLAPS = {"Keep the others": False, "Overwrite them": True}
_ROWS_SHOWN = 6
_UNTICKED = "QTableView::indicator:unchecked { border: 1px solid #909090; background: rgba(0, 0, 0, 30); }"


class ObjectsBox(QWidget):
    """A table of the objects of an annotation, and what is done to them."""

    def __init__(self) -> None:
        super().__init__()
        self._annotator: Annotator | None = None
        self._shown: list[ObjectRow] = []
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(_COLUMNS)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setStyleSheet(_UNTICKED)  # else dark on dark, or light on light
        rows, header = self.table.verticalHeader(), self.table.horizontalHeader()
        assert rows is not None
        assert header is not None
        rows.hide()
        self.table.setMinimumHeight((_ROWS_SHOWN + 1) * rows.defaultSectionSize())
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(_CLASS, QHeaderView.ResizeMode.Stretch)
        self.table.itemSelectionChanged.connect(self._selected)
        self.table.itemChanged.connect(self._edited)
        self.table.setToolTip(
            "Click a row to go back to an object; several rows (Ctrl) can be merged. Classes are typed in."
        )
        self.previous, self.next = (
            QPushButton("\N{BLACK LEFT-POINTING TRIANGLE}"),
            QPushButton("\N{BLACK RIGHT-POINTING TRIANGLE}"),
        )
        self.delete, self.merge = QPushButton("Delete"), QPushButton("Merge")
        self.overlap = QComboBox()
        self.overlap.addItems(_OVERLAPS)
        self._build()

    def _build(self) -> None:
        self.previous.setToolTip("The object before")
        self.next.setToolTip("The object after")
        self.delete.setToolTip("Delete the objects selected: clicks and masks, on all slices")
        self.merge.setToolTip("Make one object of those selected, with the label of the first")
        self.overlap.setToolTip(
            "What happens to pixels that belong to another object. Locked objects always keep theirs."
        )
        self.previous.clicked.connect(lambda: self._do(lambda annotator: annotator.step_object(-1)))
        self.next.clicked.connect(lambda: self._do(lambda annotator: annotator.step_object(1)))
        self.delete.clicked.connect(self._delete)
        self.merge.clicked.connect(self._merge)
        self.overlap.currentTextChanged.connect(self._set_overlap)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addWidget(row(self.previous, self.next, self.delete, self.merge))
        form = QFormLayout()
        form.addRow("Where objects overlap", self.overlap)
        layout.addLayout(form)

    def refresh(self, annotator: Annotator | None) -> None:
        """Show the objects of an annotation as they are now."""
        another, self._annotator = annotator is not self._annotator, annotator
        if another:
            self._shown = []  # its colours are others
        self.setEnabled(annotator is not None)
        rows = annotator.objects.rows() if annotator is not None else []
        with QSignalBlocker(self.table), QSignalBlocker(self.overlap):
            if annotator is not None:
                self.overlap.setCurrentIndex(list(_OVERLAPS.values()).index(annotator.session.overwrite))
            if another or rows != self._shown:
                self._fill(rows, annotator.layers.labels if annotator is not None else None)
            if annotator is not None:
                self._mark(annotator.session.object)
        for button, needed in ((self.previous, 1), (self.next, 1), (self.delete, 1), (self.merge, 2)):
            button.setEnabled(len(rows) >= needed)

    def chosen(self) -> list[int]:
        """Return the labels of the rows selected, from the top."""
        numbers = sorted({index.row() for index in self.table.selectedIndexes()})
        return [self._shown[number].label for number in numbers]

    def _fill(self, rows: list[ObjectRow], labels: Labels | None) -> None:
        """Show rows, touching only what has changed: each costs the window a millisecond, a class may be half typed."""
        before, self._shown = self._shown, rows
        if not before:
            self.table.setRowCount(0)  # with the editor of a class of another annotation
        self.table.setRowCount(len(rows))
        for number, told in enumerate(rows):
            if before[number : number + 1] == [told]:
                continue
            cells = (str(told.label), told.name, str(told.slices), str(told.clicks), f"{told.area:,}", "")
            items = [self._item(number, column, text) for column, text in enumerate(cells)]
            if labels is not None:
                items[_LABEL].setIcon(_swatch(labels.get_color(told.label)))
            items[_LOCK].setCheckState(Qt.CheckState.Checked if told.locked else Qt.CheckState.Unchecked)

    def _item(self, number: int, column: int, text: str) -> QTableWidgetItem:
        """Return what is in a cell, with a text; where it has that already, an editor open in it is left alone."""
        item = self.table.item(number, column)
        if item is None:
            item = _item(text, editable=column == _CLASS, tickable=column == _LOCK)
            self.table.setItem(number, column, item)
        elif item.text() != text:
            item.setText(text)
        return item

    def _mark(self, label: int) -> None:
        """Select the row of the current object, unless several are selected with it among them."""
        chosen = self.chosen()
        if chosen == [label] or (label in chosen and len(chosen) > 1):
            return
        self.table.clearSelection()
        for number, told in enumerate(self._shown):
            if told.label == label:
                self.table.selectRow(number)

    def _selected(self) -> None:
        chosen = self.chosen()
        if self._annotator is not None and len(chosen) == 1 and chosen[0] != self._annotator.session.object:
            self._annotator.turn_to(chosen[0])

    def _edited(self, item: QTableWidgetItem) -> None:
        if self._annotator is None:
            return
        label, objects = self._shown[item.row()].label, self._annotator.objects
        if item.column() == _CLASS:
            objects.rename(label, item.text())
        elif item.column() == _LOCK:
            objects.lock(label, item.checkState() == Qt.CheckState.Checked)
        self.refresh(self._annotator)

    def _delete(self) -> None:
        labels = self.chosen()
        self._do(lambda annotator: annotator.perform(lambda: annotator.objects.delete(labels)))

    def _merge(self) -> None:
        into, *others = self.chosen() or [0]
        if others:
            self._do(lambda annotator: annotator.perform(lambda: annotator.objects.merge(others, into)))

    def _set_overlap(self, text: str) -> None:
        self._do(lambda annotator: setattr(annotator.session, "overwrite", _OVERLAPS[text]))

    def _do(self, action: Any) -> None:
        if self._annotator is not None:
            action(self._annotator)


def _item(text: str, *, editable: bool, tickable: bool) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    if not editable:
        item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
    if tickable:
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
    return item


def _swatch(colour: Any) -> QIcon:
    pixmap = QPixmap(12, 12)
    pixmap.fill(QColor(*np.rint(255 * np.asarray(colour)[:3]).astype(int).tolist()))
    return QIcon(pixmap)
