"""What the manifest promises, opened through napari."""

from __future__ import annotations

import numpy as np

from napari_fbrs.gui.demo import open_demo
from napari_fbrs.gui.widget import FBRSWidget

PLUGIN = "napari-fbrs"


def test_the_widget_opens_by_its_name(make_napari_viewer, npe2pm):
    with npe2pm.tmp_plugin(package=PLUGIN):
        viewer = make_napari_viewer()
        _dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Segment by clicks (f-BRS)")
        assert isinstance(widget, FBRSWidget)
        viewer.add_image(np.zeros((8, 8)), name="added later")
        assert "added later" in [layer.name for layer in widget.image.choices]


def test_the_samples_open_in_napari(make_napari_viewer, npe2pm):
    with npe2pm.tmp_plugin(package=PLUGIN):
        viewer = make_napari_viewer()
        grey, colour, stack = (viewer.open_sample(PLUGIN, key) for key in ("coins", "tissue", "nuclei"))
    assert grey[0].data.ndim == 2
    assert colour[0].rgb
    image, truth = stack
    assert image.data.shape == truth.data.shape
    assert image.data.ndim == 3
    np.testing.assert_array_equal(truth.scale, image.scale)
    assert truth.data.max() > 1


def test_the_demo_is_ready_for_the_first_click(qtbot, make_napari_viewer, monkeypatch):
    monkeypatch.setattr("napari.Viewer", lambda **_options: make_napari_viewer())
    viewer, widget = open_demo()
    qtbot.waitUntil(lambda: widget.annotator is not None, timeout=60_000)
    assert [layer.name for layer in viewer.layers] == ["coins", "coins objects", "coins negative", "coins positive"]
    assert viewer.layers.selection.active == widget.annotator.layers.positive
    assert widget.annotator.layers.positive.mode == "add"
    widget.close()
