"""What Apple's GPU does not know is not asked of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from napari_fbrs import Click, ClickList, Predictor
from napari_fbrs.models.checkpoint import Model

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
def test_the_same_masks_there(bundled: Model, mode: str):
    model = bundled.on(CPU)  # nothing remembered
    wanted = [p.mask() for p in _replayed(Predictor(model, mode))]
    with AppleGPU():
        there = model.on(MPS)
        for values in (*there.network.parameters(), *there.network.buffers()):
            values.on_apple = True  # type: ignore[attr-defined]
        found = [p.mask() for p in _replayed(Predictor(there, mode))]
    for cpu, other in zip(wanted, found, strict=True):  # bfloat16 and the order of sums differ
        assert np.count_nonzero(cpu & other) > 0.98 * np.count_nonzero(cpu | other) > 0


def _replayed(predictor: Predictor) -> list[Any]:
    return list(predictor.replay(predictor.prepare(data.coins()), CLICKS))
