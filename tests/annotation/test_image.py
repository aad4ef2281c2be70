from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.annotation.image import Channel, Channels, Composite, Image, PlaneIndex, channels_of
from napari_fbrs.errors import InputError
from napari_fbrs.inference.plane import Crop


@pytest.mark.parametrize(
    ("index", "ndim", "resolved"),
    [
        (PlaneIndex(), 2, PlaneIndex((), (0, 1))),
        (PlaneIndex((3,)), 3, PlaneIndex((3,), (1, 2))),
        (PlaneIndex((3,), (0, 2)), 3, PlaneIndex((3,), (0, 2))),
        (PlaneIndex((3,), (-1, -2)), 3, PlaneIndex((3,), (2, 1))),
        (PlaneIndex((3, 4), (1, 3)), 4, PlaneIndex((3, 4), (1, 3))),
    ],
)
def test_axes_are_counted_from_the_front(index: PlaneIndex, ndim: int, resolved: PlaneIndex):
    assert index.resolved(ndim) == resolved
    assert resolved.resolved(ndim) == resolved


@pytest.mark.parametrize(
    ("index", "ndim"),
    [
        (PlaneIndex((1,)), 2),
        (PlaneIndex(), 3),
        (PlaneIndex((1, 2)), 3),
        (PlaneIndex((1,), (0, 3)), 3),
        (PlaneIndex((1,), (-4, 1)), 3),
        (PlaneIndex((1,), (1, 1)), 3),
        (PlaneIndex((1,), (1, -2)), 3),
    ],
)
def test_planes_that_fit_no_image(index: PlaneIndex, ndim: int):
    with pytest.raises(InputError, match=f"an image with {ndim} dimensions needs {ndim - 2} position"):
        index.resolved(ndim)


VOLUME = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)


@given(st.permutations(range(3)), st.data())
def test_a_plane_is_what_its_axes_say(order: list[int], data: st.DataObject):
    rows, columns, other = order
    at = data.draw(st.integers(0, VOLUME.shape[other] - 1))
    index = PlaneIndex((at,), (rows, columns))
    image = Image(VOLUME)
    expected = np.moveaxis(VOLUME, (rows, columns, other), (0, 1, 2))[..., at]
    np.testing.assert_array_equal(image.plane(index).pixels, expected)
    assert image.plane_shape(index) == expected.shape
    assert index.transposed is (rows > columns)
    # One pixel of the plane is the same pixel of the volume.
    row = data.draw(st.integers(0, expected.shape[0] - 1))
    column = data.draw(st.integers(0, expected.shape[1] - 1))
    assert VOLUME[index.select(row, column)] == expected[row, column]


def test_planes_of_four_dimensions():
    data = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(Image(data).plane(PlaneIndex((1, 2), (0, 3))).pixels, data[:, 1, 2, :])
    np.testing.assert_array_equal(Image(data).plane(PlaneIndex((1, 2), (3, 0))).pixels, data[:, 1, 2, :].T)


@pytest.mark.parametrize("colours", [3, 4])
def test_colours_stay_last(colours: int):
    data = np.arange(2 * 5 * 6 * colours, dtype=np.uint8).reshape(2, 5, 6, colours)
    image = Image(data, rgb=True)
    assert (image.ndim, image.shape) == (3, (2, 5, 6))
    np.testing.assert_array_equal(image.plane(PlaneIndex((1,), (1, 2))).pixels, data[1])
    np.testing.assert_array_equal(image.plane(PlaneIndex((1,), (2, 1))).pixels, data[1].swapaxes(0, 1))
    np.testing.assert_array_equal(image.plane(PlaneIndex((4,), (0, 2))).pixels, data[:, 4])
    assert image.limits() == (0, 255)


def test_limits_of_the_whole_image():
    data = np.zeros((3, 4, 5), np.int32)
    data[0, 1, 1], data[2, 3, 4] = -7, 900
    image = Image(data)
    assert image.limits() == (-7, 900)
    assert image.plane(PlaneIndex((1,), (1, 2)), image.limits()).limits == (-7, 900)
    assert image.plane(PlaneIndex((2,), (1, 2))).limits == (0, 900)


class Lazy:
    """An array that is read in parts."""

    def __init__(self, data: np.ndarray) -> None:
        self._data, self.shape, self.ndim, self.dtype = data, data.shape, data.ndim, data.dtype
        self.read: list[object] = []

    def __getitem__(self, index: object) -> np.ndarray:
        self.read.append(index)
        return self._data[index]


