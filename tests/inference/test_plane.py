from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.errors import InputError
from napari_fbrs.inference import plane as plane_module
from napari_fbrs.inference.plane import Crop, Plane, default_limits, make_plane


def read(
    image: npt.ArrayLike, size: tuple[int, int] | None = None, limits: tuple[float, float] | None = None
) -> npt.NDArray[np.float32]:
    plane = make_plane(image, limits)
    return plane.read(Crop.whole(plane.shape), size or plane.shape)


def test_a_crop_counts_its_last_row_and_column():
    crop = Crop(2, 4, 10, 19)
    assert crop.shape == (3, 10)
    assert np.arange(400).reshape(20, 20)[crop.slices][-1, -1] == 4 * 20 + 19
    assert Crop.whole((5, 7)) == Crop(0, 4, 0, 6)


def test_grey_is_repeated_in_three_colours():
    image = np.array([[0, 51], [102, 255]], np.uint8)
    result = read(image)
    assert result.dtype == np.float32
    assert result.shape == (3, 2, 2)
    for channel in result:
        np.testing.assert_allclose(channel, image / 255, rtol=1e-6)


RAMP = np.array([[0, 1, 2], [3, 4, 8]])


@pytest.mark.parametrize(
    "dtype",
    [
        "int8",
        "uint16",
        "int16",
        "int32",
        "uint32",
        "int64",
        "uint64",
        "float16",
        "float32",
        "float64",
        ">u2",
        ">f4",
        "<i4",
    ],
)
def test_any_number_is_shown_from_its_smallest_to_its_largest(dtype: str):
    image = RAMP.astype(dtype)
    assert default_limits(image, rgb=False) == (0, 8)
    np.testing.assert_allclose(read(image)[0], RAMP / 8, rtol=1e-6)


def test_negative_numbers_too():
    np.testing.assert_allclose(read(RAMP.astype(np.int32) - 100)[1], RAMP / 8, rtol=1e-6)


def test_uint8_and_bool_are_shown_over_their_whole_range():
    assert default_limits(RAMP.astype(np.uint8), rgb=False) == (0, 255)
    assert default_limits(RAMP > 2, rgb=False) == (0, 1)
    assert read(RAMP > 2)[2].tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(("dtype", "full"), [("uint8", 255), ("uint16", 65535), ("int16", 32767), ("float32", 1)])
def test_colours_are_shown_over_the_range_of_their_dtype(dtype: str, full: float):
    image = (np.array([0.0, 0.4, 1.0]) * full).astype(dtype).reshape(1, 1, 3)
    assert default_limits(image, rgb=True) == (0, full)
    np.testing.assert_allclose(read(image)[:, 0, 0], [0, 0.4, 1], atol=1e-4)


def test_transparency_shows_black():
    image = np.array([[[255, 100, 0, 51]]], np.uint8)
    np.testing.assert_allclose(read(image)[:, 0, 0], [0.2, 0.2 * 100 / 255, 0], rtol=1e-6)
    np.testing.assert_allclose(read(np.array([[[1.0, 0.5, 0.25, 0.5]]]))[:, 0, 0], [0.5, 0.25, 0.125])


@pytest.mark.parametrize(("alpha", "shown"), [(np.nan, 0), (-1, 0), (7, 1), (np.inf, 1)])
def test_transparency_that_makes_no_sense(alpha: float, shown: float):
    assert read(np.array([[[1.0, 0.5, 0.25, alpha]]]))[:, 0, 0].tolist() == [shown, 0.5 * shown, 0.25 * shown]


def test_nan_is_black_and_infinities_are_the_ends():
    image = np.array([[np.nan, 2.0, 4.0], [np.inf, -np.inf, 6.0]], np.float32)
    assert default_limits(image, rgb=False) == (2, 6)
    np.testing.assert_allclose(read(image)[0], [[0, 0, 0.5], [1, 0, 1]])
    assert default_limits(np.full((2, 2), np.nan), rgb=False) == (0, 1)
    assert not read(np.full((2, 2), np.nan)).any()


def test_what_lies_outside_the_limits_is_clipped():
    image = np.array([[-50, 10, 15, 20, 900]], np.int16)
    np.testing.assert_allclose(read(image, limits=(10, 20))[0], [[0, 0, 0.5, 1, 1]])


def test_limits_of_colours():
    image = np.array([[[0, 100, 200]]], np.uint8)
    np.testing.assert_allclose(read(image, limits=(50, 150))[:, 0, 0], [0, 0.5, 1])


@pytest.mark.parametrize("value", [0, 7, 65535])
def test_a_constant_image_is_black(value: int):
    assert not read(np.full((4, 5), value, np.uint16)).any()


