from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from fakes import BrightNetwork, NaNNetwork, model_of
from skimage import data

from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.errors import CancelledError, InputError, PredictionError
from napari_fbrs.inference.correction import state_from
from napari_fbrs.inference.first_look import Expected, candidate_crops
from napari_fbrs.inference.plane import Crop, Plane
from napari_fbrs.inference.prediction import Prediction, State
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.prior import Prior
from napari_fbrs.inference.settings import MODES, PredictorSettings
from napari_fbrs.inference.zoom import Zoom
from napari_fbrs.models.checkpoint import Model, ModelSettings
from napari_fbrs.models.precision import fast_bfloat16
from napari_fbrs.strokes import Stroke

CLICKS = [Click(30, 40), Click(12, 50, positive=False), Click(44, 30), Click(30, 70, positive=False)]


WHOLE = PredictorSettings(zoom=None)


def two_squares() -> npt.NDArray[np.uint8]:
    """Return two bright squares, rows 20 to 49, columns 20 to 49 and 60 to 89, on dark ground."""
    image = np.full((100, 120), 20, np.uint8)
    image[20:50, 20:50] = 200
    image[20:50, 60:90] = 200
    return image


def rounds_of(predictor: Predictor, image: npt.NDArray[np.uint8], clicks: list[Click] = CLICKS) -> list[Prediction]:
    return list(predictor.replay(predictor.prepare(image), ClickList.one_by_one(clicks)))


def digest(predictions: list[Prediction]) -> str:
    result = hashlib.sha256()
    for prediction in predictions:
        result.update(prediction.probability.tobytes())
        result.update(b"" if prediction.state.variables is None else prediction.state.variables.tobytes())
        result.update(repr((prediction.state.crop, prediction.state.box, prediction.evaluations)).encode())
    return result.hexdigest()


@pytest.fixture(scope="module")
def small(bundled: Model) -> Model:
    """Return the bundled model as one that looks at small images: quick, and still a real one."""
    return replace(bundled, settings=ModelSettings(96, 24))


@pytest.fixture
def network() -> BrightNetwork:
    return BrightNetwork()


@pytest.fixture
def predictor(network: BrightNetwork) -> Predictor:
    return Predictor(model_of(network))


def test_modes_have_names(bundled: Model):
    assert set(MODES) == {"NoBRS", "RGB-BRS", "DistMap-BRS", "f-BRS-A", "f-BRS-B", "f-BRS-C"}
    assert Predictor(bundled).mode == "f-BRS-B"
    with pytest.raises(InputError, match="no mode is called 'f-BRS-Z'; choose one of NoBRS, RGB-BRS"):
        Predictor(bundled, "f-BRS-Z")


def test_settings_follow_the_model(bundled: Model):
    settings = Predictor(bundled).settings
    sizes = bundled.settings
    assert settings.zoom == Zoom(sizes.target_size, sizes.min_crop_size, largest_size=sizes.largest_size)
    assert settings.input_size == bundled.settings.target_size
    assert settings.first_look
    assert (settings.network_clicks, settings.steady, settings.contained) == (8, True, True)


def test_what_a_prediction_says(predictor: Predictor):
    plane = predictor.prepare(two_squares())
    prediction = predictor.predict(plane, [Click(30, 40)], ZOOMED)
    probability = prediction.probability
    assert probability.dtype == np.float32
    assert probability.shape == prediction.shape == (100, 120)
    assert probability.min() >= 0
    assert probability.max() <= 1
    np.testing.assert_array_equal(prediction.mask(0.5), probability > 0.5)
    np.testing.assert_array_equal(prediction.mask(0.9), probability > 0.9)
    np.testing.assert_array_equal(prediction.crop_mask(), prediction.mask()[prediction.crop.slices])
    assert prediction.clicks == (Click(30, 40),)
    assert prediction.unmet == ()
    assert set(prediction.timings) == {"read", "embed", "optimise", "resize"}
    assert prediction.nbytes >= prediction.network_probability.nbytes
    assert prediction.mask()[25:45, 25:45].all()
    assert not prediction.mask()[60:].any()


def test_the_probability_is_the_callers_own(predictor: Predictor):
    whole = Predictor(predictor.model, settings=WHOLE)
    prediction = whole.predict(whole.prepare(two_squares()), [Click(30, 40)])
    before = prediction.probability
    for part in (prediction.probability, prediction.crop_probability):
        part[:] = 0.25
    np.testing.assert_array_equal(prediction.probability, before)


def test_outside_the_crop_there_is_nothing(predictor: Predictor):
    plane = predictor.prepare(two_squares())
    prediction = predictor.predict(plane, [Click(30, 40)], State(crop=Crop(15, 54, 15, 54), box=Crop(20, 49, 20, 49)))
    assert prediction.crop == prediction.state.crop == Crop(15, 54, 15, 54)
    assert prediction.mask()[22:48, 22:48].all()
    assert not prediction.probability[:, 55:].any()


def test_the_state_says_where_the_object_is(predictor: Predictor):
    first, *_ = rounds_of(predictor, two_squares())
    mask = first.mask()
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert first.state.box == Crop(rows[0], rows[-1], columns[0], columns[-1])
    assert first.state.variables is None


