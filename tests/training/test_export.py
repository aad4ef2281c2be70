from __future__ import annotations

import errno
import io
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from napari_fbrs.cli import main
from napari_fbrs.errors import InputError
from napari_fbrs.training.config import SourceSpec, TrainingConfig
from napari_fbrs.training.export import CARD, export, model_card
from napari_fbrs.training.loop import LOG, read_log, train
from napari_fbrs.training.origin import Origin, origin_of, remember_origin
from napari_fbrs.training.state import initial_network

OLD_LINE = {
    "samples": 96,
    "time": 1,
    "loss": 0.3,
    "learning_rate": 1e-4,
    "clicks": [1, 3, 5],
    "iou": {"discs": [0.5, 0.6, 0.7]},
    "mean_iou": [0.5, 0.6, 0.7],
}
NEW_LINE = OLD_LINE | {
    "targets": [0.85, 0.9],
    "max_clicks": 10,
    "noc": {"discs": [4.5, 6.25]},
    "mean_noc": [4.5, 6.25],
    "failed": {"discs": [0.2, 0.45]},
    "mean_failed": [0.2, 0.45],
}


def notes_of(path: Path) -> dict[str, str]:
    with safetensors.safe_open(path, framework="pt") as file:
        return file.metadata()


def card_of(config: TrainingConfig, log: list | None = None, origin: Origin | None = None) -> str:
    return model_card("discs", config, 96, log or [], initial_network(config), "abc", origin)


def test_samples_of_the_model_started_from_are_counted(config: TrainingConfig, in_folder, tmp_path: Path):
    first, second = tmp_path / "a" / "first.safetensors", tmp_path / "b" / "second.safetensors"
    train(in_folder(config, "one", samples=8))
    export(tmp_path / "one", first)
    started = in_folder(config, "two", samples=8, init=str(first))
    train(started)
    sha256 = origin_of(started.folder).sha256
    train(in_folder(config, "one", samples=12))
    export(tmp_path / "one", first)  # another file by the same name
    card = export(tmp_path / "two", second).read_text()
    assert notes_of(second)["samples"] == "16"
    assert notes_of(second)["started_from"] == f"first, SHA-256 {sha256}"
    assert f"(SHA-256 `{sha256}`), which had seen 8 samples" in card
    assert "8 samples of 32 px crops" in card
    assert "included: 16." in card


def test_a_run_older_than_its_record(config: TrainingConfig, in_folder, small_model: Path, tmp_path: Path):
    run = in_folder(config, "run", samples=8)
    train(run)
    (run.folder / "origin.json").unlink()
    (run.folder / LOG).write_text(json.dumps(OLD_LINE | {"samples": 8}) + "\n")
    old = json.loads((run.folder / "config.json").read_text())
    del old["tensorboard"]
    (run.folder / "config.json").write_text(json.dumps(old))
    card = export(run.folder, tmp_path / "m.safetensors").read_text()
    assert "from the weights of `small.safetensors`." in card
    assert "| discs | 0.500 | 0.600 | 0.700 |" in card
    assert notes_of(tmp_path / "m.safetensors")["samples"] == "8"
    assert train(in_folder(config, "run", samples=12)).batches == 3  # and it goes on
    assert [line["samples"] for line in read_log(run.folder)] == [8, 12]


def test_what_is_remembered_of_a_start(config: TrainingConfig, in_folder):
    run = in_folder(config, "run", init="default")
    run.folder.mkdir()
    remember_origin(run)
    assert origin_of(run.folder).samples > 0
    remember_origin(in_folder(config, "run", init=None))
    assert origin_of(run.folder) is None


def settings_of(path: Path) -> dict[str, int | None]:
    return json.loads(notes_of(path)["settings"])


def test_a_fine_tuned_model_sees_large_objects_as_its_start_does(config: TrainingConfig, in_folder, tmp_path: Path):
    first, second = tmp_path / "a" / "first.safetensors", tmp_path / "b" / "second.safetensors"
    larger = in_folder(config, "one", samples=8, largest_crop=64)
    train(larger)
    card = export(larger.folder, first).read_text()
    assert "8 samples of 32 px crops (half the batches: larger ones, up to 64 px), batches" in card
    assert settings_of(first)["largest_size"] == 64
    tuned = in_folder(config, "two", samples=8, init=str(first), fine_tune=True)
    train(tuned)
    assert "8 samples of 32 px crops, batches" in export(tuned.folder, second).read_text()
    assert settings_of(second) == settings_of(first)


@pytest.mark.parametrize(("crop", "largest"), [(224, 320), (384, 384)])
def test_crops_as_large_as_those_trained_on_stay_so(config: TrainingConfig, in_folder, crop: int, largest: int):
    run = in_folder(config, "run", samples=2, batch=2, init="default", crop=crop)
    train(run)
    export(run.folder, run.folder / "m.safetensors")
    assert settings_of(run.folder / "m.safetensors")["largest_size"] == largest


