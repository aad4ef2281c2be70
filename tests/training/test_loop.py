from __future__ import annotations

import argparse
import dataclasses
import json
import logging
from pathlib import Path

import imageio.v3
import numpy as np
import pytest
import torch

from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError, ModelFileError
from napari_fbrs.evaluation.datasets import LabelledImage
from napari_fbrs.models.zoo import load_model
from napari_fbrs.training.batches import ClickDataset, batch_points, batch_shape, draw_crop, load_batches
from napari_fbrs.training.command import add_arguments, configured, run
from napari_fbrs.training.config import SourceSpec, TrainingConfig
from napari_fbrs.training.export import CARD, export
from napari_fbrs.training.loop import learning_rate, read_log, train
from napari_fbrs.training.precision import choose_precision
from napari_fbrs.training.shards import Shards
from napari_fbrs.training.state import initial_network


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_sample_is_decided_by_its_number(config: TrainingConfig):
    first, again = ClickDataset(config), ClickDataset(config)
    for index in (0, 17, 3):
        one, other = first[index], again[index]
        np.testing.assert_array_equal(one.crop.image, other.crop.image)
        assert one.clicks == other.clicks
    assert first[1].crop.image.tobytes() != first[2].crop.image.tobytes()


def test_a_batch_has_one_shape_and_shapes_vary(config: TrainingConfig, in_folder):
    config = in_folder(config, "x", crop=64)
    shapes = {batch_shape(config, index) for index in range(40)}
    assert shapes == {(64, 64), (48, 64), (64, 48)}
    for index, batch in enumerate(load_batches(config, 0, 3)):
        assert tuple(batch.image.shape) == (4, 3, *batch_shape(config, index))
        assert tuple(batch.target.shape) == (4, *batch_shape(config, index))


def test_what_a_worker_cannot_read_is_said_in_one_line(config: TrainingConfig, in_folder, tmp_path: Path):
    names = [f"{i}.png" for i in range(8)]
    for part, side in (("images", 9), ("labels", 8)):
        (tmp_path / "cells" / part).mkdir(parents=True)
        for name in names:
            imageio.v3.imwrite(tmp_path / "cells" / part / name, np.ones((side, side), np.uint8))
    wrong = in_folder(config, "x", sources=(SourceSpec(str(tmp_path / "cells")),), workers=1)
    with pytest.raises(InputError, match=r"^.*cells: labels/\d\.png has shape \(8, 8\), its image \(9, 9\)$"):
        next(iter(load_batches(wrong, 0, 1)))


def test_half_the_batches_are_larger_where_that_is_wanted(config: TrainingConfig, in_folder):
    usual, larger = in_folder(config, "x", crop=64), in_folder(config, "x", crop=64, largest_crop=128)
    shapes = [batch_shape(larger, index) for index in range(200)]
    sides = [max(shape) for shape in shapes]
    assert set(sides) == {64, 96, 128}
    assert 70 < sides.count(64) < 130
    assert set(shapes) >= {(128, 128), (96, 128), (128, 96)}
    unchanged = [index for index, side in enumerate(sides) if side == 64]
    assert [shapes[index] for index in unchanged] == [batch_shape(usual, index) for index in unchanged]
    image = next(iter(load_batches(larger, 0, 1))).image
    assert tuple(image.shape[2:]) == shapes[0]


@pytest.mark.parametrize("largest", [64, 32, 100])
def test_the_largest_crop_is_larger(config: TrainingConfig, in_folder, largest: int):
    with pytest.raises(InputError, match="larger than 64, and a multiple of 32"):
        in_folder(config, "x", crop=64, largest_crop=largest)


def test_points_of_a_batch_are_padded():
    points = batch_points([[Click(1, 2)], [Click(3, 4), Click(5, 6), Click(7, 8, positive=False)]])
    assert points.tolist() == [[[1, 2], [-1, -1], [-1, -1], [-1, -1]], [[3, 4], [5, 6], [7, 8], [-1, -1]]]


