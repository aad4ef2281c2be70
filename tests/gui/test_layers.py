"""Layers adopted, planes of stacks, transforms."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels, Points

from napari_fbrs.clicks import Click


def test_points_there_already_become_the_first_clicks(bench, discs):
    image = bench.add_image(np.zeros((80, 100), dtype=np.uint8))
    positive = bench.viewer.add_points([[40.0, 20.0], [40.0, 60.0]], name="on")
    negative = bench.viewer.add_points([[40.0, 24.0]], name="off")
    labels = bench.viewer.add_labels(np.zeros((80, 100), dtype=np.uint16), name="masks")
    labels.data[0, 0] = 7
    for role, layer in {"positive": positive, "negative": negative, "labels": labels}.items():
        bench.widget._existing[role].value = layer
    bench.start()
    bench.settle()
    assert bench.annotator.layers.image.layer == image
    assert len(bench.viewer.layers) == 4
    clicks = [Click(40, 20), Click(40, 60), Click(40, 24, positive=False)]
    np.testing.assert_array_equal(labels.data == 8, discs.mask((80, 100), clicks))  # 7 is taken
    assert labels.data[0, 0] == 7
    assert len(discs.calls) == 1  # given at once, predicted at once


@pytest.mark.parametrize(
    ("role", "make", "message"),
    [
        ("positive", lambda: Points(np.zeros((0, 3)), ndim=3), "has 3 dimensions"),
        ("labels", lambda: Labels(np.zeros((10, 10), dtype=int)), "has shape (10, 10)"),
        ("labels", lambda: Labels([np.zeros((80, 100), dtype=int), np.zeros((40, 50), dtype=int)]), "multiscale"),
    ],
)
def test_layers_that_cannot_serve_are_refused(bench, discs, role, make, message):
    image = bench.add_image(np.zeros((80, 100), dtype=np.uint8))
    layer = bench.viewer.add_layer(make())
    bench.widget._existing[role].value = layer
    bench.widget.image.value = image
    with bench.refusal(message):
        bench.widget.start()
    assert len(bench.viewer.layers) == 2


def test_a_click_belongs_to_the_plane_it_was_made_on(bench, discs):
    bench.add_image(np.zeros((6, 80, 100), dtype=np.uint16))
    bench.start()
    for z, column in ((0, 20), (4, 60)):
        bench.viewer.dims.set_point(0, z)
        bench.click(z, 40, column)
        bench.settle()
    expected = np.zeros((6, 80, 100), dtype=bool)
    expected[0] = discs.mask((80, 100), [Click(40, 20)])
    expected[4] = discs.mask((80, 100), [Click(40, 60)])
    np.testing.assert_array_equal(bench.labels == 1, expected)
    assert bench.viewer.dims.nsteps[0] == 6  # points add no planes
    bench.viewer.dims.set_point(0, 0)
    bench.annotator.undo()
    bench.settle()
    assert bench.viewer.dims.current_step[0] == 4  # one sees what is undone
    np.testing.assert_array_equal((bench.labels == 1).any(axis=(1, 2)), [True, False, False, False, False, False])


def test_a_click_on_a_plane_of_other_axes(bench, discs):
    bench.add_image(np.zeros((40, 80, 100), dtype=np.uint16))
    bench.start()
    bench.viewer.dims.order = (1, 0, 2)
    bench.viewer.dims.set_point(1, 33)
    bench.viewer.reset_view()
    bench.click(20, 33, 50)
    bench.settle()
    expected = np.zeros((40, 80, 100), dtype=bool)
    expected[:, 33] = discs.mask((40, 100), [Click(20, 50)])
    np.testing.assert_array_equal(bench.labels == 1, expected)


def test_clicks_in_3d_view_are_refused_and_nothing_is_lost(bench, discs):
    bench.add_image(np.zeros((6, 80, 100), dtype=np.uint16))
    bench.start()
    bench.viewer.dims.set_point(0, 2)
    bench.click(2, 40, 20)
    bench.settle()
    before = bench.labels.copy()
    bench.viewer.dims.ndisplay = 3
    with bench.refusal("2D view"):
        bench.annotator.layers.positive.add([[3.0, 10.0, 10.0]])
    assert bench.annotator.layers.positive.data.tolist() == [[2.0, 40.0, 20.0]]
    np.testing.assert_array_equal(bench.labels, before)
    bench.viewer.dims.ndisplay = 2


@pytest.mark.parametrize(
    "transform",
    [
        {"scale": (0.5, 2.0), "translate": (30, -7)},
        {"rotate": 30, "scale": (1.5, 1.5)},
        {"shear": [0.3]},
        {"scale": (-1.0, 1.0)},
        {"affine": np.array([[0.0, 2.0, 5.0], [-1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])},
    ],
    ids=["scale", "rotate", "shear", "mirror", "affine"],
)
def test_a_click_lands_on_the_pixel_under_the_cursor(bench, discs, transform):
    image = bench.add_image(np.zeros((80, 100), dtype=np.uint8), **transform)
    before = image.affine.affine_matrix.copy(), tuple(image.scale), tuple(image.translate)
    bench.start()
    bench.click(30, 70)
    bench.settle()
    np.testing.assert_array_equal(bench.labels == 1, discs.mask((80, 100), [Click(30, 70)]))
    labels = bench.annotator.layers.labels
    np.testing.assert_allclose(labels.data_to_world((30, 70)), image.data_to_world((30, 70)))
    np.testing.assert_array_equal(image.affine.affine_matrix, before[0])
    assert (tuple(image.scale), tuple(image.translate)) == before[1:]


def test_the_network_sees_what_the_user_sees(bench, discs):
    image = bench.add_image(np.linspace(0, 4000, 8000).reshape(80, 100), contrast_limits=(1000, 3000))
    bench.start()
    bench.click(40, 50)
    bench.settle()
    assert discs.planes[-1].limits == (1000, 3000)
    image.contrast_limits = (0, 500)
    bench.click(40, 60)
    bench.settle()
    assert discs.planes[-1].limits == (0, 500)


def test_colours(bench, discs):
    bench.add_image(np.zeros((80, 100, 4), dtype=np.uint8), rgb=True)
    bench.start()
    bench.click(40, 50)
    bench.settle()
    assert discs.planes[-1].pixels.shape == (80, 100, 4)
    assert bench.labels[40, 50] == 1


def test_points_of_several_slices_deleted_at_once_come_back_with_one_undo(bench, discs):
    bench.add_image(np.zeros((4, 80, 100), dtype=np.uint8))
    bench.start()
    for z, column in ((0, 20), (0, 60), (2, 40)):
        bench.viewer.dims.set_point(0, z)
        bench.click(z, 40, column)
        bench.settle()
    before = bench.labels.copy()
    points = bench.annotator.layers.positive
    points.selected_data = {0, 1, 2}
    points.remove_selected()
    bench.settle()
    assert not bench.labels.any()
    bench.press("Control-Z")
    bench.settle()
    np.testing.assert_array_equal(bench.labels, before)
    assert len(points.data) == 3
    bench.press("Control-Shift-Z")
    bench.settle()
    assert not bench.labels.any()
