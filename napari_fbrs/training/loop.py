"""The training loop: resumable after any interruption, on a CPU or a GPU."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock, Timeout

from napari_fbrs.annotation.line_file import LineFile
from napari_fbrs.annotation.output import replacing
from napari_fbrs.errors import InputError
from napari_fbrs.models.network import InteractiveNetwork
from napari_fbrs.training.batches import Batch, batch_points, load_batches, open_mixture
from napari_fbrs.training.config import CONFIG, TrainingConfig
from napari_fbrs.training.losses import IGNORE, jaccard_distance, normalised_focal_loss
from napari_fbrs.training.origin import ORIGIN, origin_of, remember_origin
from napari_fbrs.training.precision import Precision, choose_precision
from napari_fbrs.training.sampling import correcting_click
from napari_fbrs.training.scalars import Scalars, require_tensorboard
from napari_fbrs.training.shards import Shards
from napari_fbrs.training.state import TrainingState, has_checkpoint, opened_state
from napari_fbrs.training.validation import ValidationSet, as_line, predict, validate, validation_sets

LOG = "log.jsonl"
LOCK = ".training.lock"
TENSORBOARD = "tensorboard"  # folder in that of the run
_LOGGER = logging.getLogger(__name__)
_REPORT_EVERY = 50  # steps, in a log; where somebody looks, after each


def train(config: TrainingConfig, max_steps: int | None = None) -> TrainingState:
    """Train until the schedule ends.

    Parameters
    ----------
    config : TrainingConfig
        What to do. Where its run folder holds a checkpoint, the run goes on from there.
    max_steps : int, optional
        Stop, with a checkpoint, after this many steps of this call.

    Returns
    -------
    TrainingState
        As it is at the end.

    Raises
    ------
    InputError
        If sources or options cannot be used.
    ModelFileError
        If the model to start from cannot be used.

    Notes
    -----
    Sample `i` is decided by the seed and `i`, corrections and dropout by the seed and the step: a resumed run is the
    uninterrupted one, up to the arithmetic of the device (and dropout, with several shards).
    """
    if config.tensorboard:
        require_tensorboard()
    precision = choose_precision(config.device, config.precision)
    open_mixture(config)  # what cannot be used is found here, before it takes the place of what was used so far
    sets = validation_sets(config)
    with _alone_in(config.folder):
        _check_free(config.folder)
        state = opened_state(config, precision.device)
        seen, log = state.batches * config.batch, read_log(config.folder)
        config.save()
        if seen:
            _LOGGER.info("resuming after %d samples", seen)
        else:
            remember_origin(config)
        _forget_after(config.folder, seen, log)
        shards = Shards(state.network, config.shards)
        scalars = Scalars(config.folder / TENSORBOARD if config.tensorboard else None, seen)
        with closing(scalars), _threads(config.threads):
            run = _Run(config, precision, state, sets, shards, scalars)
            run.go(min(config.steps, state.batches + (max_steps if max_steps is not None else config.steps)))
    return state


def learning_rate(config: TrainingConfig, batches: int) -> float:
    """Return the learning rate of a step: a linear rise, then a half cosine down to 1 % at the schedule's end."""
    seen = batches * config.batch
    rise = min(1.0, (seen + config.batch) / max(config.rise, 1))
    progress = min(1.0, max(0.0, (seen - config.rise) / max(config.samples - config.rise, 1)))
    return config.lr * rise * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)


