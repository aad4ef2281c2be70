from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from fakes import DiscPredictor
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_fbrs.clicks import Click
from napari_fbrs.evaluation.simulation import Person, iou, next_click, number_of_clicks, replay, simulate
from napari_fbrs.evaluation.subjects import Predicting
from napari_fbrs.inference.plane import make_plane


def drawn(*rows: str) -> npt.NDArray[np.int_]:
    """Return a truth: # is object, . is not, ? does not count."""
    return np.array([[{"#": 1, ".": 0, "?": -1}[character] for character in row] for row in rows])


NOTHING = np.zeros((5, 7), bool)


def test_reference_clicks(parity_tables):
    for row in parity_tables["next_click"]:
        truth, mask, clicked = np.array(row["gt"]), np.array(row["pred"]).astype(bool), []
        assert iou(truth, mask) == pytest.approx(row["iou"], rel=1e-12)
        for positive, r, c in row["next_clicks"]:
            click = next_click(truth, mask, clicked)
            assert click == Click(r, c, positive)
            clicked.append(click)


def test_reference_numbers_of_clicks(parity_tables):
    table = parity_tables["noc"]
    for target, noc, over in zip(table["thresholds"], table["noc"], table["over_max"], strict=True):
        numbers = [number_of_clicks(ious, target, table["max_clicks"]) for ious in table["ious"]]
        assert np.mean(numbers) == pytest.approx(noc, rel=1e-12)
        assert numbers.count(table["max_clicks"]) == over


def test_the_first_click_is_deepest_in_the_object():
    truth = drawn(
        ".......",
        ".#####.",
        ".#####.",
        ".#####.",
        ".......",
    )
    assert next_click(truth, NOTHING) == Click(2, 2)  # and so deep is (2, 4): the first in reading order


def test_the_image_border_is_a_border():
    truth = drawn(
        "#####..",
        "#####..",
        "#####..",
        "#####..",
        "#####..",
    )
    assert next_click(truth, NOTHING) == Click(2, 2)


def test_the_larger_error_is_clicked():
    truth = drawn(
        "###....",
        "###....",
        "###....",
        ".......",
        ".......",
    )
    mask = drawn(
        ".......",
        ".......",
        "....###",
        "....###",
        "....###",
    ).astype(bool)
    # Equally deep errors: the negative click wins.
    assert next_click(truth, mask) == Click(3, 5, positive=False)
    smaller = mask.copy()
    smaller[4] = False
    assert next_click(truth, smaller) == Click(1, 1)


def test_of_equal_depths_the_first_in_reading_order():
    truth = drawn("#.#.#..", ".......", "#.#....", ".......", "#......")
    clicks: list[Click] = []
    for expected in ((0, 0), (0, 2), (0, 4), (2, 0), (2, 2), (4, 0)):
        click = next_click(truth, NOTHING, clicks)
        assert click == Click(*expected)
        clicks.append(click)
    assert next_click(truth, NOTHING, clicks) is None


def test_what_does_not_count_is_not_clicked():
    truth = drawn("???????", "?#####?", "?#####?", "?#####?", "???????")
    mask = np.ones((5, 7), bool)
    assert next_click(truth, mask) is None
    assert iou(truth, mask) == 1
    assert next_click(truth, NOTHING) == Click(2, 2)


def test_no_error_no_click():
    truth = drawn("##.....", "##.....", ".......", ".......", ".......")
    assert next_click(truth, truth == 1) is None


def test_iou_by_hand():
    truth = drawn("##??...", "##?....", ".......", ".......", ".......")
    mask = drawn("###....", "#..#...", ".......", ".......", ".......").astype(bool)
    assert iou(truth, mask) == 3 / 5  # the pixel at (0, 2) does not count
    assert iou(truth * 0, NOTHING) == 1
    assert iou(truth, NOTHING) == 0


@given(arrays(np.int64, (6, 8), elements=st.integers(-1, 1)), arrays(bool, (6, 8)))
def test_a_click_is_on_an_error_and_says_which(truth: npt.NDArray[np.int_], mask: npt.NDArray[np.bool_]):
    click = next_click(truth, mask)
    wrong = ((truth == 1) & ~mask) | ((truth == 0) & mask)
    if click is None:
        assert not wrong.any()
        assert iou(truth, mask) == 1
    else:
        assert wrong[click.pixel]
        assert click.positive is bool(truth[click.pixel] == 1)
        assert iou(truth, mask) < 1
        following = next_click(truth, mask, [click])
        assert following is None or following.pixel != click.pixel


def test_numbers_of_clicks():
    ious = [0.3, 0.85, 0.7, 0.9]
    assert number_of_clicks(ious, 0.8) == 2
    assert number_of_clicks(ious, 0.85) == 2
    assert number_of_clicks(ious, 0.9) == 4
    assert number_of_clicks(ious, 0.95) == 20
    assert number_of_clicks(ious, 0.9, limit=3) == 3
    assert number_of_clicks([], 0.8) == 20


