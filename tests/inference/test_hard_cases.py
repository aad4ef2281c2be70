"""Objects and clicks at the edges of what there is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import BrightNetwork, model_of

from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.errors import InputError
from napari_fbrs.inference.objective import ClickMasks
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.prediction import State
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import MODES, PredictorSettings
from napari_fbrs.models.checkpoint import Model, ModelSettings
from napari_fbrs.strokes import Stroke

SHAPE = (100, 120)
WHOLE = PredictorSettings(zoom=None)
CORNERS = [Click(0, 0), Click(0, 119), Click(99, 0), Click(99, 119)]


@pytest.fixture
def network() -> BrightNetwork:
    return BrightNetwork()


@pytest.fixture(scope="module")
def small(bundled: Model) -> Model:
    return replace(bundled, settings=ModelSettings(96, 24))


def last(predictor: Predictor, image: np.ndarray, clicks: list[Click]):
    *_, prediction = predictor.replay(predictor.prepare(image), ClickList.one_by_one(clicks))
    return prediction


@pytest.mark.parametrize("mode", MODES)
def test_an_object_that_touches_all_borders(network: BrightNetwork, mode: str):
    prediction = last(Predictor(model_of(network), mode), np.full(SHAPE, 200, np.uint8), CORNERS)
    assert prediction.mask().all()
    assert prediction.unmet == ()
    assert prediction.state.box == prediction.crop == Crop.whole(SHAPE)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pixel", [(50, 60), (0, 0), (99, 119), (0, 70)])
def test_an_object_of_one_pixel(network: BrightNetwork, mode: str, pixel: tuple[int, int]):
    image = np.zeros(SHAPE, np.uint8)
    image[pixel] = 255
    beside = Click(pixel[0], pixel[1] + (8 if pixel[1] < 60 else -8), positive=False)
    for clicks in ([Click(*pixel)], [Click(*pixel), beside]):
        mask = last(Predictor(model_of(network), mode), image, clicks).mask()
        rows, columns = np.nonzero(mask)
        assert mask[pixel]
        assert abs(rows - pixel[0]).max() <= 1
        assert abs(columns - pixel[1]).max() <= 1


@pytest.mark.parametrize("mode", MODES)
def test_the_same_pixel_clicked_twice(small: Model, mode: str):
    image = np.full(SHAPE, 20, np.uint8)
    image[20:50, 20:50] = 200
    prediction = last(Predictor(small, mode), image, [Click(30, 30), Click(30, 30)])
    assert prediction.unmet == ()
    assert prediction.clicks == (Click(30, 30),) * 2


def test_the_same_click_shown_twice_is_one_to_the_network(network: BrightNetwork):
    predictor = Predictor(model_of(network), "NoBRS")
    plane, state = (
        predictor.prepare(np.full(SHAPE, 200, np.uint8)),
        State(crop=Crop(9, 60, 9, 80), box=Crop(9, 60, 9, 80)),
    )
    once, twice = (predictor.predict(plane, [Click(30, 30)] * count, state) for count in (1, 2))
    np.testing.assert_array_equal(once.probability, twice.probability)


@pytest.mark.parametrize("mode", [mode for mode, cut in MODES.items() if cut])
def test_a_click_on_the_border_constrains(mode: str):
    model = model_of(BrightNetwork(brightness=4.0, nearness=1.0))
    clicks = [Click(30, 40), Click(0, 75, positive=False)]
    image = squares()
    image[:20, 60:90] = 200  # what is not wanted reaches the border
    assert last(Predictor(model, "NoBRS", settings=WHOLE), image, clicks).unmet == (1,)
    assert last(Predictor(model, mode, settings=WHOLE), image, clicks).unmet == ()


# strokes


def line(row: int, first: int, stop: int, *, positive: bool = True) -> Stroke:
    return Stroke.of([(row, column) for column in range(first, stop)], positive=positive)


def squares() -> np.ndarray:
    image = np.full(SHAPE, 20, np.uint8)
    image[20:50, 20:50] = image[20:50, 60:90] = 200
    return image


def test_a_stroke_is_shown_as_a_few_points_and_read_as_all_its_pixels(
    network: BrightNetwork, monkeypatch: pytest.MonkeyPatch
):
    read = []

    def watched(*args, **options) -> ClickMasks:
        read.append(ClickMasks(*args, **options))
        return read[-1]

    monkeypatch.setattr("napari_fbrs.inference.predictor.ClickMasks", watched)
    predictor = Predictor(model_of(network), settings=WHOLE)
    stroke = line(30, 22, 48)
    predictor.predict(predictor.prepare(squares()), [Click(40, 40), stroke])
    points = network.points[-1][0]
    shown = {tuple(point) for point in points.tolist()} - {(-1.0, -1.0)}
    assert shown == {(40, 40), *((click.row, click.column) for click in stroke.points)}
    assert len(shown) == 5
    (masks,) = read
    assert masks.positive[0, 0, 30, 22:48].all()
    assert not masks.positive[0, 0, 32, 22:38].any()


@pytest.mark.parametrize("mode", [mode for mode, cut in MODES.items() if cut])
def test_strokes_are_obeyed(mode: str):
    model = model_of(BrightNetwork(brightness=4.0, nearness=0.2))
    clicks = [line(30, 22, 48), line(40, 62, 88, positive=False)]
    assert last(Predictor(model, "NoBRS", settings=WHOLE), squares(), clicks).unmet == (1,)
    insisting = replace(WHOLE, insist=True)  # thin strokes hardly change the mask as a whole
    prediction = last(Predictor(model, mode, settings=insisting), squares(), clicks)
    assert prediction.unmet == ()
    assert prediction.mask()[30, 22:48].mean() > 0.9
    assert prediction.mask()[40, 62:88].mean() < 0.1


def test_a_stroke_alone_is_optimised_for_and_a_dab_is_a_click(network: BrightNetwork):
    predictor = Predictor(model_of(network))
    plane = predictor.prepare(squares())
    assert predictor.predict(plane, [line(30, 22, 48)]).evaluations
    dab, click = predictor.predict(plane, [Stroke.of([(30, 30)])]), predictor.predict(plane, [Click(30, 30)])
    assert dab.evaluations == ()
    np.testing.assert_array_equal(dab.probability, click.probability)


def test_the_crop_holds_positive_strokes_whole(network: BrightNetwork):
    predictor = Predictor(model_of(network))
    plane = predictor.prepare(squares())
    state = State(crop=Crop(15, 54, 15, 54), box=Crop(20, 49, 20, 49))
    prediction = predictor.predict(plane, [Click(30, 30), line(30, 40, 88)], state)
    assert prediction.crop.contains(Crop(20, 49, 20, 87))
    outside = predictor.predict(plane, [Click(30, 30), line(30, 62, 88, positive=False)], state)
    assert outside.crop == state.crop  # a negative one may lie outside, where there is nothing
    assert outside.unmet == ()


@pytest.mark.parametrize("mode", MODES)
def test_strokes_go_through_a_real_network(small: Model, mode: str):
    clicks = [line(30, 22, 48), line(40, 60, 90, positive=False), Click(45, 45)]
    prediction = last(Predictor(small, mode), squares(), clicks)
    assert np.isfinite(prediction.probability).all()
    if mode != "NoBRS":  # the network alone need not obey
        assert prediction.mask()[30, 22:48].mean() > 0.9
        assert prediction.mask()[40, 60:90].mean() < 0.5


def test_a_stroke_that_leaves_the_plane_is_refused(network: BrightNetwork):
    predictor = Predictor(model_of(network))
    with pytest.raises(InputError, match=r"a stroke ends outside the plane of 100 x 120 pixels: 30:100-125"):
        predictor.predict(predictor.prepare(squares()), [line(30, 100, 126)])


def test_a_stroke_is_unmet_where_more_than_a_tenth_of_it_is_wrong(network: BrightNetwork):
    predictor = Predictor(model_of(network), "NoBRS")
    prediction = last(predictor, squares(), [line(30, 30, 50), line(30, 30, 55)])
    mask = np.zeros(SHAPE, bool)
    mask[30, 30:48] = True  # nine tenths of the first, and 18 of 25 pixels of the second
    assert prediction.contradicted(mask[prediction.crop.slices]) == (1,)
