"""What users do to layers and windows in the middle of things breaks nothing."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fbrs.clicks import Click
from napari_fbrs.gui.widget import FBRSWidget

SHAPE = (80, 100)


@pytest.mark.parametrize("role", ["image", "positive", "negative", "labels"])
def test_a_layer_deleted_while_the_model_runs(disc_bench, discs, role):
    discs.gate.clear()
    disc_bench.click(40, 50)
    disc_bench.wait(lambda: len(discs.calls) == 1)
    deleted = getattr(disc_bench.annotator.layers, role)
    disc_bench.viewer.layers.remove(deleted.layer if role == "image" else deleted)
    discs.gate.set()
    disc_bench.settle()
    np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask(SHAPE, [Click(40, 50)]))
    disc_bench.annotator.undo()
    disc_bench.settle()
    assert not disc_bench.labels.any()


def test_layers_renamed_reordered_and_duplicated(disc_bench, discs):
    disc_bench.click(40, 50)
    disc_bench.settle()
    layers = disc_bench.viewer.layers
    for layer in layers:
        layer.name = f"renamed {layer.name}"
    layers.reverse()
    layers.selection = {disc_bench.annotator.layers.labels}
    from napari.layers import Labels

    data, meta, _kind = disc_bench.annotator.layers.labels.as_layer_data_tuple()
    copied = disc_bench.viewer.add_layer(Labels(data.copy(), **{k: v for k, v in meta.items() if k != "metadata"}))
    disc_bench.annotator.set_sign(True)
    disc_bench.click(20, 20)
    disc_bench.settle()
    expected = discs.mask(SHAPE, [Click(40, 50), Click(20, 20)])
    np.testing.assert_array_equal(disc_bench.labels == 1, expected)
    assert copied.data[20, 20] == 0
    disc_bench.start()
    disc_bench.settle()
    np.testing.assert_array_equal(disc_bench.labels == 1, expected)
    assert len(layers) == 5


def test_the_order_of_axes_changed_while_the_model_runs(bench, discs):
    bench.add_image(np.zeros((40, 80, 100), np.uint8))
    bench.start()
    bench.viewer.dims.set_point(0, 10)
    discs.gate.clear()
    bench.click(10, 40, 50)
    bench.wait(lambda: len(discs.calls) == 1)
    bench.viewer.dims.order = (1, 0, 2)
    discs.gate.set()
    bench.settle()
    np.testing.assert_array_equal(bench.labels[10] == 1, discs.mask(SHAPE, [Click(40, 50)]))
    assert not np.delete(bench.labels, 10, axis=0).any()


def test_the_widget_closed_while_the_model_runs(disc_bench, discs):
    discs.gate.clear()
    disc_bench.click(40, 50)
    disc_bench.wait(lambda: len(discs.calls) == 1)
    disc_bench.widget.close()
    discs.gate.set()
    disc_bench.wait(lambda: not disc_bench.annotator.busy)
    assert not disc_bench.labels.any()
    disc_bench.open_widget()
    disc_bench.start()
    disc_bench.settle()  # the click waits for its mask, and gets it
    np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask(SHAPE, [Click(40, 50)]))


def test_two_viewers(disc_bench, discs, make_napari_viewer, qtbot):
    disc_bench.click(40, 50)
    disc_bench.settle()
    before = disc_bench.labels.copy()
    other = make_napari_viewer()
    other.add_image(np.zeros(SHAPE, np.uint8))
    widget = FBRSWidget(other)
    other.window.add_dock_widget(widget)
    widget.start()
    disc_bench.wait(lambda: widget.annotator is not None)
    widget.annotator.layers.positive.add([[20.0, 20.0]])
    disc_bench.wait(lambda: not widget.annotator.busy and not widget.annotator.session.waiting())
    np.testing.assert_array_equal(widget.annotator.layers.labels.data == 1, discs.mask(SHAPE, [Click(20, 20)]))
    np.testing.assert_array_equal(disc_bench.labels, before)
    widget.close()
    disc_bench.click(60, 20)
    disc_bench.settle()
    assert disc_bench.labels[60, 20] == 1


def test_a_layer_of_somebody_else_is_active(disc_bench, discs):
    shapes = disc_bench.viewer.add_shapes([[[0, 0], [10, 10]]])
    disc_bench.viewer.layers.selection.active = shapes
    disc_bench.click(40, 50)
    assert discs.calls == []
    disc_bench.widget.signs[True].click()
    disc_bench.click(40, 50)
    disc_bench.settle()
    assert disc_bench.labels[40, 50] == 1
