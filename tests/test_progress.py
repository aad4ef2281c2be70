from __future__ import annotations

import pytest

from napari_fbrs.progress import Progress, duration


def test_durations_are_rounded() -> None:
    assert [duration(seconds) for seconds in (4.4, 600, 9000)] == ["4 s", "10 min", "2.5 h"]


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    silent, logged = Progress(100, "runs"), Progress(100, "images", logged=True)
    for _ in range(100):
        silent.step()
        logged.step()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 20
    assert [line.split(",")[0] for line in lines[:2]] == ["5 of 100 images", "10 of 100 images"]
    assert lines[-1] == "100 of 100 images, 0 s left"
