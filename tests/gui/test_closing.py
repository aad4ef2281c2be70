"""The panel closed by its own X, which in napari only takes it out of its dock; moved about, it goes on."""

from __future__ import annotations

import gc
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QApplication, QLabel
from vispy.util import keys

from napari_fbrs.clicks import Click
from napari_fbrs.gui import boxes as boxes_module
from napari_fbrs.gui.settings import ACTIONS
from napari_fbrs.gui.widget import FBRSWidget

SHAPE = (80, 100)


def press_x(bench, *, held=True):
    """Click on the X of the panel; unless it is held by a script, nothing is left of it then but the layers."""
    layers = bench.annotator.layers
    bench.widget.parent().title.close_button.click()
    if not held:
        bench.widget = SimpleNamespace(annotator=SimpleNamespace(layers=layers))
        gc.collect()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    QApplication.processEvents()


def open_again(bench):
    bench.widget = FBRSWidget(bench.viewer)
    bench.viewer.window.add_dock_widget(bench.widget, name="f-BRS", area="right")
    bench.start()
    bench.settle()


def type_key(bench, letter, *modifiers):
    """Press a key on the canvas, and let napari find out who listens."""
    events = bench.viewer.window._qt_viewer.canvas._scene_canvas.events
    events.key_press(key=keys.Key(letter), modifiers=modifiers)
    events.key_release(key=keys.Key(letter), modifiers=modifiers)
    QApplication.processEvents()


@pytest.mark.parametrize("held", [True, False])
def test_the_x_ends_the_annotation(disc_bench, discs, qtbot, held):
    disc_bench.click(40, 20)
    disc_bench.settle()
    layers, before = disc_bench.annotator.layers, disc_bench.labels.copy()
    press_x(disc_bench, held=held)
    calls = len(discs.calls)
    disc_bench.click(40, 60)  # napari adds a point, and that is all
    for key in [*"TNDCJK", ("C", keys.SHIFT), ("Z", keys.CONTROL), ("Z", keys.CONTROL, keys.SHIFT)]:
        for layer in layers.ours():
            disc_bench.viewer.layers.selection.active = layer
            type_key(disc_bench, *key)
    qtbot.wait(100)
    assert not any(layer.keymap for layer in layers.ours())
    assert len(discs.calls) == calls
    np.testing.assert_array_equal(layers.labels.data, before)
    np.testing.assert_allclose(layers.positive.data, [[40, 20], [40, 60]], atol=0.1)
    open_again(disc_bench)
    assert disc_bench.annotator.layers.labels == layers.labels
    np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask(SHAPE, [Click(40, 20), Click(40, 60)]))
    disc_bench.press("Control-Z")
    disc_bench.settle()
    np.testing.assert_array_equal(disc_bench.labels, before)


def test_after_the_x_keys_are_napari_s_own(disc_bench):
    disc_bench.press("D")
    layers = *disc_bench.annotator.layers.ours(), disc_bench.annotator.strokes.layer
    assert all(len(layer.keymap) == len(ACTIONS) for layer in layers)
    layers[0].bind_key(ACTIONS["next_object"].key, id, overwrite=True)
    press_x(disc_bench)
    assert list(layers[0].keymap.values()) == [id]  # of somebody else since
    assert not any(layer.keymap for layer in layers[1:])
    labels = layers[2]
    disc_bench.viewer.layers.selection.active = labels
    labels.paint((70, 90), 1)
    type_key(disc_bench, "Z", keys.CONTROL)
    assert not np.asarray(labels.data).any()


@pytest.mark.parametrize("held", [True, False])
def test_the_x_while_a_mask_is_computed(disc_bench, discs, held):
    discs.gate.clear()
    disc_bench.click(40, 50)
    disc_bench.wait(lambda: len(discs.calls) == 1)
    recorder, worker = disc_bench.widget.recovery.recorder, disc_bench.annotator.worker
    press_x(disc_bench, held=held)
    assert not recorder.journal.alive
    discs.gate.set()
    disc_bench.wait(lambda: worker._running is None)
    assert not np.asarray(disc_bench.viewer.layers["empty objects"].data).any()
    open_again(disc_bench)
    np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask(SHAPE, [Click(40, 50)]))


def test_what_still_runs_after_the_x_can_tell_of_it(bench, monkeypatch):
    gate, ended = Event(), Event()

    def measure(_model, told, _cancelled):
        told("NoBRS", 41.6)
        gate.wait()
        told("RGB-BRS", 1234.4)  # crashes PyQt if the button is no more
        ended.set()

    monkeypatch.setattr(boxes_module, "measure_costs", measure)
    costs = bench.widget.mode._costs
    bench.widget.meter.click()
    bench.wait(lambda: costs)
    bench.widget.parent().title.close_button.click()
    bench.widget = FBRSWidget(bench.viewer)
    gc.collect()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gate.set()
    bench.wait(ended.is_set)
    bench.viewer.window.add_dock_widget(bench.widget)


def test_a_panel_closed_and_docked_again_by_a_script_says_so(disc_bench):
    press_x(disc_bench)
    disc_bench.viewer.window.add_dock_widget(disc_bench.widget)
    assert not disc_bench.widget.undo_button.isEnabled()
    with disc_bench.refusal("this panel was closed"):
        disc_bench.widget.start()


def test_moved_floating_tabbed_or_hidden_it_goes_on(disc_bench, discs):
    window, dock = disc_bench.viewer.window._qt_window, disc_bench.widget.parent()
    other = disc_bench.viewer.window.add_dock_widget(QLabel("another"), area="right")
    areas = Qt.DockWidgetArea
    moves = [
        lambda: dock.title.float_button.click(),
        lambda: dock.title.float_button.click(),
        lambda: window.addDockWidget(areas.LeftDockWidgetArea, dock),
        lambda: window.addDockWidget(areas.BottomDockWidgetArea, dock),
        lambda: dock.setFloating(True),
        lambda: window.addDockWidget(areas.RightDockWidgetArea, dock),
        lambda: window.tabifyDockWidget(other, dock),
        lambda: dock.title.hide_button.click(),
        lambda: dock.toggleViewAction().trigger(),
        lambda: disc_bench.widget.hide(),
        lambda: disc_bench.widget.show(),
    ]
    clicks = []
    for number, move in enumerate(moves):
        move()
        QApplication.processEvents()
        assert not disc_bench.widget.closed
        clicks.append(Click(20 + 10 * (number // 4), 20 + 15 * (number % 4)))
        disc_bench.click(clicks[-1].row, clicks[-1].column)
        disc_bench.settle()
        np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask(SHAPE, clicks))
    disc_bench.press("N")
    assert disc_bench.annotator.session.object == 2
