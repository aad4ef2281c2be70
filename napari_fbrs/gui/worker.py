"""One computation at a time beside the window, the newest wanted first."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event
from typing import Any

from napari.qt.threading import FunctionWorker, create_worker
from qtpy.QtCore import QObject, Signal

from napari_fbrs.errors import CancelledError, FBRSError

_log = logging.getLogger(__name__)

Task = Callable[[Callable[[], bool]], Any]


class LatestWorker(QObject):
    """Runs tasks in a thread; a newer task calls off the one that is running and takes its place.

    A task is called with a function that tells it whether it has been called off.
    """

    returned = Signal(object)
    failed = Signal(Exception)
    idle = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._running: FunctionWorker | None = None
        self._called_off = Event()
        self._next: tuple[Task, bool] | None = None  # and whether it is quiet
        self._closed = False
        self._quiet = False

    @property
    def busy(self) -> bool:
        """Whether a task is running or about to; a quiet one counts only while it is being closed down."""
        if self._running is None:
            return False
        return self._closed or not self._quiet or (self._next is not None and not self._next[1])

    def submit(self, task: Task) -> None:
        """Run a task as soon as the one running has stopped; tasks not started yet are forgotten."""
        self._take(task, quiet=False)

    def submit_quietly(self, task: Task) -> None:
        """Run a task that nobody waits for, if nothing else is to be done; any other takes its place.

        Whatever it returns or raises is forgotten.
        """
        if not self.busy:
            self._take(task, quiet=True)

    def _take(self, task: Task, *, quiet: bool) -> None:
        if self._closed:
            return
        self._next = task, quiet
        if self._running is None:
            self._start(*self._next)
        else:
            self._called_off.set()

    def cancel(self) -> None:
        """Call off whatever is running or waiting; its result will not be reported."""
        self._next = None
        self._called_off.set()

    def close(self) -> None:
        """Call off everything, for good."""
        self._closed = True
        self.cancel()

    def keep(self, owner: QObject) -> None:
        """Keep an object until the task that is running has ended: emitting a signal of one deleted can crash Qt."""
        if self._running is not None:
            self._running.finished.connect(lambda: owner)

    def _start(self, task: Task, quiet: bool) -> None:
        self._next, self._quiet = None, quiet
        called_off = self._called_off = Event()

        def run() -> tuple[Any, Exception | None]:
            try:
                return task(called_off.is_set), None
            except CancelledError:
                return None, None
            # Reported in the window's thread. What leaves this one reaches napari's handler, which fails with PySide6.
            except Exception as error:  # noqa: BLE001
                return None, error

        def report(outcome: tuple[Any, Exception | None]) -> None:
            result, error = outcome
            defect = error is not None and not isinstance(error, FBRSError)  # of which one wants to know in any case
            if quiet and defect:
                _log.error("what nobody waited for has failed", exc_info=error)
            if quiet or (called_off.is_set() and not defect):
                return
            if error is not None:
                self.failed.emit(error)
            elif result is not None:
                self.returned.emit(result)

        self._running = create_worker(run, _connect={"returned": report, "finished": self._finished})

    def _finished(self) -> None:
        self._running = None
        if self._next is not None:
            self._start(*self._next)
        elif not self._closed:
            self.idle.emit()
