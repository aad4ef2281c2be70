from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
import torch
from release import NAME, TINY, Release, served

from napari_fbrs import Click, load_model
from napari_fbrs.models import zoo
from napari_fbrs.models.checkpoint import Model, ModelSettings
from napari_fbrs.models.deeplab import DeepLabArchitecture
from napari_fbrs.models.hrnet import HRNetArchitecture
from napari_fbrs.models.network import InteractiveNetwork

# No deadlines: they measure the machine. "search" draws new examples at every run (--hypothesis-profile=search).
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("search", deadline=None, max_examples=1000, print_blob=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of reference material beside the repository."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip("the reference material beside the repository is not there")
    return folder


@pytest.fixture(scope="session")
def parity_tables(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "parity" / "tables.json").read_text())


@pytest.fixture(scope="session")
def manifest(shared: Path) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the shapes of the published architectures' weights by key."""
    path = shared / "parity" / "state_dict_manifest.json"
    if not path.is_file():
        pytest.skip(f"no shapes of the published weights: {path.name}")
    content = json.loads(path.read_text())
    return {name: {key: tuple(shape) for key, shape in shapes.items()} for name, shapes in content.items()}


@dataclass(frozen=True)
class Reference:
    """A network with known weights, and what the published implementation gave with them."""

    model: Model
    data: Mapping[str, npt.NDArray[Any]]

    @property
    def clicks(self) -> list[Click]:
        return [Click(int(row), int(column), bool(positive)) for row, column, positive in self.data["clicks"]]


@pytest.fixture(scope="session")
def parity_resnet34(shared: Path) -> Reference:
    return _reference(shared / "parity" / "resnet34_dh128.npz", DeepLabArchitecture("resnet34", 128).build())


@pytest.fixture(scope="session")
def parity_hrnet18(shared: Path) -> Reference:
    return _reference(shared / "parity" / "hrnet18_ocr64.npz", HRNetArchitecture(18, 64).build())


def _reference(path: Path, network: InteractiveNetwork) -> Reference:
    if not path.is_file():
        pytest.skip(f"no figures of the published implementation: {path.name}")
    with np.load(path) as archive:
        data = {key: archive[key] for key in archive}
    state = network.state_dict()
    for key, value in state.items():
        weight = _reference_weight(key, tuple(value.shape), data)
        state[key] = value if weight is None else torch.from_numpy(weight)
    network.load_state_dict(state)
    network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # as models are loaded
    return Reference(Model("reference", network, ModelSettings(), "reference", torch.device("cpu")), data)


def _reference_weight(
    key: str, shape: tuple[int, ...], data: Mapping[str, npt.NDArray[Any]]
) -> npt.NDArray[np.float32] | None:
    if key.endswith("num_batches_tracked"):
        return None
    if key.endswith(("running_mean", "running_var")):
        return data[f"bn/{key}"]
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if len(shape) == 4:
        return (rng.standard_normal(shape) * np.sqrt(2 / (shape[1] * shape[2] * shape[3]))).astype(np.float32)
    low, high = (0.5, 1.5) if key.endswith("weight") else (-0.2, 0.2)
    return rng.uniform(low, high, shape).astype(np.float32)


@pytest.fixture(scope="session")
def bundled() -> Model:
    return load_model("default", "cpu")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a models folder of the test's own."""
    monkeypatch.setenv("NAPARI_FBRS_MODELS", str(tmp_path / "placed"))
    (tmp_path / "placed").mkdir()
    return tmp_path / "placed"


@pytest.fixture
def release(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Release]:
    """Serve a tiny network in place of the published ones."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(zoo, "PUBLISHED", {NAME: zoo.Published(TINY, 1000)})
    with served(tmp_path / "w.pth") as server:
        monkeypatch.setattr(zoo, "RELEASE", server.address)
        yield server