def test_the_same_bits_again(small: Model):
    predictor = Predictor(small)
    first = digest(rounds_of(predictor, two_squares(), CLICKS[:3]))
    assert digest(rounds_of(predictor, two_squares(), CLICKS[:3])) == first  # another plane: nothing cached helps
    assert digest(rounds_of(Predictor(small, cache_bytes=0), two_squares(), CLICKS[:3])) == first
    plane = predictor.prepare(two_squares())
    for _ in range(2):  # the second time from the cache
        assert digest(list(predictor.replay(plane, ClickList.one_by_one(CLICKS[:3])))) == first


def every_mode(model: Model) -> str:
    """Return a digest of what every mode gives for clicks and a stroke."""
    stroke = Stroke.of([(row, 3 * row) for row in range(8, 30)], positive=False)
    small = replace(model, settings=ModelSettings(96, 24))
    return "".join(digest(rounds_of(Predictor(small, mode), two_squares(), [*CLICKS[:2], stroke])) for mode in MODES)


def test_the_same_bits_in_another_process(bundled: Model):
    code = (
        "import test_predictor as t; from napari_fbrs import Predictor, load_model; import torch;"
        f"torch.set_num_threads({torch.get_num_threads()});"
        "model = load_model('default', 'cpu');"
        "print(t.digest(t.rounds_of(Predictor(model), t.two_squares())), t.every_mode(model))"
    )
    path = os.pathsep.join(filter(None, sys.path))
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert run.stdout.split() == [digest(rounds_of(Predictor(bundled), two_squares())), every_mode(bundled)]


def test_the_same_bits_in_threads(small: Model):
    predictor = Predictor(small)
    expected = digest(rounds_of(predictor, two_squares()))
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: digest(rounds_of(predictor, two_squares())), range(3)))
    assert found == [expected] * 3


def test_a_state_is_a_value(small: Model):
    predictor = Predictor(small)
    plane = predictor.prepare(two_squares())
    *_, second, third = predictor.replay(plane, ClickList.one_by_one(CLICKS[:3]))
    assert second.evaluations
    before = digest([second])
    branches = [
        predictor.predict(plane, [*CLICKS[:2], click], second.state)
        for click in (Click(44, 30), Click(80, 20, positive=False), Click(44, 30))
    ]
    assert digest([second]) == before
    assert digest([branches[0]]) == digest([branches[2]]) == digest([third])
    assert digest([branches[1]]) != digest([third])
    with pytest.raises(AttributeError):
        second.state.crop = None  # type: ignore[misc]


def test_a_replay_is_what_was_clicked(predictor: Predictor):
    plane = predictor.prepare(two_squares())
    rounds = ClickList(((CLICKS[0],), (CLICKS[1], CLICKS[2]), (CLICKS[3],)))
    state, by_hand = None, []
    for end in (1, 3, 4):
        by_hand.append(predictor.predict(plane, CLICKS[:end], state))
        state = by_hand[-1].state
    assert digest(list(predictor.replay(plane, rounds))) == digest(by_hand)
    assert list(predictor.replay(plane, ClickList())) == []


ZOOMED = State(crop=Crop(5, 74, 5, 104), box=Crop(20, 49, 20, 89))  # holds both squares, and is kept


def continued(predictor: Predictor, clicks: list[Click], mode_state: State = ZOOMED) -> list[Prediction]:
    """Predict clicks one by one in a crop that holds them all."""
    plane, state, predictions = predictor.prepare(two_squares()), mode_state, []
    for end in range(1, len(clicks) + 1):
        predictions.append(predictor.predict(plane, clicks[:end], state))
        state = State(ZOOMED.crop, predictions[-1].state.variables, ZOOMED.box)
    return predictions


TWELVE = [Click(22 + 2 * i, 25 + 4 * i) if i % 2 else Click(70, 6 + 8 * i, positive=False) for i in range(12)]


def test_beyond_the_limit_a_click_needs_no_pass(network: BrightNetwork):
    predictor = Predictor(model_of(network), "f-BRS-B")
    predictions = continued(predictor, TWELVE)
    assert {p.crop for p in predictions} == {ZOOMED.crop}
    assert network.passes == 8
    shown = [int((points[0].amax(dim=1) >= 0).sum()) for points in network.points]
    assert shown == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len(predictions[-1].clicks) == 12


@pytest.mark.parametrize(("steady", "passes"), [(False, 3), (True, 4)])
def test_a_late_click_that_breaks_the_mask_is_shown_to_the_network(steady: bool, passes: int):
    network = BrightNetwork(guided=True)
    predictor = Predictor(model_of(network), settings=replace(WHOLE, network_clicks=3, steady=steady))
    plane = predictor.prepare(two_squares())
    *_, third = predictor.replay(plane, ClickList.one_by_one(CLICKS[:3]))
    assert network.passes == 3
    calm = predictor.predict(plane, CLICKS, third.state)
    assert network.passes == 3
    # Where the mask before was another one, the same click changes much.
    other = Prior(Crop.whole(plane.shape), 1 - third.network_probability)
    again = predictor.predict(plane, CLICKS, replace(third.state, last=other))
    assert network.passes == passes
    shown = int((network.points[-1][0].amax(dim=1) >= 0).sum())
    assert shown == (4 if steady else 3)
    # What the network was shown is what it goes on with.
    assert (again.state.prior.probability is again.network_probability) == steady
    assert calm.state.prior is third.state.prior
    assert calm.state.last.probability is calm.network_probability


