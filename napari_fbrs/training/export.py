"""From a run folder to a model file and its card."""

from __future__ import annotations

import dataclasses
import json
from itertools import chain, count
from pathlib import Path
from typing import Any

from napari_fbrs.annotation.output import replacing
from napari_fbrs.errors import InputError, ModelFileError
from napari_fbrs.models.checkpoint import FORMAT, ModelSettings, fingerprint, metadata_of, save_model
from napari_fbrs.models.deeplab import DeepLab
from napari_fbrs.training.config import TrainingConfig
from napari_fbrs.training.data import SCENES
from napari_fbrs.training.loop import read_log
from napari_fbrs.training.origin import Origin, origin_of
from napari_fbrs.training.state import Checkpoint

CARD = "MODEL_CARD.md"
_BY_US = "A network for interactive segmentation by clicks"  # what a card begins with, below its heading
_MIN_CROP = 64  # pixels; training seldom zooms further in


def export(run_folder: Path, path: Path, name: str | None = None) -> Path:
    """Write the averaged weights of a run as a model file, and a model card beside it.

    Parameters
    ----------
    run_folder : Path
        A run with a checkpoint; it may be going on.
    path : Path
        The ``.safetensors`` file to write, in half precision; a model that is there is replaced.
    name : str, optional
        The model's name; that of the file by default.

    Returns
    -------
    Path
        The card: ``MODEL_CARD.md`` in the same folder, or where that is none of this model, with the file's name, and a
        number where that is taken as well.

    Raises
    ------
    InputError
        If the folder holds no run, or one without a checkpoint; if `path` is no place for a model, or holds something
        else.
    """
    _check_may_write(path)
    config = TrainingConfig.load(run_folder)
    checkpoint = Checkpoint.read(run_folder)
    if checkpoint is None:
        raise InputError(f"{run_folder} holds no checkpoint yet")
    network = checkpoint.architecture.build()
    network.load_state_dict(checkpoint.average)
    samples = checkpoint.batches * config.batch
    name, origin = name or path.stem, origin_of(run_folder)
    settings = ModelSettings(config.crop, _MIN_CROP, _largest_size(config, origin))
    path.parent.mkdir(parents=True, exist_ok=True)
    log = read_log(run_folder)
    with replacing(path) as temporary:
        save_model(temporary, network, name, settings, half=True, notes=_notes(config, samples, origin))
    card = _card_path(path, name)
    with replacing(card) as temporary:
        text = model_card(name, config, samples, log, network, fingerprint(path), origin)
        temporary.write_text(text, encoding="utf-8")
    return card


