"""A click in napari becomes a mask."""

from __future__ import annotations

from threading import Event

import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer

from napari_fbrs.clicks import Click
from napari_fbrs.errors import CancelledError, ModelFileError
from napari_fbrs.gui import boxes as boxes_module
from napari_fbrs.gui import widget as widget_module
from napari_fbrs.inference.first_look import Expected


def test_a_mouse_click_on_a_coin_selects_the_coin(coins_bench):
    coins_bench.click(118, 106)
    coins_bench.settle()
    np.testing.assert_allclose(coins_bench.annotator.layers.positive.data, [[118, 106]], atol=0.1)
    mask = coins_bench.labels == 1
    assert mask[118, 106]
    assert 800 < mask.sum() < 1600  # the coin is about 38 pixels across
    assert "all clicks met" in coins_bench.widget.status.text()


def test_a_negative_click_removes_what_it_points_at(coins_bench):
    coins_bench.click(118, 106)
    coins_bench.settle()
    rows, columns = np.nonzero(coins_bench.labels == 1)
    inside = int(rows[np.argmax(columns)]), int(columns.max()) - 3
    assert coins_bench.labels[inside] == 1
    coins_bench.press("T")
    coins_bench.click(*inside)
    coins_bench.settle()
    np.testing.assert_allclose(coins_bench.annotator.layers.negative.data, [inside], atol=0.1)
    assert coins_bench.labels[inside] == 0
    assert coins_bench.labels[118, 106] == 1


def test_undo_takes_back_click_and_mask_and_redo_brings_them_back(coins_bench):
    states = [coins_bench.labels.copy()]
    for position in ((118, 106), (126, 114)):
        coins_bench.click(*position)
        coins_bench.settle()
        states.append(coins_bench.labels.copy())
    layers = coins_bench.annotator.layers
    for expected, active in ((states[1], layers.negative), (states[0], layers.labels)):  # in any of ours
        coins_bench.viewer.layers.selection.active = active
        coins_bench.press("Control-Z")
        coins_bench.settle()
        np.testing.assert_array_equal(coins_bench.labels, expected)
    assert len(coins_bench.annotator.layers.positive.data) == 0
    for count, expected in enumerate(states[1:], 1):
        coins_bench.viewer.layers.selection.active = layers.labels if count == 1 else layers.positive
        coins_bench.press("Control-Shift-Z")
        coins_bench.settle()
        np.testing.assert_array_equal(coins_bench.labels, expected)
        assert len(coins_bench.annotator.layers.positive.data) == count


def test_the_window_is_alive_while_a_mask_is_computed(disc_bench, discs):
    discs.gate.clear()
    ticks = []

    def tick() -> None:
        ticks.append(disc_bench.annotator.busy)
        if sum(ticks) == 20:
            discs.gate.set()

    heartbeat = QTimer()
    heartbeat.timeout.connect(tick)
    heartbeat.start(1)
    disc_bench.click(40, 50)
    disc_bench.settle()  # the computation ends only if the window's own thread has ticked meanwhile
    heartbeat.stop()
    assert sum(ticks) >= 20
    assert disc_bench.labels[40, 50] == 1


def test_a_newer_click_calls_off_a_running_computation(disc_bench, discs):
    discs.gate.clear()
    disc_bench.click(40, 20)
    disc_bench.wait(lambda: len(discs.calls) == 1)
    disc_bench.click(40, 70)
    disc_bench.wait(lambda: len(discs.calls) == 2)
    discs.gate.set()
    disc_bench.settle()
    clicks = [Click(40, 20), Click(40, 70)]
    assert discs.calls == [tuple(clicks[:1]), tuple(clicks)]
    np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask((80, 100), clicks))
    disc_bench.annotator.undo()  # each click is a step, whether its own mask was ever shown or not
    disc_bench.settle()
    np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask((80, 100), clicks[:1]))


