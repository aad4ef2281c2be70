"""A stack larger than it should ever be in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_ANNOTATES = """
import resource, sys
import dask.array as da
import numpy as np
from napari_fbrs import Click, Predictor, Session, load_model

SHAPE = (512, 2048, 2048)  # 2 GB
READ = set()


def plane(block_info=None):
    z = block_info[None]["chunk-location"][0]
    READ.add(z)
    pixels = np.zeros((1, *SHAPE[1:]), np.uint8)
    pixels[0, 900:1000, 1000:1100] = 200
    return pixels


def peak():
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size


stack = da.map_blocks(
    plane, dtype=np.uint8, chunks=((1,) * SHAPE[0], SHAPE[1:2], SHAPE[2:]), meta=np.zeros((0, 0, 0), np.uint8)
)
assert stack.nbytes == 2 * 2**30
predictor = Predictor(load_model("default", "cpu"))
before = peak()
session = Session(stack, predictor)
for z in range(0, SHAPE[0], 128):
    session.object = z + 1
    session.click(Click(950, 1050), position=(z,))
    assert session.labels.read((z, 950, 1050)) == z + 1
assert len(READ) == 4, READ
print((peak() - before) / 2**20)
"""


def test_two_gigabytes_made_as_they_are_read_are_annotated_with_less_than_one():
    pytest.importorskip("dask.array")
    pytest.importorskip("resource")
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", _ANNOTATES], capture_output=True, text=True, cwd=root, check=False)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 1024  # MiB
