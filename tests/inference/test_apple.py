"""What Apple's GPU does not know is not asked of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fakes import BrightNetwork, model_of
from skimage import data
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from napari_fbrs import Click, ClickList, Predictor
from napari_fbrs.inference import predictor as predictor_module
from napari_fbrs.inference.settings import PredictorSettings
from napari_fbrs.models.checkpoint import Model
from napari_fbrs.models.network import Features

CPU, MPS = torch.device("cpu"), torch.device("mps")
CLICKS = ClickList.one_by_one([Click(118, 106), Click(140, 106, positive=False)])


class AppleGPU(TorchFunctionMode):
    """Has the CPU stand in for Apple's GPU: tensors moved there, and all made of them, may not become float64."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves = tree_leaves((args, kwargs))
        there = any(isinstance(leaf, Tensor) and hasattr(leaf, "on_apple") for leaf in leaves)
        if func == Tensor.device.__get__:
            return MPS if there else CPU
        if func is Tensor.numpy and there:
            raise TypeError("can't convert mps:0 device type tensor to numpy")
        asked = [CPU] if func is Tensor.cpu else [leaf for leaf in leaves if isinstance(leaf, torch.device)]
        args, kwargs = tree_map_only(torch.device, lambda _: CPU, (args, kwargs or {}))
        out = func(*args, **kwargs)
        if asked:
            there = asked[0] == MPS
            out = out.clone() if args and out is args[0] else out
        for tensor in tree_leaves(out):
            if there and isinstance(tensor, Tensor):
                if tensor.dtype == torch.float64:
                    raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
                tensor.on_apple = True  # type: ignore[attr-defined]
        return out


def test_the_stand_in_refuses_what_the_gpu_does():
    with AppleGPU():
        there = torch.ones(2).to(MPS)
        with pytest.raises(TypeError, match="float64"):
            (there[:1] + 1).double()
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        assert there.device == torch.zeros(2, device=MPS).device == MPS
        assert there.cpu().double().device == CPU


@pytest.mark.parametrize("mode", ["f-BRS-A", "f-BRS-B"])
def test_the_same_masks_there(bundled: Model, mode: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.mps, "synchronize", lambda: None)
    model = bundled.on(CPU)  # nothing remembered
    wanted = [p.mask() for p in _replayed(Predictor(model, mode))]
    with AppleGPU():
        there = model.on(MPS)
        for values in (*there.network.parameters(), *there.network.buffers()):
            values.on_apple = True  # type: ignore[attr-defined]
        found = [p.mask() for p in _replayed(Predictor(there, mode))]
    for cpu, other in zip(wanted, found, strict=True):  # bfloat16 and the order of sums differ
        assert np.count_nonzero(cpu & other) > 0.98 * np.count_nonzero(cpu | other) > 0


@pytest.mark.parametrize("name", ["cpu", "mps", "cuda:1"])
def test_what_a_gpu_is_still_doing_is_time_of_the_stage_that_asked_for_it(name: str, monkeypatch: pytest.MonkeyPatch):
    clock, queue, device = [0.0], [0.0], torch.device(name)

    class Queued(BrightNetwork):
        def embed(self, *args: Any) -> Features:
            clock[0] += 1
            queue[0] += 0 if name == "cpu" else 100
            return super().embed(*args)

    def waited(which: torch.device) -> None:
        assert which == device
        clock[0], queue[0] = clock[0] + queue[0], 0

    monkeypatch.setattr(predictor_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(torch.cuda, "synchronize", waited)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited(MPS))
    network = Queued()
    with monkeypatch.context() as patched:
        to = Tensor.to
        patched.setattr(Tensor, "to", lambda tensor, *args: to(tensor, *(CPU if a == device else a for a in args)))
        predictor = Predictor(replace(model_of(network), device=device), "NoBRS", settings=PredictorSettings())
        prediction = predictor.predict(predictor.prepare(data.coins()), [Click(118, 106)])
    each = 1 if name == "cpu" else 101
    assert prediction.timings == {"read": 0, "embed": each * network.passes, "optimise": 0, "resize": 0}


def _replayed(predictor: Predictor) -> list[Any]:
    return list(predictor.replay(predictor.prepare(data.coins()), CLICKS))
