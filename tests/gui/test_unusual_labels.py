"""Labels layers of the user's own that hold all they can, lie on a disk, or cannot be written."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from napari_fbrs.clicks import Click


def begin(bench, labels: np.ndarray) -> None:
    """Press Start with a Labels layer of one's own, on an empty image."""
    bench.add_image(np.zeros((80, 100), np.uint8), name="empty")
    bench.widget._existing["labels"].value = bench.viewer.add_labels(labels, name="mine")
    bench.widget.start()
    bench.wait(lambda: bench.widget.start_button.isEnabled() and not bench.widget._loader.busy)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "uint32"])
def test_labels_without_room_for_an_object_are_refused(bench, discs, dtype: str):
    labels = np.zeros((80, 100), dtype)
    labels[:5, :5] = np.iinfo(dtype).max
    with bench.refusal(f"end at {np.iinfo(dtype).max}"):
        begin(bench, labels)
    assert bench.widget.annotator is None
    assert "Convert them to a larger type" in bench.widget.status.text()
    bench.widget._existing["labels"].value = None
    bench.start()
    bench.click(20, 20)
    bench.settle()
    np.testing.assert_array_equal(bench.labels == 1, discs.mask((80, 100), [Click(20, 20)]))


def test_the_last_object_there_is_room_for(bench, discs):
    labels = np.zeros((80, 100), np.uint8)
    labels[70:, 90:] = 254
    begin(bench, labels)
    bench.click(20, 20)
    bench.settle()
    with bench.refusal("no room for another object"):
        bench.press("n")
    assert bench.annotator.session.object == 255
    bench.click(20, 30)
    bench.settle()
    clicks = [Click(20, 20), Click(20, 30)]
    np.testing.assert_array_equal(bench.labels == 255, discs.mask((80, 100), clicks))
    bench.press("Control-Z")
    bench.settle()
    np.testing.assert_array_equal(bench.labels == 255, discs.mask((80, 100), clicks[:1]))


def test_labels_on_a_disk(bench, discs, tmp_path):
    store = zarr.open(str(tmp_path / "labels.zarr"), mode="w", shape=(80, 100), chunks=(40, 50), dtype="int32")
    store[70:, 90:] = 6
    begin(bench, store)
    bench.click(20, 20)
    bench.settle()
    bench.press("n")
    bench.click(50, 50)
    bench.settle()
    written = np.asarray(zarr.open(str(tmp_path / "labels.zarr"), mode="r")[:])
    np.testing.assert_array_equal(written == 7, discs.mask((80, 100), [Click(20, 20)]))
    np.testing.assert_array_equal(written == 8, discs.mask((80, 100), [Click(50, 50)]))
    assert (written[70:, 90:] == 6).all()
    bench.press("Control-Z")
    bench.settle()
    assert not (np.asarray(store[:]) == 8).any()


def test_labels_that_cannot_be_written_are_refused(bench, discs, tmp_path):
    labels = np.zeros((80, 100), np.int32)
    labels.flags.writeable = False
    with bench.refusal("is read-only"):
        begin(bench, labels)
    zarr.open(str(tmp_path / "labels.zarr"), mode="w", shape=(80, 100), dtype="int32")
    with bench.refusal("is read-only"):
        begin(bench, zarr.open(str(tmp_path / "labels.zarr"), mode="r"))
    assert bench.widget.annotator is None


def test_a_locked_object_outlasts_another_mode(disc_bench, discs):
    disc_bench.click(40, 50)
    disc_bench.settle()
    before = disc_bench.labels.copy()
    disc_bench.annotator.objects.lock(1, True)
    discs.radius = 4
    disc_bench.widget.mode.setCurrentText("NoBRS")
    disc_bench.widget.mode.activated.emit(0)
    disc_bench.wait(lambda: disc_bench.widget.start_button.isEnabled())
    disc_bench.settle()
    np.testing.assert_array_equal(disc_bench.labels, before)


def test_sliders_moved_on_a_locked_object_are_refused_once_and_change_nothing_to_come(disc_bench):
    disc_bench.click(40, 50)
    disc_bench.settle()
    disc_bench.annotator.objects.lock(1, True)
    with disc_bench.refusal("locked"):
        for value in (0.6, 0.7, 0.8):
            disc_bench.widget.threshold.setValue(value)
    with disc_bench.refusal("locked"):
        disc_bench.annotator.refused.emit("something else")
        disc_bench.widget.extent.setValue(50)
    assert "locked" in disc_bench.widget.status.text()
    disc_bench.press("n")
    assert disc_bench.annotator.session.threshold == 0.5
    assert disc_bench.annotator.session.extent is None
    assert "click on the object" in disc_bench.widget.status.text()


def test_layers_taken_away_are_told_of_and_come_back(disc_bench):
    layers = disc_bench.annotator.layers
    disc_bench.viewer.layers.remove(layers.negative)
    disc_bench.widget.signs[False].click()
    assert layers.negative in disc_bench.viewer.layers
    assert not disc_bench.annotator.sign
    disc_bench.viewer.layers.remove(layers.labels)
    disc_bench.widget._refresh()
    assert "Start puts it back" in disc_bench.widget.status.text()
    disc_bench.start()
    assert layers.labels in disc_bench.viewer.layers
    assert "Start" not in disc_bench.widget.status.text()


def test_layers_removed_while_the_model_loads(bench, discs):
    bench.add_image(np.zeros((80, 100), np.uint8), name="empty")
    with bench.refusal("removed while the model was loading"):
        bench.widget.start()
        bench.viewer.layers.clear()
        bench.wait(lambda: bench.widget.start_button.isEnabled())
    assert bench.widget.annotator is None
