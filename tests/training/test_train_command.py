from __future__ import annotations

import argparse
import io
import logging
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from napari_fbrs import Click, Predictor, load_model
from napari_fbrs.cli import main
from napari_fbrs.errors import InputError, ModelFileError
from napari_fbrs.training.command import add_arguments, configured, run
from napari_fbrs.training.config import SourceSpec, TrainingConfig
from napari_fbrs.training.loop import LOCK, LOG, TENSORBOARD, read_log, train
from napari_fbrs.training.terminal import OneLine, told_on

TINY = ("--device", "cpu", "--workers", "0", "--batch", "2", "--threads", "1")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def shown_of(text: str) -> list[str]:
    """Return what is left on the lines of a terminal."""
    lines = []
    for line in text.split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def test_a_folder_of_images_fine_tunes_the_bundled_model(discs: Path, tmp_path: Path, capsys):
    folder, path = tmp_path / "run", tmp_path / "mine.safetensors"
    words = (str(folder), "--source", str(discs), "--fine-tune", "--samples", "8", "--crop", "64", *TINY)
    assert configured(parsed(*words)).init == "default"
    assert main(["train", *words]) == 0
    assert main(["train", str(folder), "--export", str(path), "--name", "my discs"]) == 0
    assert f"{path} and {tmp_path / 'MODEL_CARD.md'} written" in capsys.readouterr().out
    bundled, tuned = load_model("default", "cpu"), load_model(path, "cpu")
    assert tuned.name == "my discs"
    start, end = (dict(model.network.named_parameters()) for model in (bundled, tuned))
    changed = {name for name in start if not bool((start[name] == end[name]).all())}
    assert changed
    assert not [name for name in changed if "backbone" in name]
    assert f"`{bundled.name}`" in (tmp_path / "MODEL_CARD.md").read_text()
    image = np.zeros((64, 64), np.uint8)
    image[20:40, 20:40] = 200
    predictor = Predictor(tuned)
    assert predictor.predict(predictor.prepare(image), [Click(30, 30)]).probability.shape == (64, 64)


def test_images_none_of_which_is_kept_for_validation(config: TrainingConfig, in_folder, monkeypatch, caplog):
    monkeypatch.setattr("napari_fbrs.evaluation.datasets.is_validation", lambda _source, _name: False)
    quiet = in_folder(config, "run", samples=8)
    with caplog.at_level(logging.INFO):
        train(quiet)
    assert "nothing to validate on" in caplog.text
    assert read_log(quiet.folder)[-1]["mean_iou"] == []


def test_a_name_without_an_export(tmp_path: Path):
    with pytest.raises(InputError, match="--export"):
        run(parsed(str(tmp_path), "--name", "x"))


def test_the_log_holds_clicks_to_an_iou(config: TrainingConfig, in_folder):
    settings = in_folder(config, "run", samples=8)
    train(settings)
    for line in read_log(settings.folder):
        assert line["targets"] == [0.85, 0.9]
        assert all(1 <= count <= 10 for count in line["noc"]["discs"])
        assert all(0 <= share <= 1 for share in line["failed"]["discs"])
        assert line["mean_noc"] == line["noc"]["discs"]


