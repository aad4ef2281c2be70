"""Many runs, in this process or in several; the same runs either way."""

from __future__ import annotations

import itertools
import multiprocessing
import multiprocessing.connection
import signal
import threading
import traceback
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Protocol

import torch

from napari_fbrs.clicks import Click
from napari_fbrs.errors import CancelledError, FBRSError
from napari_fbrs.evaluation.objects import Dataset, Truth, truth_of
from napari_fbrs.evaluation.record import Task
from napari_fbrs.evaluation.simulation import MAX_CLICKS, Mask, Person, Run, Subject, User, next_click, simulate

Cancelled = Callable[[], bool]


class Setup(Protocol):
    """What a process needs to do tasks; can be sent to another process."""

    def dataset(self, name: str) -> Dataset:
        """Open a data set."""

    def subject(self, name: str, dataset: str, cancelled: Cancelled) -> Subject:
        """Make what is measured on a data set."""


class WorkerError(FBRSError):
    """A process that did the work has ended by itself."""


@dataclass
class Worker:
    """Does tasks one after the other; holds the data sets and subjects used so far.

    Parameters
    ----------
    setup : Setup
        Makes data sets and subjects.
    limit : int, optional
        Most clicks on an object.
    cancelled : callable, optional
        When it answers True, work stops with a `CancelledError` as soon as it can.
    """

    setup: Setup
    limit: int = MAX_CLICKS
    cancelled: Cancelled = lambda: False
    _datasets: dict[str, Dataset] = field(default_factory=dict)
    _subjects: dict[tuple[str, str], Subject] = field(default_factory=dict)

    def dataset(self, name: str) -> Dataset:
        """Return a data set, opened once."""
        if name not in self._datasets:
            self._datasets[name] = self.setup.dataset(name)
        return self._datasets[name]

    def subject(self, name: str, dataset: str) -> Subject:
        """Return what is measured, made once."""
        key = name, dataset
        if key not in self._subjects:
            self._subjects[key] = self.setup.subject(name, dataset, self.cancelled)
        return self._subjects[key]

    def run(self, task: Task) -> Run:
        """Click on one object."""
        dataset = self.dataset(task.dataset)
        plane = dataset.plane(task.sample.image)
        truth = truth_of(dataset.labels(task.sample.image), task.sample.label)
        user = self._until_cancelled(user_of(task))
        return simulate(self.subject(task.subject, task.dataset), plane, truth, user=user, limit=self.limit)

    def _until_cancelled(self, user: User) -> User:
        def until_cancelled(truth: Truth, mask: Mask, clicked: Iterable[Click] = ()) -> Click | None:
            if self.cancelled():
                raise CancelledError("the evaluation was called off")
            return user(truth, mask, clicked)

        return until_cancelled


def user_of(task: Task) -> User:
    """Return who clicks: the same person clicks alike on an object whatever was done before."""
    if task.person is None:
        return next_click
    return Person([task.person, zlib.crc32(task.dataset.encode()), task.sample.image, task.sample.label])


def run_all(
    setup: Setup, tasks: Sequence[Task], *, jobs: int = 1, threads: int = 1, limit: int = MAX_CLICKS
) -> Generator[tuple[Task, Run], None, None]:
    """Do tasks, and yield each with its run when it is finished, in any order.

    Parameters
    ----------
    setup : Setup
        Makes data sets and subjects; if `jobs` is more than 1, it is sent to other processes.
    tasks : sequence of Task
        What to do.
    jobs : int, optional
        How many processes; 1: this one.
    threads : int, optional
        Of torch in each process. The last bits of a prediction depend on it, so it is not a matter of `jobs`.
    limit : int, optional
        Most clicks on an object.

    Raises
    ------
    WorkerError
        If a process has ended by itself.
    """
    if jobs > 1 and len(tasks) > 1:
        yield from _in_processes(setup, tasks, min(jobs, len(tasks)), threads, limit)
        return
    worker = Worker(setup, limit)
    with torch_threads(threads):
        for task in tasks:
            yield task, worker.run(task)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Have torch use so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _in_processes(
    setup: Setup, tasks: Sequence[Task], jobs: int, threads: int, limit: int
) -> Iterator[tuple[Task, Run]]:
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    waiting = iter(tasks)
    processes, ends, busy = [], [], {}
    try:
        for task in itertools.islice(waiting, jobs):
            here, there = context.Pipe()
            ends.append(here)
            busy[here] = task
            process = context.Process(target=_serve, args=(there, setup, threads, limit, stop), daemon=True)
            with _interrupts_ignored():
                process.start()
            processes.append(process)
            there.close()
            here.send(task)
        while busy:
            for end in multiprocessing.connection.wait(list(busy)):
                assert isinstance(end, Connection)
                task, result = busy.pop(end), _received(end)
                following = next(waiting, None)
                if following is not None:
                    busy[end] = following
                    end.send(following)
                yield task, result
    finally:
        stop.set()
        for end in ends:  # which tells the processes that there is no more to do
            end.close()
        for process in processes:
            process.join()


def _received(end: Connection) -> Run:
    try:
        result = end.recv()
    except (EOFError, OSError) as error:
        raise WorkerError(
            "one of the processes has ended by itself, for want of memory perhaps; try again with fewer --jobs"
        ) from error
    if isinstance(result, Exception):
        raise result
    assert isinstance(result, Run)
    return result


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


def _serve(end: Connection, setup: Setup, threads: int, limit: int, stop: Event) -> None:
    """Do tasks as they come, until the other end closes."""
    worker = Worker(setup, limit, stop.is_set)
    with torch_threads(threads), suppress(EOFError, OSError):
        while True:
            task = end.recv()
            end.send(_result(worker, task))


def _result(worker: Worker, task: Task) -> Run | Exception:
    try:
        return worker.run(task)
    except FBRSError as error:
        return error
    except Exception as error:  # noqa: BLE001  raised in the process that asked
        error.add_note(traceback.format_exc())
        return error
