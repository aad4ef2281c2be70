"""Which layers a Start works in: those of the same image; clicks of another annotation are no first clicks of this."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels, Points
from napari.layers._layer_actions import _duplicate_layer

from napari_fbrs.clicks import Click
from napari_fbrs.errors import ModelFileError
from napari_fbrs.gui import widget as widget_module

SHAPE = (80, 100)


@pytest.fixture
def begun(disc_bench):
    """Two objects: the second has a positive and a negative click, which are displayed."""
    disc_bench.click(40, 20)
    disc_bench.settle()
    disc_bench.press("N")
    disc_bench.click(40, 60)
    disc_bench.settle()
    disc_bench.press("T")
    disc_bench.click(40, 66)
    disc_bench.settle()
    return disc_bench


def duplicate(bench, layer, place):
    """Duplicate a layer as napari's menu does, and drag the copy to a place in the list."""
    layers = bench.viewer.layers
    layers.selection = {layer}
    _duplicate_layer(layers)
    copy = layers[f"{layer.name} copy"]
    layers.move(layers.index(copy), place)
    layers.selection.active = bench.annotator.layers.positive
    return copy


def objects(bench):
    return {place.object for place in bench.annotator.session.annotated()}


@pytest.mark.parametrize("opened_again", [False, True])
def test_another_image_of_the_same_name_has_layers_of_its_own(begun, discs, opened_again):
    layers, before = begun.annotator.layers, begun.labels.copy()
    begun.viewer.layers.remove(layers.image.layer)
    if opened_again:
        begun.open_widget()
    begun.add_image(np.full(SHAPE, 9, np.uint8), name="empty")
    begun.start()
    begun.settle()
    assert not objects(begun)
    assert not {*begun.annotator.layers.ours()} & {*layers.ours()}
    begun.click(20, 20)
    begun.settle()
    np.testing.assert_array_equal(begun.labels == 1, discs.mask(SHAPE, [Click(20, 20)]))
    np.testing.assert_array_equal(layers.labels.data, before)
    assert [len(points.data) for points in (layers.positive, layers.negative)] == [1, 1]


def test_an_image_renamed_keeps_its_layers(begun):
    layers = begun.annotator.layers
    layers.image.layer.name = "another"
    begun.open_widget()
    begun.start()
    begun.settle()
    assert begun.annotator.layers == layers
    assert objects(begun) == {1, 2}


def test_pixels_replaced_while_the_panel_is_closed_are_looked_at(begun, discs):
    session, before = begun.annotator.session, begun.labels.copy()
    begun.widget.close()
    begun.widget.image.value.data = np.full(SHAPE, 7, np.uint8)
    begun.open_widget()
    begun.start()
    begun.settle()
    assert begun.annotator.session is session
    np.testing.assert_array_equal(begun.labels, before)
    begun.press("N")
    begun.click(10, 10)
    begun.settle()
    assert (discs.planes[-1].pixels == 7).all()


def test_labels_of_one_s_own_get_points_of_their_own(begun):
    """Clicks on the same image, in other labels, and back: each labels with its points."""
    layers = begun.annotator.layers
    own = begun.viewer.add_labels(np.zeros(SHAPE, np.int32), name="own")
    boxes = begun.widget._existing
    for labels, found in ((own, set()), (layers.labels, {1, 2}), (own, {1}), (None, {1})):
        boxes["labels"].value = labels
        begun.start()
        begun.settle()
        assert objects(begun) == found
        assert begun.annotator.layers.labels == (labels or own)  # nothing chosen: goes on
        assert (begun.annotator.layers.positive == layers.positive) == (labels == layers.labels)
        if not found:
            begun.click(20, 20)
            begun.settle()


def test_labels_taken_to_another_image_and_back_bring_no_clicks(begun, discs):
    layers, first = begun.annotator.layers, begun.widget.image.value
    second = begun.add_image(np.full(SHAPE, 9, np.uint8), name="second")
    begun.widget._existing["labels"].value = layers.labels
    before = begun.labels.copy()
    for image, label in ((second, 3), (first, 4), (second, 5)):
        begun.widget.image.value = image
        begun.start()
        begun.settle()
        assert not objects(begun)
        np.testing.assert_array_equal(begun.labels, before)
        begun.click(8 * label, 90)
        begun.settle()
        assert objects(begun) == {label}
        before = begun.labels.copy()


def test_points_chosen_are_the_first_clicks(bench, discs):
    image = bench.add_image(np.zeros(SHAPE, np.uint8))
    bench.widget._existing["positive"].value = bench.viewer.add_points([[40.0, 20.0], [40.0, 30.0]])
    bench.widget.image.value = image
    bench.start()
    bench.settle()
    np.testing.assert_array_equal(bench.labels == 1, discs.mask(SHAPE, [Click(40, 20), Click(40, 30)]))


def test_a_start_that_failed_leaves_its_layers_to_the_next(bench, discs, monkeypatch):
    def refuse(_name, _device):
        raise ModelFileError("the file is damaged")

    bench.add_image(np.zeros(SHAPE, np.uint8))
    with monkeypatch.context() as damaged:
        damaged.setattr(widget_module, "load_model", refuse)
        damaged.setattr(widget_module, "show_error", lambda _text: None)
        bench.widget.start()
        bench.wait(bench.widget.start_button.isEnabled)
    bench.open_widget()
    bench.start()
    assert [type(layer) for layer in bench.viewer.layers][1:] == [Labels, Points, Points]


def test_duplicates_are_layers_of_somebody_else_s(disc_bench, discs):
    disc_bench.click(40, 20)
    disc_bench.settle()
    first, layers = disc_bench.labels.copy(), disc_bench.annotator.layers
    copies = [duplicate(disc_bench, layer, 1) for layer in layers.ours()]
    disc_bench.press("N")
    disc_bench.click(40, 60)
    disc_bench.settle()
    disc_bench.open_widget()
    disc_bench.start()
    disc_bench.settle()
    assert disc_bench.annotator.layers == layers
    assert objects(disc_bench) == {1, 2}
    disc_bench.click(60, 60)
    disc_bench.settle()
    np.testing.assert_array_equal(disc_bench.labels == 2, discs.mask(SHAPE, [Click(40, 60), Click(60, 60)]))
    positive, _negative, backup = copies
    np.testing.assert_array_equal(backup.data, first)
    np.testing.assert_allclose(positive.data, [[40, 20]], atol=0.1)
    # Chosen, a backup is begun anew: its masks stay, and the other labels are left alone.
    other = disc_bench.labels.copy()
    disc_bench.widget._existing["labels"].value = backup
    disc_bench.start()
    assert not objects(disc_bench)
    disc_bench.click(20, 80)
    disc_bench.settle()
    assert objects(disc_bench) == {2}
    np.testing.assert_array_equal(np.where(backup.data == 2, 0, backup.data), first)
    np.testing.assert_array_equal(layers.labels.data, other)


def test_a_backup_saved_is_not_all_that_was_done(disc_bench, npe2pm, tmp_path):
    disc_bench.click(40, 20)
    disc_bench.settle()
    backup = duplicate(disc_bench, disc_bench.annotator.layers.labels, 1)
    disc_bench.press("N")
    disc_bench.click(40, 60)
    disc_bench.settle()
    with npe2pm.tmp_plugin(package="napari-fbrs"):
        backup.save(str(tmp_path / "backup.tif"), plugin="napari-fbrs")
        assert disc_bench.annotator.session.unsaved
        disc_bench.annotator.layers.labels.save(str(tmp_path / "all.tif"), plugin="napari-fbrs")
    assert not disc_bench.annotator.session.unsaved
