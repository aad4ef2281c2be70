from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fbrs.annotation import encoding
from napari_fbrs.annotation.history import Base, Place, Refinement
from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.annotation.labels import LabelChange, PlaneMask
from napari_fbrs.clicks import Click, ClickList
from napari_fbrs.errors import InputError
from napari_fbrs.inference.first_look import Expected
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.settings import Method, PredictorSettings
from napari_fbrs.inference.zoom import Zoom
from napari_fbrs.strokes import Stroke

numbers = st.floats(-1e6, 1e6) | st.integers(-1000, 100_000)
points = st.builds(Click, numbers, numbers, st.booleans())
strokes = st.builds(
    lambda pixels, positive: Stroke.of(pixels, positive=positive),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=20),
    st.booleans(),
)
clicks = points | strokes
rounds = st.lists(st.lists(clicks, min_size=1, max_size=3).map(tuple), max_size=4).map(lambda r: ClickList(tuple(r)))


def mask(seed: int) -> PlaneMask:
    rng = np.random.default_rng(seed)
    top, left, height, width = (int(n) for n in rng.integers(1, 40, 4))
    return PlaneMask.pack(Crop(top, top + height - 1, left, left + width - 1), rng.random((height, width)) > 0.5)


def through_json(data: object) -> object:
    return json.loads(json.dumps(data, allow_nan=False))


@given(rounds, st.floats(0, 1), st.none() | st.tuples(numbers, numbers), st.none() | st.floats(1, 1e4), st.booleans())
@settings(deadline=None)
def test_a_refinement_comes_back(clicks, threshold, limits, extent, certain):
    expected = None if extent is None else Expected(extent, certain)
    refinement = Refinement(clicks, threshold, limits, expected)
    assert encoding.decode_refinement(through_json(encoding.encode_refinement(refinement))) == refinement


@given(st.integers(0, 1000), st.lists(clicks, max_size=3), st.none() | st.floats(0, 1), st.booleans())
@settings(deadline=None)
def test_so_does_the_mask_it_corrects(seed, settled, confidence, found):
    variables = None if seed % 2 else np.random.default_rng(seed).normal(size=(2, 160)).astype(np.float32)
    base = Base(mask(seed) if seed % 3 else None, tuple(settled), variables, found, confidence)
    back = encoding.decode_refinement(through_json(encoding.encode_refinement(Refinement(base=base)))).base
    assert back is not None
    assert (back.settled, back.found, back.confidence) == (base.settled, base.found, base.confidence)
    if variables is None:
        assert back.variables is None
    else:
        np.testing.assert_array_equal(back.variables, variables)
    if base.mask is None:
        assert back.mask is None
    else:
        assert back.mask.crop == base.mask.crop
        np.testing.assert_array_equal(back.mask.pixels, base.mask.pixels)


@given(st.integers(1, 2**31 - 1), st.lists(st.integers(0, 99), max_size=2))
def test_a_place_comes_back(object_, position):
    place = Place(object_, PlaneIndex(tuple(position), (len(position), len(position) + 1)))
    assert encoding.decode_place(through_json(encoding.encode_place(place))) == place


@given(st.integers(0, 1000), st.integers(0, 50))
def test_changed_pixels_come_back(seed, count):
    rng, shape = np.random.default_rng(seed), (3, 20, 30)
    flat = rng.permutation(np.prod(shape))[:count]
    after = rng.integers(0, 70_000, count).astype(np.int32)
    change = LabelChange(np.unravel_index(flat, shape), np.zeros(count, np.int32), after)
    indices, labels = encoding.decode_change(through_json(encoding.encode_change(change, shape)), shape)
    expected, got = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    expected[change.indices] = after
    got[indices] = labels
    np.testing.assert_array_equal(got, expected)


def test_a_person_can_read_clicks():
    refinement = Refinement(ClickList(((Click(12, 30.5),), (Click(1, 2, positive=False), Stroke.of([[4, 5], [4, 6]])))))
    assert encoding.encode_refinement(refinement) == {
        "rounds": [[[12, 30.5, 1]], [[1, 2, 0], {"stroke": "4:5-6", "positive": 1}]],
        "threshold": 0.5,
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["rounds", "threshold", "base", "mask", "box", "bits", "plane", "axes", "object", "stroke"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
@settings(deadline=None)
@pytest.mark.parametrize("decode", [encoding.decode_refinement, encoding.decode_place, encoding.decode_mask])
def test_foreign_json_is_an_error_with_a_name_or_a_value(decode, data):
    try:
        with encoding.decoding("the journal"):
            decode(data)
    except InputError as error:
        assert str(error).startswith("the journal is damaged")  # noqa: PT017  either is right


def test_a_small_text_cannot_ask_for_much_memory():
    bomb = encoding.encode_mask(PlaneMask.pack(Crop(0, 4999, 0, 4999), np.zeros((5000, 5000), bool)))
    bomb["box"] = [0, 7, 0, 7]
    with pytest.raises(ValueError, match="should be 8 bytes"):
        encoding.decode_mask(bomb)


def test_masks_keep_what_predicted_them() -> None:
    method = Method("m", "ab" * 32, "f-BRS-B", PredictorSettings(zoom=Zoom(224, 64), input_size=224, local=True))
    mask = PlaneMask.pack(Crop(0, 1, 0, 1), np.eye(2) > 0, method)
    data = through_json(encoding.encode_mask(mask))
    assert encoding.decode_mask(data).method == method
    data["method"]["settings"]["magic"] = 1  # of another version: the mask is what counts
    back = encoding.decode_mask(data)
    assert back.method is None
    np.testing.assert_array_equal(back.pixels, mask.pixels)


def test_methods_of_records_that_know_no_largest_size() -> None:
    method = Method("m", "ab" * 32, "f-BRS-B", PredictorSettings(zoom=Zoom(224, 64)))
    data = through_json(encoding.encode_method(method))
    del data["settings"]["zoom"]["largest_size"]
    assert encoding.decode_method(data) == method


def test_no_memory_is_promised_to_scales_and_biases() -> None:
    base = Base(None, variables=np.ones((2, 3), np.float32))
    data = through_json(encoding.encode_refinement(Refinement(base=base)))
    data["base"]["variables_shape"] = [10**6, 10**6]
    with pytest.raises(ValueError, match="more than there can be"):
        encoding.decode_refinement(data)