def test_images_without_objects():
    empty = LabelledImage(np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), np.int32))
    with pytest.raises(InputError, match="no object"):
        draw_crop(np.random.default_rng(0), lambda: empty, 1, (32, 32))


def test_training_learns(config: TrainingConfig, in_folder):
    rows, columns = np.mgrid[:32, :32]
    disc = (rows - 15) ** 2 + (columns - 15) ** 2 < 81
    image = torch.from_numpy(np.where(disc, 205, 55).astype(np.float32) / 255).expand(1, 3, -1, -1)
    points = torch.tensor([[[15.0, 15.0], [-1.0, -1.0]]])
    network = train(in_folder(config, "learns", samples=400)).network.eval()
    with torch.no_grad():
        logits = network(image, points)[0, 0].numpy()
    # Measured: 0.0 before, and 0.5 to 1.1 after training from four different seeds. (The loss weighs what is still
    # wrong and the masks of so small a network depend on the seed: neither is a measure.)
    assert logits[disc].mean() - logits[~disc].mean() > 0.25


@pytest.mark.parametrize("shards", [1, 2])
def test_a_resumed_run_is_the_uninterrupted_one(config: TrainingConfig, in_folder, monkeypatch, shards: int):
    if shards > 1:  # threads share the generator that decides dropout
        monkeypatch.setattr(torch.nn.Dropout, "forward", lambda _, x: x)
    settings = {"samples": 32, "shards": shards}
    whole = train(in_folder(config, "whole", **settings))
    train(in_folder(config, "parts", **settings), max_steps=3)
    resumed = train(in_folder(config, "parts", **settings))
    assert whole.batches == resumed.batches == 8
    assert same_weights(whole.network, resumed.network)
    assert same_weights(whole.average, resumed.average)


def test_steps_after_the_last_checkpoint_are_forgotten(config: TrainingConfig, in_folder, monkeypatch):
    settings = {"samples": 32, "validate_every": 4}
    whole = in_folder(config, "whole", **settings)
    train(whole)
    killed = in_folder(config, "killed", **settings)
    train(killed, max_steps=3)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("napari_fbrs.training.state.Checkpoint.write", dies)
        with pytest.raises(KeyboardInterrupt):
            train(killed, max_steps=2)
    assert read_log(killed.folder)[-1]["samples"] == 20
    train(killed)
    figures = [[(line["samples"], line["iou"]) for line in read_log(one.folder)] for one in (killed, whole)]
    assert figures[0] == figures[1]
    assert [samples for samples, _ in figures[0]] == list(range(0, 33, 4))


def test_the_schedule_may_be_changed_on_resume(config: TrainingConfig, in_folder):
    train(in_folder(config, "run", samples=64), max_steps=2)
    assert train(in_folder(config, "run", samples=16)).batches == 4


def test_a_guide_is_added_and_learns(config: TrainingConfig, in_folder):
    plain = initial_network(dataclasses.replace(config, guided=False))
    start = initial_network(config)
    assert not plain.takes_prior
    assert start.takes_prior
    image, points = torch.rand(1, 3, 32, 32), torch.tensor([[[15.0, 15.0], [-1.0, -1.0]]])
    with torch.no_grad():  # a new guide is silent
        told = start.eval()(image, points, torch.ones(1, 1, 32, 32))
        torch.testing.assert_close(plain.eval()(image, points), told, rtol=0, atol=1e-5)
    trained = train(in_folder(config, "guided", samples=16)).network
    assert trained.guide.project.weight.any()
    kept = in_folder(config, "kept", samples=8, guided=False)
    assert not train(kept).network.takes_prior


