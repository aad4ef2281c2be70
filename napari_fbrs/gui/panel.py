"""Dock widgets that end what they do once they are closed, in whichever way."""

from __future__ import annotations

from qtpy.QtCore import QEvent
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QWidget

from napari_fbrs.gui.worker import LatestWorker


class Panel(QWidget):
    """A widget that is shut down when it is closed, or taken out of its dock: that is all that napari's X does.

    Hidden, floating, or in another place, it goes on.
    """

    closed = False  # for good
    _docked = False

    def shut_down(self) -> None:
        """End all that has been begun; called once."""
        raise NotImplementedError

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802  Qt's name
        """Notice being put into a dock, and being taken out of it."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                self._close()
        super().changeEvent(event)

    def closeEvent(self, event: QCloseEvent | None) -> None:  # noqa: N802  Qt's name
        """Shut down."""
        self._close()
        super().closeEvent(event)

    def _close(self) -> None:
        if not self.closed:
            self.closed = True
            self.shut_down()
            for worker in self.findChildren(LatestWorker):
                worker.keep(self)
            self.setEnabled(False)  # a script may dock it again
