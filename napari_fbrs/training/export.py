"""From a run folder to a model file and its card."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from napari_fbrs.errors import InputError
from napari_fbrs.models.checkpoint import ModelSettings, fingerprint, save_model
from napari_fbrs.models.deeplab import DeepLab
from napari_fbrs.training.config import TrainingConfig
from napari_fbrs.training.loop import read_log
from napari_fbrs.training.state import Checkpoint

CARD = "MODEL_CARD.md"
_MIN_CROP = 64  # pixels; training seldom zooms further in


def export(run_folder: Path, path: Path, name: str | None = None) -> None:
    """Write the averaged weights of a run as a model file, and a model card beside it.

    Parameters
    ----------
    run_folder : Path
        A run with a checkpoint; it may be going on.
    path : Path
        The ``.safetensors`` file to write, in half precision. The card is ``MODEL_CARD.md`` in the same folder.
    name : str, optional
        The model's name; that of the file by default.

    Raises
    ------
    InputError
        If the folder holds no run, or one without a checkpoint.
    """
    config = TrainingConfig.load(run_folder)
    checkpoint = Checkpoint.read(run_folder)
    if checkpoint is None:
        raise InputError(f"{run_folder} holds no checkpoint yet")
    network = checkpoint.architecture.build()
    network.load_state_dict(checkpoint.average)
    samples = checkpoint.batches * config.batch
    name = name or path.stem
    settings = ModelSettings(target_size=config.crop, min_crop_size=_MIN_CROP)
    notes = {"samples": str(samples), "sources": ", ".join(Path(spec.path).stem for spec in config.sources)}
    save_model(path, network, name, settings, half=True, notes=notes)
    card = model_card(name, config, samples, read_log(run_folder), network, fingerprint(path))
    (path.parent / CARD).write_text(card)


def model_card(
    name: str,
    config: TrainingConfig,
    samples: int,
    log: list[dict[str, Any]],
    network: DeepLab,
    sha256: str,
) -> str:
    """Return the model card, Markdown.

    Parameters
    ----------
    name : str
        The model's name.
    config : TrainingConfig
        The run.
    samples : int
        Samples seen by the run.
    log : list of dict
        From `napari_fbrs.training.loop.read_log`.
    network : DeepLab
        The model.
    sha256 : str
        Of its file.
    """
    parameters = sum(parameter.numel() for parameter in network.parameters())
    total = sum(spec.weight for spec in config.sources)
    sources = [f"| {Path(spec.path).stem} | {spec.weight / total:.2f} |" for spec in config.sources]
    start = f"the weights of `{Path(config.init).name}`" if config.init else "random weights"
    lines = [
        f"# {name}",
        "",
        f"A network for interactive segmentation by clicks: {parameters / 1e6:.1f} M parameters, in half precision.",
        f"SHA-256 of the file: `{sha256}`.",
        "",
        "## Training",
        f"{samples:,} samples of {config.crop} px crops, batches of {config.batch}, from {start}.",
        f"AdamW, learning rate {config.lr:g} (backbone x{config.backbone_lr_factor:g}), half cosine,",
        f"weight decay {config.weight_decay:g}; weights averaged with decay {config.ema_decay:g}; seed {config.seed}.",
        f"Probability of 0, 1, 2, ... rounds of correcting clicks: {', '.join(f'{p:g}' for p in config.rounds)}.",
        "",
        "| set | share |",
        "|---|---|",
        *sources,
        "",
        *_figures(log, samples),
        "",
        "## Architecture",
        "```json",
        json.dumps(dataclasses.asdict(network.architecture), indent=1),
        "```",
        "",
    ]
    return "\n".join(lines)


def _figures(log: list[dict[str, Any]], samples: int) -> list[str]:
    measured = [line for line in log if line["samples"] <= samples]
    if not measured:
        return ["Not validated."]
    last, clicks = measured[-1], measured[-1]["clicks"]
    rows = [(name, values) for name, values in last["iou"].items()] + [("mean", last["mean_iou"])]
    return [
        f"## Validation after {last['samples']:,} samples",
        "Mean IoU on crops of images kept from training, without f-BRS, flip or zoom.",
        "",
        f"| set | {' | '.join(f'{n} clicks' if n > 1 else '1 click' for n in clicks)} |",
        "|---" * (len(clicks) + 1) + "|",
        *(f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |" for name, values in rows),
    ]