def test_only_the_plane_asked_for_is_read():
    lazy = Lazy(VOLUME)
    image = Image(lazy)
    assert image.limits() is None
    assert lazy.read == []
    np.testing.assert_array_equal(image.plane(PlaneIndex((2,), (1, 2))).pixels, VOLUME[2])
    assert lazy.read == [(2, slice(None), slice(None))]


def test_lists_are_images_too():
    assert Image([[1, 2], [3, 4]]).shape == (2, 2)


@pytest.mark.parametrize("position", [-1, 4, 99])
def test_planes_outside_the_image(position: int):
    with pytest.raises(InputError, match=r"there is no plane"):
        Image(VOLUME).plane(PlaneIndex((position,), (1, 2)))


@pytest.mark.parametrize(
    ("shape", "rgb"), [((5,), False), ((), False), ((5, 5), True), ((5, 5, 2), True), ((5, 3), True)]
)
def test_arrays_that_are_no_image(shape: tuple[int, ...], rgb: bool):
    with pytest.raises(InputError, match="shape"):
        Image(np.zeros(shape), rgb=rgb)


def coloured(planes: int = 3, channels: int = 4) -> np.ndarray:
    """Return Z, C, Y, X; every channel with values of its own."""
    return np.arange(planes * channels * 5 * 6, dtype=np.uint16).reshape(planes, channels, 5, 6)


def test_one_channel_keeps_its_axis_and_is_all_that_is_read():
    lazy = Lazy(coloured())
    image = Image(Channel(lazy, 1, 2))
    assert image.shape == (3, 1, 5, 6)
    np.testing.assert_array_equal(image.plane(PlaneIndex((1, 0), (2, 3)), (0, 1)).pixels, coloured()[1, 2])
    assert lazy.read == [(1, 2, slice(None), slice(None))]
    side = image.plane(PlaneIndex((0, 4), (3, 0)), (0, 1)).pixels  # of X and Z
    np.testing.assert_array_equal(side, coloured()[:, 2, 4].T)


def test_channels_are_colours_each_between_its_own_limits():
    data = coloured()
    parts = [Channel(data, 1, channel) for channel in (3, 0)]
    image = Image(Composite(parts))
    assert image.shape == (3, 1, 5, 6)
    plane = image.plane(PlaneIndex((2, 0), (2, 3)), (0, 1000, 0, 500))
    shown = plane.read(Crop.whole((5, 6)), (5, 6))
    np.testing.assert_allclose(shown[0], data[2, 3] / 1000, atol=1e-6)
    np.testing.assert_allclose(shown[1], data[2, 0] / 500, atol=1e-6)
    assert not shown[2].any()


def test_channels_without_limits_are_stretched_one_by_one():
    parts = [np.full((4, 4), 7, np.uint16), np.full((4, 4), 7000, np.uint16), np.full((4, 4), 3, np.uint8)]
    for at, part in enumerate(parts):
        part[at, at] *= 2
    shown = Image(Composite(parts)).plane(PlaneIndex((), (0, 1))).read(Crop.whole((4, 4)), (4, 4))
    for at in range(2):
        assert shown[at][at, at] == 1
        assert np.count_nonzero(shown[at]) == 1


@pytest.mark.parametrize("shapes", [[(4, 4)], [(4, 4)] * 4, [(4, 4), (4, 5)]])
def test_channels_that_are_no_image(shapes):
    with pytest.raises(InputError, match="channels"):
        Composite([np.zeros(shape) for shape in shapes])


def test_which_channels_an_image_is_made_of_is_known_and_made_again():
    data = coloured()
    for channels in (Channels(1, (2,)), Channels(1, (3, 0)), Channels(0, (2, 1, 0))):
        image = Image(channels.of(data))
        assert channels_of(image) == channels
        assert image.same(Image(channels.of(data)))
        assert not image.same(Image(data))
        assert not image.same(Image(channels.of(data.copy())))
    assert not Image(Channels(1, (2,)).of(data)).same(Image(Channels(1, (1,)).of(data)))
    assert channels_of(Image(Composite([data, data]))) == Channels(None, (0, 1))
    assert channels_of(Image(data)) is None
    for axis, shown in ((None, (0, 1)), (4, (0,)), (1, (4,))):
        with pytest.raises(InputError, match="no channels"):
            Channels(axis, shown).of(data)
