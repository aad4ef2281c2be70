"""An image that is given another scale, or moved, while it is annotated: clicks and masks stay on their pixels."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fbrs.clicks import Click

SHAPE = (80, 100)
AFFINE = np.array([[0.0, 2.0, 5.0], [-1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
CHANGES = [("scale", (1.25, 1.25)), ("translate", (50, 50)), ("rotate", 30), ("shear", [0.3]), ("affine", AFFINE)]


def clicks(bench) -> list[tuple[float, ...]]:
    session = bench.annotator.session
    return [click.pixel for place in session.places(session.object) for click in session.refinement(place).clicks]


def on_the_image(bench, layer) -> bool:
    """Whether a layer lies on the image, in the same units."""
    image = bench.annotator.layers.image
    ends = np.zeros(image.ndim), *np.diag(image.shape)
    lies = np.allclose([layer.data_to_world(at) for at in ends], [image.data_to_world(at) for at in ends])
    return lies and layer.units == image.layer.units


@pytest.mark.parametrize(("name", "value"), CHANGES, ids=[name for name, _ in CHANGES])
def test_clicks_stay_on_their_pixels_and_layers_follow(disc_bench, discs, name, value):
    disc_bench.click(40, 20)
    disc_bench.settle()
    disc_bench.click(30, 30)
    disc_bench.settle()
    before = disc_bench.labels.copy()
    setattr(disc_bench.widget.image.value, name, value)
    assert all(on_the_image(disc_bench, layer) for layer in disc_bench.annotator.layers.ours())
    disc_bench.viewer.reset_view()
    disc_bench.click(60, 60)
    disc_bench.settle()
    assert clicks(disc_bench) == [(40, 20), (30, 30), (60, 60)]
    np.testing.assert_array_equal(disc_bench.labels == 1, discs.mask(SHAPE, [Click(*at) for at in clicks(disc_bench)]))
    disc_bench.press("Control-Z")
    disc_bench.settle()
    np.testing.assert_array_equal(disc_bench.labels, before)


def test_clicks_on_other_slices_are_not_taken_away(bench, discs):
    image = bench.add_image(np.zeros((4, *SHAPE), np.uint8))
    bench.start()
    for z, column in ((0, 80), (2, 50)):
        bench.viewer.dims.set_point(0, z)
        bench.click(z, 40, column)
        bench.settle()
    before = bench.labels.copy()
    image.scale, image.units = (1, 0.5, 0.5), ("um", "um", "um")
    assert all(on_the_image(bench, layer) for layer in bench.annotator.layers.ours())
    bench.viewer.reset_view()
    bench.click(2, 40, 55)
    bench.settle()
    np.testing.assert_array_equal(bench.labels[0], before[0])
    np.testing.assert_array_equal(bench.labels[2] == 1, discs.mask(SHAPE, [Click(40, 50), Click(40, 55)]))


def test_a_layer_that_lies_elsewhere_stays_and_its_points_stay_on_their_pixels(bench, discs):
    bench.add_image(np.zeros(SHAPE, np.uint8), name="image")
    own = bench.viewer.add_points([[20.0, 10.0]], scale=(2, 2), name="on")  # on pixel 40, 20
    bench.widget._existing["positive"].value = own
    bench.start()
    bench.settle()
    before = bench.labels.copy()
    bench.widget.image.value.scale = (4, 4)
    np.testing.assert_array_equal(own.scale, (2, 2))
    np.testing.assert_allclose(own.data, [[80, 40]])
    assert on_the_image(bench, bench.annotator.layers.negative)
    bench.viewer.reset_view()
    bench.click(60, 60)
    bench.settle()
    assert clicks(bench) == [(40, 20), (60, 60)]
    np.testing.assert_array_equal((bench.labels == 1) & (before == 1), before == 1)


def test_strokes_stay_where_they_were_painted(disc_bench):
    disc_bench.press("D")
    disc_bench.drag((40, 20), (40, 60))
    disc_bench.settle()
    layer = disc_bench.annotator.strokes.layer
    before = np.array(layer.data)
    disc_bench.widget.image.value.scale = (0.5, 0.5)
    assert on_the_image(disc_bench, layer)
    np.testing.assert_array_equal(layer.data, before)


def test_points_stay_on_every_channel(bench, discs):
    image = bench.add_image(np.zeros((4, *SHAPE), np.uint8), axis_labels=("c", "y", "x"))
    bench.start()
    bench.click(0, 40, 20)
    bench.settle()
    image.scale = (3, 2, 2)
    assert all(on_the_image(bench, layer) for layer in bench.annotator.layers.ours())
    bench.viewer.reset_view()
    for channel in range(4):
        bench.viewer.dims.set_point(0, 3 * channel)
        assert len(bench.annotator.layers.positive._view_data) == 1
    bench.click(0, 40, 60)
    bench.settle()
    assert clicks(bench) == [(40, 20), (40, 60)]


def test_masks_of_several_layers_lie_on_the_first(bench, discs):
    red, green = (bench.viewer.add_image(np.zeros(SHAPE, np.uint8), name=name) for name in ("red", "green"))
    bench.widget.image.value = red
    source = bench.widget.channels.source
    source.setCurrentIndex(source.findData("layers"))
    bench.start()
    bench.click(40, 20)
    bench.settle()
    for layer in (green, red):
        layer.scale = (2, 2)
        assert all(on_the_image(bench, ours) for ours in bench.annotator.layers.ours())
    bench.viewer.reset_view()
    bench.click(40, 60)
    bench.settle()
    assert clicks(bench) == [(40, 20), (40, 60)]


def test_a_closed_panel_follows_no_longer(disc_bench):
    image, labels = disc_bench.widget.image.value, disc_bench.annotator.layers.labels
    disc_bench.widget.close()
    image.scale = (2, 2)
    np.testing.assert_array_equal(labels.scale, (1, 1))
