"""Faults planted under a session: an error that says what to do, or a mask all the same; clicks are never lost."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import BrightNetwork, DiscPredictor, NaNNetwork, model_of
from torch import Tensor

from napari_fbrs.annotation.history import Place
from napari_fbrs.annotation.image import Image
from napari_fbrs.annotation.journal import read_journal
from napari_fbrs.annotation.recovery import Recorder, header, restore
from napari_fbrs.annotation.session import Session
from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError, MemoryShortageError, PredictionError
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.models.checkpoint import ModelSettings
from napari_fbrs.models.network import Cut, Features

SHAPE = (40, 50)


class ShortNetwork(BrightNetwork):
    """Runs out of memory beyond a number of pixels."""

    room = 10**9

    def embed(self, image: Tensor, points: Tensor, cut: Cut = Cut.B, prior: Tensor | None = None) -> Features:
        if image.shape[2] * image.shape[3] > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().embed(image, points, cut, prior)


def bright_image() -> np.ndarray:
    image = np.zeros((240, 240), dtype=np.uint8)
    image[60:120, 80:160] = 250
    return image


def test_memory_that_runs_out_in_mid_click(caplog: pytest.LogCaptureFixture):
    network = ShortNetwork()
    session = Session(bright_image(), Predictor(model_of(network, ModelSettings(240, 240))))
    session.click(Click(90, 120))
    before = session.labels.read((slice(None),) * 2).copy()
    network.room = 130 * 130
    session.click(Click(100, 150))
    session.click(Click(30, 30, positive=False))
    place = session.place()
    assert session.refinement(place).clicks.flat == (Click(90, 120), Click(100, 150), Click(30, 30, positive=False))
    labels = session.labels.read((slice(None),) * 2)
    assert np.count_nonzero(labels != before) < 0.1 * before.sum()  # coarser, but the object
    assert session.predictor.settings.zoom.target_size == 120
    mask = session.state()[0][2]
    assert mask.method.settings == session.predictor.settings  # a click record says how it was really computed
    assert len([record for record in caplog.records if "memory has run out" in record.message]) == 1
    assert session.undo() is not None


def test_memory_that_never_suffices_is_told_and_loses_nothing():
    network = ShortNetwork()
    network.room = 0
    session = Session(bright_image(), Predictor(model_of(network, ModelSettings(240, 240))))
    with pytest.raises(MemoryShortageError, match="close what else takes it up"):
        session.click(Click(90, 120))
    place = session.place()
    assert session.waiting() == [place]
    assert not session.labels.read((slice(None),) * 2).any()
    network.room = 10**9
    session.update(place)
    assert session.labels.read((90, 120)) == 1


def test_what_is_no_number_is_never_written():
    session = Session(bright_image(), Predictor(model_of(BrightNetwork(), ModelSettings(240, 240))))
    session.click(Click(90, 120))
    before = session.labels.read((slice(None),) * 2).copy()
    session.predictor = Predictor(model_of(NaNNetwork(), ModelSettings(240, 240)))
    with pytest.raises(PredictionError, match="choose another model or device"):
        session.click(Click(100, 150))
    np.testing.assert_array_equal(session.labels.read((slice(None),) * 2), before)
    assert session.refinement(session.place()).clicks.flat == (Click(90, 120), Click(100, 150))


class Vanishing:
    """An array that is read from a file when it is asked for, as lazy ones are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        there = np.load(path)
        self.shape, self.dtype, self.ndim = there.shape, there.dtype, there.ndim

    def __getitem__(self, where: Any) -> np.ndarray:
        return np.load(self.path)[where]


def test_a_file_that_vanishes_and_comes_back(tmp_path: Path):
    path = tmp_path / "image.npy"
    np.save(path, np.stack([bright_image()] * 2))
    session = Session(Image(Vanishing(path)), Predictor(model_of(BrightNetwork(), ModelSettings(240, 240))))
    session.click(Click(90, 120), position=(0,))
    path.rename(tmp_path / "elsewhere.npy")
    with pytest.raises(InputError, match=r"could not be read \(FileNotFoundError: .*image.npy.*and click again"):
        session.click(Click(90, 120), position=(1,))
    (tmp_path / "elsewhere.npy").rename(path)
    place = session.place((1,))
    assert session.waiting() == [place]
    session.update(place)
    assert session.labels.read((1, 90, 120)) == 1


def test_6000_clicks_faster_than_masks_follow(tmp_path: Path):
    """A minute of a click every 10 ms, none of which is computed before the last: all are kept, in little memory."""
    session = Session(np.zeros(SHAPE, np.uint8), DiscPredictor())  # type: ignore[arg-type]
    recorder = Recorder(session, tmp_path, header(session.image, name="flood"), pytest.fail)
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(SHAPE[0], size=6000), rng.integers(SHAPE[1], size=6000)
    clicks = [Click(int(r), int(c), i % 3 > 0) for i, (r, c) in enumerate(zip(rows, columns, strict=True))]
    place = session.place()
    tracemalloc.start()
    for click in clicks:
        session.add(place, [click])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6
    session.update(place)
    assert len(session.predictor.calls) == 1  # type: ignore[attr-defined]
    assert session.refinement(place).clicks.flat == tuple(clicks)
    expected = session.predictor.replayed(session.image.plane(place.plane), session.refinement(place).clicks, 0.5)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(session.labels.read((slice(None),) * 2) == 1, expected)
    recorder.stop(discard=False)
    again = Session(np.zeros(SHAPE, np.uint8), DiscPredictor())  # type: ignore[arg-type]
    restore(again, read_journal(recorder.journal.path)[1])
    assert again.refinement(Place(1, place.plane)).clicks.flat == tuple(clicks)
    np.testing.assert_array_equal(again.labels.read((slice(None),) * 2) == 1, expected)
    assert session.undo() is not None  # still one click a step
    assert len(session.refinement(place).clicks) == 5999
