from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from napari_fbrs.clicks import Click
from napari_fbrs.errors import CancelledError, InputError
from napari_fbrs.evaluation.arrays import LabelledArray
from napari_fbrs.evaluation.baselines import Voronoi
from napari_fbrs.evaluation.objects import Sample
from napari_fbrs.evaluation.record import Task
from napari_fbrs.evaluation.runner import Worker, run_all, user_of
from napari_fbrs.evaluation.simulation import Attempt, Mask, Run, Subject
from napari_fbrs.inference.plane import Plane
from napari_fbrs.processes import Cancelled, WorkerError

LABELS = np.zeros((4, 24, 24), int)
LABELS[:, 4:18, 5:16] = 1
LABELS[2, 2:9, 12:22] = 2


@dataclass(frozen=True)
class Setup:
    """Squares to be found by what the subject's name says."""

    def dataset(self, name: str) -> LabelledArray:
        return LabelledArray(LABELS * 100, LABELS, name)

    def subject(self, name: str, dataset: str, cancelled: Cancelled) -> Subject:  # noqa: ARG002
        return {"voronoi": Voronoi, "refusing": Refusing, "dying": Dying, "threads": Threads}[name]()


class Refusing:
    def start(self, plane: Plane) -> Attempt:  # noqa: ARG002
        raise InputError("not this one")


class Dying:
    def start(self, plane: Plane) -> Attempt:  # noqa: ARG002
        os._exit(3)


class Threads:
    """Gives an empty mask with as many threads as it should have, else a wrong one."""

    def start(self, plane: Plane) -> Attempt:
        def attempt(clicks: list[Click]) -> Mask:
            return np.full(plane.shape, torch.get_num_threads() != 1)

        return attempt


def tasks(subject: str = "voronoi") -> list[Task]:
    samples = [Sample(plane, 1) for plane in range(4)] + [Sample(2, 2)]
    return [Task("squares", sample, subject, person) for sample in samples for person in (None, 0, 1)]


def untimed(runs: dict[Task, Run]) -> dict[Task, tuple[object, ...]]:
    return {task: (run.clicks, run.ious) for task, run in runs.items()}


def test_the_same_runs_whatever_the_number_of_processes():
    alone = dict(run_all(Setup(), tasks(), limit=8))
    assert list(alone) == tasks()
    together = dict(run_all(Setup(), tasks(), limit=8, jobs=2))
    assert untimed(together) == untimed(alone)
    assert len({run.clicks for task, run in alone.items() if task.person is not None}) > 2


def test_the_same_runs_whatever_was_done_before():
    every = dict(run_all(Setup(), tasks(), limit=4))
    some = dict(run_all(Setup(), tasks()[::-2], limit=4))
    assert untimed(some) == {task: value for task, value in untimed(every).items() if task in some}


def test_people_differ_between_objects_and_data_sets():
    truth, nothing = (LABELS[0] == 1).astype(int), np.zeros((24, 24), bool)
    asked = [Task(name, Sample(plane, 1), "voronoi", 0) for name in ("a", "b") for plane in (0, 1)]
    assert len({user_of(task)(truth, nothing) for task in asked}) > 1
    assert user_of(asked[0])(truth, nothing) == user_of(asked[0])(truth, nothing)


def test_errors_come_from_other_processes_as_they_are():
    with pytest.raises(InputError, match="not this one"):
        list(run_all(Setup(), tasks("refusing")))
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyError) as raised:
        list(run_all(Setup(), tasks("unknown"), jobs=2))
    assert "in subject" in "".join(raised.value.__notes__)
    assert multiprocessing.active_children() == []
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_process_that_dies_is_said():
    with pytest.raises(WorkerError, match="fewer --jobs"):
        list(run_all(Setup(), tasks("dying"), jobs=2))


def test_torch_has_one_thread_meanwhile():
    before = torch.get_num_threads()
    for task, run in run_all(Setup(), tasks("threads")[:2], limit=1):
        assert run.ious == (0,), task
    assert torch.get_num_threads() == before


def test_work_is_called_off_between_clicks():
    answers = iter([False, False, True])
    worker = Worker(Setup(), 20, lambda: next(answers))
    with pytest.raises(CancelledError):
        worker.run(Task("squares", Sample(2, 1), "voronoi"))
