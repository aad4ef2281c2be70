from __future__ import annotations

import dataclasses
from pathlib import Path

import imageio.v3
import numpy as np
import pytest
import torch

from napari_fbrs.models.checkpoint import ModelSettings, save_model
from napari_fbrs.models.deeplab import DeepLabArchitecture
from napari_fbrs.training.config import SourceSpec, TrainingConfig

SMALL = DeepLabArchitecture("resnet18", 8, stages=2, output_stride=16, rates=(1, 2, 3))


def write_discs(folder: Path, count: int, size: int = 64) -> Path:
    """Write images of bright discs on dark ground with their labels."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    for index in range(count):
        labels = np.zeros((size, size), np.uint8)
        for label in (1, 2):
            row, column = rng.integers(12, size - 12, 2)
            labels[(rows - row) ** 2 + (columns - column) ** 2 < rng.integers(6, 12) ** 2] = label
        image = (40 + 150 * (labels > 0) + rng.integers(0, 30, labels.shape)).astype(np.uint8)
        for part, content in (("images", image), ("labels", labels)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            imageio.v3.imwrite(folder / part / f"{index:03}.png", content)
    return folder


@pytest.fixture(scope="session")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data") / "discs", 20)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SMALL.build()
    save_model(path, network, "small", ModelSettings(64, 32))
    return path


@pytest.fixture
def config(discs: Path, small_model: Path, tmp_path: Path) -> TrainingConfig:
    return TrainingConfig(
        (SourceSpec(str(discs)),),
        str(tmp_path / "run"),
        init=str(small_model),
        samples=96,
        batch=4,
        crop=32,
        lr=5e-3,
        backbone_lr_factor=1.0,
        warm_up=8,
        ema_decay=0.9,
        rounds=(0.5, 0.5),
        validate_every=10_000,
        validation_images=2,
        device="cpu",
        precision="float32",
        workers=0,
        threads=1,
    )


@pytest.fixture
def in_folder(tmp_path: Path):
    """Return a configuration's copy that runs elsewhere."""
    return lambda config, name, **changes: dataclasses.replace(config, run_folder=str(tmp_path / name), **changes)