def disc(radius: float) -> npt.NDArray[np.int_]:
    rows, columns = np.indices((41, 41))
    return (np.hypot(rows - 20, columns - 20) < radius).astype(int)


def test_a_simulated_user_clicks_until_it_is_good_enough():
    predictor, truth = DiscPredictor(radius=4, growth=0), disc(10)
    run = simulate(Predicting(predictor), make_plane(truth), truth, target=0.8)
    assert run.clicks[0] == Click(20, 20)
    assert len(run.clicks) == len(run.ious) == len(run.seconds) > 2
    assert run.ious[-1] >= 0.8 > max(run.ious[:-1])
    # Every click adds to the ones before, and is where the mask before was wrong.
    assert [len(call) for call in predictor.calls] == list(range(1, len(run.clicks) + 1))
    mask = np.zeros(truth.shape, bool)
    for count, click in enumerate(run.clicks):
        assert click == next_click(truth, mask, run.clicks[:count])
        mask = predictor.predict(predictor.prepare(truth), run.clicks[: count + 1]).mask(0.49)
        assert run.ious[count] == iou(truth, mask)


def test_a_simulated_user_gives_up():
    predictor, truth = DiscPredictor(radius=1, growth=0), disc(15)
    run = simulate(Predicting(predictor), make_plane(truth), truth, target=0.99, limit=5)
    assert len(run.clicks) == 5
    assert run.ious[-1] < 0.99


def test_a_simulated_user_stops_when_nothing_is_wrong():
    predictor, truth = DiscPredictor(radius=4, growth=0), np.zeros((9, 9), int)
    run = simulate(Predicting(predictor), make_plane(truth), truth)
    assert (run.clicks, run.ious, run.seconds) == ((), (), ())


def test_the_state_is_handed_on():
    # Its cones grow by every round: without the state they would not.
    predictor, truth = DiscPredictor(radius=2, growth=2), disc(12)
    run = simulate(Predicting(predictor), make_plane(truth), truth, target=2.0, limit=4)
    mask = predictor._probability(truth.shape, run.clicks, 2 + 2 * 3) > 0.49
    assert run.ious[-1] == iou(truth, mask)


def test_a_replay_gives_the_last_mask():
    predictor, truth = DiscPredictor(radius=3, growth=1), disc(12)
    run = simulate(Predicting(predictor), make_plane(truth), truth, target=2.0, limit=3)
    mask = replay(Predicting(predictor), make_plane(truth), run.clicks)
    assert run.ious[-1] == iou(truth, mask)


def test_people_click_somewhere_in_the_largest_error():
    truth = drawn(".......", ".####..", ".####..", ".####..", "......#")
    clicks = {Person(seed)(truth, NOTHING) for seed in range(40)}
    assert len(clicks) > 4
    for click in clicks:
        assert click is not None
        assert click.positive
        assert 1 <= click.row <= 3
        assert 1 <= click.column <= 4  # never the speck


def test_a_person_clicks_alike_and_another_does_not():
    truth = disc(15)
    nothing = np.zeros(truth.shape, bool)
    first, again, other = (Person(seed) for seed in ([3, 1], [3, 1], [4, 1]))
    clicks = [[person(truth, nothing) for _ in range(5)] for person in (first, again, other)]
    assert clicks[0] == clicks[1] != clicks[2]


def test_people_click_inside_rather_than_at_the_border():
    truth = disc(16)
    rng = np.random.default_rng(0)
    clicks = [Person(int(rng.integers(2**32)))(truth, np.zeros(truth.shape, bool)) for _ in range(200)]
    distances = [np.hypot(click.row - 20, click.column - 20) for click in clicks if click]
    # Evenly spread positions lie 2/3 of the radius from the centre, on average; a cone's weights make that 1/2.
    assert np.mean(distances) == pytest.approx(8, abs=0.7)


@given(
    arrays(np.int64, (6, 8), elements=st.integers(-1, 1)), arrays(bool, (6, 8)), st.integers(0, 99), st.integers(0, 4)
)
def test_people_click_on_errors_of_the_same_sign(
    truth: npt.NDArray[np.int_], mask: npt.NDArray[np.bool_], seed: int, before: int
):
    clicked: list[Click] = []
    for _ in range(before):
        clicked += [click for click in [next_click(truth, mask, clicked)] if click]
    aimed, click = next_click(truth, mask, clicked), Person(seed)(truth, mask, clicked)
    assert (aimed is None) == (click is None)
    if aimed and click:
        assert click.positive == aimed.positive
        assert truth[click.pixel] == int(click.positive)
        assert mask[click.pixel] != click.positive
        assert click.pixel not in [other.pixel for other in clicked]
