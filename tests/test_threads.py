from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_fbrs._threads import processors


@pytest.mark.parametrize(
    ("quota", "wanted"),
    [("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("", None)],
)
def test_what_a_container_may_use(tmp_path: Path, quota: str, wanted: int | None):
    (tmp_path / "cpu.max").write_text(quota)
    assert processors(tmp_path / "cpu.max") == wanted


def test_without_containers_nothing_is_said(tmp_path: Path):
    assert processors(tmp_path / "missing") is None


def test_what_the_user_has_set_is_left_alone():
    environment = os.environ | {"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "ACTIVE"}
    code = "import os, napari_fbrs; print(os.environ['OMP_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "ACTIVE"]