def model_card(
    name: str,
    config: TrainingConfig,
    samples: int,
    log: list[dict[str, Any]],
    network: DeepLab,
    sha256: str,
    origin: Origin | None = None,
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
    origin : Origin, optional
        What the run started from.
    """
    parameters = sum(parameter.numel() for parameter in network.parameters())
    lines = [
        f"# {name}",
        "",
        f"{_BY_US}: {parameters / 1e6:.1f} M parameters, in half precision.",
        f"SHA-256 of the file: `{sha256}`.",
        "",
        "## Training",
        *_training(config, samples, network, origin),
        "",
        "| set | share |",
        "|---|---|",
        *_shares(config),
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


def _check_may_write(path: Path) -> None:
    """Raise `InputError` unless a model may be written to a path: where there is none yet, or one to replace."""
    if path.suffix != ".safetensors":
        raise InputError(f"models are written as .safetensors, not as {path.name!r}")
    if not path.exists():
        return
    try:
        found = metadata_of(path).get("format")
    except ModelFileError:
        found = None
    if found != FORMAT:
        raise InputError(f"{path} is there already and holds no model of this program: choose another name")


def _largest_size(config: TrainingConfig, origin: Origin | None) -> int | None:
    """Return up to which size crops stay as they are: as trained, else as for the model that the run started from."""
    largest = config.largest_crop or (origin.largest_size if origin else None)
    return None if largest is None else max(largest, config.crop)


def _notes(config: TrainingConfig, samples: int, origin: Origin | None) -> dict[str, str]:
    """Return what a model file says of its training."""
    notes = {
        "samples": str(samples + (origin.samples if origin else 0)),
        "sources": ", ".join(spec.name for spec in config.sources),
    }
    return notes | ({"started_from": f"{origin.name}, SHA-256 {origin.sha256}"} if origin else {})


def _card_path(path: Path, name: str) -> Path:
    """Return where the card goes, so that it takes the place of nothing but an older card of this model."""
    names = chain([CARD, f"{path.stem}.md"], (f"{path.stem}-{number}.md" for number in count(2)))
    return next(card for card in map(path.with_name, names) if not card.exists() or _is_card(card, name))


def _is_card(path: Path, name: str) -> bool:
    """Return whether a file is a card that was written here, of a model by this name."""
    begins = f"# {name}\n\n{_BY_US}"
    return path.is_file() and path.read_text(encoding="utf-8", errors="replace").startswith(begins)


def _training(config: TrainingConfig, samples: int, network: DeepLab, origin: Origin | None) -> list[str]:
    lines = [
        f"{samples:,} samples of {_crops(config)}, batches of {config.batch}, from {_start(config, origin)}.",
        f"AdamW, learning rate {config.lr:g} (backbone x{config.backbone_lr_factor:g}), half cosine,",
        f"weight decay {config.weight_decay:g}; weights averaged with decay {config.decay:.3g}; seed {config.seed}.",
        f"Normalised focal loss, plus {config.jaccard_weight:g} times the soft Jaccard distance.",
        f"Probability of 0, 1, 2, ... rounds of correcting clicks: {', '.join(f'{p:g}' for p in config.rounds)}.",
    ]
    if config.ambiguity:
        lines.append(f"Outlines moved by up to {config.ambiguity:g} px of the image, everywhere or in parts: where")
        lines.append("an object ends differs between people, and labels are not drawn to the pixel.")
    if origin is not None and origin.samples:
        lines.append(f"Samples seen, those of the model it started from included: {samples + origin.samples:,}.")
    if config.fine_tune:
        lines.append("Fine-tuned: the backbone is that of the model it started from.")
    if network.architecture.guided:
        share = f"{config.damaged_share:.0%} of the samples start" if config.guided else "no sample starts"
        lines.append("Guided: the network is shown its mask so far, which the next click is to correct;")
        lines.append(f"{share} from a damaged mask and a click that corrects it.")
        if config.guided and config.corrected_share:
            share = f"{config.corrected_share:.0%}"
            lines.append(f"{share} start from a mask, and clicks each of which has corrected what is around it alone.")
    return lines


def _crops(config: TrainingConfig) -> str:
    larger = f" (half the batches: larger ones, up to {config.largest_crop} px)" if config.largest_crop else ""
    return f"{config.crop} px crops{larger}"


def _start(config: TrainingConfig, origin: Origin | None) -> str:
    if config.init is None:
        return "random weights"
    if origin is None:
        return f"the weights of `{Path(config.init).name}`"
    kind = "a backbone" if config.init.endswith(".npz") else "the weights"
    seen = f", which had seen {origin.samples:,} samples by its own account" if origin.samples else ""
    return f"{kind} of `{origin.name}` (SHA-256 `{origin.sha256}`){seen}"


def _shares(config: TrainingConfig) -> list[str]:
    total = sum(spec.weight for spec in config.sources)
    rows = [f"| {spec.name} | {spec.weight / total:.2f} |" for spec in config.sources]
    if any(spec.path == SCENES for spec in config.sources):
        rows += ["", f"`{SCENES}` are procedural: computed with exact masks as the run goes, none of them twice."]
    return rows


def _figures(log: list[dict[str, Any]], samples: int) -> list[str]:
    measured = [line for line in log if line["samples"] <= samples]
    if not measured or not measured[-1]["iou"]:
        return ["Not validated."]
    last = measured[-1]
    columns = _columns(last)
    rows = [(name, [values[name] for values, _ in columns.values()]) for name in last["iou"]]
    rows.append(("mean", [mean for _, mean in columns.values()]))
    return [
        f"## Validation after {last['samples']:,} samples",
        "On crops of images kept from training, without f-BRS, flip or zoom: mean IoU after some clicks"
        + (", mean number of clicks to" if "noc" in last else "."),
        *(["an IoU (NoC), and share of the crops in which it was not reached."] if "noc" in last else []),
        "",
        f"| set | {' | '.join(columns)} |",
        "|---" * (len(columns) + 1) + "|",
        *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows),
    ]


def _columns(line: dict[str, Any]) -> dict[str, tuple[dict[str, str], str]]:
    """Return the columns of the table, by heading: a cell for each source, and the mean. Older logs hold no NoC."""
    headings = {"iou": [f"{count} click{'s' * (count != 1)}" for count in line["clicks"]]}
    if "noc" in line:
        headings["noc"] = [f"NoC@{target:.0%}".rstrip("%") for target in line["targets"]]
        headings["failed"] = [f"not {target:g} in {line['max_clicks']}" for target in line["targets"]]
    written = {"iou": "{:.3f}", "noc": "{:.2f}", "failed": "{:.0%}"}
    return {
        heading: (
            {name: written[key].format(values[place]) for name, values in line[key].items()},
            written[key].format(line[f"mean_{key}"][place]),
        )
        for key, names in headings.items()
        for place, heading in enumerate(names)
    }
