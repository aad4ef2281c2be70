"""Workers that are really killed in mid work, here and on a cluster, with the model that is bundled."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_fbrs import batch
from napari_fbrs.batching.cluster import _registered
from napari_fbrs.batching.manifest import MANIFEST


@pytest.mark.skipif(sys.platform == "win32", reason="signals are otherwise there")
@pytest.mark.parametrize("scheduler", [None, "local"], ids=["processes", "dask"])
@pytest.mark.filterwarnings("ignore")  # of a cluster that loses a worker
def test_a_worker_that_is_killed_loses_nothing(squares, scheduler):
    killed: list[int] = []

    def kill(done: int, total: int, wrong: str | None) -> None:
        """Kill a worker, as soon as the first image is done: it is busy with another one."""
        for process in multiprocessing.active_children() if not killed else ():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            killed.append(process.pid)
            break

    done = batch("images", "out", jobs=2, scheduler=scheduler, progress=kill)
    assert killed
    assert (sorted(done.done), done.failed) == (["a", "b", "c"], {})
    for name, mask in squares.items():
        found = tifffile.imread(f"out/{name}.tif") > 0
        assert (found & mask).sum() > 0.9 * (found | mask).sum()
    entries = [json.loads(line) for line in Path("out", MANIFEST).read_text().splitlines()[1:]]
    assert sorted(entry["output"] for entry in entries) == ["a", "b", "c"]
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.tif", "b.tif", "c.tif", MANIFEST]
    assert np.all([entry["status"] == "done" for entry in entries])


def test_a_worker_that_dies_when_all_is_done_fails_nothing(caplog):
    pytest.importorskip("distributed")

    class Client:
        def register_plugin(self, plugin, name):
            assert plugin is not None
            self.name = name

        def unregister_worker_plugin(self, name):
            assert name == self.name
            raise OSError("Stream is closed")

    with _registered(Client(), lambda _: str, 1) as name:
        assert name.startswith("napari-fbrs ")
    assert "not all workers let go of the model: Stream is closed" in caplog.text
