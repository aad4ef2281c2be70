"""A viewer with the widget, driven as a person would: by the mouse on the canvas, and by keys."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from napari.layers import Image, Layer
from napari.utils.key_bindings import coerce_keybinding
from napari.utils.notifications import Notification, NotificationSeverity, notification_manager
from qtpy import API_NAME
from qtpy.QtWidgets import QApplication
from skimage import data
from vispy.app.canvas import MouseEvent

from napari_fbrs.clicks import Click
from napari_fbrs.errors import CancelledError
from napari_fbrs.gui import widget as widget_module
from napari_fbrs.gui.widget import FBRSWidget
from napari_fbrs.inference.cache import ByteCache
from napari_fbrs.inference.plane import Crop, Plane
from napari_fbrs.inference.prediction import Prediction, State
from napari_fbrs.inference.settings import Method, PredictorSettings
from napari_fbrs.models.checkpoint import ModelSettings

WAIT = 60_000  # milliseconds; only ever waited for when something is broken


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return
    for item in items:
        if "tests/gui" in item.nodeid:
            item.add_marker(pytest.mark.skip(reason="needs a display: install Xvfb"))


@pytest.fixture(scope="session", autouse=True)
def nones() -> Iterator[None]:
    """Hold many references to None where PySide6 lets go of some it does not hold, at the end of every viewer.

    Python before 3.12 counts them, and aborts at none.
    """
    held = [None] * 10**7 if API_NAME == "PySide6" and sys.version_info < (3, 12) else []
    yield
    held.clear()


@pytest.fixture(autouse=True)
def _main_thread_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "1")


@pytest.fixture(autouse=True)
def journals(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which work is kept for a restart: none of the user's."""
    folder = tmp_path_factory.mktemp("journals")
    monkeypatch.setenv("NAPARI_FBRS_JOURNALS", str(folder))
    return folder


