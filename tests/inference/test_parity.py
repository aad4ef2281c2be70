"""What the published implementation gave with the same weights, image and clicks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from napari_fbrs.inference.optimizer import Objective, Optimum, Variables
from napari_fbrs.inference.plane import Crop, make_plane
from napari_fbrs.inference.prediction import Prediction
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import PredictorSettings
from napari_fbrs.inference.zoom import Zoom

PUBLISHED = {"full": PredictorSettings(zoom=None), "zoom": PredictorSettings()}


@pytest.fixture(scope="module")
def predicted(parity_resnet34: Any) -> Callable[[str, str, int], list[Prediction]]:
    """Return a function that gives the predictions after the first so many clicks, computing each once."""
    known: dict[tuple[str, str], list[Prediction]] = {}
    predictors: dict[tuple[str, str], Predictor] = {}
    pixels = parity_resnet34.data["image"]
    plane = make_plane(pixels)

    def predict(mode: str, view: str, count: int) -> list[Prediction]:
        predictor = predictors.setdefault(
            (mode, view), Predictor(parity_resnet34.model, mode, settings=PUBLISHED[view])
        )
        results = known.setdefault((mode, view), [])
        if mode == "NoBRS" and view == "zoom" and not results:  # nothing is zoomed in on until the third click
            results += predict(mode, "full", 2)
        while len(results) < count:
            state = results[-1].state if results else None
            results.append(predictor.predict(plane, parity_resnet34.clicks[: len(results) + 1], state))
        return results[:count]

    return predict


def crop_of(crop: Crop | None) -> list[int]:
    return [-1] * 4 if crop is None else [crop.row_min, crop.row_max, crop.column_min, crop.column_max]


@pytest.mark.parametrize("view", PUBLISHED)
def test_without_refinement_every_click_agrees(parity_resnet34, predicted, view: str):
    results = predicted("NoBRS", view, 4)
    for index, prediction in enumerate(results):
        expected = f"NoBRS/{view}/{index}"
        np.testing.assert_allclose(
            prediction.probability, parity_resnet34.data[f"{expected}/prob"].astype(np.float32), rtol=0, atol=2e-3
        )
        assert crop_of(prediction.state.crop) == parity_resnet34.data[f"{expected}/roi"].tolist()
    assert (results[-1].state.crop is None) is (view == "full")


@pytest.mark.parametrize("view", PUBLISHED)
@pytest.mark.parametrize("mode", ["f-BRS-B", "f-BRS-C"])
def test_the_first_optimisation_agrees(parity_resnet34, predicted, mode: str, view: str):
    first, second = predicted(mode, view, 2)
    expected = f"{mode}/{view}/1"
    evaluations = parity_resnet34.data[f"{expected}/loss_gradnorm"]
    start = second.evaluations[0]
    assert first.evaluations == ()
    np.testing.assert_allclose([start.loss, start.gradient_norm], evaluations[0], rtol=1e-3)
    assert len(second.evaluations) == len(evaluations)
    np.testing.assert_allclose(
        second.probability, parity_resnet34.data[f"{expected}/prob"].astype(np.float32), rtol=0, atol=2e-3
    )


@pytest.mark.parametrize(
    ("mode", "view"), [("f-BRS-A", "full"), ("f-BRS-A", "zoom"), ("RGB-BRS", "full"), ("DistMap-BRS", "full")]
)
def test_the_first_evaluation_agrees(parity_resnet34, predicted, monkeypatch: pytest.MonkeyPatch, mode: str, view: str):
    def only_the_start(objective: Objective, start: Variables) -> Optimum:
        objective(start.astype(np.float64))
        _, variables = objective.best
        return Optimum(objective.logits(torch.from_numpy(variables)), variables, tuple(objective.evaluations))

    # Where the path goes from there is chaotic in the last bits.
    monkeypatch.setattr("napari_fbrs.inference.predictor.optimise", only_the_start)
    _, second = predicted(mode, view, 2)
    (start,) = second.evaluations
    expected = parity_resnet34.data[f"{mode}/{view}/1/loss_gradnorm"][0]
    assert crop_of(second.state.crop) == parity_resnet34.data[f"{mode}/{view}/1/roi"].tolist()
    np.testing.assert_allclose([start.loss, start.gradient_norm], expected, rtol=1e-3)


@pytest.mark.parametrize(("mode", "count"), [("f-BRS-B", 2), ("f-BRS-C", 3)])
def test_crops_agree(parity_resnet34, predicted, mode: str, count: int):
    results = predicted(mode, "zoom", count)
    shape = parity_resnet34.data["image"].shape[:2]
    # The crop of the click after these is decided before its optimisation, which need not run.
    state, zoom = results[-1].state, Zoom()
    following = zoom.choose(state.crop, state.box, parity_resnet34.clicks[: count + 1], shape)
    found = [crop_of(crop) for crop in (*(prediction.state.crop for prediction in results), following)]
    assert found == [parity_resnet34.data[f"{mode}/zoom/{index}/roi"].tolist() for index in range(count + 1)]