def test_moving_and_deleting_a_point_update_the_mask(disc_bench, discs):
    disc_bench.click(40, 20)
    disc_bench.settle()
    points = disc_bench.annotator.layers.positive
    points.mode = "select"
    disc_bench.drag((40, 20), (30, 60))
    disc_bench.settle()
    moved = tuple(np.rint(points.data[0]).astype(int))
    np.testing.assert_allclose(moved, (30, 60), atol=1)
    np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask((80, 100), [Click(*map(int, moved))]))
    points.selected_data = {0}
    points.remove_selected()
    disc_bench.settle()
    assert not disc_bench.labels.any()
    disc_bench.annotator.undo()
    disc_bench.settle()
    assert disc_bench.labels[moved] == 1
    assert len(points.data) == 1


def test_next_object_gets_the_next_free_label_and_keeps_the_others(disc_bench, discs):
    disc_bench.click(40, 20)
    disc_bench.settle()
    disc_bench.press("N")
    assert disc_bench.annotator.session.object == 2
    assert len(disc_bench.annotator.layers.positive.data) == 0
    disc_bench.click(40, 30)  # its disc would cover part of the first one
    disc_bench.settle()
    first = discs.mask((80, 100), [Click(40, 20)])
    second = discs.mask((80, 100), [Click(40, 30)])
    np.testing.assert_array_equal(disc_bench.labels == 1, first)
    np.testing.assert_array_equal(disc_bench.labels == 2, second & ~first)
    disc_bench.annotator.undo()
    disc_bench.annotator.undo()  # back into the first object
    assert disc_bench.annotator.session.object == 1
    assert not disc_bench.labels.any()


def test_next_object_without_a_click_stays(disc_bench):
    with disc_bench.refusal("no clicks yet"):
        disc_bench.press("N")
    assert disc_bench.annotator.session.object == 1


def test_positive_and_negative_look_different(disc_bench):
    layers = disc_bench.annotator.layers
    assert layers.positive.current_symbol != layers.negative.current_symbol
    assert layers.positive.current_face_color != layers.negative.current_face_color


def test_t_toggles_the_layer_that_takes_clicks(disc_bench):
    layers = disc_bench.annotator.layers
    for expected in (layers.negative, layers.positive):
        disc_bench.press("T")
        assert disc_bench.viewer.layers.selection.active == expected
        assert expected.mode == "add"
        assert disc_bench.widget.signs[expected == layers.positive].isChecked()


def test_toggling_leaves_points_there_already_as_they_are(disc_bench, discs):
    disc_bench.click(40, 20)
    disc_bench.settle()
    disc_bench.press("T")
    disc_bench.settle()
    assert disc_bench.labels[40, 20] == 1
    assert len(disc_bench.annotator.layers.negative.data) == 0


def test_the_threshold_acts_without_the_network(disc_bench, discs):
    disc_bench.click(40, 50)
    disc_bench.settle()
    calls = len(discs.calls)
    disc_bench.widget.threshold.setValue(0.92)
    disc_bench.settle()
    assert not disc_bench.labels.any()
    disc_bench.widget.threshold.setValue(0.8)
    disc_bench.settle()
    np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask((80, 100), [Click(40, 50)]))
    assert len(discs.calls) == calls


def test_another_mode_keeps_the_clicks_and_computes_anew(disc_bench, discs):
    mode = disc_bench.widget.mode
    assert mode.currentText() == discs.mode == "f-BRS-B"
    disc_bench.click(40, 50)
    disc_bench.settle()
    assert "ms a mask here" in mode.toolTip()
    calls = len(discs.calls)
    mode.setCurrentText("RGB-BRS")
    mode.activated.emit(mode.currentIndex())
    assert "not measured" in mode.toolTip()
    disc_bench.wait(disc_bench.widget.start_button.isEnabled)  # until the model is there
    disc_bench.settle()
    assert discs.mode == "RGB-BRS"
    assert discs.calls[calls:] == [(Click(40, 50),)]
    assert disc_bench.labels[40, 50] == 1
    assert len(disc_bench.annotator.layers.positive.data) == 1


