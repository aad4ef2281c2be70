"""Many runs, in this process or in several; the same runs either way."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

from napari_fbrs.clicks import Click
from napari_fbrs.errors import CancelledError
from napari_fbrs.evaluation.objects import Dataset, Truth, truth_of
from napari_fbrs.evaluation.record import Task
from napari_fbrs.evaluation.simulation import MAX_CLICKS, Mask, Person, Run, Subject, User, next_click, simulate
from napari_fbrs.processes import Cancelled, in_processes, torch_threads


class Setup(Protocol):
    """What a process needs to do tasks; can be sent to another process."""

    def dataset(self, name: str) -> Dataset:
        """Open a data set."""

    def subject(self, name: str, dataset: str, cancelled: Cancelled) -> Subject:
        """Make what is measured on a data set."""


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
        with closing(in_processes(_Begin(setup, limit), tasks, jobs=jobs, threads=threads)) as finished:
            for task, result in finished:
                if isinstance(result, Exception):
                    raise result
                yield task, result
        return
    worker = Worker(setup, limit)
    with torch_threads(threads):
        for task in tasks:
            yield task, worker.run(task)


@dataclass(frozen=True)
class _Begin:
    """Makes a worker in another process."""

    setup: Setup
    limit: int

    def __call__(self, cancelled: Cancelled) -> Callable[[Task], Run]:
        return Worker(self.setup, self.limit, cancelled).run
