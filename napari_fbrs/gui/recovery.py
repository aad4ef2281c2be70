"""Work that a crash cut short: kept while one works, offered at the next start."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_warning
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_fbrs.annotation.image import Image
from napari_fbrs.annotation.journal import Abandoned, abandoned_journals, journal_folder, remove_journal
from napari_fbrs.annotation.recovery import Recorder, belongs, header, restore, unsaved
from napari_fbrs.errors import InputError
from napari_fbrs.gui.annotator import Annotator
from napari_fbrs.gui.worker import LatestWorker

_MOST = 30  # journals kept of work that nobody has come back to
_JOURNAL = "napari-fbrs journal"  # key in the metadata of a Labels layer: where its session was kept last


class Recovery(QWidget):
    """Keeps the journal of an annotation, and offers to restore one that was cut short; hidden while there is none.

    Parameters
    ----------
    folder : callable, optional
        Returns where journals are kept.
    """

    restored = Signal()
    _failed = Signal(str)  # from the thread that writes

    def __init__(self, parent: QWidget | None = None, folder: Callable[[], Path] = journal_folder) -> None:
        super().__init__(parent)
        self.recorder: Recorder | None = None
        self.offered: Abandoned | None = None
        self._folder = folder
        self._annotator: Annotator | None = None
        self._worker = LatestWorker(self)
        self._worker.returned.connect(self._found)
        self._worker.failed.connect(lambda error: show_warning(str(error)))
        self._failed.connect(show_warning)
        self._build()
        self.hide()

    def follow(self, annotator: Annotator) -> None:
        """Keep an annotation from now on, and look for earlier work on its image."""
        self.stop()
        self._annotator = annotator
        image, layer = annotator.session.image, annotator.layers.image
        model = annotator.session.predictor.model
        folder = self._folder()
        told = {"name": layer.name, "source": layer.source.path, "model": model.name, "sha256": model.fingerprint}
        self._worker.submit(lambda _cancelled: _looked(image, folder, told))

    def note(self) -> None:
        """Keep what else has been chosen; cheap where that is what it was."""
        if self.recorder is not None:
            self.recorder.note()

    def saved(self) -> None:
        """Say that all masks are in files of the user's: there is nothing to restore until the next change."""
        if self.recorder is not None:
            self.recorder.saved()

    def stop(self) -> None:
        """Let go of the annotation; what is kept of it stays on the disk."""
        self._worker.cancel()
        self._withdraw()
        if self.recorder is not None:
            self.recorder.stop(discard=False)
        self.recorder = self._annotator = None

    def restore(self) -> None:
        """Bring back what was offered."""
        annotator, offered = self._annotator, self.offered
        if annotator is None or offered is None:
            return
        try:
            if annotator.session.annotated():
                raise InputError("something has been clicked on this image already: undo it before you restore")
            restore(annotator.session, offered.entries)
        except InputError as error:
            show_warning(str(error))
            return
        annotator.show_session()
        if self.recorder is not None:
            self.recorder.journal.flush()  # what was offered is in the new journal now
        self.discard()
        self.restored.emit()

    def discard(self) -> None:
        """Remove what was offered."""
        if self.offered is not None:
            self.offered.discard()
        self.offered = None
        self.hide()

    def _withdraw(self) -> None:
        """Leave what was offered for another time."""
        if self.offered is not None:
            self.offered.release()
        self.offered = None
        self.hide()

    def _found(self, found: tuple[dict[str, Any], list[Abandoned]]) -> None:
        annotator = self._annotator
        about, journals = found
        if annotator is None:
            _release(journals)
            return
        fresh = not annotator.session.annotated()
        self.recorder = Recorder(annotator.session, self._folder(), about, self._failed.emit)
        metadata = annotator.layers.labels.metadata
        before, metadata[_JOURNAL] = metadata.get(_JOURNAL), str(self.recorder.journal.path)
        if before is not None:  # this very session, in a widget closed since: the new journal holds it all
            self.recorder.journal.flush()
            own = [journal for journal in journals if str(journal.path) == before]
            _discard(own)
            remove_journal(Path(before))
            journals = [journal for journal in journals if journal not in own]
        if fresh and journals:
            self._offer(journals[0])
            journals = journals[1:]
        _release(journals)

    def _offer(self, journal: Abandoned) -> None:
        self.offered = journal
        when = datetime.fromtimestamp(journal.path.stat().st_mtime).strftime("%d %B, %H:%M")
        objects, clicks = unsaved(journal.entries)
        self._text.setText(
            f"Unsaved work on this image from {when}: {objects} object{'s' * (objects != 1)}, "
            f"{clicks} click{'s' * (clicks != 1)}."
        )
        self.show()

    def _build(self) -> None:
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self.restore_button, self.discard_button = QPushButton("Restore"), QPushButton("Discard")
        self.later_button = QPushButton("Later")
        self.restore_button.clicked.connect(self.restore)
        self.discard_button.clicked.connect(self.discard)
        self.later_button.clicked.connect(self._withdraw)
        self.restore_button.setToolTip("Bring the masks and clicks back as they were shown.")
        self.discard_button.setToolTip("Remove them for good.")
        self.later_button.setToolTip("Ask again at the next start.")
        buttons = QHBoxLayout()
        for button in (self.restore_button, self.later_button, self.discard_button):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.addWidget(self._text)
        layout.addLayout(buttons)


def _looked(image: Image, folder: Path, told: dict[str, Any]) -> tuple[dict[str, Any], list[Abandoned]]:
    """Return what a journal says of an image, and the journals about it that nobody holds."""
    mine = []
    for index, journal in enumerate(abandoned_journals(folder)):
        if index >= _MOST or not any(unsaved(journal.entries)):
            journal.discard()
        elif belongs(journal.header, image):
            mine.append(journal)
        else:
            journal.release()
    return header(image, **told), mine


def _release(journals: list[Abandoned]) -> None:
    for journal in journals:
        journal.release()


def _discard(journals: list[Abandoned]) -> None:
    for journal in journals:
        journal.discard()
