"""Channels and composites, clicked on in a real window."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.clicks import Click
from napari_fbrs.strokes import Stroke


def test_a_click_belongs_to_all_channels(bench, discs):
    data = np.zeros((3, 4, 80, 100), np.uint16)  # Z, C, Y, X
    data[:] = 100 * np.arange(4)[:, None, None]
    image = bench.add_image(data, axis_labels=("z", "c", "y", "x"), contrast_limits=(0, 300), scale=(2, 1, 1, 1))
    bench.viewer.dims.set_point(0, 2)
    bench.viewer.dims.set_point(1, 3)
    box = bench.widget.channels
    assert box.source.currentData() == 1  # it is called c
    box.source.setCurrentIndex(box.source.findData(None))
    box.source.setCurrentIndex(box.source.findData(1))
    assert box.colours[0].currentData() == 3  # what is displayed
    bench.start()
    bench.click(1, 0, 40, 50)
    bench.settle()
    assert (discs.planes[-1].pixels == 300).all()
    mask = discs.mask((80, 100), [Click(40, 50)])
    for channel in range(4):
        bench.viewer.dims.set_point(1, channel)
        shown = bench.annotator.layers.labels._slice.image.raw
        np.testing.assert_array_equal(shown == 1, mask)
        assert len(bench.annotator.layers.positive._view_data) == 1
    bench.viewer.dims.set_point(1, 0)
    bench.click(1, 0, 20, 20)
    bench.settle()
    assert discs.calls[-1] == (Click(40, 50), Click(20, 20))
    assert (discs.planes[-1].pixels == 300).all()
    assert bench.annotator.layers.labels.data.shape == (3, 1, 80, 100)
    bench.press("Control-Z")
    bench.settle()
    np.testing.assert_array_equal(bench.labels[1, 0] == 1, mask)
    assert bench.viewer.dims.current_step[1] == 0  # the user's slider stays
    np.testing.assert_array_equal(image.scale, (2, 1, 1, 1))


def test_layers_of_channels_are_one_image(bench, discs):
    layers = [
        bench.viewer.add_image(np.full((80, 100), value, np.uint8), name=name, contrast_limits=(0, limit))
        for name, value, limit in (("dapi", 50, 100), ("actin", 20, 200), ("gfp", 9, 9))
    ]
    box = bench.widget.channels
    bench.widget.image.value = layers[0]
    assert box.source.currentData() is None
    box.source.setCurrentIndex(box.source.findData("layers"))
    assert [colour.currentText() for colour in box.colours] == ["dapi", "actin", "gfp"]
    box.colours[2].setCurrentIndex(0)
    box.colours[1].setCurrentText("gfp")
    layers[2].name = "green"
    assert [colour.currentText() for colour in box.colours] == ["dapi", "green", "(none)"]
    layers[2].name = "gfp"
    layers[1].name = "gfp"  # napari makes it another one
    assert [colour.currentText() for colour in box.colours] == ["dapi", "gfp", "(none)"]
    bench.start()
    bench.click(40, 50)
    bench.settle()
    assert discs.planes[-1].limits == (0, 100, 0, 9)
    assert (discs.planes[-1].pixels == (50, 9)).all()
    np.testing.assert_array_equal(bench.labels == 1, discs.mask((80, 100), [Click(40, 50)]))
    box.colours[1].setCurrentText("dapi")
    with bench.refusal("chosen twice"):
        bench.widget.start()


def clicks_of(bench):
    session = bench.annotator.session
    return {place: session.refinement(place).clicks for place in session.annotated()}


@pytest.fixture
def two_channels(bench, discs):
    """An image of three channels, the first of which is clicked on: one positive, one negative, with a stroke."""
    data = np.zeros((3, 80, 100), np.uint8)
    data[:] = 100 * np.arange(3)[:, None, None]
    bench.add_image(data, name="cells", contrast_limits=(0, 200))
    box = bench.widget.channels
    box.source.setCurrentIndex(box.source.findData(0))
    box.colours[0].setCurrentIndex(0)
    bench.start()
    bench.click(0, 40, 20)
    bench.settle()
    bench.press("T")
    bench.click(0, 40, 26)
    bench.settle()
    bench.press("T")
    bench.annotator.add_strokes([(PlaneIndex((0,), (1, 2)), Stroke.of(np.argwhere(np.eye(80, 100))))])
    bench.settle()
    return bench


def test_another_channel_is_looked_at_by_the_same_annotation(two_channels, discs):
    bench, box = two_channels, two_channels.widget.channels
    layers, strokes = bench.annotator.layers.ours(), bench.annotator.strokes.layer
    clicks, before, calls = clicks_of(bench), bench.labels.copy(), len(discs.calls)
    seen = {np.unique(plane.pixels).item() for plane in discs.planes}
    assert seen == {0}
    box.colours[0].setCurrentIndex(1)
    bench.start()
    bench.settle()
    assert (bench.annotator.layers.ours(), bench.annotator.strokes.layer) == (layers, strokes)
    assert clicks_of(bench) == clicks
    np.testing.assert_array_equal(bench.labels, before)
    assert len(discs.calls) == calls
    assert len(bench.viewer.layers) == 5
    bench.press("N")
    bench.click(0, 40, 70)
    bench.settle()
    assert (discs.planes[-1].pixels == 100).all()
    np.testing.assert_array_equal(bench.labels == 1, before == 1)
    for _ in range(4):
        bench.press("Control-Z")
        bench.settle()
    assert not bench.labels.any()
    assert not any(clicks_of(bench).values())


def test_more_channels_and_fewer_are_looked_at_with_limits_of_their_own(two_channels, discs):
    bench, box, before = two_channels, two_channels.widget.channels, two_channels.labels.copy()
    for green in (2, None, 1):
        box.colours[1].setCurrentIndex(box.colours[1].findData(green))
        bench.start()
        bench.press("N")
        bench.click(0, 20, 80)
        bench.settle()
        assert len(discs.planes[-1].limits) == (2 if green is None else 4)
        bench.press("Control-Z")
        bench.settle()
        bench.press("J")
        bench.widget.threshold.setValue(0.6 if green is None else 0.7)  # of a mask from other channels
        bench.settle()
        np.testing.assert_array_equal(bench.labels, before)
        assert len(discs.planes[-1].limits) == (2 if green is None else 4)
