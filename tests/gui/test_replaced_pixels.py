"""An image, or labels, whose pixels are exchanged while it is annotated: by another plugin, or from the console."""

from __future__ import annotations

import numpy as np

from napari_fbrs.clicks import Click


def seen(discs) -> list[int]:
    """Return the intensities that the network was shown last."""
    return np.unique(np.asarray(discs.planes[-1].pixels)).tolist()


def test_new_pixels_are_looked_at_and_masks_stay(disc_bench, discs):
    disc_bench.click(40, 20)
    disc_bench.settle()
    before = disc_bench.labels.copy()
    with disc_bench.refusal("the pixels of 'empty' were replaced"):
        disc_bench.widget.image.value.data = np.full((80, 100), 200, np.uint8)
    disc_bench.settle()
    np.testing.assert_array_equal(disc_bench.labels, before)
    disc_bench.click(40, 26)
    disc_bench.settle()
    assert seen(discs) == [200]
    assert len(discs.calls) == 3  # the first click was looked at anew as well
    np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask((80, 100), [Click(40, 20), Click(40, 26)]))
    disc_bench.press("Control-Z")
    disc_bench.settle()
    np.testing.assert_array_equal(disc_bench.labels, before)


def test_a_computation_on_pixels_replaced_meanwhile_is_done_anew(disc_bench, discs):
    discs.gate.clear()
    disc_bench.click(40, 20)
    disc_bench.wait(lambda: discs.calls)
    disc_bench.widget.image.value.data = np.full((80, 100), 200, np.uint8)
    discs.gate.set()
    disc_bench.settle()
    assert seen(discs) == [200]
    assert disc_bench.labels.any()


def test_an_image_of_another_shape_gets_layers_of_its_own(disc_bench, discs):
    disc_bench.click(40, 20)
    disc_bench.settle()
    earlier, before = disc_bench.annotator.layers.labels, disc_bench.labels.copy()
    with disc_bench.refusal("has another shape now: press Start"):
        disc_bench.widget.image.value.data = np.full((40, 60), 200, np.uint8)
    assert disc_bench.widget.annotator is None
    disc_bench.start()
    disc_bench.click(20, 30)
    disc_bench.settle()
    assert disc_bench.labels.shape == (40, 60)
    np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask((40, 60), [Click(20, 30)]))
    np.testing.assert_array_equal(np.asarray(earlier.data), before)


def test_work_on_new_pixels_is_kept_for_a_restart_as_theirs(disc_bench):
    disc_bench.click(40, 20)
    disc_bench.settle()
    recorder = disc_bench.widget.recovery.recorder
    disc_bench.widget.image.value.data = np.full((80, 100), 200, np.uint8)
    disc_bench.wait(lambda: disc_bench.widget.recovery.recorder not in (None, recorder))
    assert disc_bench.widget.recovery.recorder.journal.path != recorder.journal.path


def test_labels_of_another_shape_are_left_and_start_makes_others(disc_bench, discs):
    disc_bench.click(40, 20)
    disc_bench.settle()
    discs.gate.clear()
    disc_bench.click(40, 26)
    disc_bench.wait(lambda: len(discs.calls) == 2)
    labels = disc_bench.annotator.layers.labels
    with disc_bench.refusal("has shape (40, 50), the image 'empty' has (80, 100)"):
        labels.data = np.zeros((40, 50), np.int32)
    discs.gate.set()
    assert disc_bench.widget.annotator is None
    assert "let Start make one" in disc_bench.widget.status.text()
    points = disc_bench.viewer.layers.selection.active
    points.add([[70.0, 90.0]])  # nobody listens
    assert not labels.data.any()
    disc_bench.start()
    disc_bench.settle()
    assert disc_bench.labels.shape == (80, 100)
    assert not disc_bench.labels.any()  # what was clicked before stays where it is, and is nobody's first clicks
    np.testing.assert_allclose(points.data, [[40, 20], [40, 26], [70, 90]])


def test_labels_replaced_by_as_many_pixels_are_worked_on(disc_bench, discs):
    disc_bench.click(40, 20)
    disc_bench.settle()
    labels = disc_bench.annotator.layers.labels
    labels.data = labels.data.astype(np.uint8)
    disc_bench.click(40, 26)
    disc_bench.settle()
    np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask((80, 100), [Click(40, 20), Click(40, 26)]))
    assert labels.data.dtype == np.uint8
