"""One computation at a time beside the window, the newest wanted first."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

from napari.qt.threading import FunctionWorker, create_worker
from qtpy.QtCore import QObject, Signal

from napari_fbrs.errors import CancelledError, FBRSError

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
        self._next: Task | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a task is running or about to."""
        return self._running is not None

    def submit(self, task: Task) -> None:
        """Run a task as soon as the one running has stopped; tasks not started yet are forgotten."""
        if self._closed:
            return
        self._next = task
        if self._running is None:
            self._start()
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

    def _start(self) -> None:
        task, self._next = self._next, None
        called_off = self._called_off = Event()

        def run() -> tuple[Any, Exception | None]:
            try:
                return task(called_off.is_set), None  # type: ignore[misc]
            except CancelledError:
                return None, None
            except FBRSError as error:
                return None, error

        def report(outcome: tuple[Any, Exception | None]) -> None:
            result, error = outcome
            if called_off.is_set():
                return
            if error is not None:
                self.failed.emit(error)
            elif result is not None:
                self.returned.emit(result)

        self._running = create_worker(
            run, _connect={"returned": report, "errored": self.failed.emit, "finished": self._finished}
        )

    def _finished(self) -> None:
        self._running = None
        if self._next is not None:
            self._start()
        elif not self._closed:
            self.idle.emit()
