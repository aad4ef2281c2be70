"""Every view and transform: a click lands on the pixel under the cursor, on the plane displayed."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fbrs.clicks import Click


@pytest.mark.parametrize("order", [(0, 2, 1), (1, 2, 0), (2, 0, 1), (2, 1, 0), (1, 0, 2)])
def test_rolled_and_transposed_views(bench, discs, order):
    shape = (30, 80, 100)
    bench.add_image(np.zeros(shape, np.uint8), scale=(2, 1, 1))
    bench.start()
    bench.viewer.dims.order = order
    bench.viewer.dims.set_point(order[0], 12 * (2 if order[0] == 0 else 1))
    bench.viewer.reset_view()
    position = [15, 40, 50]
    position[order[0]] = 12
    bench.click(*position)
    bench.settle()
    plane = np.moveaxis(bench.labels, order, (0, 1, 2))
    click = Click(position[order[1]], position[order[2]])
    np.testing.assert_array_equal(plane[12] == 1, discs.mask((shape[order[1]], shape[order[2]]), [click]))
    assert not np.delete(plane, 12, axis=0).any()


def test_time_depth_and_channels(bench, discs):
    bench.add_image(np.zeros((3, 2, 4, 80, 100), np.uint8))  # T, C, Z, Y, X
    bench.start()
    for axis, at in ((0, 1), (1, 1), (2, 3)):
        bench.viewer.dims.set_point(axis, at)
    bench.click(1, 1, 3, 40, 50)
    bench.settle()
    np.testing.assert_array_equal(bench.labels[1, 1, 3] == 1, discs.mask((80, 100), [Click(40, 50)]))
    assert (bench.labels > 0).any(axis=(3, 4)).sum() == 1


def test_a_plane_left_and_come_back_to_goes_on_where_it_was(bench, discs):
    bench.add_image(np.zeros((4, 80, 100), np.uint8))
    bench.start()
    bench.viewer.dims.set_point(0, 0)
    bench.click(0, 40, 20)
    bench.settle()
    bench.viewer.dims.set_point(0, 2)
    bench.click(2, 40, 60)
    bench.settle()
    bench.viewer.dims.set_point(0, 0)
    bench.click(0, 20, 20)
    bench.settle()
    assert discs.calls[-1] == (Click(40, 20), Click(20, 20))
    assert (bench.labels[2] > 0).any()


@pytest.mark.parametrize(
    "transform",
    [
        {"scale": (3, 0.5, 2), "translate": (5, -7, 11)},
        {"scale": (2, -1, 1)},
        {"rotate": (0, 0, 25)},
        {"shear": (0, 0, 0.2)},
        {"scale": (2, 0.5, 0.5), "units": ("um", "um", "um")},
    ],
    ids=["scale", "negative", "rotate", "shear", "units"],
)
def test_transforms_of_stacks(bench, discs, transform):
    image = bench.add_image(np.zeros((5, 80, 100), np.uint8), **transform)
    before = image.data_to_world((1, 2, 3))
    bench.start()
    bench.viewer.dims.set_point(0, image.data_to_world((3, 0, 0))[0])
    bench.viewer.reset_view()
    bench.click(3, 30, 70)
    bench.settle()
    np.testing.assert_array_equal(bench.labels[3] == 1, discs.mask((80, 100), [Click(30, 70)]))
    for layer in bench.annotator.layers.ours():
        np.testing.assert_allclose(layer.data_to_world((1, 2, 3)), before)
        assert tuple(map(str, layer.units)) == tuple(map(str, image.units))
    assert image.data_to_world((1, 2, 3)) == before


def test_an_image_of_fewer_dimensions_than_the_viewer(bench, discs):
    bench.viewer.add_image(np.zeros((6, 80, 100), np.uint8), name="stack")
    bench.add_image(np.zeros((80, 100), np.uint8), name="flat", translate=(3, 4))
    bench.start()
    bench.viewer.dims.set_point(0, 4)
    bench.click(40, 50)
    bench.settle()
    np.testing.assert_array_equal(bench.labels == 1, discs.mask((80, 100), [Click(40, 50)]))


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_stacks(bench, discs, channels):
    bench.add_image(np.zeros((3, 80, 100, channels), np.uint8), rgb=True)
    bench.start()
    bench.viewer.dims.set_point(0, 2)
    bench.click(2, 40, 50)
    bench.settle()
    assert discs.planes[-1].pixels.shape == (80, 100, channels)
    np.testing.assert_array_equal(bench.labels[2] == 1, discs.mask((80, 100), [Click(40, 50)]))


@pytest.fixture
def beside_a_longer_stack(bench, discs):
    """Object 1 on the last of five slices, beside an image of 20."""
    bench.viewer.add_image(np.zeros((20, 80, 100), np.uint8), name="longer")
    bench.add_image(np.zeros((5, 80, 100), np.uint8), name="stack")
    bench.start()
    bench.viewer.dims.set_point(0, 4)
    bench.click(4, 40, 50)
    bench.settle()
    return bench


@pytest.mark.parametrize("at", [5, 15])
def test_nothing_is_done_where_the_slider_stands_beyond_the_image(beside_a_longer_stack, at):
    bench = beside_a_longer_stack
    before = bench.labels.copy()
    bench.viewer.dims.set_point(0, at)
    box = bench.widget
    for act in (
        lambda: box.threshold.setValue(0.93),
        lambda: bench.press("Shift-C"),
        lambda: box.extent.setValue(50),
        box.propagation.buttons["backward"].click,
    ):
        with bench.refusal("beyond the image 'stack': move them back"):
            act()
        bench.settle()
    bench.viewer.dims.set_point(0, at + 1)
    bench.start()  # has nothing to say about it
    assert "Ready on" in box.status.text()
    np.testing.assert_array_equal(bench.labels, before)
    assert (box.threshold.value(), bench.annotator.session.extent) == (0.5, None)
    with bench.refusal("1 point(s) outside the image"):
        bench.click(at + 1, 40, 20)
    assert len(bench.annotator.layers.positive.data) == 1
    bench.press("J")  # goes to where the object is
    assert bench.viewer.dims.current_step[0] == 4
    bench.press("Shift-C")
    assert not bench.labels.any()


def test_points_given_while_the_slider_stands_beyond_the_image_are_clicks(beside_a_longer_stack, discs):
    bench = beside_a_longer_stack
    bench.viewer.dims.set_point(0, 15)
    bench.annotator.layers.positive.add([[2.0, 40.0, 20.0]])
    bench.settle()
    np.testing.assert_array_equal(bench.labels[2] == 1, discs.mask((80, 100), [Click(40, 20)]))


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_the_plane_is_the_one_displayed_of_an_image_rotated_out_of_the_view(bench, discs):
    bench.add_image(np.zeros((5, 80, 100), np.uint8), rotate=(0, 0, 40))
    bench.start()
    bench.viewer.dims.order = (1, 0, 2)
    bench.viewer.dims.set_point(1, 30)
    displayed = round(bench.annotator.layers.labels._data_slice.point[1])
    assert bench.annotator.plane().position == (displayed,)
