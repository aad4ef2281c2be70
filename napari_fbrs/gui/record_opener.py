"""The button that brings back what a click record holds, to go on clicking."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QDir, Signal
from qtpy.QtWidgets import QFileDialog, QPushButton, QWidget

from napari_fbrs.annotation.click_record import SUFFIX, Record, read_record
from napari_fbrs.annotation.image import Image
from napari_fbrs.annotation.labels import PlaneMask
from napari_fbrs.annotation.replaying import Predictors, Replayed, bring_back, check_image, different, recompute
from napari_fbrs.errors import FBRSError, InputError
from napari_fbrs.gui.annotator import Annotator
from napari_fbrs.gui.worker import LatestWorker
from napari_fbrs.models.checkpoint import Model

_TEXT = "Open click record ..."


@dataclass(frozen=True, eq=False)
class _Opened:
    """A record, and its masks computed again."""

    annotator: Annotator
    record: Record
    masks: list[PlaneMask | None]


class RecordOpener(QPushButton):
    """Asks for a click record, computes its masks in a thread, and has the annotation hold them.

    Parameters
    ----------
    parent : QWidget, optional
        Owner.
    """

    restored = Signal()  # into the annotation
    said = Signal(str)  # what came of it
    _progressed = Signal(int, int)  # done, of how much; from the thread

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(_TEXT, parent)
        self.setToolTip(
            "Bring back the objects of a click record of this image, and go on clicking: the masks are computed again\n"
            "by the models that computed them. Press Start first."
        )
        self._annotator: Annotator | None = None
        self._folder = Path(QDir.homePath())
        self._worker = LatestWorker(self)
        self._worker.returned.connect(self._computed)
        self._worker.failed.connect(self._failed)
        self._worker.idle.connect(self._ended)
        self._progressed.connect(lambda done, total: self.setText(f"Mask {done} of {total} ..."))
        self.clicked.connect(self.start)
        self.follow(None)

    def follow(self, annotator: Annotator | None) -> None:
        """Open records into this annotation from now on."""
        if annotator is not self._annotator:
            self._worker.cancel()
        self._annotator = annotator
        self.setEnabled(annotator is not None and not self._worker.busy)

    def close_down(self) -> None:
        """Stop, for good."""
        self._worker.close()

    def start(self) -> None:
        """Ask which record, and open it."""
        annotator = self._annotator
        if annotator is None:
            return
        kinds = f"Click records (*{SUFFIX});;JSON (*.json)"
        path, _ = QFileDialog.getOpenFileName(self, "Open a click record", str(self._folder), kinds)
        if not path:
            return
        self._folder = Path(path).parent
        session = annotator.session
        image, model = session.image, session.predictor.model
        self.setText("Opening ...")
        self.setEnabled(False)
        tell = self._progressed.emit
        self._worker.submit(
            lambda cancelled: _Opened(annotator, *_recomputed(Path(path), image, model, tell, cancelled))
        )

    def _ended(self) -> None:
        self.setText(_TEXT)
        self.setEnabled(self._annotator is not None)

    def _computed(self, opened: _Opened) -> None:
        annotator = opened.annotator
        if annotator is not self._annotator:
            return
        try:
            bring_back(annotator.session, opened.record, opened.masks)
        except InputError as error:
            self._failed(error)
            return
        self.restored.emit()
        annotator.show_session()
        replayed = Replayed(annotator.session, opened.record, different(opened.record, opened.masks))
        text = f"Record opened: {'. '.join(replayed.report())}."
        (show_warning if replayed.different else show_info)(text)
        self.said.emit(text)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, InputError):
            show_warning(str(error))
        else:
            if not isinstance(error, FBRSError):
                logging.getLogger(__name__).error("a record was not opened", exc_info=error)
                error = RuntimeError(f"the record was not opened ({type(error).__name__}: {error})")
            show_error(str(error))
        self.said.emit(str(error))


def _recomputed(
    path: Path, image: Image, model: Model, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
) -> tuple[Record, list[PlaneMask | None]]:
    """Return a record and its masks; runs in a thread."""
    record = read_record(path)
    check_image(record, image)
    predictor_of = Predictors(str(model.device), loaded=model)
    return record, recompute(record, image, predictor_of, progress=progress, cancelled=cancelled)