def test_large_numbers_keep_their_differences():
    image = np.array([[2**40, 2**40 + 1, 2**40 + 2]])
    np.testing.assert_allclose(read(image)[0], [[0, 0.5, 1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_widest_range_there_is(dtype: type[np.floating[Any]]):
    largest = np.finfo(dtype).max
    np.testing.assert_allclose(read(np.array([[-largest, 0, largest]], dtype))[0], [[0, 0.5, 1]], atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (3, 5000), (5000, 3), (1, 300)])
def test_any_shape_is_brought_to_any_size(shape: tuple[int, int]):
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    for size in ((1, 1), (224, 224), (1, 224), (7, 3)):
        result = read(image, size)
        assert result.shape == (3, *size)
        assert result.min() >= 0
        assert result.max() <= 1


def test_enlarging_is_bilinear_with_corners_on_corners():
    image = np.array([[0, 100], [200, 100]], np.uint8)
    np.testing.assert_allclose(
        read(image, (3, 3))[0] * 255, [[0, 50, 100], [100, 100, 100], [200, 150, 100]], atol=1e-4
    )


def test_shrinking_a_little_is_bilinear_too():
    image = np.array([[0, 30, 60, 90]], np.uint8)
    np.testing.assert_allclose(read(image, (1, 3))[0] * 255, [[0, 45, 90]], atol=1e-4)


@pytest.mark.parametrize("factor", [2, 3, 8])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_shrinking_a_lot_is_the_mean_of_areas(factor: int, channels: tuple[int, ...]):
    image = np.random.default_rng(1).integers(0, 255, (5 * factor, 7 * factor, *channels), dtype=np.uint8)
    means = image.reshape(5, factor, 7, factor, *channels).mean(axis=(1, 3)) / 255
    expected = np.moveaxis(np.broadcast_to(means[..., None], (5, 7, 3)) if not channels else means, 2, 0)
    np.testing.assert_allclose(read(image, (5, 7)), expected, rtol=1e-5)


def test_the_mean_is_of_what_is_shown():
    image = np.array([[0, 1000], [0, 0]], np.uint16)
    assert read(image, (1, 1), limits=(0, 100))[0, 0, 0] == 0.25  # not 1: clipped first


def test_areas_that_are_not_all_of_one_size():
    image = np.array([[0, 10, 20, 30, 40]], np.uint8)  # cells of 2 and 3 pixels
    np.testing.assert_allclose(read(image, (1, 2))[0] * 255, [[5, 30]], rtol=1e-6)


def test_one_axis_may_shrink_while_the_other_grows():
    image = np.array([[0, 20, 0, 20], [100, 120, 100, 120]], np.uint8)
    np.testing.assert_allclose(read(image, (3, 2))[0] * 255, [[10, 10], [60, 60], [110, 110]], rtol=1e-6)


def test_strips_make_no_difference(monkeypatch: pytest.MonkeyPatch):
    image = np.random.default_rng(2).integers(0, 4000, (97, 61), dtype=np.uint16)
    whole = read(image, (24, 15))
    limits = default_limits(image, rgb=False)
    for pixels in (1, 300, 2000):
        monkeypatch.setattr(plane_module, "_STRIP_PIXELS", pixels)
        np.testing.assert_array_equal(read(image, (24, 15)), whole)
        assert default_limits(image, rgb=False) == limits


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(1, 20))
def test_a_mean_lies_between_the_extremes(rows: int, columns: int, to_rows: int, to_columns: int):
    image = np.random.default_rng(rows * columns).integers(60, 190, (rows, columns), dtype=np.uint8)
    result = read(image, (to_rows, to_columns)) * 255
    assert result.shape == (3, to_rows, to_columns)
    assert image.min() - 1e-3 <= result.min()
    assert result.max() <= image.max() + 1e-3


class Level:
    """A level of a pyramid that cannot be taken as a whole, and notes what is read of it."""

    def __init__(self, pixels: npt.NDArray[Any]) -> None:
        self._pixels, self.shape, self.ndim, self.dtype = pixels, pixels.shape, pixels.ndim, pixels.dtype
        self.read: list[tuple[int, ...]] = []

    def __getitem__(self, within: tuple[slice, slice]) -> npt.NDArray[Any]:
        part = self._pixels[within]
        self.read.append(part.shape)
        return part


def pyramid(pixels: npt.NDArray[Any], *factors: int) -> tuple[Plane, list[Level]]:
    """Return a plane whose levels are means of squares, and the levels."""
    levels = [Level(pixels)]
    for n in factors:
        rows, columns = (extent // n for extent in pixels.shape[:2])
        squares = pixels[: rows * n, : columns * n].reshape(rows, n, columns, n, *pixels.shape[2:])
        levels.append(Level(squares.mean(axis=(1, 3)).astype(pixels.dtype)))
    return Plane(levels[0], (0.0, 1.0), tuple(levels[1:])), levels


def ramp(rows: int, columns: int) -> npt.NDArray[np.float32]:
    return np.add.outer(np.linspace(0.1, 0.4, rows), np.linspace(0, 0.5, columns)).astype(np.float32)


@given(st.data())
def test_every_level_of_a_pyramid_shows_the_same(data: st.DataObject):
    image = ramp(192, 256)
    plane, _ = pyramid(image, 2, 4, 16)
    row, column = data.draw(st.integers(20, 80)), data.draw(st.integers(20, 120))
    crop = Crop(row, row + data.draw(st.integers(0, 80)), column, column + data.draw(st.integers(0, 100)))
    size = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    # Corners on corners at every level: a ramp is the same ramp wherever it is averaged, up to half a mean's width.
    places = [np.linspace(0, n - 1, wanted) for n, wanted in zip(crop.shape, size, strict=True)]
    exact = image[crop.slices][np.round(places[0]).astype(int)][:, np.round(places[1]).astype(int)]
    steps = [n / wanted for n, wanted in zip(crop.shape, size, strict=True)]
    tolerance = 0.3 / 191 * max(1.0, steps[0]) + 0.5 / 255 * max(1.0, steps[1])
    np.testing.assert_allclose(plane.read(crop, size)[0], exact, atol=tolerance)


def test_a_ramp_read_from_a_coarser_level_is_not_shifted():
    image = ramp(192, 256)
    plane, levels = pyramid(image, 2, 4)
    crop = Crop(40, 139, 61, 160)
    read = plane.read(crop, (20, 20))
    assert [len(level.read) for level in levels] == [0, 0, 1]
    assert np.prod(levels[2].read[0]) <= 27 * 27
    np.testing.assert_allclose(
        read[1], image[crop.slices][np.ix_(*[np.linspace(0, 99, 20).round().astype(int)] * 2)], atol=2e-3
    )


def test_the_coarsest_level_that_has_enough_pixels_is_read():
    plane, levels = pyramid(np.random.default_rng(0).random((512, 512, 3)).astype(np.float32), 2, 8)
    whole = Crop.whole(plane.shape)
    for size, expected in (
        ((400, 400), 0),
        ((256, 256), 1),
        ((65, 65), 1),
        ((64, 64), 2),
        ((10, 10), 2),
        ((600, 64), 0),
    ):
        for level in levels:
            level.read.clear()
        read = plane.read(whole, size)
        assert [len(level.read) for level in levels] == [int(number == expected) for number in range(3)]
        assert read.shape == (3, *size)
        assert read.dtype == np.float32
        assert read.flags.c_contiguous


def test_what_a_pyramid_shows_is_averaged_where_its_levels_are_far_apart():
    stripes = np.zeros((1024, 1024), np.float32)
    stripes[::2] = 1
    plane = Plane(Level(np.repeat(np.repeat(stripes, 2, 0), 2, 1)), (0.0, 1.0), (Level(stripes),))
    np.testing.assert_allclose(plane.read(Crop.whole(plane.shape), (64, 64)), 0.5, atol=1e-6)


def test_a_crop_is_read_on_its_own():
    image = np.arange(100, dtype=np.uint8).reshape(10, 10)
    plane = make_plane(image)
    np.testing.assert_allclose(plane.read(Crop(2, 3, 5, 7), (2, 3))[0] * 255, image[2:4, 5:8], rtol=1e-6)


def test_the_image_is_neither_copied_nor_changed():
    image = np.random.default_rng(3).random((30, 40))
    image[0, 0] = np.nan
    image.setflags(write=False)
    plane = make_plane(image[::-1, ::2])
    assert np.shares_memory(plane.pixels, image)
    first = plane.read(Crop.whole(plane.shape), (10, 7))
    np.testing.assert_array_equal(first, plane.read(Crop.whole(plane.shape), (10, 7)))


def test_planes_are_told_apart_by_what_they_are_not_by_what_they_hold():
    image = np.zeros((4, 4))
    assert make_plane(image).token != make_plane(image).token


def test_memory_is_bounded_on_a_large_plane():
    image = np.zeros((8192, 8192), np.uint8)
    image[::64] = 255
    tracemalloc.start()
    try:
        result = read(image, (224, 224))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 * 2**20  # in float32 the whole plane would take 256 MiB
    np.testing.assert_allclose(result.mean(), 1 / 64, rtol=0.01)


@pytest.mark.parametrize("shape", [(), (5,), (4, 4, 2), (4, 4, 5), (2, 4, 4, 3), (0, 5), (5, 0), (0, 4, 3)])
def test_shapes_that_are_no_plane(shape: tuple[int, ...]):
    with pytest.raises(InputError, match="shape"):
        make_plane(np.zeros(shape))


@pytest.mark.parametrize("dtype", ["complex64", "object", "U3", "datetime64[s]"])
def test_dtypes_that_are_no_intensity(dtype: str):
    with pytest.raises(InputError, match="must hold numbers"):
        make_plane(np.zeros((4, 4), dtype))


@pytest.mark.parametrize("limits", [(1, 0), (np.nan, 1), (0, np.nan), (-np.inf, 0), (0, np.inf)])
def test_limits_that_make_no_sense(limits: tuple[float, float]):
    with pytest.raises(InputError, match="contrast limits must be finite and in order"):
        make_plane(np.zeros((4, 4)), limits)


@pytest.mark.parametrize(
    ("limits", "shape"), [((), (4, 4)), ((0,), (4, 4)), ((0, 1, 2), (4, 4)), ((0,) * 5, (4, 4, 2))]
)
def test_limits_that_are_no_pairs(limits: tuple[float, ...], shape: tuple[int, ...]):
    with pytest.raises(InputError, match=f"contrast limits are pairs of black and white, got {len(limits)} numbers"):
        make_plane(np.zeros(shape), limits)