@pytest.mark.parametrize("options", [{"late": True}, {"stages": 4}, {"output_stride": 8, "late": True}], ids=str)
def test_other_architectures_learn_too(config: TrainingConfig, in_folder, options: dict):
    run = in_folder(config, "other", samples=8, init=None, **options)
    before, after = initial_network(run), train(run).network
    architecture = after.architecture
    assert {key: getattr(architecture, key) for key in options} == options
    assert architecture.rates == ((12, 24, 36) if architecture.output_stride == 8 else (6, 12, 18))
    moved = {
        key.split(".")[0] for key, value in after.named_parameters() if not torch.equal(value, before.state_dict()[key])
    }
    assert "head" in moved
    assert ("prompts" in moved) == architecture.late


def test_a_model_keeps_its_architecture(config: TrainingConfig):
    for options in ({"late": True}, {"stages": 4}):
        with pytest.raises(InputError, match="keeps its architecture"):
            dataclasses.replace(config, init="default", **options)
    with pytest.raises(InputError, match="1 to 4 stages"):
        dataclasses.replace(config, init=None, stages=5)


def test_learning_rate(config: TrainingConfig):
    rates = [learning_rate(config, step) for step in range(25)]
    assert rates[0] < rates[1] == pytest.approx(config.lr)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] == pytest.approx(0.01 * config.lr)


def test_short_schedules_rise_and_average_in_proportion(config: TrainingConfig, in_folder):
    long = in_folder(config, "x", samples=48_000, batch=24, warm_up=3000, ema_decay=0.998)
    assert (long.steps, long.rise, long.decay) == (2000, 3000, pytest.approx(0.998))
    short = in_folder(config, "x", samples=2000, batch=16, warm_up=3000, ema_decay=0.998)
    assert (short.steps, short.rise, short.decay) == (125, 200, pytest.approx(0.968))
    assert learning_rate(short, 12) == pytest.approx(short.lr)
    assert learning_rate(short, 124) < 0.02 * short.lr
    assert in_folder(config, "x", samples=4).decay == 0  # the weights themselves


def test_fine_tuning_leaves_the_backbone(config: TrainingConfig, in_folder):
    tuned = train(in_folder(config, "tuned", fine_tune=True, samples=8)).network
    start = initial_network(config)
    assert same_weights(tuned.feature_extractor.backbone, start.feature_extractor.backbone)
    assert not same_weights(tuned.head, start.head)


def test_shards_share_weights_but_not_statistics(config: TrainingConfig):
    shards = Shards(initial_network(config), 2)
    first, second = shards.networks
    assert all(a is b for a, b in zip(first.parameters(), second.parameters(), strict=True))
    first.rgb_conv[2].running_mean.fill_(1)
    second.rgb_conv[2].running_mean.fill_(3)
    shards.share_statistics()
    assert (first.rgb_conv[2].running_mean == 2).all()
    assert (second.rgb_conv[2].running_mean == 2).all()
    assert shards.run(lambda _, part: part, 5) == [slice(0, 2), slice(2, 5)]


def test_export_loads_and_describes_itself(config: TrainingConfig, in_folder, tmp_path: Path):
    settings = in_folder(config, "run", samples=8, largest_crop=64)
    state = train(settings)
    export(settings.folder, tmp_path / "discs-model.safetensors")
    model = load_model(tmp_path / "discs-model.safetensors", device="cpu")
    assert model.name == "discs-model"
    assert (model.settings.target_size, model.settings.largest_size) == (32, 64)
    for stored, averaged in zip(model.network.parameters(), state.average.parameters(), strict=True):
        torch.testing.assert_close(stored, averaged, rtol=1e-3, atol=1e-6)
    card = (tmp_path / CARD).read_text()
    assert model.fingerprint in card
    assert "8 samples" in card
    assert "| discs | 1.00 |" in card
    assert "Validation after 8 samples" in card


