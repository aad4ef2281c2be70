"""The same masks on every device there is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data

from napari_fbrs import Click, ClickList, Predictor, load_model

CLICKS = ClickList.one_by_one([Click(118, 106), Click(119, 92), Click(140, 106, positive=False)])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("mode", ["NoBRS", "f-BRS-A", "f-BRS-B", "f-BRS-C"])
def test_cuda_agrees_with_the_cpu(mode):
    _agree("cuda", mode)


@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU")
def test_apple_gpu_agrees_with_the_cpu():
    _agree("mps", "f-BRS-B")


def _agree(device: str, mode: str) -> None:
    masks = []
    for name in ("cpu", device):
        predictor = Predictor(load_model(device=name), mode)
        masks.append([p.mask() for p in predictor.replay(predictor.prepare(data.coins()), CLICKS)])
    for cpu, other in zip(*masks, strict=True):
        assert np.count_nonzero(cpu & other) / np.count_nonzero(cpu | other) > 0.98