@dataclass
class _Run:
    config: TrainingConfig
    precision: Precision
    state: TrainingState
    sets: list[ValidationSet]
    shards: Shards
    scalars: Scalars

    def go(self, last: int) -> None:
        first = self.state.batches
        if first == 0:
            self._validate(loss=math.nan)
        started = saved = time.monotonic()
        losses: list[float] = []
        for batch in load_batches(self.config, first, last):
            losses.append(self._step(batch))
            done = self.state.batches
            self._report(losses, (time.monotonic() - started) / (done - first))
            if self._crossed(self.config.validate_every) or done == last:
                self._validate(loss=float(np.mean(losses)))
                losses.clear()
            if time.monotonic() - saved > 60 * self.config.checkpoint_minutes or done == last:
                self.state.checkpoint().write(self.config.folder)
                saved = time.monotonic()

    def _step(self, batch: Batch) -> float:
        with _seeded(self.config.seed, self.state.batches, self.precision.device):
            self._correct(batch)
            loss = self._learn(batch)
        self.state.batches += 1
        return loss

    def _correct(self, batch: Batch) -> None:
        """Add to every sample a click where the network is wrong, in a random number of rounds."""
        rng = np.random.default_rng((self.config.seed, 2, self.state.batches))
        rounds = int(rng.choice(len(self.config.rounds), p=self.config.rounds))
        if rounds == 0:
            return
        self.shards.eval()
        seeds = rng.integers(2**32, size=(rounds, len(batch.clicks)))
        for round_seeds in seeds:
            self.shards.run(partial(self._corrected, batch, round_seeds), len(batch.clicks))

    def _corrected(self, batch: Batch, seeds: npt.NDArray[np.int64], network: InteractiveNetwork, part: slice) -> None:
        clicks = batch.clicks[part]
        prior = predict(network, batch.image[part], batch_points(clicks), batch.prior[part], self.precision)
        batch.prior[part] = prior
        masks = prior.numpy() > 127
        for given, mask, truth, seed in zip(clicks, masks, batch.target[part].numpy(), seeds[part], strict=True):
            click = correcting_click(mask, truth == 1, np.random.default_rng(seed), truth != IGNORE)
            given.extend([click] if click else [])

    def _learn(self, batch: Batch) -> float:
        optimizer = self.state.optimizer
        self.shards.train(frozen_backbone=self.config.fine_tune)
        rate = learning_rate(self.config, self.state.batches)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        optimizer.zero_grad(set_to_none=True)
        losses = self.shards.run(partial(self._backward, batch), len(batch.clicks))
        torch.nn.utils.clip_grad_norm_(self.state.network.parameters(), self.config.clip)
        optimizer.step()
        self.shards.share_statistics()
        self.state.follow(self.config.decay)
        return sum(losses)

    def _backward(self, batch: Batch, network: InteractiveNetwork, part: slice) -> float:
        """Add a part's share of the gradients; return its share of the loss."""
        points = batch_points(batch.clicks[part]).to(self.precision.device)
        with self.precision.autocast():
            image, prior = self.precision.image(batch.image[part]), self.precision.prior(batch.prior[part])
            logits = network(image, points, prior)
        target = batch.target[part].to(self.precision.device)
        losses = normalised_focal_loss(logits, target) + self.config.jaccard_weight * jaccard_distance(logits, target)
        loss = losses.sum() / len(batch.clicks)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def _crossed(self, every: int) -> bool:
        seen = self.state.batches * self.config.batch
        return seen // every > (seen - self.config.batch) // every

    def _validate(self, loss: float) -> None:
        started = time.monotonic()
        figures = validate(self.state.average, self.sets, self.precision)
        seen = self.state.batches * self.config.batch
        line = {
            "samples": seen,
            "time": round(time.time()),
            "loss": None if math.isnan(loss) else round(loss, 5),
            "learning_rate": learning_rate(self.config, self.state.batches),
        } | as_line(figures)
        with (self.config.folder / LOG).open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.scalars.write(seen, _scalars(line))
        _LOGGER.info("%s (%.0f s)", _told(line), time.monotonic() - started)

    def _report(self, losses: list[float], seconds_per_step: float) -> None:
        done, config = self.state.batches, self.config
        logged = done % _REPORT_EVERY == 0
        loss = float(np.mean(losses[-_REPORT_EVERY:]))
        speed = config.batch / seconds_per_step
        if logged:
            rate = learning_rate(config, done)
            values = {"training/loss": loss, "training/learning rate": rate, "training/samples a second": speed}
            self.scalars.write(done * config.batch, values)
        _LOGGER.log(
            logging.INFO if logged else logging.DEBUG,
            "%d of %d samples, loss %.4f, %.1f samples/s, %.0f min to go",
            done * config.batch,
            config.samples,
            loss,
            speed,
            (config.steps - done) * seconds_per_step / 60,
            extra={"progress": True},
        )


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log; a last one that was cut off, as by a kill, is left out.

    Raises
    ------
    InputError
        If another line is damaged; names it.
    """
    path = folder / LOG
    lines: list[dict[str, Any]] = []
    try:
        for line in LineFile(path).read():
            if not isinstance(line, dict) or "samples" not in line:
                raise ValueError(f"found {line!r:.40} instead of figures")
            lines.append(line)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}, line {len(lines) + 1}, is damaged ({error}): remove the line") from error
    return lines


def _told(line: dict[str, Any]) -> str:
    """Return a line of the log, for people."""
    if not line["iou"]:
        return "no image was kept from training: nothing to validate on"
    noc, failed = (" / ".join(f"{value:.2f}" for value in line[key]) for key in ("mean_noc", "mean_failed"))
    targets = " / ".join(f"{target:g}" for target in line["targets"])
    return (
        f"IoU after {line['clicks']} clicks: {line['mean_iou']}; clicks to IoU {targets}: {noc}, "
        f"share not there after {line['max_clicks']}: {failed}"
    )


def _scalars(line: dict[str, Any]) -> dict[str, float]:
    """Return a line of the log as numbers by name, for plots."""
    names = {
        "iou": [f"IoU after {count}" for count in line["clicks"]],
        "noc": [f"NoC {target:g}" for target in line["targets"]],
        "failed": [f"failed {target:g}" for target in line["targets"]],
    }
    return {
        f"{name}/{source}": value
        for key, columns in names.items()
        for source, values in (line[key] | ({"mean": line[f"mean_{key}"]} if line[key] else {})).items()
        for name, value in zip(columns, values, strict=True)
    }


def _check_free(folder: Path) -> None:
    """Raise `InputError` where a run that begins would take the place of files that are no run's."""
    if has_checkpoint(folder):
        return
    if (folder / CONFIG).exists():  # of a run that has not come to its first checkpoint, and its other files with it
        TrainingConfig.load(folder)
        origin_of(folder)
        return
    for name in (ORIGIN, LOG):
        if (folder / name).exists():
            raise InputError(f"{folder / name} is there, and belongs to no run: begin the run in another folder")


def _forget_after(folder: Path, samples: int, log: Sequence[dict[str, Any]]) -> None:
    """Keep of a run's log the lines that a resumed run will not write again; at the very start, none."""
    with replacing(folder / LOG) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in log if samples and line["samples"] <= samples))


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Make a run's folder, and make sure that no other process trains in it; leave none that is empty behind."""
    lock, made = FileLock(folder / LOCK), not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"another process trains in {folder}: wait for it, or choose another folder") from error
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)
        if made:
            with suppress(OSError):  # what is not empty stays
                folder.rmdir()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch use this many threads for a while; 0 changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _seeded(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Make dropout a function of the step, and leave torch's generators as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed * 1_000_003 + step)
        yield