def test_export_needs_a_checkpoint(config: TrainingConfig, tmp_path: Path):
    with pytest.raises(InputError, match="no training run"):
        export(tmp_path, tmp_path / "a.safetensors")
    config.save()
    with pytest.raises(InputError, match="no checkpoint"):
        export(config.folder, tmp_path / "a.safetensors")


def test_a_backbone_of_arrays_is_a_start(config: TrainingConfig, in_folder, tmp_path: Path):
    scratch = initial_network(in_folder(config, "a", init=None))
    backbone = scratch.feature_extractor.backbone.state_dict()
    np.savez(tmp_path / "backbone.npz", **{key: np.ones_like(value.numpy()) for key, value in backbone.items()})
    network = initial_network(in_folder(config, "b", init=str(tmp_path / "backbone.npz")))
    assert (network.feature_extractor.backbone.conv1.weight == 1).all()
    assert same_weights(network.head, scratch.head)
    np.savez(tmp_path / "other.npz", strange=np.ones(3))
    with pytest.raises(ModelFileError, match="strange"):
        initial_network(in_folder(config, "c", init=str(tmp_path / "other.npz")))
    with pytest.raises(ModelFileError, match="cannot read"):
        initial_network(in_folder(config, "d", init=str(tmp_path / "absent.npz")))


def test_backbones_that_are_damaged_or_of_another_size(config: TrainingConfig, in_folder, tmp_path: Path):
    path = tmp_path / "backbone.npz"
    start = in_folder(config, "a", init=str(path))
    np.savez_compressed(path, weight=np.random.default_rng(0).random((40, 50)))
    whole = path.read_bytes()
    broken = (b"", b"text", whole[: len(whole) // 2], whole[:100] + bytes(1000) + whole[1100:])
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match="cannot read backbone weights from"):
            initial_network(start)
    np.savez(path, np.array(["a word"]))
    with pytest.raises(ModelFileError, match="cannot read backbone weights from"):
        initial_network(start)
    np.savez(path, **{"conv1.weight": np.ones(3)})
    with pytest.raises(ModelFileError, match=r"does not fit the backbone: .*size mismatch for .*conv1\.weight"):
        initial_network(start)


def test_configurations_survive_their_file(config: TrainingConfig):
    config.save()
    assert TrainingConfig.load(config.folder) == config


@pytest.mark.parametrize("wrong", [{"sources": ()}, {"crop": 50}, {"samples": 0}, {"batch": 3, "shards": 2}])
def test_impossible_configurations(config: TrainingConfig, in_folder, wrong):
    with pytest.raises(InputError):
        in_folder(config, "x", **wrong)


def test_precision_by_name():
    assert not choose_precision("cpu", "float32").mixed
    assert choose_precision("cpu", "bfloat16").mixed
    with pytest.raises(InputError, match="precision is"):
        choose_precision("cpu", "int3")


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_the_command_trains_and_resumes(discs: Path, small_model: Path, tmp_path: Path, caplog):
    folder = tmp_path / "run"
    options = {"--init": small_model, "--device": "cpu", "--workers": 0, "--crop": 32, "--batch": 4, "--threads": 1}
    words = [str(folder), *(str(word) for pair in options.items() for word in pair)]
    with caplog.at_level(logging.INFO):
        assert run(parsed(*words, "--samples", "4", "--source", f"{discs}=2")) == 0
        assert run(parsed(str(folder), "--samples", "8")) == 0
    assert "resuming after 4 samples" in caplog.text
    assert json.loads((folder / "config.json").read_text())["samples"] == 8
    assert TrainingConfig.load(folder).sources == (SourceSpec(str(discs), 2.0),)


def test_options_that_make_no_sense(tmp_path: Path):
    with pytest.raises(InputError, match="PATH=WEIGHT"):
        configured(parsed(str(tmp_path), "--source", "a=b"))
    with pytest.raises(InputError, match="at least one source"):
        configured(parsed(str(tmp_path)))
    assert configured(parsed(str(tmp_path), "--source", "a", "--init", "none")).init is None
