"""Channels and composites, clicked on in a real window."""

from __future__ import annotations

import numpy as np

from napari_fbrs.clicks import Click


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