@pytest.mark.parametrize(("rows", "broken"), [(21, True), (28, False)])  # of 30; nine tenths have to stay
def test_a_late_click_breaks_a_mask_of_which_less_than_nine_tenths_stay(rows: int, broken: bool):
    network = BrightNetwork()
    predictor = Predictor(model_of(network), settings=replace(WHOLE, network_clicks=3, steady=True))
    plane = predictor.prepare(two_squares())
    *_, third = predictor.replay(plane, ClickList.one_by_one(CLICKS[:3]))
    less = third.network_probability.copy()
    less[20 + rows :] = 0
    predictor.predict(plane, CLICKS, replace(third.state, last=Prior(Crop.whole(plane.shape), less)))
    assert network.passes == 3 + broken


def test_the_mask_so_far_is_shown_and_mirrored():
    network = BrightNetwork(nearness=3.0, guided=True)
    predictor = Predictor(model_of(network), settings=WHOLE)
    first, second, _ = rounds_of(predictor, two_squares(), CLICKS[:3])
    assert not np.array_equal(first.network_probability, second.network_probability)
    nothing, *priors = network.priors
    assert nothing is None
    for prior, prediction in zip(priors, (first, second), strict=True):
        upright, mirrored = prior[:, 0].numpy()
        np.testing.assert_array_equal(upright, prediction.network_probability)
        np.testing.assert_array_equal(mirrored, prediction.network_probability[:, ::-1])


def test_a_network_without_a_guide_is_not_shown_it(network: BrightNetwork):
    rounds_of(Predictor(model_of(network), settings=WHOLE), two_squares())
    assert network.priors == [None] * 4


