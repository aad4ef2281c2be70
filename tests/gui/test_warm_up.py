"""What is done ahead of the first click, and that nobody waits for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_fbrs.errors import InputError


def test_the_plane_displayed_is_got_ready(disc_bench: Any, discs: Any):
    disc_bench.wait(lambda: len(discs.warmed) == 1)
    assert discs.warmed[0].shape == (80, 100)
    assert not disc_bench.annotator.busy
    disc_bench.click(40, 50)
    disc_bench.settle()
    assert discs.planes[-1] is discs.warmed[0]  # what was read for it is used


def test_another_plane_is_got_ready_when_it_is_displayed(bench: Any, discs: Any):
    bench.add_image(np.arange(3 * 40 * 50).reshape(3, 40, 50).astype(np.float32))
    bench.start()
    bench.wait(lambda: len(discs.warmed) == 1)
    bench.viewer.dims.set_point(0, 2)
    bench.wait(lambda: len(discs.warmed) == 2)
    assert [plane.pixels[0, 0] for plane in discs.warmed] == [bench.viewer.layers[0].data[z, 0, 0] for z in (1, 2)]


def test_a_click_does_not_wait_for_it(bench: Any, discs: Any):
    discs.gate.clear()  # it would last for ever
    bench.add_image(np.zeros((80, 100), dtype=np.uint8))
    bench.start()
    bench.wait(lambda: len(discs.warmed) == 1)
    assert not bench.annotator.busy
    bench.click(40, 50)
    assert bench.annotator.busy
    bench.wait(lambda: len(discs.calls) == 1)
    discs.gate.set()
    bench.settle()
    np.testing.assert_array_equal(bench.labels > 0, discs.mask((80, 100), discs.calls[0]))


def test_a_plane_with_clicks_is_left_alone(disc_bench: Any, discs: Any):
    disc_bench.wait(lambda: len(discs.warmed) == 1)
    disc_bench.click(40, 50)
    disc_bench.settle()
    disc_bench.annotator.warm_up()
    assert not disc_bench.annotator.worker._running
    assert len(discs.warmed) == 1


def test_what_goes_wrong_ahead_of_time_is_nobodys_concern_yet(bench: Any, discs: Any, monkeypatch: pytest.MonkeyPatch):
    tried: list[object] = []

    def fail(plane, *, cancelled) -> None:
        tried.append(plane)
        raise InputError("it cannot be read")

    monkeypatch.setattr(discs, "warm_up", fail)
    bench.add_image(np.zeros((80, 100), dtype=np.uint8))
    bench.start()
    bench.wait(lambda: len(tried) == 1 and bench.annotator.worker._running is None)
    assert "cannot" not in bench.widget.status.text()
