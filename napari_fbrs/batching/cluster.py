"""Work done by the workers of a dask cluster, which see the same files; of this machine, or of many."""

from __future__ import annotations

import importlib.util
import logging
import threading
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from napari_fbrs.errors import InputError
from napari_fbrs.processes import THREAD_VARIABLES, Begin, WorkerError, torch_threads

LOCAL = "local"
_PATIENCE = "30 s"  # until there must be an answer from a scheduler
_RESTART = "10 minutes"  # in which a worker that was lost must be there again: busy machines take long to start one

Task = TypeVar("Task")
Result = TypeVar("Result")


def check_installed() -> None:
    """Raise `InputError` where dask.distributed is not installed."""
    if importlib.util.find_spec("distributed") is None:
        raise InputError('--scheduler needs the package distributed: pip install "napari-fbrs[distributed]"')


def in_cluster(
    address: str, begin: Begin[Task, Result], tasks: Sequence[Task], *, jobs: int, threads: int = 1
) -> Generator[tuple[Task, Result | Exception], None, None]:
    """Do tasks on a dask cluster, and yield each with what came of it when it is finished, in any order.

    A worker that dies loses nothing: what it was doing is done by another one. A task that has taken several workers
    with it is given up.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``tcp://node:8786``; ``"local"`` for a cluster of this machine.
    begin : callable
        Called once in each worker; see `in_processes`. Work there is not called off in mid task.
    tasks : sequence
        What to do; sent to the workers as they are, so let them name files rather than hold what is in them.
    jobs : int
        How many workers a local cluster has.
    threads : int, optional
        Of each worker's libraries. A worker does one task at a time.

    Yields
    ------
    task, result
        An error in a task is its result; that of a task that was given up is a `WorkerError`.

    Raises
    ------
    InputError
        If distributed is not installed, or the scheduler does not answer.
    """
    check_installed()
    from distributed import KilledWorker, as_completed

    with _client(address, jobs, threads) as client, _registered(client, begin, threads) as name:
        futures = dict(zip(client.map(partial(_do, name), tasks, pure=False), tasks, strict=True))
        for future in as_completed(list(futures)):
            error = future.exception()
            if isinstance(error, KilledWorker):
                error = WorkerError("workers have ended by themselves again and again, for want of memory perhaps")
            result = future.result() if error is None else error
            task = futures.pop(future)
            future.release()
            yield task, result


@contextmanager
def _registered(client: Any, begin: Begin[Any, Any], threads: int) -> Iterator[str]:
    """Have all workers, those that join later too, be ready for tasks; give the name under which they are."""
    name = f"napari-fbrs {uuid.uuid4().hex}"  # others may use the cluster, too
    try:
        client.register_plugin(_plugin(begin, threads), name=name)
    except Exception as error:
        raise InputError(f"the workers cannot begin; is napari-fbrs installed there? {error}") from error
    try:
        yield name
    finally:
        try:
            client.unregister_worker_plugin(name)
        except OSError as error:  # a worker is just dying, and what it keeps with it
            logging.getLogger(__name__).warning("not all workers let go of the model: %s", error)


@contextmanager
def _client(address: str, jobs: int, threads: int) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster

    here = {
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(THREAD_VARIABLES, threads),
        "distributed.deploy.lost-worker-timeout": _RESTART,
    }
    if address == LOCAL:
        with (
            dask.config.set(here),
            LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(address, timeout=_PATIENCE)
    except (OSError, ValueError) as error:  # a time-out is an OSError
        raise InputError(f"no dask scheduler answers at {address}: {error}") from error
    with client:
        yield client


def _plugin(begin: Begin[Any, Any], threads: int) -> Any:
    """Return what a worker keeps between tasks: it is made anew in each, whenever it joins."""
    from distributed import WorkerPlugin

    class Kept(WorkerPlugin):  # type: ignore[misc]  # the base is known only where distributed is
        """What does tasks; one at a time, whatever the worker's threads."""

        def setup(self, worker: Any) -> None:
            """Begin anew; called by the worker."""
            del worker
            self.lock = threading.Lock()
            self.work: Callable[[Any], Any] | None = None

        def do(self, task: Any) -> Any:
            """Do a task."""
            with self.lock, torch_threads(threads):
                self.work = self.work or begin(lambda: False)
                return self.work(task)

    return Kept()


def _do(name: str, task: Any) -> Any:
    from distributed import get_worker

    return get_worker().plugins[name].do(task)
