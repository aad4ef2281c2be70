from __future__ import annotations

import numpy as np
import pytest

from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.baselines import BASELINES, GrabCut, RandomWalker, Voronoi
from napari_fbrs.evaluation.simulation import Subject, iou, simulate
from napari_fbrs.inference.plane import make_plane

ROWS, COLUMNS = np.indices((60, 80))
DISC = np.hypot(ROWS - 30, COLUMNS - 36) < 16
IMAGE = np.where(DISC, 200, 40).astype(np.uint8) + (ROWS % 3).astype(np.uint8)


@pytest.fixture(params=BASELINES)
def baseline(request: pytest.FixtureRequest) -> Subject:
    if request.param == "grabcut":
        pytest.importorskip("cv2")
    return BASELINES[request.param]()


def test_voronoi_by_hand():
    attempt = Voronoi().start(make_plane(np.zeros((5, 9), np.uint8)))
    mask = attempt([Click(2, 2), Click(2, 6, positive=False)])
    np.testing.assert_array_equal(mask, np.indices((5, 9))[1] < 4)  # column 4 is as near to one as to the other
    alone = attempt([Click(2, 2)])
    expected = ["00000000", "01110000", "11111000", "01110000", "00000000"]
    assert alone[2, 2]
    assert not alone[0, 0]
    assert alone[:, 6:].sum() == 0, expected


@pytest.mark.parametrize("name", ["random-walker", "grabcut"])
def test_a_bright_disc_is_found_by_one_click(name: str):
    if name == "grabcut":
        pytest.importorskip("cv2")
    mask = BASELINES[name]().start(make_plane(IMAGE))([Click(30, 36)])
    assert iou(DISC.astype(int), mask) > 0.95


def test_clicks_are_met(baseline: Subject):
    clicks = [Click(30, 36), Click(10, 70, positive=False), Click(50, 60)]
    mask = baseline.start(make_plane(IMAGE))(clicks)
    assert [bool(mask[click.pixel]) for click in clicks] == [True, False, True]
    assert mask.shape == DISC.shape
    assert mask.dtype == bool


def test_only_negative_clicks_find_nothing(baseline: Subject):
    assert not baseline.start(make_plane(IMAGE))([Click(30, 36, positive=False)]).any()


def test_the_same_clicks_give_the_same_mask(baseline: Subject):
    clicks = [Click(30, 36), Click(10, 70, positive=False)]
    masks = [baseline.start(make_plane(IMAGE))(clicks) for _ in range(2)]
    np.testing.assert_array_equal(*masks)


def test_small_and_large_planes(baseline: Subject, monkeypatch: pytest.MonkeyPatch):
    assert baseline.start(make_plane(np.zeros((1, 1), np.uint8)))([Click(0, 0)]).shape == (1, 1)
    monkeypatch.setattr("napari_fbrs.evaluation.baselines._LONGEST_SIDE", 40)
    mask = baseline.start(make_plane(IMAGE))([Click(30, 36), Click(59, 79, positive=False)])
    assert mask.shape == IMAGE.shape
    assert mask[30, 36]
    if not isinstance(baseline, Voronoi):
        assert iou(DISC.astype(int), mask) > 0.85


def test_they_are_driven_like_predictors(baseline: Subject):
    run = simulate(baseline, make_plane(IMAGE), DISC.astype(int), limit=6)
    assert len(run.clicks) == len(run.ious)
    assert run.ious[-1] > 0.5


def test_opencv_is_named_where_it_is_not_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(InputError, match=r'pip install "napari-fbrs\[evaluation\]"'):
        GrabCut()
    assert RandomWalker()
