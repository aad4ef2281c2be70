"""Several processes for one kind of work, some of which are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from napari_fbrs.errors import InputError
from napari_fbrs.processes import Cancelled, WorkerError, available_processors, in_processes


@dataclass(frozen=True)
class Squares:
    """Squares numbers. Its process is killed at 3; it does not like 4."""

    folder: Path

    def __call__(self, cancelled: Cancelled) -> Callable[[int], tuple[int, str | None, int]]:
        def square(number: int) -> tuple[int, str | None, int]:
            import torch

            if number == 3:
                (self.folder / str(os.getpid())).touch()
                os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
            if number == 4:
                raise InputError("not this one")
            assert not cancelled()
            return number**2, os.environ.get("OPENBLAS_NUM_THREADS"), torch.get_num_threads()

        return square


def test_a_task_that_kills_its_processes_is_given_up(tmp_path: Path) -> None:
    before = os.environ.get("OPENBLAS_NUM_THREADS")
    done = dict(in_processes(Squares(tmp_path), [0, 4, 1, 3], jobs=2, threads=1, attempts=2))
    assert {number: done[number] for number in (0, 1)} == {n: (n**2, "1", 1) for n in (0, 1)}
    assert isinstance(done[3], WorkerError)
    assert "killed by signal 9" in str(done[3])
    assert isinstance(done[4], InputError)
    assert len(list(tmp_path.iterdir())) == 2  # attempts
    assert multiprocessing.active_children() == []
    assert os.environ.get("OPENBLAS_NUM_THREADS") == before


def test_processors_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr("napari_fbrs.processes.processors", lambda: 3)
    assert available_processors() == 3
    monkeypatch.setattr("napari_fbrs.processes.processors", lambda: None)
    assert available_processors() == 4