def test_the_card_tells_what_the_model_was_trained_on(config: TrainingConfig, in_folder):
    sources = (SourceSpec("data/cells.v2", 3), SourceSpec("data/nuclei.zip", 2), SourceSpec("scenes", 5))
    card = card_of(in_folder(config, "x", sources=sources, rounds=(0.5, 0.3, 0.2), damaged_share=0.15))
    assert "| cells.v2 | 0.30 |\n| nuclei | 0.20 |\n| scenes | 0.50 |" in card
    assert "procedural" in card
    assert "correcting clicks: 0.5, 0.3, 0.2." in card
    assert "15% of the samples start from a damaged mask" in card
    assert "Outlines moved by up to 1 px" in card
    assert "25% start from a mask, and clicks each" in card
    assert "Not validated." in card
    assert "Fine-tuned" not in card


def test_the_card_of_a_plain_network_tells_of_no_guide(config: TrainingConfig, in_folder):
    card = card_of(in_folder(config, "x", guided=False, init=None, fine_tune=True))
    assert "damaged" not in card
    assert "Guided" not in card
    assert "procedural" not in card
    assert "from random weights." in card
    assert "Fine-tuned" in card


def test_the_card_holds_the_last_validation(config: TrainingConfig):
    later = NEW_LINE | {"samples": 200}
    card = card_of(config, [OLD_LINE, NEW_LINE, later])
    assert "Validation after 96 samples" in card
    assert "| set | 1 click | 3 clicks | 5 clicks | NoC@85 | NoC@90 | not 0.85 in 10 | not 0.9 in 10 |" in card
    assert "| discs | 0.500 | 0.600 | 0.700 | 4.50 | 6.25 | 20% | 45% |" in card
    assert "| mean | 0.500 | 0.600 | 0.700 | 4.50 | 6.25 | 20% | 45% |" in card
    old = card_of(config, [OLD_LINE])
    assert "| set | 1 click | 3 clicks | 5 clicks |\n" in old
    assert "NoC" not in old


def test_cards_of_two_models_in_one_folder(config: TrainingConfig, in_folder, tmp_path: Path):
    train(in_folder(config, "run", samples=8))
    cards = [export(tmp_path / "run", tmp_path / f"{name}.safetensors").name for name in ("a", "b", "a")]
    assert cards == [CARD, "b.md", CARD]
    assert (tmp_path / CARD).read_text().startswith("# a\n")
    assert (tmp_path / "b.md").read_text().startswith("# b\n")


def test_a_card_takes_the_place_of_nothing_else(config: TrainingConfig, in_folder, tmp_path: Path, capsys):
    train(in_folder(config, "run", samples=8))
    others = {CARD: b"# other\n", "cells.md": b"# cells\n\nmy notes\n", "cells-2.md": "# Größe".encode("latin-1")}
    for name, content in others.items():
        (tmp_path / name).write_bytes(content)
    for _ in range(2):
        assert main(["train", str(tmp_path / "run"), "--export", str(tmp_path / "cells.safetensors")]) == 0
        assert f"cells-3.md written; the {CARD} there is none of this model" in capsys.readouterr().out
    assert {name: (tmp_path / name).read_bytes() for name in others} == others
    assert (tmp_path / "cells-3.md").read_text().startswith("# cells\n")
    assert not (tmp_path / "cells-4.md").exists()


def test_a_card_is_written_and_read_alike_everywhere(config: TrainingConfig, in_folder, tmp_path: Path, monkeypatch):
    train(in_folder(config, "run", samples=8))
    monkeypatch.setattr(io, "text_encoding", lambda encoding, _level=2: encoding or "ascii")  # as where LC_ALL is C
    cards = [export(tmp_path / "run", tmp_path / f"{name}.safetensors") for name in ("细胞", "细胞", "zellen")]
    assert [card.name for card in cards] == [CARD, CARD, "zellen.md"]
    assert (tmp_path / CARD).read_bytes().startswith("# 细胞".encode())
    (tmp_path / CARD).write_bytes("# Größe\n".encode("latin-1"))
    assert export(tmp_path / "run", tmp_path / "cells.safetensors").name == "cells.md"


def test_a_model_needs_its_suffix(config: TrainingConfig, tmp_path: Path):
    with pytest.raises(InputError, match=r"\.safetensors, not as 'model\.pth'"):
        export(config.folder, tmp_path / "model.pth")


@pytest.mark.parametrize("found", [b"", b"notes", safetensors.torch.save({"a": torch.zeros(2)})], ids=len)
def test_what_is_no_model_of_ours_is_not_replaced(config: TrainingConfig, in_folder, tmp_path: Path, found: bytes):
    train(in_folder(config, "run", samples=4))
    path = tmp_path / "m.safetensors"
    path.write_bytes(found)
    with pytest.raises(InputError, match="holds no model of this program"):
        export(tmp_path / "run", path)
    assert path.read_bytes() == found
    assert not (tmp_path / CARD).exists()


def test_a_model_is_replaced_whole_or_not_at_all(config: TrainingConfig, in_folder, tmp_path: Path, monkeypatch):
    train(in_folder(config, "run", samples=4))
    path = tmp_path / "models" / "m.safetensors"
    export(tmp_path / "run", path)
    export(tmp_path / "run", path, "other")
    assert notes_of(path)["name"] == "other"
    before = path.read_bytes()

    def fills_the_disk(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(Path, "write_bytes", fills_the_disk)
    with pytest.raises(InputError, match=r"cannot write .*m\.safetensors: no space left"):
        export(tmp_path / "run", path)
    assert path.read_bytes() == before
    assert {file.name for file in path.parent.iterdir()} == {"m.safetensors", "m.md", CARD}
