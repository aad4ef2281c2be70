from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from fakes import BrightNetwork, model_of
from torch import Tensor

from napari_fbrs.clicks import Click
from napari_fbrs.errors import MemoryShortageError
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.shortage import lighter_ones
from napari_fbrs.models.checkpoint import ModelSettings, load_checkpoint, save_model
from napari_fbrs.models.deeplab import DeepLabArchitecture
from napari_fbrs.models.network import Cut, Features

SETTINGS = ModelSettings(target_size=240, min_crop_size=240, largest_size=280)
GPU = torch.device("mps")  # stood in for by the CPU; see `gpu`


class LargeNetwork(BrightNetwork):
    """A network that no more than a number of pixels fit into."""

    def __init__(self, room: int, error: Exception) -> None:
        super().__init__()
        self.room, self.error = room, error
        self.sizes: list[tuple[int, int]] = []

    def embed(self, image: Tensor, points: Tensor, cut: Cut = Cut.B, prior: Tensor | None = None) -> Features:
        self.sizes.append((image.shape[2], image.shape[3]))
        if image.shape[2] * image.shape[3] > self.room:
            raise self.error
        return super().embed(image, points, cut, prior)


def bright(side: int = 300) -> np.ndarray:
    image = np.zeros((side, side), dtype=np.uint8)
    image[100:200, 120:180] = 250
    return image


SHORTAGES = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.8 GB). Tried to allocate 512 MB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError("Unable to allocate 3.00 GiB for an array"),
]


@pytest.mark.parametrize("error", SHORTAGES, ids=lambda error: str(error)[:20])
def test_memory_that_runs_out_is_told_as_such(error: Exception):
    predictor = Predictor(model_of(LargeNetwork(0, error), SETTINGS))
    with pytest.raises(MemoryShortageError, match=r"memory has run out .*: close what else takes it up") as raised:
        predictor.predict(predictor.prepare(bright()), [Click(150, 150)])
    assert str(error)[:20] in str(raised.value)


def test_a_defect_is_no_shortage():
    predictor = Predictor(model_of(LargeNetwork(0, RuntimeError("shapes do not match")), SETTINGS))
    with pytest.raises(RuntimeError, match="shapes do not match") as raised:
        predictor.predict(predictor.prepare(bright()), [Click(150, 150)])
    assert not isinstance(raised.value, MemoryShortageError)


def test_the_error_holds_on_to_nothing_of_what_failed():
    """Else what was computed before memory ran out would take up the memory that a lighter predictor needs."""
    held: list[Any] = []

    class Holding(BrightNetwork):
        def embed(self, image: Tensor, *_: Any) -> Features:
            held.append(weakref.ref(image))
            raise torch.OutOfMemoryError("CUDA out of memory")

    predictor = Predictor(model_of(Holding(), SETTINGS))
    with pytest.raises(MemoryShortageError) as raised:
        predictor.predict(predictor.prepare(bright()), [Click(150, 150)])
    gc.collect()
    assert raised.value.__context__ is None
    assert held[0]() is None


def test_on_a_cpu_half_the_resolution_takes_less():
    network = LargeNetwork(130 * 130, MemoryError("no room"))
    ((lighter, told),) = lighter_ones(Predictor(model_of(network, SETTINGS), "NoBRS"))
    assert "half the size" in told
    assert lighter.mode == "NoBRS"
    prediction = lighter.predict(lighter.prepare(bright()), [Click(150, 150)])
    assert max(network.sizes[-1]) == 120
    np.testing.assert_array_equal(prediction.mask()[110:190, 130:170], True)
    assert not prediction.mask()[:90].any()
    assert lighter.method.settings.zoom.target_size == 120  # a replay looks as coarsely
    second = lighter.predict(lighter.prepare(bright()), [Click(150, 150), Click(120, 130)], prediction.state)
    assert max(second.network_probability.shape) == 120


def test_what_is_small_already_is_not_halved():
    assert list(lighter_ones(Predictor(model_of(BrightNetwork(), ModelSettings(90, 20))))) == []


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have the CPU stand in for a GPU wherever tensors go to it; return what else is asked of it."""
    asked: list[str] = []
    for name in ("synchronize", "empty_cache"):
        monkeypatch.setattr(torch.mps, name, partial(asked.append, name))
    to = torch.Tensor.to

    def on_the_cpu(tensor: Tensor, *args: Any, **options: Any) -> Tensor:
        return to(tensor, *("cpu" if arg == GPU else arg for arg in args), **options)

    monkeypatch.setattr(torch.Tensor, "to", on_the_cpu)
    return asked


def test_from_a_gpu_the_way_leads_to_the_cpu(gpu: list[str]):
    class Refusing(BrightNetwork):
        def embed(self, image: Tensor, points: Tensor, cut: Cut = Cut.B, prior: Tensor | None = None) -> Features:
            if self is on_gpu:
                raise RuntimeError("MPS backend out of memory")
            return super().embed(image, points, cut, prior)

    on_gpu = Refusing()
    before = Predictor(replace(model_of(on_gpu, SETTINGS), device=GPU))
    plane, click = before.prepare(bright()), [Click(150, 150)]
    with pytest.raises(MemoryShortageError, match=r"the device mps has run out.*or compute on the CPU"):
        before.predict(plane, click)
    ladder = lighter_ones(before)
    smaller, told = next(ladder)
    assert gpu.count("empty_cache") == 1
    assert (smaller.model.device, smaller.settings.zoom.target_size) == (GPU, 120)
    assert "CPU" not in told
    with pytest.raises(MemoryShortageError):
        smaller.predict(plane, click)
    on_cpu, told = next(ladder)
    assert gpu.count("empty_cache") == 2
    assert "on the CPU" in told
    assert (on_cpu.model.device.type, on_cpu.settings) == ("cpu", before.settings)
    assert on_cpu.predict(plane, click).mask()[150, 150]
    assert [next(ladder)[0].settings.zoom.target_size, *ladder] == [120]


def test_a_model_moved_computes_the_same(tmp_path):
    torch.manual_seed(0)
    network = DeepLabArchitecture("resnet18", 8, stages=2, output_stride=16, rates=(1, 2, 3), norm_radius=100.0).build()
    save_model(tmp_path / "m.safetensors", network.eval(), "m", SETTINGS)
    model = load_checkpoint(tmp_path / "m.safetensors", torch.device("cpu"))
    moved = model.on(torch.device("cpu"))
    assert moved.network is not model.network
    assert not any(weights.requires_grad for weights in moved.network.parameters())
    image, points = torch.rand(1, 3, 48, 48), torch.tensor([[[3.0, 4.0], [-1.0, -1.0]]])
    for mine, theirs in ((moved.network, model.network), (moved.folded, model.folded)):
        assert torch.equal(mine(image, points), theirs(image, points))
