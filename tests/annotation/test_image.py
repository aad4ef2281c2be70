from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from napari_fbrs import Click, Predictor, Session, load_model
from napari_fbrs.annotation import image as image_module
from napari_fbrs.annotation.image import Channel, Channels, Composite, Image, PlaneIndex, channels_of
from napari_fbrs.annotation.labels import SparseLabels
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


class Pixels:
    """A level of a pyramid of four planes of which all pixels can be computed: a bright disc on a dark ground."""

    def __init__(self, side: int, factor: int, *, colours: int = 0) -> None:
        self.shape: tuple[int, ...] = (4, side // factor, side // factor) + (colours,) * bool(colours)
        self.ndim, self.dtype, self.factor, self.colours = len(self.shape), np.dtype(np.uint8), factor, colours
        self.read: list[tuple[int, ...]] = []

    def __getitem__(self, index: tuple[int | slice, ...]) -> np.ndarray:
        plane, rows, columns = (
            np.arange(n)[at] if isinstance(at, slice) else at for at, n in zip(index, self.shape, strict=False)
        )
        assert isinstance(plane, int)
        middle = (np.add.outer(rows, 0) + 0.5) * self.factor, (np.asarray(columns) + 0.5) * self.factor
        disc = np.hypot(middle[0][:, None] - CENTRE[0], middle[1][None] - CENTRE[1]) <= RADIUS
        part = np.where(disc, 60 + 40 * plane, 10).astype(np.uint8)
        self.read.append(part.shape)
        return np.stack([part] * self.colours, axis=-1) if self.colours else part


SIDE, CENTRE, RADIUS = 16384, (10011, 9007), 70


@pytest.mark.parametrize("colours", [0, 3])
def test_of_a_large_pyramid_only_what_is_looked_at_is_read(colours):
    levels = [Pixels(SIDE, factor, colours=colours) for factor in (1, 2, 4, 8, 16, 32)]
    image = Image(levels[0], rgb=bool(colours), coarser=levels[1:])
    session = Session(image, Predictor(load_model(device="cpu")), labels=SparseLabels(image.shape))
    session.warm_up(session.place((2,)).plane, None if colours else (0, 255))
    session.add(session.place((2,)), [Click(*CENTRE)], None if colours else (0, 255))
    session.update(session.place((2,)))
    mask = session.labels.read((2, slice(9900, 10120), slice(8900, 9120))) == 1
    truth = np.hypot(*(np.ogrid[9900:10120, 8900:9120][i] - CENTRE[i] for i in (0, 1))) <= RADIUS
    assert (mask & truth).sum() / (mask | truth).sum() > 0.8
    assert sum(np.prod(shape) for level in levels for shape in level.read) < 5_000_000
    session.add(session.place((2,)), [Click(CENTRE[0] + 30, CENTRE[1])], None if colours else (0, 255))
    session.update(session.place((2,)))
    assert session.labels.read((2, *CENTRE)) == 1


@pytest.mark.parametrize("axes", [(1, 2), (2, 1), (0, 2), (2, 0)])
def test_planes_of_a_pyramid_lie_where_those_of_its_finest_level_do(monkeypatch, axes):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (6, 20, 30)).astype(np.uint8)
    fine = coarse.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    index = PlaneIndex((7,), axes)
    whole = Image(fine).plane(index, (0, 255))
    monkeypatch.setattr(image_module, "LARGE", 100)
    parts = Image(fine, coarser=[coarse]).plane(index, (0, 255))
    assert parts.shape == whole.shape
    crop = Crop(2, 9, 3, 10)
    np.testing.assert_array_equal(parts.read(crop, (20, 20)), whole.read(crop, (20, 20)))
    half = (whole.shape[0] // 2, whole.shape[1] // 2)
    expected = np.asarray(whole.pixels)[::2, ::2] / 255
    inner = np.s_[1:-1, 1:-1]
    read = parts.read(Crop.whole(whole.shape), half)[0]
    at = np.linspace(0, whole.shape[0] - 1, half[0]) / 2 - 0.25, np.linspace(0, whole.shape[1] - 1, half[1]) / 2 - 0.25
    np.testing.assert_allclose(
        read[inner], ndimage.map_coordinates(expected, np.meshgrid(*at, indexing="ij"), order=1)[inner], atol=1e-5
    )


def test_channels_of_a_pyramid(monkeypatch):
    monkeypatch.setattr(image_module, "LARGE", 100)
    fine = np.random.default_rng(0).integers(0, 255, (3, 40, 40)).astype(np.uint8)
    image = Image(fine, coarser=[fine[:, ::2, ::2]])
    for channels in (Channels(0, (2,)), Channels(0, (2, 0))):
        chosen = image.of_channels(channels)
        assert [level.shape for level in chosen.coarser] == [(1, 20, 20)]
        plane = chosen.plane(PlaneIndex((0,)).resolved(3))
        whole = Image(channels.of(fine)).plane(PlaneIndex((0,)).resolved(3))
        assert (plane.shape, len(plane.coarser)) == ((40, 40), 1)
        np.testing.assert_allclose(plane.limits, whole.limits, atol=10)  # of the coarsest level
        assert plane.read(Crop.whole((40, 40)), (20, 20)).shape == (3, 20, 20)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((3, 41, 20), "u1"), ((40, 40), "u1"), ((3, 0, 20), "u1"), ((3, 20, 20), "u2")]
)
def test_levels_that_are_none_are_left_out(shape, dtype):
    fitting = [np.zeros((3, n, n), np.uint8) for n in (10, 20)]
    image = Image(np.zeros((3, 40, 40), np.uint8), coarser=[fitting[0], np.zeros(shape, dtype), fitting[1]])
    assert [level.shape for level in image.coarser] == [(3, 20, 20), (3, 10, 10)]  # and the order is by their size
    chosen = Image(np.zeros((3, 40, 40), np.uint8), coarser=[*fitting, np.zeros((2, 5, 5), np.uint8)])
    assert len(chosen.of_channels(Channels(0, (2,))).coarser) == 2  # channel 2 is in none of two


