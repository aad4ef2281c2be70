"""How many clicks the objects of a Labels layer take, measured in napari."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import numpy as np
import pytest
from npe2 import PluginManifest
from qtpy.QtCore import QTimer
from qtpy.QtGui import QGuiApplication
from skimage import data

from napari_fbrs.errors import InputError, ModelFileError
from napari_fbrs.gui import measure_widget as module
from napari_fbrs.gui.measure import LayerObjects
from napari_fbrs.gui.measure_widget import MeasureWidget
from napari_fbrs.samples.truth import coins_truth

SHAPE = 80, 100
RADIUS = 9  # of the discs that are predicted
WAIT = 60_000  # milliseconds; only ever waited for when something is broken


def disc(row: int, column: int) -> np.ndarray:
    rows, columns = np.indices(SHAPE)
    return (rows - row) ** 2 + (columns - column) ** 2 <= RADIUS**2


def objects() -> np.ndarray:
    """Return labels: a disc takes one click, two discs two, and a square is never found."""
    labels = np.zeros(SHAPE, dtype=np.int32)
    labels[disc(15, 15)] = 1
    labels[disc(15, 45) | disc(15, 75)] = 2
    labels[35:75, 30:70] = 3
    return labels


class Desk:
    """A viewer, the widget docked in it, and somebody who reads the table."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        self.widget = MeasureWidget(viewer)
        viewer.window.add_dock_widget(self.widget, name="measure", area="right")
        self.warnings: list[str] = []
        self.errors: list[str] = []

    def add(self, image: np.ndarray, labels: np.ndarray, **options: Any) -> None:
        """Add layers of the same transform, and choose them."""
        self.widget.image.value = self.viewer.add_image(image, name="image", **options)
        self.widget.labels.value = self.viewer.add_labels(labels, name="truth", **options)

    def wait(self, condition: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(condition, timeout=WAIT)

    @property
    def idle(self) -> bool:
        return self.widget.measure_button.isEnabled()

    def measure(self) -> dict[str, str]:
        """Press Measure, and return the table once all is done."""
        self.widget.measure_button.click()
        self.wait(lambda: self.idle)
        return self.table()

    def table(self) -> dict[str, str]:
        cells = self.widget.table
        return {cells.item(row, 0).text(): cells.item(row, 1).text() for row in range(cells.rowCount())}


@pytest.fixture
def desk(make_napari_viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    desk = Desk(make_napari_viewer(), qtbot)
    monkeypatch.setattr(module, "show_warning", desk.warnings.append)
    monkeypatch.setattr(module, "show_error", desk.errors.append)
    yield desk
    desk.widget.close()
    desk.wait(lambda: not desk.widget._worker.busy)


@pytest.fixture
def discs(discs: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Exchange the model for discs here, too."""
    monkeypatch.setattr(module, "load_model", lambda _name, _device: None)
    monkeypatch.setattr(module, "Predictor", lambda _model: discs)
    assert discs.radius == RADIUS
    return discs


def test_the_figures_of_objects_whose_clicks_are_known(desk, discs):
    desk.add(np.zeros(SHAPE, dtype=np.uint8), objects())
    desk.widget.clicks.setValue(3)
    table = desk.measure()
    first = (1 + 0.5 + disc(40, 40).sum() / 1600) / 3
    assert table.pop("ms a click").isdigit()
    assert table.pop("IoU after 2 clicks") > table["IoU after 1 click"]
    assert table.pop("IoU after 3 clicks") > table["IoU after 1 click"]
    assert table == {
        "NoC@80": "2.00",
        "NoC@85": "2.00",
        "NoC@90": "2.00",
        "Not 0.85 in 3 clicks": "1 of 3",
        "Not 0.90 in 3 clicks": "1 of 3",
        "IoU after 1 click": f"{first:.2f}",
    }
    assert "3 objects of truth on image, model default on CPU" in desk.widget.status.text()
    assert not desk.warnings + desk.errors


def test_a_sample_of_the_objects_that_are_large_enough(desk, discs):
    desk.add(np.zeros(SHAPE, dtype=np.uint8), objects())
    desk.widget.min_area.setValue(300)  # a disc has 253 pixels
    desk.widget.clicks.setValue(2)
    assert desk.measure()["Not 0.90 in 2 clicks"] == "1 of 2"
    desk.widget.objects.setValue(1)
    chosen = [desk.measure() for _ in range(2)]
    assert chosen[0]["Not 0.90 in 2 clicks"].endswith("of 1")
    assert chosen[0]["IoU after 1 click"] == chosen[1]["IoU after 1 click"]


def test_a_stack_counts_its_planes_and_layers_stay_as_they_are(desk, discs):
    labels = np.stack([objects(), np.zeros(SHAPE, dtype=np.int32), objects()])
    labels[labels == 3] = 0
    image = np.random.default_rng(0).integers(0, 4000, labels.shape, dtype=np.uint16)
    desk.add(image.copy(), labels.copy(), scale=(3, 0.5, 0.5), rotate=20, translate=(5, -7, 9))
    desk.viewer.layers["image"].contrast_limits = 100, 900
    table = desk.measure()
    assert table["NoC@90"] == "1.50"
    assert table["Not 0.90 in 20 clicks"] == "0 of 4"
    assert {plane.limits for plane in discs.planes} == {(100, 900)}  # what the user sees
    np.testing.assert_array_equal(desk.viewer.layers["image"].data, image)
    np.testing.assert_array_equal(desk.viewer.layers["truth"].data, labels)
    assert len(desk.viewer.layers) == 2


def test_colours_and_pyramids(desk, discs):
    image, labels = np.zeros((*SHAPE, 3), dtype=np.uint8), objects()
    desk.widget.image.value = desk.viewer.add_image([image, image[::2, ::2]], rgb=True)
    desk.widget.labels.value = desk.viewer.add_labels([labels, labels[::2, ::2]])
    desk.widget.clicks.setValue(2)
    assert desk.measure()["Not 0.90 in 2 clicks"] == "1 of 3"
    assert all(plane.pixels.shape == image.shape for plane in discs.planes)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (np.ones((80, 90), dtype=int), {}, "have the shapes (80, 90) and (80, 100)"),
        (np.ones((2, *SHAPE), dtype=int), {}, "have the shapes (2, 80, 100) and (80, 100)"),
        (objects(), {"scale": (1, 1.01)}, "do not lie on each other"),
        (objects(), {"translate": (0, 3)}, "do not lie on each other"),
        (objects(), {"rotate": 5}, "do not lie on each other"),
    ],
)
def test_layers_that_do_not_fit(desk, discs, labels, options, message):
    desk.widget.image.value = desk.viewer.add_image(np.zeros(SHAPE), name="image")
    desk.widget.labels.value = desk.viewer.add_labels(labels, name="truth", **options)
    assert desk.measure() == {}
    (warning,) = desk.warnings
    assert message in warning
    assert warning == desk.widget.status.text()
    assert not discs.calls


def test_layers_a_fraction_of_a_pixel_apart_fit(desk):
    desk.add(np.zeros(SHAPE), objects(), scale=(0.2, 0.2))
    desk.viewer.layers["truth"].translate = 0.04, 0  # a fifth of a pixel
    assert LayerObjects(desk.viewer.layers["image"], desk.viewer.layers["truth"]).title(0) == "truth"
    desk.viewer.layers["truth"].translate = 0.16, 0
    with pytest.raises(InputError, match="do not lie on each other"):
        LayerObjects(desk.viewer.layers["image"], desk.viewer.layers["truth"])


def test_without_layers_or_objects(desk, discs):
    assert desk.measure() == {}
    assert "choose an image layer" in desk.warnings.pop()
    desk.add(np.zeros(SHAPE), np.zeros(SHAPE, dtype=int))
    assert desk.measure() == {}
    assert "'truth' has no object of at least 100 pixels" in desk.warnings.pop()
    assert "--" not in desk.widget.status.text()  # no option of a command line
    assert not desk.errors


def test_cancel_keeps_what_has_been_measured_and_the_window_is_alive(desk, discs):
    desk.add(np.zeros(SHAPE), objects())
    whole = discs.predict

    def predict(*args: Any, **options: Any) -> Any:
        if len(discs.calls) == 1:  # the second object lasts until it is called off
            discs.gate.clear()
        return whole(*args, **options)

    discs.predict = predict
    ticks: list[bool] = []
    heartbeat = QTimer()
    heartbeat.timeout.connect(lambda: ticks.append(True))
    heartbeat.start(1)
    desk.widget.measure_button.click()
    assert desk.widget.cancel_button.isEnabled()
    assert not desk.idle
    desk.wait(lambda: len(discs.calls) == 2 and desk.widget.bar.value() == 1)
    count = len(ticks)
    desk.wait(lambda: len(ticks) > count + 20)  # only if the window's own thread is free
    heartbeat.stop()
    desk.widget.cancel_button.click()
    assert desk.idle
    assert not desk.widget.cancel_button.isEnabled()
    assert desk.widget.status.text() == "Called off after 1 of 3 objects."
    desk.wait(lambda: not desk.widget._worker.busy)
    assert desk.table()["Not 0.90 in 20 clicks"] == "0 of 1"
    discs.gate.set()
    discs.predict = whole
    assert desk.measure()["Not 0.90 in 20 clicks"] == "1 of 3"


@pytest.mark.parametrize("name", ["image", "truth"])
def test_a_layer_removed_meanwhile_ends_it(desk, discs, name):
    desk.add(np.zeros(SHAPE), objects())
    other = desk.viewer.add_image(np.zeros(SHAPE), name="other")
    discs.gate.clear()
    desk.widget.measure_button.click()
    desk.wait(lambda: len(discs.calls) == 1)
    desk.viewer.layers.remove(other)
    assert not desk.idle
    desk.viewer.layers.remove(name)
    assert desk.idle
    assert desk.warnings == [f"the layer '{name}' was removed: measuring has ended"]
    desk.wait(lambda: not desk.widget._worker.busy)
    assert f"'{name}' was removed" in desk.widget.status.text()
    assert not desk.errors


def test_an_object_erased_meanwhile_does_not_count(desk, discs):
    desk.add(np.zeros(SHAPE), objects())
    discs.gate.clear()
    desk.widget.clicks.setValue(3)
    desk.widget.measure_button.click()
    desk.wait(lambda: len(discs.calls) == 1)
    labels = desk.viewer.layers["truth"]
    labels.data[labels.data == 3] = 0
    discs.gate.set()
    desk.wait(lambda: desk.idle)
    assert desk.table()["Not 0.90 in 3 clicks"] == "0 of 2"
    assert "2 objects" in desk.widget.status.text()


def test_closing_ends_it(desk, discs):
    desk.add(np.zeros(SHAPE), objects())
    discs.gate.clear()
    desk.widget.measure_button.click()
    desk.wait(lambda: len(discs.calls) == 1)
    desk.widget.close()
    desk.wait(lambda: not desk.widget._worker.busy)
    assert len(discs.calls) == 1
    desk.viewer.layers.clear()
    assert not desk.warnings + desk.errors


def test_the_table_is_copied_as_text(desk, discs):
    desk.add(np.zeros(SHAPE), objects())
    table = desk.measure()
    desk.widget.copy_button.click()
    title, *lines = QGuiApplication.clipboard().text().splitlines()
    assert title.startswith("truth on image, model default on CPU")
    assert dict(line.split("\t") for line in lines) == {"Objects": "3"} | table


def test_a_model_that_cannot_be_loaded_and_a_defect_are_reported(desk, discs, monkeypatch, caplog):
    desk.add(np.zeros(SHAPE), objects())

    def broken(*_args: Any, **_options: Any) -> Any:
        raise ZeroDivisionError("planted")

    def refused(_name: str, _device: str) -> Any:
        raise ModelFileError("the file is damaged")

    discs.predict = broken
    desk.measure()
    assert desk.errors == ["measuring failed (ZeroDivisionError: planted)"]
    assert "planted" in caplog.text
    monkeypatch.setattr(module, "load_model", refused)
    desk.measure()
    assert desk.errors[1:] == ["the file is damaged"]


def test_the_x_of_the_panel_ends_measuring(desk, discs, monkeypatch):
    work, gate = desk.widget._worker, Event()
    asked = []

    def slow(*given):
        gate.wait()
        asked.append(given[-1]())  # whether it has been called off

    monkeypatch.setattr(module, "measure", slow)
    desk.add(np.zeros(SHAPE, np.uint8), objects())
    desk.widget.measure_button.click()
    desk.widget.parent().title.close_button.click()
    gate.set()
    desk.wait(lambda: work._running is None)
    assert asked == [True]
    desk.viewer.layers.clear()  # nobody listens any more


def test_it_opens_by_its_name_and_measures_the_coins(make_napari_viewer, npe2pm, qtbot):
    with npe2pm.tmp_plugin(package="napari-fbrs"):
        viewer = make_napari_viewer()
        viewer.add_image(data.coins(), name="coins")
        viewer.add_labels(coins_truth(), name="coins truth")
        _dock, widget = viewer.window.add_plugin_dock_widget("napari-fbrs", "Measure clicks (f-BRS)")
    assert isinstance(widget, MeasureWidget)
    widget.objects.setValue(2)
    widget.device.setCurrentText("cpu")
    widget.measure_button.click()
    qtbot.waitUntil(widget.measure_button.isEnabled, timeout=WAIT)
    assert widget.status.text().startswith("2 objects of coins truth on coins")
    # Measured: an IoU of 0.96 after the first click on each of 20 coins.
    assert (widget.table.item(0, 0).text(), widget.table.item(0, 1).text()) == ("NoC@80", "1.00")
    widget.close()


def test_it_is_in_the_menu_of_measurements():
    contributions = PluginManifest.from_distribution("napari-fbrs").contributions
    assert [item.command for item in contributions.menus["napari/layers/measure"]] == ["napari-fbrs.measure"]