def test_progress_stays_on_one_line_of_a_terminal(config: TrainingConfig, in_folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    with told_on(stream):
        train(in_folder(config, "run", samples=32))
    lines = [line[9:] for line in shown_of(stream.getvalue())]  # without the time of day
    assert [line.split(" clicks: [")[0] for line in lines] == ["IoU after (1, 3, 5)"] * 2 + [""]
    assert len(re.findall(r"min to go *\r", stream.getvalue())) == 8  # a step each, none of them cut off


def test_progress_is_left_alone_when_training_ends_early(config: TrainingConfig, in_folder):
    stream = Terminal()
    with told_on(stream):
        train(in_folder(config, "run", samples=32), max_steps=1)
    with told_on(stream):
        logging.getLogger("napari_fbrs.training.x").info("%d of 9", 4, extra={"progress": True})
    stream.write("shell prompt")
    *_, progress, prompt = shown_of(stream.getvalue())
    assert progress.endswith("4 of 9")
    assert prompt == "shell prompt"


def test_a_log_file_has_a_line_for_each_thing_told():
    stream = io.StringIO()
    logger = logging.getLogger("napari_fbrs.training.x")
    with told_on(stream):
        logger.debug("each step", extra={"progress": True})
        logger.info("each fiftieth", extra={"progress": True})
        logger.info("validated")
    assert [line[24:] for line in stream.getvalue().splitlines()] == ["each fiftieth", "validated"]
    assert not logging.getLogger("napari_fbrs.training").handlers


def test_what_is_told_above_the_progress_leaves_nothing_of_it_behind():
    stream = Terminal()
    handler = OneLine(stream)
    for text, progress in (("a long progress", True), ("told", False), ("a", True), ("b", True)):
        record = logging.makeLogRecord({"msg": text, "progress": progress})
        handler.emit(record)
    handler.finish()
    handler.finish()
    assert shown_of(stream.getvalue()) == ["told", "b", ""]


def test_tensorboard_that_is_not_there(config: TrainingConfig, in_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    wanted = in_folder(config, "run", tensorboard=True)
    with pytest.raises(InputError, match=r"napari-fbrs\[tensorboard\]"):
        train(wanted)
    assert not wanted.folder.exists()  # the next call does not want it any more


def test_figures_for_tensorboard(config: TrainingConfig, in_folder, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr("napari_fbrs.training.loop._REPORT_EVERY", 2)
    settings = in_folder(config, "run", samples=16, tensorboard=True)
    train(settings, max_steps=3)
    train(settings)
    events = EventAccumulator(str(settings.folder / TENSORBOARD)).Reload()
    assert {tag.split("/")[0] for tag in events.Tags()["scalars"]} == {
        "training",
        "IoU after 1",
        "IoU after 3",
        "IoU after 5",
        "NoC 0.85",
        "NoC 0.9",
        "failed 0.85",
        "failed 0.9",
    }
    log = read_log(settings.folder)
    assert [event.step for event in events.Scalars("NoC 0.9/discs")] == [line["samples"] for line in log]
    measured = [event.value for event in events.Scalars("IoU after 3/mean")]
    assert measured == pytest.approx([line["mean_iou"][1] for line in log])
    for name in ("loss", "learning rate", "samples a second"):
        assert [event.step for event in events.Scalars(f"training/{name}")] == [8, 16]


def test_the_option_for_tensorboard_can_be_taken_back(config: TrainingConfig, in_folder):
    train(in_folder(config, "run", samples=8, validation_images=1))
    folder = str(Path(config.run_folder).parent / "run")
    assert configured(parsed(folder, "--tensorboard")).tensorboard
    assert not configured(parsed(folder, "--no-tensorboard")).tensorboard
    assert not configured(parsed(folder)).tensorboard


@pytest.mark.parametrize("refused", [("--source", "other"), ("--device", "cuda:99")])
def test_a_command_that_is_refused_leaves_the_run_as_it_was(config: TrainingConfig, in_folder, refused, capsys):
    run = in_folder(config, "run", samples=8)
    train(run, max_steps=1)
    before = {path: path.read_bytes() for path in run.folder.iterdir()}
    assert main(["train", run.run_folder, *refused]) == 2
    assert {path: path.read_bytes() for path in run.folder.iterdir()} == before
    assert main(["train", run.run_folder]) == 0
    assert read_log(run.folder)[-1]["samples"] == 8


def test_a_command_that_is_refused_begins_no_run(config: TrainingConfig, in_folder):
    with pytest.raises(InputError, match="nowhere"):
        train(in_folder(config, "run", sources=(SourceSpec("nowhere"),)))
    assert not Path(config.run_folder).exists()


def test_a_run_is_trained_by_one_process_at_a_time(begun: Path, capsys):
    before = {path: path.read_bytes() for path in begun.iterdir()}
    with FileLock(begun / LOCK):
        assert main(["train", str(begun)]) == 2
        assert f"another process trains in {begun}: wait for it" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in begun.iterdir() if path.name != LOCK} == before
        assert main(["train", str(begun), "--export", str(begun / "m.safetensors")]) == 0  # while it goes on
    assert main(["train", str(begun)]) == 0
    assert not (begun / LOCK).exists()


FOREIGN = [
    ({"config.json": '{"my": "settings"}', "origin.json": "mine"}, r"config\.json is damaged, or of another version"),
    ({"config.json": "[]"}, r"config\.json is damaged, or of another version"),
    ({"origin.json": '{"name": "a", "sha256": "b"}'}, r"origin\.json is there, and belongs to no run"),
    ({"log.jsonl": '{"samples": 3, "loss": 0.5}\n'}, r"log\.jsonl is there, and belongs to no run"),
]


@pytest.mark.parametrize(("files", "said"), FOREIGN)
def test_a_run_takes_the_place_of_nobody_elses_files(
    config: TrainingConfig, in_folder, files: dict[str, str], said: str
):
    run = in_folder(config, "run", samples=8)
    run.folder.mkdir()
    for name, content in files.items():
        (run.folder / name).write_text(content)
    with pytest.raises(InputError, match=said):
        train(run)
    assert {path.name: path.read_text() for path in run.folder.iterdir()} == files


def test_a_run_killed_before_its_first_checkpoint_begins_again(begun: Path, config: TrainingConfig, in_folder):
    (begun / "checkpoint.pt").unlink()
    (begun / "notes.txt").write_text("mine")
    train(in_folder(config, "run", samples=4))
    assert [line["samples"] for line in read_log(begun)] == [0, 4]
    assert (begun / "notes.txt").read_text() == "mine"


def test_a_run_folder_that_cannot_be(config: TrainingConfig, in_folder, tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"cannot write to .*file"):
        train(in_folder(config, "file"))
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        with pytest.raises(ModelFileError):
            train(in_folder(config, name, init="nowhere.npz"))
    assert (tmp_path / "empty").is_dir()
    assert not (tmp_path / "new").exists()


WRONG = [
    ("--seed", "-1"), ("--seed", "99999999999999"), ("--lr", "nan"), ("--lr", "inf"), ("--lr", "0"),
    ("--workers", "-1"), ("--threads", "-3"), ("--validate-every", "0"),
]  # fmt: skip


@pytest.mark.parametrize(("option", "value"), WRONG)
def test_numbers_that_cannot_be_used(discs: Path, tmp_path: Path, capsys, option: str, value: str):
    assert main(["train", str(tmp_path / "run"), "--source", str(discs), option, value]) == 2
    assert f"{option[2:].replace('-', '_')} must be" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("weight", ["nan", "inf", "0", "-1"])
def test_weights_are_finite_and_above_0(tmp_path: Path, weight: str):
    with pytest.raises(InputError, match="the weight of cells must be finite and above 0"):
        configured(parsed(str(tmp_path), "--source", f"cells={weight}"))


def test_a_source_that_is_not_there(tmp_path: Path, capsys):
    assert main(["train", str(tmp_path / "run"), "--source", str(tmp_path / "missing.zip"), *TINY]) == 2
    assert f"there is no {tmp_path / 'missing.zip'}:" in capsys.readouterr().err


@pytest.fixture
def begun(config: TrainingConfig, in_folder) -> Path:
    """Return the folder of a run that may go on."""
    run = in_folder(config, "run", samples=8)
    train(run, max_steps=1)
    return run.folder


def test_a_line_of_the_log_that_was_cut_off_is_dropped(begun: Path, tmp_path: Path):
    whole = read_log(begun)
    with (begun / LOG).open("a") as log:
        log.write('{"samples": 4, "iou"')
    assert read_log(begun) == whole
    assert main(["train", str(begun), "--export", str(tmp_path / "m.safetensors")]) == 0
    assert main(["train", str(begun)]) == 0
    assert [line["samples"] for line in read_log(begun)] == [0, 4, 8]


CUT = '{"samples": 4, "iou"\n'
DAMAGED = [
    (LOG, CUT, r"log\.jsonl, line 1, is damaged"),
    (LOG, "5\n", r"log\.jsonl, line 1, is damaged"),
    ("config.json", CUT, r"config\.json is damaged"),
    ("config.json", '{"sources": [], "rounds": [], "run_folder": "run", "speed": 3}', r"config\.json .*'speed'"),
    pytest.param("config.json", "[" * 100_000, r"config\.json is damaged", id="nested"),
    ("checkpoint.pt", CUT, r"checkpoint\.pt cannot be read, or is damaged"),
    ("origin.json", CUT, r"origin\.json is damaged"),
]


@pytest.mark.parametrize(("name", "content", "said"), DAMAGED)
def test_what_is_damaged_in_a_run_is_named(begun: Path, tmp_path: Path, capsys, name: str, content: str, said: str):
    (begun / name).write_text(content)
    config = (begun / "config.json").read_bytes()
    assert main(["train", str(begun), "--export", str(tmp_path / "m.safetensors")]) == 2
    assert re.search(said, capsys.readouterr().err)
    if name != "origin.json":  # training does not need it
        assert main(["train", str(begun), "--samples", "12"]) == 2
        assert re.search(said, capsys.readouterr().err)
        assert (begun / "config.json").read_bytes() == config


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_checkpoint_that_was_cut_off(begun: Path, share: float):
    path = begun / "checkpoint.pt"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"checkpoint\.pt .*: put a copy of it in its place, or remove it"):
        run(parsed(str(begun)))


def test_the_help_tells_the_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for name in ("samples", "batch", "crop", "lr", "shards", "workers", "seed", "validate_every"):
        told = said.split(f"--{name.replace('_', '-')} ")[2]  # after the line of usage
        assert f"(default: {getattr(TrainingConfig, name)})" in told.split("--")[0]
    assert "cuda:1, mps" in said


def test_what_a_run_was_begun_with_is_not_changed(discs: Path, tmp_path: Path, capsys):
    folder = tmp_path / "run"
    words = ("train", str(folder), "--source", str(discs), "--samples", "4", "--crop", "64", *TINY)
    assert main([*words, "--init", "none", "--stages", "1"]) == 0
    before = (folder / "config.json").read_bytes()
    assert main([*words, "--init", "default"]) == 2
    assert "was begun with init None" in capsys.readouterr().err
    assert main([*words, "--stages", "2"]) == 2
    assert main([*words, "--batch", "4", "--samples", "8"]) == 2
    assert "was begun with batch 2, not 4: leave that out" in capsys.readouterr().err
    assert (folder / "config.json").read_bytes() == before
    assert main([*words, "--init", "none", "--stages", "1"]) == 0  # as it was begun