@pytest.mark.parametrize("extent", [3, 4, 5, 6, 7, 9, 13, 31])
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("last", [True, False])
def test_the_position_on_a_coarser_level(monkeypatch, extent, factor, last):
    """Whether there is a position for what is left over at the end or not."""
    monkeypatch.setattr(image_module, "LARGE", 100)
    count = max(1, -(-extent // factor) if last else extent // factor)
    fine = np.arange(extent, dtype=np.uint8)[:, None, None] * np.ones((1, 120, 120), np.uint8)
    coarse = fine[::factor][:count, ::factor, ::factor]
    for at in range(extent):
        plane = Image(fine, coarser=[coarse]).plane(PlaneIndex((at,)).resolved(3), (0, 255))
        shown = round(float(plane.read(Crop.whole((120, 120)), (30, 30)).mean()) * 255)
        assert shown == min(at // factor, count - 1) * factor


def test_an_axis_that_is_as_long_on_a_coarser_level(monkeypatch):
    monkeypatch.setattr(image_module, "LARGE", 100)
    fine = np.arange(7, dtype=np.uint8)[:, None, None] * np.ones((1, 40, 40), np.uint8)
    plane = Image(fine, coarser=[fine[:, ::2, ::2]]).plane(PlaneIndex((5,)).resolved(3), (0, 255))
    assert round(float(plane.read(Crop.whole((40, 40)), (10, 10)).mean()) * 255) == 5


def test_limits_of_a_large_plane(monkeypatch):
    monkeypatch.setattr(image_module, "LARGE", 100)
    monkeypatch.setattr(image_module, "_ENOUGH", 300)
    fine = np.random.default_rng(0).integers(0, 4000, (40, 40)).astype(np.uint16)
    coarser = [fine[::2, ::2], fine[::4, ::4] // 2]
    assert Image(fine, coarser=coarser).plane(PlaneIndex().resolved(2)).limits == (coarser[0].min(), coarser[0].max())
    monkeypatch.setattr(image_module, "_ENOUGH", 10_000)  # more than any but the finest has
    assert Image(fine, coarser=coarser).plane(PlaneIndex().resolved(2)).limits == (coarser[0].min(), coarser[0].max())
    eight = (fine // 16).astype(np.uint8)
    assert Image(eight, coarser=[eight[::2, ::2]]).plane(PlaneIndex().resolved(2)).limits == (0, 255)
    with pytest.raises(InputError, match="finite and in order"):
        Image(eight, coarser=[eight[::2, ::2]]).plane(PlaneIndex().resolved(2), (3, np.nan))


def test_a_plane_in_one_chunk_is_read_once(monkeypatch):
    monkeypatch.setattr(image_module, "LARGE", 100)
    fine = np.zeros((3, 40, 40), np.uint8)
    for chunks, parts in (((1, 40, 40), False), ((1, 20, 40), True), (((1, 1, 1), (40,), (40,)), False)):
        lazy = Lazy(fine)
        lazy.chunks = chunks
        plane = Image(lazy, coarser=[fine[:, ::2, ::2]]).plane(PlaneIndex((0,)).resolved(3))
        assert bool(plane.coarser) is parts
        np.testing.assert_array_equal(np.asarray(plane.pixels), fine[0])
        assert len(lazy.read) == 1


def test_a_level_that_cannot_be_read_says_so(monkeypatch):
    class Gone(Lazy):
        def __getitem__(self, index: object) -> np.ndarray:
            raise OSError("share is gone")

    monkeypatch.setattr(image_module, "LARGE", 100)
    fine = np.zeros((40, 40), np.uint8)
    plane = Image(fine, coarser=[Gone(fine[::2, ::2])]).plane(PlaneIndex().resolved(2), (0, 255))
    with pytest.raises(InputError, match=r"could not be read .*share is gone"):
        plane.read(Crop.whole((40, 40)), (10, 10))