def test_costs_of_all_modes_are_measured_when_asked(bench, monkeypatch):
    gate = Event()

    def measure(_model, told, cancelled):
        told("NoBRS", 41.6)
        gate.wait()
        if cancelled():
            raise CancelledError("called off")
        told("RGB-BRS", 1234.4)

    monkeypatch.setattr(boxes_module, "measure_costs", measure)
    mode, meter = bench.widget.mode, bench.widget.meter

    def tooltip(name):
        return mode.itemData(mode.findText(name), Qt.ItemDataRole.ToolTipRole)

    assert "not measured" in tooltip("NoBRS")
    for finished in (False, True):
        gate.clear()
        meter.click()
        assert meter.text() == "Stop"
        bench.wait(lambda: "42 ms a mask here" in tooltip("NoBRS"))
        assert "not measured" in tooltip("RGB-BRS")
        if not finished:
            meter.click()
        gate.set()
        bench.wait(lambda: meter.text() == "Measure")
    assert "1234 ms a mask here" in tooltip("RGB-BRS")


def test_zoom_switched_off_keeps_the_clicks_and_computes_anew(disc_bench, discs):
    disc_bench.click(40, 20)
    disc_bench.click(40, 50)
    disc_bench.settle()
    clicks, calls = discs.calls[-1], len(discs.calls)
    assert discs.settings is None  # what suits the model
    disc_bench.widget.zoom.click()
    disc_bench.wait(disc_bench.widget.start_button.isEnabled)
    disc_bench.settle()
    assert discs.settings.zoom is None
    assert discs.settings.first_look
    assert discs.calls[calls:][-1] == clicks
    assert disc_bench.labels[40, 50] == 1
    assert len(disc_bench.annotator.layers.positive.data) == 2
    disc_bench.widget.zoom.click()
    disc_bench.wait(disc_bench.widget.start_button.isEnabled)
    assert discs.settings is None


def test_without_zoom_the_whole_image_is_looked_at(coins_bench):
    coins_bench.widget.zoom.click()
    coins_bench.wait(coins_bench.widget.start_button.isEnabled)
    coins_bench.click(118, 106)
    coins_bench.settle()
    prediction = coins_bench.annotator.result.prediction
    assert prediction.crop.shape == prediction.shape == (303, 384)
    assert coins_bench.labels[118, 106] == 1


def test_sliders_show_the_settings_of_what_is_shown(disc_bench):
    widget = disc_bench.widget
    disc_bench.click(40, 50)
    disc_bench.settle()
    widget.threshold.setValue(0.8)
    disc_bench.settle()
    disc_bench.annotator.undo()
    disc_bench.settle()
    assert widget.threshold.value() == pytest.approx(0.5)
    disc_bench.annotator.redo()
    disc_bench.settle()
    assert widget.threshold.value() == pytest.approx(0.8)


def test_a_size_looks_anew_and_is_undone(disc_bench, discs):
    widget = disc_bench.widget
    assert widget.extent.text() == "find out"
    disc_bench.click(40, 50)
    disc_bench.settle()
    widget.extent.setValue(30)
    disc_bench.settle()
    assert discs.states[-1].expected == Expected(30, certain=True)
    assert disc_bench.labels[40, 50] == 1
    disc_bench.annotator.undo()
    disc_bench.settle()
    assert widget.extent.text() == "find out"
    assert len(disc_bench.annotator.layers.positive.data) == 1


def test_a_size_said_in_3d_view_is_refused(bench, discs):
    bench.add_image(np.zeros((6, 80, 100), dtype=np.uint8))
    bench.start()
    bench.widget.extent.setValue(30)
    assert bench.annotator.session.extent == 30  # of objects to come
    bench.viewer.dims.ndisplay = 3
    with bench.refusal("2D view"):
        bench.widget.extent.setValue(50)
    assert bench.annotator.session.extent == 30
    bench.viewer.dims.ndisplay = 2


def test_what_is_painted_by_hand_stays_and_is_undone_in_its_turn(disc_bench, discs):
    disc_bench.click(40, 20)
    disc_bench.settle()
    clicked = disc_bench.labels.copy()
    labels = disc_bench.annotator.layers.labels
    labels.selected_label = 1
    labels.brush_size = 5
    labels.paint((70, 90), 1)
    painted = disc_bench.labels.copy()
    assert painted[70, 90] == 1
    disc_bench.click(40, 60)
    disc_bench.settle()
    assert disc_bench.labels[70, 90] == 1
    for expected in (painted, clicked):
        disc_bench.annotator.undo()
        disc_bench.settle()
        np.testing.assert_array_equal(disc_bench.labels, expected)


