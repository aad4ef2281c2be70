from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from napari_fbrs.models.precision import fast_bfloat16


def test_a_torch_without_mkldnn_is_not_asked_for_its_operators(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    assert fast_bfloat16(torch.device("cpu")) is False


@pytest.mark.parametrize(("name", "fast"), [("cuda:0", False), ("cuda:1", True)])
def test_the_gpu_that_is_meant_is_asked(monkeypatch: pytest.MonkeyPatch, name: str, fast: bool):
    current = [0]

    class Chosen:
        def __init__(self, device: torch.device) -> None:
            self.index = device.index

        def __enter__(self) -> None:
            current.append(self.index)

        def __exit__(self, *_: Any) -> None:
            current.pop()

    monkeypatch.setattr(torch.cuda, "device", Chosen)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: current[-1] == 1)
    assert fast_bfloat16(torch.device(name)) is fast


def test_apples_gpu_computes_in_float32():
    assert fast_bfloat16(torch.device("mps")) is False
