from __future__ import annotations

import copy
import json
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_fbrs.errors import InputError, ModelFileError
from napari_fbrs.models.checkpoint import FORMAT, ModelSettings, fingerprint, load_checkpoint, save_model
from napari_fbrs.models.deeplab import DeepLab, DeepLabArchitecture
from napari_fbrs.models.hrnet import HRNetArchitecture

CPU = torch.device("cpu")
SMALL = DeepLabArchitecture("resnet18", 8, stages=2, output_stride=16, rates=(1, 2, 3), norm_radius=100.0)
SETTINGS = ModelSettings(target_size=96, min_crop_size=24, largest_size=128)
OPCODES = [opcode.code.encode("latin1") for opcode in pickletools.opcodes]


@pytest.fixture(scope="module")
def network() -> DeepLab:
    torch.manual_seed(0)
    return SMALL.build().eval()


@pytest.fixture
def file(network: DeepLab, tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    save_model(path, network, "small", SETTINGS)
    return path


def rewritten(path: Path, tensors: dict[str, torch.Tensor] | None = None, **metadata: Any) -> Path:
    """Change a model file's tensors and metadata; None removes a metadatum."""
    with safetensors.safe_open(path, framework="pt") as opened:
        state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        known = opened.metadata() | metadata
    known = {key: value for key, value in known.items() if value is not None}
    path.write_bytes(safetensors.torch.save(state | (tensors or {}), metadata=known))
    return path


def test_round_trip(network: DeepLab, file: Path):
    model = load_checkpoint(file, CPU)
    assert (model.name, model.settings, model.device) == ("small", SETTINGS, CPU)
    assert model.network.architecture == SMALL
    assert not model.network.training
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    loaded, saved = model.network.state_dict(), network.state_dict()
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(loaded[key], saved[key]) for key in saved)


def test_round_trip_of_the_other_family(tmp_path: Path):
    torch.manual_seed(2)
    network, path = HRNetArchitecture(2, 3, small=True, norm_radius=50.0).build().eval(), tmp_path / "hrnet.safetensors"
    save_model(path, network, "hrnet", SETTINGS, half=True)
    model = load_checkpoint(path, CPU)
    assert (model.name, model.settings, model.network.architecture) == ("hrnet", SETTINGS, network.architecture)
    image, points = torch.rand(1, 3, 32, 32), torch.tensor([[[3.0, 4.0], [-1.0, -1.0]]])
    network.load_state_dict({key: value.half() for key, value in network.state_dict().items()})
    torch.testing.assert_close(model.network(image, points), network(image, points).detach())


def test_a_loaded_model_can_be_saved_again(file: Path, tmp_path: Path):
    model = load_checkpoint(file, CPU)
    path = tmp_path / "again.safetensors"
    save_model(path, model.network, model.name, model.settings)
    again = load_checkpoint(path, CPU)
    assert (again.name, again.settings, again.network.architecture) == ("small", SETTINGS, SMALL)
    saved = model.network.state_dict()
    assert all(torch.equal(value, saved[key]) for key, value in again.network.state_dict().items())


def test_round_trip_in_half_precision(network: DeepLab, file: Path, tmp_path: Path):
    path = tmp_path / "half.safetensors"
    save_model(path, network, "half", SETTINGS, half=True)
    assert path.stat().st_size < 0.6 * file.stat().st_size
    loaded = load_checkpoint(path, CPU).network.state_dict()
    for key, saved in network.state_dict().items():
        assert loaded[key].dtype == saved.dtype
        expected = saved.half().float() if saved.is_floating_point() else saved
        assert torch.equal(loaded[key], expected)


def test_weights_too_large_for_half_precision_are_refused(network: DeepLab, tmp_path: Path):
    large = copy.deepcopy(network)
    large.state_dict()["rgb_conv.0.bias"][0] = -70000
    path = tmp_path / "large.safetensors"
    with pytest.raises(InputError, match=r"rgb_conv\.0\.bias holds values up to 70000, and float16 ends at 65504"):
        save_model(path, large, "large", SETTINGS, half=True)
    assert not path.exists()
    save_model(path, large, "large", SETTINGS)
    assert float(load_checkpoint(path, CPU).network.state_dict()["rgb_conv.0.bias"][0]) == -70000


def test_notes_are_kept_and_cannot_hide_what_is_needed(network: DeepLab, tmp_path: Path):
    path = tmp_path / "noted.safetensors"
    save_model(path, network, "noted", SETTINGS, notes={"licence": "CC0", "format": "nonsense"})
    with safetensors.safe_open(path, framework="pt") as opened:
        assert opened.metadata()["licence"] == "CC0"
        assert opened.metadata()["format"] == FORMAT
    assert load_checkpoint(path, CPU).name == "noted"