def test_status_names_clicks_that_are_not_met(disc_bench):
    disc_bench.click(40, 50)
    disc_bench.settle()
    disc_bench.press("T")
    disc_bench.click(40, 50)
    disc_bench.settle()
    assert "click 1 not met" in disc_bench.widget.status.text()


def test_start_without_an_image_says_what_to_do(bench):
    with bench.refusal("no image layer"):
        bench.widget.start()
    assert bench.widget.annotator is None


def test_a_model_that_cannot_be_loaded_is_reported_and_can_be_tried_again(bench, monkeypatch):
    def refuse(_name, _device):
        raise ModelFileError("the file is damaged")

    bench.add_image(np.zeros((32, 32), dtype=np.uint8))
    monkeypatch.setattr(widget_module, "load_model", refuse)
    errors = []
    monkeypatch.setattr(widget_module, "show_error", errors.append)
    bench.widget.start()
    bench.wait(lambda: bool(errors))
    assert errors == ["the file is damaged"]
    assert bench.widget.start_button.isEnabled()


def test_a_defect_is_reported_and_the_clicks_are_kept(disc_bench, discs, monkeypatch):
    errors = []
    monkeypatch.setattr(widget_module, "show_error", errors.append)
    working = discs.predict

    def broken(*_args, **_options):
        raise ZeroDivisionError("planted")

    discs.predict = broken
    disc_bench.click(40, 50)
    disc_bench.wait(lambda: bool(errors))
    assert "planted" in errors[0]
    discs.predict = working
    disc_bench.click(40, 60)
    disc_bench.settle()
    np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask((80, 100), [Click(40, 50), Click(40, 60)]))


def test_points_outside_the_image_are_refused(disc_bench):
    with disc_bench.refusal("outside the image"):
        disc_bench.annotator.layers.positive.add([[200.0, 50.0]])
    assert len(disc_bench.annotator.layers.positive.data) == 0


def test_layers_deleted_come_back_with_the_next_start(disc_bench):
    disc_bench.click(40, 50)
    disc_bench.settle()
    before = disc_bench.labels.copy()
    layers = disc_bench.annotator.layers
    disc_bench.viewer.layers.remove(layers.positive)
    disc_bench.viewer.layers.remove(layers.labels)
    disc_bench.start()
    disc_bench.settle()
    assert layers.labels in disc_bench.viewer.layers
    assert layers.positive in disc_bench.viewer.layers
    np.testing.assert_array_equal(disc_bench.labels, before)
    assert len(disc_bench.viewer.layers) == 4


def test_another_image_in_between_changes_nothing(disc_bench, discs):
    first = disc_bench.widget.image.value
    disc_bench.click(40, 20)
    disc_bench.settle()
    disc_bench.press("N")
    disc_bench.click(40, 60)
    disc_bench.settle()
    before = disc_bench.labels.copy()
    disc_bench.add_image(np.zeros((60, 60), dtype=np.uint8), name="other")
    disc_bench.start()
    disc_bench.click(30, 30)
    disc_bench.settle()
    disc_bench.widget.image.value = first
    disc_bench.start()
    disc_bench.settle()
    np.testing.assert_array_equal(disc_bench.labels, before)
    assert disc_bench.annotator.session.object == 2
    disc_bench.click(40, 80)
    disc_bench.settle()
    np.testing.assert_array_equal(disc_bench.labels == 2, discs.mask((80, 100), [Click(40, 60), Click(40, 80)]))
    disc_bench.annotator.undo()
    disc_bench.settle()
    np.testing.assert_array_equal(disc_bench.labels, before)


def test_closing_and_opening_the_widget_goes_on_where_it_was(disc_bench, discs):
    disc_bench.click(40, 20)
    disc_bench.settle()
    before = disc_bench.labels.copy()
    disc_bench.open_widget()
    disc_bench.start()
    disc_bench.settle()
    np.testing.assert_array_equal(disc_bench.labels, before)
    disc_bench.annotator.undo()
    disc_bench.settle()
    assert not disc_bench.labels.any()
    assert len(disc_bench.viewer.layers) == 4
