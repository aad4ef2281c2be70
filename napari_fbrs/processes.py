"""Several processes for one kind of work: they share the processors, and one that dies takes no work with it."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from typing import Any, Generic, TypeVar

from napari_fbrs._threads import processors
from napari_fbrs.errors import FBRSError

Task = TypeVar("Task")
Result = TypeVar("Result")
Cancelled = Callable[[], bool]
Begin = Callable[[Cancelled], Callable[[Task], Result]]  # called once in each process; returns what does a task

# What libraries read when they are loaded; without it each of them makes as many threads as there are processors.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TIFFFILE_NUM_THREADS")


class WorkerError(FBRSError):
    """A process that did the work has ended by itself."""


def available_processors() -> int:
    """Return how many processors this process may use, at least 1."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(here, processors() or here))


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Have torch use so many threads for a while."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_processes(
    begin: Begin[Task, Result], tasks: Sequence[Task], *, jobs: int, threads: int = 1, attempts: int = 1
) -> Generator[tuple[Task, Result | Exception], None, None]:
    """Do tasks in several processes, and yield each with what came of it when it is finished, in any order.

    Parameters
    ----------
    begin : callable
        Called once in each process, with a function that tells whether work is called off; returns what does a task.
        It is sent to the processes, and so are the tasks.
    tasks : sequence
        What to do.
    jobs : int
        How many processes.
    threads : int, optional
        Of each.
    attempts : int, optional
        How often a task is tried whose process ends by itself; another process takes the place of that one.

    Yields
    ------
    task, result
        An error in a task is its result; that of a task whose processes have ended by themselves is a `WorkerError`.

    Notes
    -----
    The executors of the standard library give up all that is waiting when one process dies.
    """
    with _Pool(begin, tasks, threads, attempts) as pool:
        for _ in range(min(jobs, len(tasks))):
            pool.hire()
        while pool.busy:
            yield from pool.finished()


@dataclass
class _Hand(Generic[Task]):
    """A process, what it is doing, and how often that may be tried again."""

    process: BaseProcess
    task: Task
    tries: int


class _Pool(Generic[Task, Result]):
    """The processes, and what is left to do."""

    def __init__(self, begin: Begin[Task, Result], tasks: Sequence[Task], threads: int, attempts: int) -> None:
        self._begin, self._threads = begin, threads
        self._waiting = deque((task, attempts - 1) for task in tasks)
        self._context = multiprocessing.get_context("spawn")
        self._stop = self._context.Event()
        self._ends: list[Connection] = []
        self._processes: list[BaseProcess] = []
        self.busy: dict[Connection, _Hand[Task]] = {}

    def __enter__(self) -> _Pool[Task, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for end in self._ends:  # which tells the processes that there is no more to do
            end.close()
        for process in self._processes:
            process.join()

    def hire(self) -> None:
        """Start a process, and give it something to do."""
        here, there = self._context.Pipe()
        process = self._context.Process(
            target=_serve, args=(there, self._begin, self._threads, self._stop), daemon=True
        )  # fmt: skip
        with _interrupts_ignored(), _environment(self._threads):
            process.start()
        there.close()
        self._ends.append(here)
        self._processes.append(process)
        self._give(here, process)

    def finished(self) -> Iterator[tuple[Task, Result | Exception]]:
        """Wait until a process or more has finished, and yield what came of it."""
        for end in multiprocessing.connection.wait(list(self.busy)):
            assert isinstance(end, Connection)
            hand = self.busy.pop(end)
            try:
                result = end.recv()
            except (EOFError, OSError):
                yield from self._replace(hand)
            else:
                if self._waiting:
                    self._give(end, hand.process)
                yield hand.task, result

    def _give(self, end: Connection, process: BaseProcess) -> None:
        task, tries = self._waiting.popleft()
        self.busy[end] = _Hand(process, task, tries)
        with suppress(OSError):  # the process has ended: which is found out when its answer is waited for
            end.send(task)

    def _replace(self, hand: _Hand[Task]) -> Iterator[tuple[Task, Exception]]:
        """Have another process take the place of one that has ended by itself."""
        hand.process.join()
        if hand.tries:
            self._waiting.appendleft((hand.task, hand.tries - 1))
        if self._waiting:
            self.hire()
        if not hand.tries:
            yield hand.task, WorkerError(_how_it_ended(hand.process.exitcode))


def _how_it_ended(code: int | None) -> str:
    how = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    return (
        f"one of the processes has ended by itself ({how}), for want of memory perhaps; try again with fewer --jobs"
    )  # fmt: skip


def _serve(end: Connection, begin: Begin[Any, Any], threads: int, stop: Event) -> None:
    """Do tasks as they come, until the other end closes."""
    with torch_threads(threads), suppress(EOFError, OSError):
        work = None
        while True:
            task = end.recv()
            try:
                work = work or begin(stop.is_set)
                result = work(task)
            except FBRSError as error:
                result = error
            except Exception as error:  # noqa: BLE001  handed to the process that asked
                error.add_note(traceback.format_exc())
                result = error
            end.send(result)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Start processes that leave Ctrl+C to this one: they inherit that it is ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Start processes whose libraries make no more threads than they should."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
