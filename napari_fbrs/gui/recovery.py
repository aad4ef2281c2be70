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
from napari_fbrs.annotation.journal import Abandoned, abandoned_journals, journal_folder, tidy
from napari_fbrs.annotation.recovery import Recorder, belongs, header, restore, unsaved
from napari_fbrs.errors import InputError
from napari_fbrs.gui.annotator import Annotator
from napari_fbrs.gui.worker import LatestWorker


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
        self._offers: list[Abandoned] = []
        self._folder = folder
        self._annotator: Annotator | None = None
        self._worker = LatestWorker(self)
        self._worker.returned.connect(self._found)
        self._worker.failed.connect(lambda error: show_warning(f"clicks are not recorded in case of a crash: {error}"))
        self._failed.connect(show_warning)
        self._build()
        self.hide()

    def follow(self, annotator: Annotator) -> None:
        """Keep an annotation from now on, and look for earlier work on its image."""
        self.stop()
        self._annotator = annotator
        session, picture = annotator.session, annotator.layers.image
        if isinstance(session.observer, Recorder) and session.observer.journal.alive:  # of another widget
            self.recorder = session.observer
            self.recorder.users += 1
            return
        model = session.predictor.model
        told = {
            "name": picture.name,
            "source": picture.layer.source.path,
            "model": model.name,
            "sha256": model.fingerprint,
        }
        image, folder = session.image, self._folder
        self._worker.submit(lambda _cancelled: _looked(image, folder(), told))

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
        self.later()
        if self.recorder is not None:
            self.recorder.users -= 1
            if not self.recorder.users:
                self.recorder.stop(discard=False)
        self.recorder = self._annotator = None

    @property
    def offered(self) -> Abandoned | None:
        """The journal that is offered: of those left, the newest."""
        return self._offers[0] if self._offers else None

    def restore(self) -> None:
        """Bring back what is offered."""
        annotator, offered = self._annotator, self.offered
        if annotator is None or offered is None:
            return
        try:
            if len(annotator.session.history):
                raise InputError("something has been done on this image already: undo it before you restore")
            restore(annotator.session, offered.entries)
        except InputError as error:
            show_warning(str(error))
            return
        annotator.show_session()
        self._supersede(self._offers.pop(0))
        self.later()
        self.restored.emit()

    def discard(self) -> None:
        """Remove what is offered, and offer what was left before it."""
        if self.offered is not None:
            self._offers.pop(0).discard()
        self._offer()

    def later(self) -> None:
        """Leave what is offered for another time."""
        for journal in self._offers:
            journal.release()
        self._offers = []
        self.hide()

    def _found(self, found: tuple[dict[str, Any], list[Abandoned]]) -> None:
        annotator = self._annotator
        about, self._offers = found
        if annotator is None:
            self.later()
            return
        session = annotator.session
        before, fresh = session.kept, not session.annotated() and not len(session.history)
        self.recorder = Recorder(session, self._folder(), about, self._failed.emit)
        for journal in [journal for journal in self._offers if journal.path == before]:  # of a widget closed since
            self._offers.remove(journal)
            self._supersede(journal)
        if fresh:
            self._offer()
        else:
            self.later()

    def _supersede(self, journal: Abandoned) -> None:
        """Remove a journal as soon as the new one, which holds all of it, is on the disk; not before."""
        if self.recorder is not None and self.recorder.journal.alive:
            self.recorder.journal.when_written(journal.discard)
        else:
            journal.release()

    def _offer(self) -> None:
        journal = self.offered
        self.setVisible(journal is not None)
        if journal is None:
            return
        when = datetime.fromtimestamp(journal.path.stat().st_mtime).strftime("%d %B, %H:%M")
        objects, clicks = unsaved(journal.entries)
        self._text.setText(
            f"Work on this image that was not exported, from {when}: {objects} object{'s' * (objects != 1)}, "
            f"{clicks} click{'s' * (clicks != 1)}."
        )

    def _build(self) -> None:
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self.restore_button, self.discard_button = QPushButton("Restore"), QPushButton("Discard")
        self.later_button = QPushButton("Later")
        self.restore_button.clicked.connect(self.restore)
        self.discard_button.clicked.connect(self.discard)
        self.later_button.clicked.connect(self.later)
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
    """Return what a journal says of an image, and the journals about it that nobody holds, the newest first."""
    about = header(image, **told)
    mine = []
    for journal in abandoned_journals(folder, lambda other: belongs(other, about)):
        try:
            worth = any(unsaved(journal.entries))
        except InputError:  # damaged: left for a person to look at
            journal.release()
            continue
        if worth:
            mine.append(journal)
        else:
            journal.discard()
    tidy(folder)
    return about, mine