def test_beyond_the_limit_the_mask_shown_stays():
    network = BrightNetwork(nearness=3.0, guided=True)
    predictor = Predictor(model_of(network), settings=replace(WHOLE, network_clicks=3))
    masks = [prediction.mask() for prediction in rounds_of(predictor, two_squares() // 2, TWELVE)]
    assert not np.array_equal(masks[1], masks[2])  # another mask could have been shown
    assert network.passes == 3


def test_without_refinement_every_click_is_shown(network: BrightNetwork):
    continued(Predictor(model_of(network), "NoBRS"), TWELVE)
    assert network.passes == 12
    assert int((network.points[-1][0].amax(dim=1) >= 0).sum()) == 12


def test_going_back_needs_no_pass(network: BrightNetwork):
    predictor = Predictor(model_of(network))
    plane = predictor.prepare(two_squares())
    forwards = list(predictor.replay(plane, ClickList.one_by_one(CLICKS)))
    passes = network.passes
    back = predictor.predict(plane, CLICKS[:3], forwards[1].state)
    assert digest([back]) == digest([forwards[2]])
    assert network.passes == passes


def test_features_are_kept_apart_by_all_that_decides_them():
    network = BrightNetwork(guided=True)
    predictor = Predictor(model_of(network))
    plane, other = predictor.prepare(two_squares()), predictor.prepare(two_squares())
    brighter = predictor.prepare(two_squares(), limits=(0, 100))
    faint, strong = (Prior(ZOOMED.box, np.full(ZOOMED.box.shape, value, np.float32)) for value in (0.2, 0.7))
    for varied, crop, clicks, prior in (
        (plane, ZOOMED.crop, CLICKS[:1], None),
        (other, ZOOMED.crop, CLICKS[:1], None),
        (brighter, ZOOMED.crop, CLICKS[:1], None),
        (plane, Crop(6, 74, 5, 104), CLICKS[:1], None),
        (plane, ZOOMED.crop, CLICKS[:2], None),
        (plane, ZOOMED.crop, CLICKS[2:3], None),
        (plane, ZOOMED.crop, CLICKS[:1], faint),
        (plane, ZOOMED.crop, CLICKS[:1], strong),
    ):
        passes = network.passes
        for _ in range(2):
            predictor.predict(varied, clicks, State(crop=crop, box=ZOOMED.box, prior=prior))
        assert network.passes == passes + 1


def test_memory_of_features_is_bounded(network: BrightNetwork):
    predictor = Predictor(model_of(network), cache_bytes=200_000)
    continued(predictor, TWELVE)
    assert 0 < predictor.cache.nbytes <= 200_000


@pytest.mark.parametrize("mode", MODES)
def test_cancelled_at_any_question(mode: str):
    network = BrightNetwork(brightness=4.0, nearness=1.0)
    model = model_of(network)
    contrary = [Click(30, 40), Click(30, 75, positive=False)]  # the bright square on the right is not wanted
    asked = count(1)
    expected = digest(rounds_of(Predictor(model, mode), two_squares(), contrary))
    predictor = Predictor(model, mode)
    plane = predictor.prepare(two_squares())
    first = predictor.predict(plane, contrary[:1])
    predictor.predict(plane, contrary, first.state, cancelled=lambda: next(asked) < 0)
    questions = next(asked) - 1
    assert questions > 2 or mode == "NoBRS"
    for patience in range(questions):
        asked = count(1)
        with pytest.raises(CancelledError):
            predictor.predict(plane, contrary, first.state, cancelled=lambda p=patience: next(asked) > p)  # noqa: B023
    assert digest([first, predictor.predict(plane, contrary, first.state)]) == expected


def test_called_off_before_it_starts(network: BrightNetwork, predictor: Predictor):
    with pytest.raises(CancelledError):
        predictor.predict(predictor.prepare(two_squares()), CLICKS[:1], cancelled=lambda: True)
    assert network.passes == 0


@pytest.mark.parametrize(
    "click", [Click(-1, 0), Click(0, -0.6), Click(100, 5), Click(5, 120), Click(99.5, 119.5), Click(1e9, 1e9)]
)
def test_clicks_outside_are_refused(predictor: Predictor, click: Click):
    with pytest.raises(InputError, match=r"outside the plane of 100 x 120 pixels"):
        predictor.predict(predictor.prepare(two_squares()), [Click(30, 40), click])


def test_there_must_be_a_click(predictor: Predictor):
    with pytest.raises(InputError, match="at least one click"):
        predictor.predict(predictor.prepare(two_squares()), [])


@pytest.mark.parametrize("mode", MODES)
def test_a_network_that_gives_no_number(mode: str):
    predictor = Predictor(model_of(NaNNetwork()), mode)
    plane = predictor.prepare(two_squares())
    for state in (None, ZOOMED):
        for clicks in (CLICKS[:1], CLICKS[:2]):
            with pytest.raises(PredictionError, match="not a number"):
                predictor.predict(plane, clicks, state)


@pytest.mark.parametrize(("mode", "channels"), [("RGB-BRS", 3), ("DistMap-BRS", 3)])  # the stand-in has three always
def test_a_bias_of_pixels_starts_anew_in_another_crop(mode: str, channels: int):
    network = BrightNetwork()
    predictor = Predictor(model_of(network), mode)
    plane = predictor.prepare(two_squares())
    apart = [CLICKS[0], CLICKS[3]]  # on the two squares, which look alike
    state = State(ZOOMED.crop, box=ZOOMED.box)
    first = predictor.predict(plane, apart, state)
    size = first.network_probability.shape
    assert first.state.variables.shape == (channels * size[0] * size[1],)
    kept = predictor.predict(plane, apart, first.state)
    assert kept.evaluations[0].loss < first.evaluations[0].loss  # went on from there
    elsewhere = replace(first.state, crop=Crop(0, 60, 0, 110))  # near enough to be kept
    assert predictor.predict(plane, apart, elsewhere).evaluations[0].loss >= first.evaluations[0].loss


def test_clicks_that_contradict_the_mask_are_named(predictor: Predictor):
    without = Predictor(predictor.model, "NoBRS")
    clicks = [Click(30, 40), Click(35, 75, positive=False), Click(90, 100), Click(80, 5, positive=False)]
    prediction = without.predict(without.prepare(two_squares()), clicks, State(box=Crop(0, 99, 0, 119)))
    assert prediction.unmet == (1, 2)
    assert prediction.contradicted(np.zeros(prediction.crop.shape, bool)) == (0, 2)
    assert prediction.contradicted(np.ones(prediction.crop.shape, bool)) == (1, 3)


def test_a_negative_click_outside_the_crop_is_met(predictor: Predictor):
    plane = predictor.prepare(two_squares())
    clicks = [Click(30, 40), Click(30, 75, positive=False)]
    prediction = predictor.predict(plane, clicks, State(crop=Crop(15, 54, 15, 54), box=Crop(20, 49, 20, 49)))
    assert prediction.crop == Crop(15, 54, 15, 54)
    assert prediction.unmet == ()


@pytest.mark.parametrize("mode", [mode for mode, cut in MODES.items() if cut])
def test_refinement_meets_what_the_plain_network_does_not(mode: str):
    clicks = [Click(30, 40), Click(30, 75, positive=False)]
    network = BrightNetwork(brightness=4.0, nearness=1.0)
    plain = rounds_of(Predictor(model_of(network), "NoBRS", settings=WHOLE), two_squares(), clicks)[-1]
    refined = rounds_of(Predictor(model_of(network), mode, settings=WHOLE), two_squares(), clicks)[-1]
    assert plain.unmet == (1,)
    assert refined.unmet == ()
    assert refined.state.variables is not None


@pytest.mark.parametrize("mode", MODES)
def test_opposite_clicks_on_one_pixel(small: Model, mode: str):
    clicks = [Click(30, 40), Click(30, 40, positive=False)]
    prediction = rounds_of(Predictor(small, mode), two_squares(), clicks)[-1]
    assert np.isfinite(prediction.probability).all()
    assert len(prediction.unmet) == 1  # either, but not both


@pytest.mark.parametrize("mode", MODES)
def test_clicks_on_every_corner(small: Model, mode: str):
    corners = [Click(0, 0), Click(0, 119, positive=False), Click(99, 0, positive=False), Click(99.4, 119.4)]
    predictions = rounds_of(Predictor(small, mode), two_squares(), corners)
    assert all(np.isfinite(prediction.probability).all() for prediction in predictions)
    assert [prediction.shape for prediction in predictions] == [(100, 120)] * 4


def test_a_positive_click_off_the_crop_moves_it(predictor: Predictor):
    plane = predictor.prepare(two_squares())
    prediction = predictor.predict(
        plane, [Click(30, 40), Click(30, 80)], State(crop=Crop(15, 54, 15, 54), box=Crop(20, 49, 20, 49))
    )
    assert prediction.crop.contains(Crop(20, 49, 20, 80))
    assert prediction.mask()[30, 40]
    assert prediction.mask()[30, 80]


def test_hundreds_of_clicks(network: BrightNetwork):
    rng = np.random.default_rng(0)
    bright = two_squares() > 100
    clicks = [Click(int(r), int(c), bool(bright[r, c])) for r, c in rng.integers(6, 74, (300, 2))]
    for mode in MODES:
        predictor = Predictor(model_of(network), mode)
        prediction = predictor.predict(predictor.prepare(two_squares()), clicks, ZOOMED)
        near_the_edge = [i for i in prediction.unmet if 22 < clicks[i].row < 47 and 22 < clicks[i].column < 47]
        assert not near_the_edge
        assert len(prediction.clicks) == 300


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (3, 900), (900, 3)])
@pytest.mark.parametrize("mode", MODES)
def test_small_and_thin_planes(small: Model, shape: tuple[int, int], mode: str):
    image = np.zeros(shape, np.uint8)
    image[: shape[0] // 2 + 1, : shape[1] // 2 + 1] = 200
    clicks = [Click(0, 0), Click(shape[0] - 1, shape[1] - 1, positive=False)]
    for prediction in rounds_of(Predictor(small, mode), image, clicks):
        assert prediction.probability.shape == shape
        assert np.isfinite(prediction.probability).all()


def test_colours_and_transparency(small: Model):
    predictor = Predictor(small)
    grey = two_squares()
    colour = np.repeat(grey[..., None], 3, axis=2)
    opaque = np.concatenate((colour, np.full_like(colour[..., :1], 255)), axis=2)
    masks = [rounds_of(predictor, image, CLICKS[:1])[0].probability for image in (grey, colour, opaque)]
    np.testing.assert_allclose(masks[1], masks[0], atol=1e-5)
    np.testing.assert_allclose(masks[2], masks[0], atol=1e-5)


def test_flipping_makes_left_and_right_the_same(bundled: Model):
    image = two_squares()[:96, :112]
    image[60:80, 5:25] = 120
    mirrored_clicks = [replace(click, column=111 - click.column) for click in CLICKS]
    for flip, same in ((True, True), (False, False)):
        predictor = Predictor(bundled, "NoBRS", settings=replace(WHOLE, flip=flip))
        a = predictor.predict(predictor.prepare(image), CLICKS).probability
        b = predictor.predict(predictor.prepare(image[:, ::-1]), mirrored_clicks).probability[:, ::-1]
        assert np.allclose(a, b, atol=1e-4) is same
    assert np.count_nonzero((a > 0.5) & (b > 0.5)) > 0.5 * np.count_nonzero((a > 0.5) | (b > 0.5))


def test_without_flipping_one_image_goes_through(network: BrightNetwork):
    for flip in (False, True):
        predictor = Predictor(model_of(network), settings=PredictorSettings(flip=flip))
        predictor.predict(predictor.prepare(two_squares()), CLICKS[:2])
        assert len(network.points[-1]) == 1 + flip


@pytest.mark.skipif(not fast_bfloat16(torch.device("cpu")), reason="this processor has no bfloat16")
def test_half_precision_changes_next_to_nothing(bundled: Model):
    shipped = PredictorSettings.of_model(bundled.settings)
    assert shipped.half
    masks = []
    for half in (True, False):
        predictor = Predictor(bundled, settings=replace(shipped, half=half))
        plane = predictor.prepare(data.coins())
        masks.append(
            [predictor.predict(plane, [Click(*pixel)]).mask() for pixel in ((119, 271), (55, 150), (200, 200))]
        )
    for one, other in zip(*masks, strict=True):
        assert one.any()
        assert np.count_nonzero(one & other) / np.count_nonzero(one | other) > 0.995


def test_mirrored_clicks_are_mirrored(network: BrightNetwork):
    predictor = Predictor(model_of(network), settings=PredictorSettings(zoom=None))
    predictor.predict(predictor.prepare(two_squares()), CLICKS[:3])
    absent = [-1, -1]
    assert network.points[-1].tolist() == [
        [[30, 40], [44, 30], [12, 50], absent],
        [[30, 119 - 40], [44, 119 - 30], [12, 119 - 50], absent],
    ]


def test_a_large_plane_is_brought_to_the_input_size(network: BrightNetwork):
    settings = PredictorSettings(zoom=None, input_size=60, flip=False)
    predictor = Predictor(model_of(network), settings=settings)
    prediction = predictor.predict(predictor.prepare(two_squares()), CLICKS[:1])
    assert prediction.network_probability.shape == (50, 60)
    assert prediction.probability.shape == (100, 120)
    assert network.points[-1][0, 0].tolist() == [15, 20]


LARGER = ModelSettings(60, 40, largest_size=90)


@pytest.mark.parametrize(("side", "seen"), [(40, 60), (55, 79), (150, 90)])
def test_an_object_that_was_found_is_seen_in_the_detail_there_is(network: BrightNetwork, side: int, seen: int):
    image = np.zeros((300, 300), np.uint8)
    image[100 : 100 + side, 100 : 100 + side] = 200
    predictor = Predictor(model_of(network, LARGER))
    plane, clicks = predictor.prepare(image), [Click(100 + side // 2, 100 + side // 2)]
    assert max(predictor.predict(plane, clicks).network_probability.shape) == 60
    found = State(box=Crop(100, 99 + side, 100, 99 + side))
    prediction = predictor.predict(plane, clicks, found)
    assert max(prediction.network_probability.shape) == seen
    inside = image[prediction.crop.slices] > 0
    assert (prediction.crop_mask() != inside).mean() < 0.1
    # Seen pixel by pixel, it is exact.
    assert np.array_equal(prediction.crop_mask(), inside) == (seen == 79)


@pytest.mark.parametrize("mode", MODES)
def test_all_modes_go_on_where_the_size_changes(bundled: Model, mode: str):
    predictor = Predictor(replace(bundled, settings=ModelSettings(32, 32, largest_size=64)), mode)
    plane = predictor.prepare(two_squares()[:, :60])
    rounds = ClickList(((CLICKS[0], CLICKS[1]), (CLICKS[2],), (Click(5, 5, positive=False),)))
    sizes = [max(prediction.network_probability.shape) for prediction in predictor.replay(plane, rounds)]
    assert sizes[0] == 32
    assert sizes[-1] > 32


def test_a_small_object_in_a_large_plane_is_looked_at_closely(network: BrightNetwork):
    image = np.zeros((600, 800), np.uint8)
    image[300:312, 500:512] = 200
    predictor = Predictor(model_of(network))
    prediction = predictor.predict(predictor.prepare(image), [Click(305, 505)])
    assert max(prediction.crop.shape) <= 64
    assert prediction.crop.contains(Crop(300, 311, 500, 511))
    mask = prediction.mask()
    assert np.count_nonzero(mask[300:312, 500:512]) >= 0.9 * 144
    assert np.count_nonzero(mask) <= 1.2 * 144


def test_an_object_that_is_lost_is_looked_for_anew(network: BrightNetwork):
    predictor = Predictor(model_of(network))
    dark = np.zeros((100, 120), np.uint8)
    first = predictor.predict(predictor.prepare(dark), CLICKS[:1])
    assert first.state.box is None
    assert not first.mask().any()
    assert first.unmet == (0,)
    sized = predictor.predict(predictor.prepare(dark), CLICKS[:1], State(expected=Expected(30)))
    assert sized.state.expected == Expected(30)
    again = predictor.predict(predictor.prepare(two_squares()), CLICKS[:1], first.state)
    assert again.mask()[30, 40]


def test_only_negative_clicks(network: BrightNetwork, small: Model):
    for model in (model_of(network), small):
        predictor = Predictor(model)
        first, second = rounds_of(predictor, two_squares(), CLICKS[1::2])
        assert first.crop == Crop(0, 99, 0, 119)
        assert np.isfinite(second.probability).all()


def test_variables_are_carried_to_the_next_click():
    network = BrightNetwork(brightness=4.0, nearness=1.0)
    clicks = [Click(30, 40), Click(30, 75, positive=False), Click(45, 40)]
    _, second, third = rounds_of(Predictor(model_of(network), settings=WHOLE), two_squares(), clicks)
    assert np.abs(second.state.variables).max() > 0
    assert third.evaluations[0].loss != second.evaluations[0].loss
    assert len(third.evaluations) <= len(second.evaluations)
    np.testing.assert_array_equal(third.state.variables, second.state.variables)  # met at once


def test_the_first_looks_go_through_the_network_together(network: BrightNetwork):
    image = np.zeros((600, 600), np.uint8)
    image[300:312, 300:312] = 200
    predictor = Predictor(model_of(network))
    plane = predictor.prepare(image)
    predictor.predict(plane, [Click(305, 305)])
    assert [len(points) for points in network.points] == [4, 3, 1]  # 7 looks, then what the mirror shows of one of them
    passes = network.passes
    predictor.predict(plane, [Click(305, 305)])
    assert network.passes == passes


def test_looks_at_the_same_crops_are_kept_apart_by_where_the_clicks_are():
    settings = PredictorSettings(zoom=Zoom(min_crop_size=64), first_look=True, input_size=64)
    used, fresh = (Predictor(model_of(BrightNetwork(nearness=3.0)), settings=settings) for _ in range(2))
    plane = used.prepare(np.full((100, 100), 100, np.uint8))
    first, second = [Click(5, 5)], [Click(25, 25)]
    crops, same = (candidate_crops(plane.shape, clicks, settings.zoom) for clicks in (first, second))
    assert crops == same
    used.predict(plane, first)
    found, wanted = (predictor.predict(plane, second) for predictor in (used, fresh))
    np.testing.assert_array_equal(found.probability, wanted.probability)


def test_looks_do_not_depend_on_their_company(bundled: Model):
    settings = replace(PredictorSettings.of_model(bundled.settings), half=False)
    together, alone = (Predictor(bundled, settings=settings) for _ in range(2))
    plane = together.prepare(data.coins())
    crops = [Crop(80, 80 + side, 230, 230 + side) for side in (63, 95, 127)]
    timings = {"read": 0.0, "embed": 0.0}
    click, going_on = [Click(119, 271)], lambda: False
    looks = together._looks(plane, crops, click, timings, going_on)
    for crop, look in zip(crops, looks, strict=True):
        (one,) = alone._looks(plane, [crop], click, timings, going_on)
        np.testing.assert_allclose(look.probability, one.probability, atol=1e-4)


def test_a_crop_that_has_been_looked_at_is_not_looked_at_again(bundled: Model):
    settings = replace(PredictorSettings.of_model(bundled.settings), half=False)
    predictor, passes = Predictor(replace(bundled), settings=settings), []
    embed = predictor._network.embed

    def counted(image: torch.Tensor, *args, **options):
        passes.append(len(image))
        return embed(image, *args, **options)

    predictor._network.embed = counted
    plane, clicks = predictor.prepare(data.coins()), [Click(43, 334)]
    prediction = predictor.predict(plane, clicks)
    looks = len(candidate_crops(plane.shape, clicks, settings.zoom))
    assert sum(passes) == looks + 1  # what the mirror shows is all that is new
    anew = predictor.decode(predictor.features(plane, prediction.crop, clicks))
    assert sum(passes) == looks + 1 + 2
    np.testing.assert_allclose(prediction.network_probability, anew, atol=1e-4)


def test_a_mask_that_is_there_asks_for_another_look(small: Model):
    predictor = Predictor(small)
    plane = predictor.prepare(data.coins())
    first = predictor.predict(plane, [Click(43, 334)])
    told = predictor.predict(plane, [Click(43, 334)], State(prior=first.state.prior))
    assert told.crop == first.crop
    assert not np.array_equal(told.network_probability, first.network_probability)


def test_folded_networks_give_the_same_masks(bundled: Model):
    shipped = replace(PredictorSettings.of_model(bundled.settings), half=False)
    clicks = [Click(119, 271), Click(119, 300, positive=False), Click(100, 262)]
    folded, plain = (
        rounds_of(Predictor(bundled, settings=replace(shipped, folded=fold)), data.coins(), clicks)
        for fold in (True, False)
    )
    assert shipped.folded
    for one, other in zip(folded, plain, strict=True):
        both, either = one.mask() & other.mask(), one.mask() | other.mask()
        assert np.count_nonzero(both) > 0.995 * np.count_nonzero(either) > 0


def test_a_mask_kept_is_the_one_computed(small: Model):
    predictor = Predictor(small)
    *_, prediction = rounds_of(predictor, two_squares(), CLICKS[:2])
    for threshold in (0.3, 0.5):
        np.testing.assert_array_equal(prediction.crop_mask(threshold), prediction.crop_probability > threshold)
    prediction.crop_mask(0.5)[:] = True  # the caller's own
    np.testing.assert_array_equal(prediction.crop_mask(0.5), prediction.crop_probability > 0.5)


def test_memory_is_counted_once(small: Model):
    first, second = rounds_of(Predictor(small), two_squares(), CLICKS[:2])
    assert first.state.prior.probability is first.network_probability
    bits = (first.crop.shape[0] * first.crop.shape[1] + 7) // 8
    assert first.nbytes == first.network_probability.nbytes + bits
    assert second.nbytes > second.network_probability.nbytes + second.state.variables.nbytes


def test_warming_up_leaves_only_the_click_to_be_done(network: BrightNetwork, monkeypatch: pytest.MonkeyPatch):
    predictor = Predictor(model_of(network))
    plane, other = predictor.prepare(two_squares()), predictor.prepare(two_squares())
    predictor.warm_up(plane)
    assert network.passes > 0
    read, really_read = [], Plane.read

    def reading(plane: Plane, crop: Crop, size: tuple[int, int]) -> npt.NDArray[np.float32]:
        read.append(crop)
        return really_read(plane, crop, size)

    monkeypatch.setattr(Plane, "read", reading)
    predictor.warm_up(plane)
    predictor.predict(plane, [Click(31, 41)])
    assert Crop.whole(plane.shape) not in read
    passes = network.passes
    predictor.warm_up(other)  # the network has been run once
    assert network.passes == passes
    assert read[-1] == Crop.whole(plane.shape)
    with pytest.raises(CancelledError):
        predictor.warm_up(other, cancelled=lambda: True)


@pytest.mark.parametrize("stage", ["conv1", "layer1.0", "layer3.1"])
def test_a_warm_up_called_off_stops_within_a_pass(small: Model, stage: str):
    called_off, begun, model = threading.Event(), [], replace(small)  # whose network no other test sees
    predictor, network = Predictor(model), model.folded
    steps = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    for step in steps:
        step.register_forward_pre_hook(lambda step, _: begun.append(step))
    watched = network.get_submodule(f"feature_extractor.backbone.{stage}")
    watched.register_forward_pre_hook(lambda *_: (called_off.set(), begun.append(None))[0])
    with pytest.raises(CancelledError):
        predictor.warm_up(predictor.prepare(two_squares()), cancelled=called_off.is_set)
    assert begun.index(None) >= len(begun) - 2  # a convolution may be about to begin, no other comes after it


def test_after_a_click_there_is_nothing_to_warm_up(network: BrightNetwork):
    predictor = Predictor(model_of(network))
    predictor.predict(predictor.prepare(two_squares()), [Click(31, 41)])
    passes = network.passes
    predictor.warm_up(predictor.prepare(two_squares()))
    assert network.passes == passes


def test_another_predictor_goes_on_with_what_is_the_same(small: Model):
    first, second = Predictor(small), Predictor(small, "NoBRS")
    second.cache = first.cache
    plane = first.prepare(two_squares())
    kept = first.predict(plane, CLICKS[:1])
    misses = first.cache.misses
    again = second.predict(plane, CLICKS[:1])
    assert first.cache.misses == misses
    assert np.array_equal(again.network_probability, kept.network_probability)


@pytest.mark.parametrize("other", ["folded", "local", "half", "mode"])
def test_what_differs_is_computed_anew(small: Model, other: str, monkeypatch: pytest.MonkeyPatch):
    if other == "half":
        monkeypatch.setattr("napari_fbrs.inference.predictor.fast_bfloat16", lambda _: True)  # on slow ones too
    settings = PredictorSettings.of_model(small.settings)
    first = Predictor(small)
    if other == "mode":
        second = Predictor(small, "f-BRS-C")
    else:
        second = Predictor(small, settings=replace(settings, **{other: not getattr(settings, other)}))
    second.cache = first.cache
    plane = first.prepare(two_squares())
    rounds = list(first.replay(plane, ClickList.one_by_one(CLICKS[:3])))
    misses = first.cache.misses
    shared = list(second.replay(plane, ClickList.one_by_one(CLICKS[:3])))
    assert first.cache.misses > misses
    alone = Predictor(small, second.mode, settings=second.settings)
    assert digest(shared) == digest(rounds_of(alone, two_squares(), CLICKS[:3]))
    assert len(rounds) == len(shared)


@pytest.mark.parametrize(("before", "mode"), [("f-BRS-B", "f-BRS-C"), ("f-BRS-B", "RGB-BRS"), ("RGB-BRS", "f-BRS-B")])
def test_variables_of_another_mode_are_not_continued_from(small: Model, before: str, mode: str):
    clicks = [Click(118, 106), Click(140, 106, positive=False)]
    first, predictor = (Predictor(small, name, settings=WHOLE) for name in (before, mode))
    plane = first.prepare(data.coins())
    state = first.predict(plane, clicks, first.predict(plane, clicks[:1]).state).state
    assert np.any(state.variables)
    found, wanted = (predictor.predict(plane, clicks, given) for given in (state, replace(state, variables=None)))
    np.testing.assert_array_equal(found.probability, wanted.probability)
    np.testing.assert_array_equal(found.state.variables, wanted.state.variables)


def test_variables_have_one_axis():
    with pytest.raises(ValueError, match=r"one axis, these have the shape \(2, 3\)"):
        State(variables=np.zeros((2, 3), np.float32))


def test_what_was_carried_to_a_plane_is_corrected_in_another_mode(small: Model):
    """The scales and biases found in one mode say nothing in the next, but the mask does."""
    image = data.coins()
    pixels = np.ones((40, 40), bool)
    carried = state_from(Crop(100, 139, 90, 129), pixels, np.ones(320, np.float32))
    predictor = Predictor(small, "f-BRS-C")
    found = predictor.predict(predictor.prepare(image), [Click(118, 106), Click(145, 106, positive=False)], carried)
    assert len(found.state.variables) == 256


@pytest.mark.parametrize("value", [-1, 2.5, True, "8"])
def test_settings_that_are_no_numbers_are_refused(value: Any):
    with pytest.raises(InputError, match=f"network_clicks is a number of clicks or None, got {value!r}"):
        PredictorSettings(network_clicks=value)
    for size in (value, 0):
        with pytest.raises(InputError, match=f"input_size is a number of pixels or None, got {size!r}"):
            PredictorSettings(input_size=size)
    assert PredictorSettings(network_clicks=0, input_size=None).network_clicks == 0