class DiscPredictor:
    """Discs around positive clicks, minus discs around negative ones: what every mask must be is known."""

    radius = 9

    def __init__(self) -> None:
        self.model = SimpleNamespace(device=torch.device("cpu"), name="discs", fingerprint="discs")
        self.mode = ""
        self.cache = ByteCache(0)
        self.settings: PredictorSettings | None = None
        self.calls: list[tuple[Click, ...]] = []
        self.states: list[State | None] = []
        self.planes: list[Plane] = []
        self.warmed: list[Plane] = []
        self.gate = Event()  # held shut by a test that wants a computation to last
        self.gate.set()

    @property
    def method(self) -> Method:
        return Method("discs", "d15c" * 16, "NoBRS", PredictorSettings())

    def predict(
        self,
        plane: Plane,
        clicks: Sequence[Click],
        state: State | None = None,
        *,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Prediction:
        self.calls.append(tuple(clicks))
        self.states.append(state)
        self.planes.append(plane)
        while not self.gate.wait(0.01):
            if cancelled():
                raise CancelledError("called off")
        return Prediction(
            plane.shape, Crop.whole(plane.shape), self.probability(plane.shape, clicks), tuple(clicks), State()
        )

    def warm_up(self, plane: Plane, *, cancelled: Callable[[], bool] = lambda: False) -> None:
        self.warmed.append(plane)
        while not self.gate.wait(0.01):
            if cancelled():
                raise CancelledError("called off")

    def probability(self, shape: tuple[int, int], clicks: Sequence[Click]) -> np.ndarray:
        rows, columns = np.indices(shape)
        probability = np.zeros(shape, dtype=np.float32)
        for sign, value in ((True, 0.9), (False, 0.0)):
            for click in clicks:
                if click.positive is sign:
                    near = (rows - click.row) ** 2 + (columns - click.column) ** 2 <= self.radius**2
                    probability[near] = value
        return probability

    def mask(self, shape: tuple[int, int], clicks: Sequence[Click]) -> np.ndarray:
        return self.probability(shape, clicks) > 0.5


class Bench:
    """A viewer, the widget docked in it, and hands."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer = viewer
        self.qtbot = qtbot
        self.widget: FBRSWidget = None
        self.open_widget()

    def open_widget(self) -> None:
        """Dock the widget, closing the one that was there."""
        if self.widget is not None:
            self.widget.close()
            self.viewer.window.remove_dock_widget(self.widget)
        self.widget = FBRSWidget(self.viewer)
        self.viewer.window.add_dock_widget(self.widget, name="f-BRS", area="right")

    def add_image(self, pixels: np.ndarray, **options: Any) -> Image:
        image = self.viewer.add_image(pixels, **options)
        self.widget.image.value = image
        return image

    def start(self) -> None:
        self.widget.start()
        self.wait(lambda: self.widget.annotator is not None and self.widget.start_button.isEnabled())
        self.wait(lambda: not self.widget.recovery._worker.busy)  # which reads of the image, too
        self.viewer.reset_view()
        QApplication.processEvents()

    @property
    def annotator(self) -> Any:
        assert self.widget.annotator is not None
        return self.widget.annotator

    @property
    def labels(self) -> np.ndarray:
        return np.asarray(self.annotator.layers.labels.data)

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until `condition` holds; any true value will do, which pytest-qt refuses."""
        self.qtbot.waitUntil(lambda: bool(condition()), timeout=WAIT)

    def settle(self) -> None:
        """Wait until no mask is waiting or being computed."""
        self.wait(lambda: not self.annotator.busy and not self.annotator.session.waiting())

    def rest(self) -> None:
        """Wait until nothing is computed, not even what nobody waits for, nor about to be."""
        self.wait(lambda: not self.annotator._settled.isActive() and self.annotator.worker._running is None)

    def canvas_position(self, layer: Layer, position: Sequence[float]) -> tuple[float, float]:
        """Return the place on the canvas where a position in a layer's data is drawn."""
        world = np.asarray(layer.data_to_world(position))
        displayed = [axis - (self.viewer.dims.ndim - len(world)) for axis in self.viewer.dims.displayed]
        transform = self.viewer.window._qt_viewer.canvas.view.scene.transform
        x, y = transform.map([world[displayed[1]], world[displayed[0]], 0, 1])[:2]
        return float(x), float(y)

    def click(self, *position: float) -> None:
        """Click on the image with the left mouse button, on the canvas."""
        events = self.viewer.window._qt_viewer.canvas._scene_canvas.events
        at = self.canvas_position(self.annotator.layers.image, position)
        events.mouse_move(pos=at)
        events.mouse_press(pos=at, button=1, modifiers=())
        events.mouse_release(pos=at, button=1, modifiers=())

    def drag(self, start: Sequence[float], end: Sequence[float]) -> None:
        """Drag on the image with the left mouse button, on the canvas."""
        canvas = self.viewer.window._qt_viewer.canvas
        image = self.annotator.layers.image
        first, last = (np.array(self.canvas_position(image, position)) for position in (start, end))
        held: dict[str, Any] = {"button": 1, "buttons": [1], "modifiers": ()}
        press = MouseEvent("mouse_press", pos=first, **held)
        canvas._on_mouse_press(press)
        for step in range(1, 6):
            at = first + (last - first) * step / 5
            canvas._on_mouse_move(MouseEvent("mouse_move", pos=at, press_event=press, **held))
        canvas._on_mouse_release(MouseEvent("mouse_release", pos=last, press_event=press, **held))

    @contextmanager
    def refusal(self, text: str) -> Iterator[None]:
        """Expect one of napari's warnings, and the same words in the widget."""
        heard: list[Notification] = []
        notification_manager.notification_ready.connect(heard.append)
        try:
            yield
        finally:
            notification_manager.notification_ready.disconnect(heard.append)
        messages = [n.message for n in heard if n.severity == NotificationSeverity.WARNING]
        assert any(text in message for message in messages), messages

    def press(self, key: str) -> None:
        """Press a key on the layer that is active."""
        layer = self.viewer.layers.selection.active
        layer.keymap[coerce_keybinding(key)](layer)


@pytest.fixture
def bench(make_napari_viewer: Any, qtbot: Any) -> Iterator[Bench]:
    bench = Bench(make_napari_viewer(show=True), qtbot)
    yield bench
    bench.widget.close()
    if bench.widget.annotator is not None:
        bench.wait(lambda: not bench.annotator.busy)
    bench.wait(lambda: not bench.widget._loader.busy and not bench.widget.recovery._worker.busy)


@pytest.fixture
def discs(monkeypatch: pytest.MonkeyPatch) -> DiscPredictor:
    """Exchange the model of a bench for discs."""
    predictor = DiscPredictor()
    model = SimpleNamespace(settings=ModelSettings())
    monkeypatch.setattr(widget_module, "load_model", lambda _name, _device: model)

    def in_mode(_model: object, mode: str, *, settings: PredictorSettings | None = None) -> DiscPredictor:
        predictor.mode, predictor.settings = mode, settings
        return predictor

    monkeypatch.setattr(widget_module, "Predictor", in_mode)
    return predictor


@pytest.fixture
def coins_bench(bench: Bench) -> Bench:
    """The real model on a real image, started."""
    bench.add_image(data.coins(), name="coins")
    bench.start()
    return bench


@pytest.fixture
def disc_bench(bench: Bench, discs: DiscPredictor) -> Bench:
    """Discs on an empty image of 80 x 100, started."""
    bench.add_image(np.zeros((80, 100), dtype=np.uint8), name="empty")
    bench.start()
    return bench
