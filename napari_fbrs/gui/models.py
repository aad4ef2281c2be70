"""The box with the models: those on this machine, and those that can be downloaded to it."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_fbrs.gui.worker import LatestWorker
from napari_fbrs.models.zoo import DEFAULT, Entry, by_hand, download, list_models, models_folder, unused_files

_NAME, _THERE = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1
_TOOLTIP = Qt.ItemDataRole.ToolTipRole


class ModelBox(QComboBox):
    """A box with every model there is; it looks anew whenever it is opened, and so finds files placed by hand."""

    chosen = Signal()  # a model that is on this machine
    missing = Signal(str)  # the name of one that is not

    def __init__(self) -> None:
        super().__init__()
        self.name = DEFAULT  # the model to be used: the last one chosen that is there
        self.activated.connect(self._activated)
        self.refresh()

    def showPopup(self) -> None:  # noqa: N802  Qt's name
        """Look for models, and open."""
        self.refresh()
        super().showPopup()

    def refresh(self) -> None:
        """Offer the models there are now."""
        entries = list_models()
        self.clear()
        for entry in entries:
            self._add(entry)
        self.setToolTip("\n".join(["Which network is asked", *map(_unused, unused_files())]))
        if self.name not in (entry.name for entry in entries if entry.path):
            self.name = DEFAULT  # its file is gone
        self.use(self.name)

    def use(self, name: str) -> None:
        """Show a model as the one that is used; nobody is told."""
        self.setCurrentIndex(self.findData(name, _NAME))
        if self.currentData(_THERE):
            self.name = name

    def _add(self, entry: Entry) -> None:
        there = entry.path is not None
        if not there and self.count() and self.itemData(self.count() - 1, _THERE):
            self.insertSeparator(self.count())
        self.addItem(entry.name if there else f"{entry.name}: download{_size(entry)}")
        index = self.count() - 1
        self.setItemData(index, entry.name, _NAME)
        self.setItemData(index, there, _THERE)
        self.setItemData(index, _where(entry), _TOOLTIP)

    def _activated(self, index: int) -> None:
        name = self.itemData(index, _NAME)
        if self.itemData(index, _THERE):
            self.use(name)
            self.chosen.emit()
        else:
            self.missing.emit(name)


class DownloadPanel(QWidget):
    """Offers to download a model, and does so beside the window."""

    finished = Signal(str)  # the name of a model that is now on this machine
    called_off = Signal()
    failed = Signal(Exception)
    _moved = Signal(object, object)  # bytes there, and bytes there will be; from the worker's thread

    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.bar = QProgressBar()
        self.download_button, self.cancel_button = QPushButton("Download"), QPushButton("Cancel")
        self.download_button.clicked.connect(self._start)
        self.cancel_button.clicked.connect(self._cancel)
        buttons = QHBoxLayout()
        buttons.addWidget(self.download_button)
        buttons.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text)
        layout.addWidget(self.bar)
        layout.addLayout(buttons)
        self._worker = LatestWorker(self)
        self._worker.returned.connect(self._done)
        self._worker.failed.connect(self._failed)
        self._moved.connect(self._show)
        self.hide()

    @property
    def busy(self) -> bool:
        """Whether a download is on its way, or being called off."""
        return self._worker.busy

    def offer(self, name: str) -> None:
        """Ask whether to download a model."""
        self._worker.cancel()
        self.name = name
        self._say(f"{name} is not on this machine. It can be downloaded here, or by hand: {by_hand(name)}.")
        self.show()

    def dismiss(self) -> None:
        """Offer nothing any more, and call off what is on its way."""
        self._worker.cancel()
        self.hide()

    def close_down(self) -> None:
        """Call off whatever is on its way, for good."""
        self._worker.close()

    def _start(self) -> None:
        name, moved = self.name, self._moved
        self._say(f"Downloading {name} to {models_folder()} ...", on_its_way=True)
        self._worker.submit(lambda cancelled: download(name, moved.emit, cancelled))

    def _cancel(self) -> None:
        self.dismiss()
        self.called_off.emit()

    def _done(self, path: Path) -> None:
        self.hide()
        self.finished.emit(path.stem)

    def _failed(self, error: Exception) -> None:
        self._say(str(error))
        self.failed.emit(error)

    def _say(self, text: str, *, on_its_way: bool = False) -> None:
        self.text.setText(text)
        self.bar.setVisible(on_its_way)
        self.bar.setRange(0, 0)  # goes to and fro until a size is known
        self.download_button.setEnabled(not on_its_way)

    def _show(self, done: int, total: int | None) -> None:
        self.bar.setRange(0, total or 0)
        self.bar.setValue(done)


def _size(entry: Entry) -> str:
    return "" if entry.size is None else f" {entry.size / 1e6:.0f} MB"


def _where(entry: Entry) -> str:
    if entry.origin == "bundled":
        return "Comes with the plugin"
    return f"In the models folder: {entry.path}" if entry.path else f"Not on this machine: {by_hand(entry.name)}"


def _unused(path: Path) -> str:
    return f"Not listed: {path}, as another model is called {path.stem}; rename the file to use it"
