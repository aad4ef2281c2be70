from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.clicks import Click
from napari_fbrs.inference.first_look import Expected, candidate_crops, choose_look
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.zoom import Zoom

ZOOM = Zoom(min_crop_size=64)


def test_squares_double_until_the_plane_is_all_that_is_left():
    crops = candidate_crops((1000, 1000), [Click(500, 400)], ZOOM)
    assert [crop.shape for crop in crops] == [(64, 64), (128, 128), (256, 256), (512, 512), (1000, 1000)]
    assert crops[0] == Crop(468, 531, 368, 431)
    assert crops[-1] == Crop.whole((1000, 1000))


def test_squares_at_the_border_are_moved_inside():
    crops = candidate_crops((200, 300), [Click(0, 299)], ZOOM)
    assert crops == [
        Crop(0, 63, 236, 299),
        Crop(0, 127, 172, 299),
        Crop(0, 199, 44, 299),  # as high as the plane
        Crop.whole((200, 300)),
    ]


def test_a_small_plane_is_looked_at_whole():
    assert candidate_crops((64, 64), [Click(5, 5)], ZOOM) == [Crop.whole((64, 64))]
    assert candidate_crops((16, 16), [Click(5, 5)], ZOOM) == [Crop.whole((16, 16))]


def test_negative_clicks_are_nothing_to_look_around():
    assert candidate_crops((900, 900), [Click(5, 5, positive=False)], ZOOM) == [Crop.whole((900, 900))]


def test_the_smallest_square_holds_all_positive_clicks():
    # 101 rows between them: 1.4 * 101 = 141.4.
    crops = candidate_crops((1000, 1000), [Click(400, 500), Click(500, 520), Click(9, 9, positive=False)], ZOOM)
    assert crops[0].shape == (141, 141)
    assert crops[0].contains(Crop(400, 500, 500, 520))


@given(st.integers(1, 500), st.integers(1, 500), st.data())
def test_any_plane_and_clicks(rows: int, columns: int, data: st.DataObject):
    pixels = st.builds(Click, st.integers(0, rows - 1), st.integers(0, columns - 1))
    clicks = data.draw(st.lists(pixels, min_size=1, max_size=3))
    crops = candidate_crops((rows, columns), clicks, ZOOM)
    whole = Crop.whole((rows, columns))
    assert crops[-1] == whole
    for crop in crops:
        assert whole.contains(crop)
        assert all(crop.contains(Crop(*c.pixel[:1] * 2, *c.pixel[1:] * 2)) for c in clicks)
    for crop, larger in pairwise(crops[:-1]):
        assert larger.shape == (min(2 * max(crop.shape), rows), min(2 * max(crop.shape), columns))


def look(crop: Crop, radius: float, sure: float = 1.0) -> npt.NDArray[np.float32]:
    """Return a probability map of 32 x 32 in which a disc at (128, 128) is seen."""
    rows = crop.row_min + (np.arange(32) + 0.5) / 32 * crop.shape[0]
    columns = crop.column_min + (np.arange(32) + 0.5) / 32 * crop.shape[1]
    inside = np.hypot(rows[:, None] - 128, columns[None] - 128) < radius
    return np.where(inside, 0.55 * (1 - sure) + 0.95 * sure, 0.05).astype(np.float32)


CROPS = candidate_crops((256, 256), [Click(128, 128)], Zoom(min_crop_size=32))


def test_looks_that_agree_are_preferred():
    assert [crop.shape[0] for crop in CROPS] == [32, 64, 128, 256]
    # The two smallest see something else each; the two largest see the same disc.
    looks = [look(crop, radius) for crop, radius in zip(CROPS, (4, 12, 40, 40), strict=True)]
    assert choose_look(CROPS, looks) == 3
    # The smallest of those that agree equally, since it sees most.
    assert choose_look(CROPS, [look(crop, 14) for crop in CROPS]) == 0


def test_a_look_that_is_sure_of_itself_is_preferred():
    radii = (14, 14, 14, 14)
    for best in range(4):
        looks = [
            look(crop, radius, sure=float(index == best))
            for index, (crop, radius) in enumerate(zip(CROPS, radii, strict=True))
        ]
        assert choose_look(CROPS, looks) == best


def test_nothing_seen_anywhere():
    looks = [np.zeros((8, 8), np.float32) for _ in CROPS]
    assert choose_look(CROPS, looks) in range(len(CROPS))


def test_an_empty_look_loses_against_one_that_sees_something():
    looks = [np.zeros((32, 32), np.float32), *(look(crop, 30) for crop in CROPS[1:])]
    assert choose_look(CROPS, looks) != 0


def test_a_single_look_is_the_best():
    assert choose_look(CROPS[-1:], [look(CROPS[-1], 20)]) == 0


def test_a_certain_size_is_looked_at_alone():
    certain = Expected(100, certain=True)
    assert candidate_crops((1000, 1000), [Click(500, 500)], ZOOM, certain) == [Crop(430, 569, 430, 569)]
    # What holds the clicks, the smallest crop and the plane are the bounds.
    both = [Click(300, 500), Click(500, 500)]
    assert candidate_crops((1000, 1000), both, ZOOM, certain)[0].shape == (281, 281)
    assert candidate_crops((1000, 1000), both[:1], ZOOM, Expected(2, certain=True))[0].shape == (64, 64)
    assert candidate_crops((1000, 1000), both, ZOOM, Expected(5000, certain=True)) == [Crop.whole((1000, 1000))]


def test_an_expected_size_leaves_the_candidates():
    clicks = [Click(500, 500)]
    assert candidate_crops((999, 999), clicks, ZOOM, Expected(80)) == candidate_crops((999, 999), clicks, ZOOM)


def test_an_expected_size_has_a_say():
    # Two pairs of looks agree with each other, on a small disc and on a large one.
    looks = [look(crop, radius) for crop, radius in zip(CROPS, (10, 10, 60, 60), strict=True)]
    assert choose_look(CROPS, looks, Expected(20)) in (0, 1)
    assert choose_look(CROPS, looks, Expected(120)) in (2, 3)
    # It does not make a mask of nothing, nor outweigh what is plain to see: that all but one agree.
    nothing = [np.zeros((32, 32), np.float32)] * 3
    assert choose_look(CROPS, [*nothing, look(CROPS[3], 40)], Expected(8)) == 3
    looks = [look(crop, radius) for crop, radius in zip(CROPS, (4, 40, 40, 40), strict=True)]
    assert choose_look(CROPS, looks, Expected(8)) != 0


def test_sizes_are_those_on_the_plane():
    # In pixels of the looks it is the other way round: 20 of them here, 10 there.
    crops, looks = (CROPS[0], CROPS[3]), [look(CROPS[0], 10), look(CROPS[3], 40)]
    assert [choose_look(crops, looks, Expected(extent)) for extent in (20, 80)] == [0, 1]
    assert choose_look(crops, looks, Expected(10)) == 0