def test_the_fingerprint_is_that_of_the_bytes(file: Path, tmp_path: Path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(file.read_bytes())
    assert fingerprint(copy) == fingerprint(file) == load_checkpoint(copy, CPU).fingerprint
    copy.write_bytes(b"abc")
    assert fingerprint(copy) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_published_state_dict_is_read(tmp_path: Path):
    torch.manual_seed(1)
    network = DeepLabArchitecture("resnet34", 8).build()
    path = tmp_path / "resnet34_dh8.pth"
    state = network.state_dict() | {"something.else": torch.zeros(3)}  # loaded non-strictly, as published
    torch.save(state, path)
    model = load_checkpoint(path, CPU)
    assert (model.name, model.settings) == ("resnet34_dh8", ModelSettings(400, 200))
    assert model.network.architecture == DeepLabArchitecture("resnet34", 8)
    assert all(torch.equal(value, state[key]) for key, value in model.network.state_dict().items())


def test_a_state_dict_without_batch_counters_is_read(network: DeepLab, tmp_path: Path):
    path = tmp_path / "old.pth"
    state = OrderedDict((k, v) for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked"))
    torch.save(state, path)
    assert load_checkpoint(path, CPU, SMALL).network.architecture == SMALL


def test_missing_files(tmp_path: Path):
    with pytest.raises(ModelFileError, match=r"no model file at .*nowhere\.safetensors"):
        load_checkpoint(tmp_path / "nowhere.safetensors", CPU)
    with pytest.raises(ModelFileError, match="no model file"):
        load_checkpoint(tmp_path, CPU)


def test_files_far_too_large(tmp_path: Path):
    path = tmp_path / "large.pth"
    with path.open("wb") as opened:
        opened.truncate(2**31 + 1)  # sparse: takes no room
    with pytest.raises(ModelFileError, match="larger than 2 GiB"):
        load_checkpoint(path, CPU)


@pytest.mark.parametrize("share", [0.0, 0.00005, 0.01, 0.5, 0.999])
def test_truncated_safetensors(file: Path, share: float):
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError, match="not a complete safetensors file"):
        load_checkpoint(file, CPU)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_pickles(network: DeepLab, tmp_path: Path, share: float):
    path = tmp_path / "cut.pth"
    torch.save(network.state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError, match="could not be read as weights only"):
        load_checkpoint(path, CPU, SMALL)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@given(st.lists(st.one_of(st.binary(max_size=3), st.sampled_from(OPCODES)), max_size=12).map(b"".join))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_is_refused(tmp_path: Path, content: bytes):
    for prefix in (b"", b"\x80\x02"):  # the beginning of a pickle
        path = tmp_path / "noise.pth"
        path.write_bytes(prefix + content)
        with pytest.raises(ModelFileError):
            load_checkpoint(path, CPU)


class Code:
    """Runs when it is unpickled carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_refused_and_not_run(network: DeepLab, tmp_path: Path, zipped: bool):
    trace, path = tmp_path / "was run", tmp_path / "code.pth"
    torch.save(network.state_dict() | {"extra": Code(trace)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelFileError, match="holding code, which is never run"):
        load_checkpoint(path, CPU, SMALL)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Code(trace)))  # the trap works
    assert trace.exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([1, 2], "holds list"),
        ({"epoch": 3}, "holds dict"),
        (torch.zeros(3), "holds Tensor"),
        ({3: torch.zeros(2)}, "holds dict"),
    ],
)
def test_pickles_of_something_else(tmp_path: Path, content: Any, found: str):
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(ModelFileError, match=found):
        load_checkpoint(path, CPU)


@pytest.mark.parametrize("found", [None, "napari-fbrs model 99"])
def test_other_formats(file: Path, found: str | None):
    with pytest.raises(ModelFileError, match=f"says format {found!r}; this version reads"):
        load_checkpoint(rewritten(file, format=found), CPU)


def test_safetensors_without_metadata(tmp_path: Path):
    path = tmp_path / "bare.safetensors"
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(2)}))
    with pytest.raises(ModelFileError, match="says format None"):
        load_checkpoint(path, CPU)


def described(**changes: Any) -> str:
    known = {"family": "deeplab", "backbone": "resnet18", "channels": 8, "stages": 2, "output_stride": 16}
    return json.dumps(known | {"rates": [1, 2, 3], "norm_radius": 100.0} | changes)


@pytest.mark.parametrize(
    "architecture",
    [
        None,
        "",
        "{",
        pytest.param("[" * 100_000, id="nested"),
        "[]",
        "3",
        '"deeplab"',
        "{}",
        described(family="hrnet"),
        described(family="unet"),
        described(family=[]),
        described(family=None),
        described(backbone="resnet99"),
        described(backbone=None),
        described(backbone=[]),
        described(stages=5),
        described(stages=0),
        described(output_stride=32),
        described(output_stride="16"),
        described(channels=-1),
        described(channels=0),
        described(channels="8"),
        described(channels=10**12),
        described(rates=3),
        described(rates=[1, 2]),
        described(rates=[1, 2, 0]),
        described(norm_radius=0),
        described(norm_radius="wide"),
        described(colour="red"),
    ],
)
def test_descriptions_that_fit_no_network(file: Path, architecture: str | None):
    with pytest.raises(ModelFileError, match=file.name):
        load_checkpoint(rewritten(file, architecture=architecture), CPU)


@pytest.mark.parametrize(
    "settings_",
    [
        *(None, "", "[]", "3", '{"target_size": 0}', '{"min_crop_size": -5}', '{"target_size": "a"}', '{"a": 1}'),
        *('{"target_size": 96, "largest_size": 95}', '{"largest_size": "a"}', '{"largest_size": 1e9}'),
    ],
)
def test_settings_that_fit_no_model(file: Path, settings_: str | None):
    with pytest.raises(ModelFileError, match=file.name):
        load_checkpoint(rewritten(file, settings=settings_), CPU)


HUGE = [
    {"family": "deeplab", "backbone": "resnet101", "channels": 4096},
    {"family": "hrnet", "width": 256, "ocr": 1024},
]


@pytest.mark.parametrize("huge", HUGE, ids=lambda huge: huge["family"])
def test_a_description_of_a_huge_network_makes_none(file: Path, huge: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", lambda *_, **__: pytest.fail("weights were made"))
    with pytest.raises(ModelFileError, match=file.name):
        load_checkpoint(rewritten(file, architecture=json.dumps(huge)), CPU)


def test_weights_stay_when_the_file_changes(network: DeepLab, file: Path):
    loaded = load_checkpoint(file, CPU).network.state_dict()
    with file.open("r+b") as opened:
        opened.write(bytes(file.stat().st_size))
    assert all(torch.equal(value, loaded[key]) for key, value in network.state_dict().items())


def test_published_files_of_the_other_family_are_read(tmp_path: Path):
    torch.manual_seed(3)
    network, path = HRNetArchitecture(3, 5).build(), tmp_path / "hrnet3_ocr5.pth"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)
    model = load_checkpoint(path, CPU)
    assert (model.name, model.network.architecture) == ("hrnet3_ocr5", HRNetArchitecture(3, 5))
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in model.network.state_dict().items())


def test_numbers_too_large_for_the_network_are_refused(network: DeepLab, tmp_path: Path):
    path = tmp_path / "wide.pth"
    torch.save(network.state_dict() | {"head.layers.2.bias": torch.tensor([1e300], dtype=torch.float64)}, path)
    with pytest.raises(ModelFileError, match=r"head\.layers\.2\.bias holds NaN or infinite values"):
        load_checkpoint(path, CPU, SMALL)


def test_missing_tensors(network: DeepLab, tmp_path: Path):
    path = tmp_path / "lacking.pth"
    state = network.state_dict()
    del state["head.layers.2.weight"]
    torch.save(state, path)
    with pytest.raises(ModelFileError, match=r"lacking.pth lacks 1 of \d+ tensors, among them head\.layers\.2\.weight"):
        load_checkpoint(path, CPU, SMALL)


def test_tensors_of_another_shape(file: Path):
    with pytest.raises(ModelFileError, match=r"head\.layers\.2\.bias has shape \(2,\), expected \(1,\)"):
        load_checkpoint(rewritten(file, {"head.layers.2.bias": torch.zeros(2)}), CPU)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_no_numbers(file: Path, bad: float):
    with pytest.raises(ModelFileError, match=r"head\.layers\.2\.bias holds NaN or infinite values"):
        load_checkpoint(rewritten(file, {"head.layers.2.bias": torch.tensor([bad])}), CPU)


@pytest.mark.parametrize("sizes", [(True, 24), (96, False), (96, 24, True), (1, 1, True), (0, 24), (96, 24, 95)])
def test_settings_are_sizes(sizes: tuple[Any, ...]):
    with pytest.raises(ValueError, match=r"is no size (in pixels|from \d+ on)"):
        ModelSettings(*sizes)
