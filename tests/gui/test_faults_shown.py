"""Faults planted in the middle of work: the window says what is wrong, once, and goes on; clicks are never lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import torch
from fakes import BrightNetwork, NaNNetwork, model_of
from napari.utils.notifications import Notification, notification_manager

from napari_fbrs.clicks import Click
from napari_fbrs.errors import MemoryShortageError
from napari_fbrs.gui import widget as widget_module
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.models.checkpoint import ModelSettings

SHAPE = (80, 100)
SETTINGS = ModelSettings(target_size=220, min_crop_size=220)


@contextmanager
def notifications() -> Iterator[list[str]]:
    """Collect what napari tells, severity first."""
    heard: list[str] = []

    def hear(notification: Notification) -> None:
        heard.append(f"{notification.severity.value}: {notification.message}")

    notification_manager.notification_ready.connect(hear)
    try:
        yield heard
    finally:
        notification_manager.notification_ready.disconnect(hear)


def bright_stack() -> np.ndarray:
    image = np.zeros((3, *SHAPE), dtype=np.uint8)
    image[:, 20:50, 30:70] = 250
    return image


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> BrightNetwork:
    """Load a network that finds what is bright."""
    network = BrightNetwork()
    monkeypatch.setattr(widget_module, "load_model", lambda _name, _device: model_of(network, SETTINGS))
    return network


def short_of_memory(network: BrightNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no more than 130 x 130 pixels fit."""
    embed = network.embed

    def embed_few(image: Any, *args: Any) -> Any:
        if image.shape[2] * image.shape[3] > 130**2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return embed(image, *args)

    monkeypatch.setattr(network, "embed", embed_few)


def test_memory_runs_out_in_mid_click_and_while_carrying(bench, model, monkeypatch):
    bench.add_image(bright_stack(), name="bright")
    bench.viewer.dims.set_point(0, 0)
    bench.start()
    bench.click(0, 30, 50)
    bench.settle()
    short_of_memory(model, monkeypatch)
    with notifications() as heard:
        bench.click(0, 40, 60)
        bench.settle()
        bench.click(0, 45, 35)
        bench.settle()
    assert len(heard) == 1
    assert heard[0].startswith("warning: ")
    assert "CUDA out of memory" in heard[0]
    assert "half the size" in heard[0]
    assert len(bench.annotator.layers.positive.data) == 3
    assert bench.labels[0, 25:45, 35:65].all()
    assert not bench.labels[0, :15].any()
    bench.annotator.session.predictor = Predictor(model_of(model, SETTINGS))  # at full size again
    with notifications() as heard:
        bench.widget.propagation.start("forward")
        bench.wait(lambda: not bench.widget.propagation.busy and not bench.annotator.busy)
    assert len(heard) == 1
    assert bench.labels[1:, 25:45, 35:65].all()


def test_a_model_without_room_on_its_device_goes_to_the_cpu(bench, model, monkeypatch):
    asked = []

    def load(_name: str, device: str) -> Any:
        asked.append(device)
        if device != "cpu":
            raise MemoryShortageError("the memory of the device cuda has run out")
        return model_of(model, SETTINGS)

    monkeypatch.setattr(widget_module, "load_model", load)
    bench.add_image(bright_stack()[0])
    with notifications() as heard:
        bench.start()
    assert asked == ["auto", "cpu"]
    assert len(heard) == 1
    assert "loaded to the CPU instead" in heard[0]
    bench.click(30, 50)
    bench.settle()
    assert bench.labels[30, 50] == 1


def test_what_is_no_number_is_told_and_never_written(bench, model, monkeypatch):
    bench.add_image(bright_stack()[0])
    bench.start()
    bench.click(30, 50)
    bench.settle()
    before = bench.labels.copy()
    bench.annotator.session.predictor = Predictor(model_of(NaNNetwork(), SETTINGS))
    with notifications() as heard:
        bench.click(40, 60)
        bench.wait(lambda: bool(heard) and not bench.annotator.busy)
    assert heard == ["error: the network's output was not a number; choose another model or device"]
    np.testing.assert_array_equal(bench.labels, before)
    bench.widget.model.chosen.emit()
    bench.wait(bench.widget.start_button.isEnabled)
    bench.settle()
    clicks = bench.annotator.session.refinement(bench.annotator.place()).clicks
    assert clicks.flat == (Click(30, 50), Click(40, 60))
    assert bench.labels[40, 60] == 1


def test_a_file_that_vanishes_under_a_lazy_image(bench, model, tmp_path: Path):
    path, elsewhere = tmp_path / "stack.npy", tmp_path / "elsewhere.npy"
    np.save(path, bright_stack())

    def block(block_info: Any = None) -> np.ndarray:
        (first, last), *_ = block_info[None]["array-location"]
        return np.load(path)[first:last]

    lazy = dask.array.map_blocks(block, chunks=((1, 1, 1), (80,), (100,)), dtype=np.uint8)
    bench.add_image(lazy, name="lazy", contrast_limits=(0, 255))
    bench.viewer.dims.set_point(0, 0)
    bench.start()
    bench.rest()
    bench.annotator.session._planes.clear()
    path.rename(elsewhere)
    with bench.refusal("could not be read (FileNotFoundError"):
        bench.click(0, 30, 50)
        bench.wait(lambda: not bench.annotator.busy)
    assert not bench.labels.any()
    assert len(bench.annotator.layers.positive.data) == 1
    elsewhere.rename(path)
    bench.click(0, 40, 60)
    bench.settle()
    assert bench.labels[0, 25:45, 35:65].all()
    assert len(bench.annotator.session.refinement(bench.annotator.place()).clicks) == 2


def test_a_slice_that_cannot_be_read_keeps_no_other_from_being_computed(bench: Any, model: BrightNetwork) -> None:
    stack, gone = bright_stack(), set[int]()

    def block(block_info: Any = None) -> np.ndarray:
        (first, last), *_ = block_info[None]["array-location"]
        if first in gone:
            raise FileNotFoundError(f"slice {first} is gone")
        return stack[first:last]

    lazy = dask.array.map_blocks(block, chunks=((1, 1, 1), (SHAPE[0],), (SHAPE[1],)), dtype=np.uint8)
    bench.add_image(lazy, name="lazy", contrast_limits=(0, 255))
    bench.viewer.dims.set_point(0, 0)
    bench.start()
    bench.rest()
    bench.click(0, 30, 50)
    bench.settle()
    gone.add(1)
    with bench.refusal("slice 1 is gone"):
        bench.annotator.layers.positive.add([1, 30, 50])
        bench.wait(lambda: not bench.annotator.busy)
    before = bench.annotator.result
    with notifications():
        bench.click(0, 40, 60)
        bench.wait(lambda: bench.annotator.result is not before and not bench.annotator.busy)
    session = bench.annotator.session
    assert [place.plane.position for place in session.waiting()] == [(1,)]
    assert len(session.refinement(bench.annotator.place()).clicks) == 2
