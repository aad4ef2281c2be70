"""Samples by number, and batches of them: sample `i` of a seed is the same whenever it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from napari_fbrs.clicks import Click, network_points
from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.datasets import LabelledImage, Source
from napari_fbrs.training.augmentation import augment
from napari_fbrs.training.config import TrainingConfig
from napari_fbrs.training.crops import Crop, choose_window, cut
from napari_fbrs.training.data import SCENES, ComputedScenes, Mixture, Pictures
from napari_fbrs.training.priors import damaged, half_corrected
from napari_fbrs.training.sampling import correcting_click, initial_clicks

_ATTEMPTS = 8
_MIN_VISIBLE = 40  # pixels of the crop
_SQUARE_SHARE = 0.5
_LARGER_SHARE = 0.5
_DAMAGED_FIRST_SHARE = 0.3  # of the masks corrected click by click
_ASPECT = 5 / 7  # of the other batches, near that of photographs and micrographs


@dataclass(frozen=True)
class Example:
    """One training sample.

    Parameters
    ----------
    crop : Crop
        Image and object.
    clicks : list of Click
        In pixels of the crop.
    prior : ndarray of bool, shape (rows, columns)
        The mask that the clicks are to correct; empty at the first ones.
    """

    crop: Crop
    clicks: list[Click]
    prior: npt.NDArray[np.bool_]


@dataclass
class Batch:
    """Samples as the network takes them.

    Parameters
    ----------
    image : Tensor of uint8, shape (B, 3, H, W)
    target : Tensor of uint8, shape (B, H, W)
        1 on the object, 0 off it, 255 where it does not matter.
    clicks : list of list of Click
        Of each sample.
    prior : Tensor of uint8, shape (B, H, W)
        Probability before the last click, 255 standing for 1; zeros where there is none.
    """

    image: Tensor
    target: Tensor
    clicks: list[list[Click]]
    prior: Tensor


class ClickDataset(Dataset[Example]):
    """The samples of a run, by number.

    Parameters
    ----------
    config : TrainingConfig
        The run. Files are opened when the first sample is drawn, in the process that draws it.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self._config = config
        self._mixture: Mixture | None = None

    def __getitem__(self, index: int) -> Example:
        """Return sample `index`."""
        if self._mixture is None:
            self._mixture = open_mixture(self._config)
        rng = np.random.default_rng((self._config.seed, index))
        shape = batch_shape(self._config, index // self._config.batch)
        crop = draw_crop(rng, lambda: self._picked(rng), self._config.min_area, shape, self._config.ambiguity)
        crop = replace(crop, image=augment(crop.image, rng))
        guided = self._config.guided
        return draw_example(
            crop, rng, *(guided * s for s in (self._config.damaged_share, self._config.corrected_share))
        )

    def _picked(self, rng: np.random.Generator) -> LabelledImage:
        assert self._mixture is not None
        return self._mixture.pick(rng)


def open_mixture(config: TrainingConfig) -> Mixture:
    """Return the training images of a run.

    Raises
    ------
    InputError
        If a source is not there, or holds no such images.
    """
    for spec in config.sources:
        if spec.path != SCENES and not Path(spec.path).exists():
            raise InputError(f"there is no {spec.path}: a source is a folder or a zip of images/ and labels/")
    share = config.cache_mb * 2**20 // len(config.sources) // max(1, config.workers)  # each worker has its own
    sources: list[Pictures] = [
        ComputedScenes(config.seed) if spec.path == SCENES else Source(Path(spec.path), max_bytes=share)
        for spec in config.sources
    ]
    return Mixture(sources, [spec.weight for spec in config.sources])


def batch_shape(config: TrainingConfig, batch: int) -> tuple[int, int]:
    """Return rows and columns of the crops of a batch: square, lying or standing, and how large."""
    rng = np.random.default_rng((config.seed, 1, batch))
    draw, side = rng.random(), config.crop
    if config.largest_crop is not None and rng.random() < _LARGER_SHARE:
        side = 32 * int(rng.integers(config.crop // 32 + 1, config.largest_crop // 32, endpoint=True))
    short = round(side * _ASPECT / 16) * 16
    if draw < _SQUARE_SHARE:
        return side, side
    return (short, side) if draw < (1 + _SQUARE_SHARE) / 2 else (side, short)


def draw_crop(
    rng: np.random.Generator,
    picture: Callable[[], LabelledImage],
    min_area: int,
    shape: tuple[int, int],
    ambiguity: float = 0.0,
) -> Crop:
    """Return a crop with an object in it.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    picture : callable
        Returns an image to try.
    min_area : int
        See `TrainingConfig`.
    shape : tuple of int
        Rows and columns.
    ambiguity : float, optional
        See `choose_window`.

    Raises
    ------
    InputError
        If no image that was tried has an object.
    """
    best: Crop | None = None
    for _ in range(_ATTEMPTS):
        image = picture()
        label = image.pick_object(rng, min_area)
        if label is None:
            continue
        crop = cut(image, label, choose_window(rng, image, label, shape, ambiguity), shape)
        if crop.mask.sum() >= _MIN_VISIBLE:
            return crop
        if crop.mask.any():
            best = crop
    if best is None:
        raise InputError(f"found no object in {_ATTEMPTS} images: are the labels empty?")
    return best


def draw_example(crop: Crop, rng: np.random.Generator, damaged_share: float, corrected_share: float) -> Example:
    """Return a crop with clicks: the first ones on its object, or those that correct a mask.

    Parameters
    ----------
    crop : Crop
        Image and object.
    rng : numpy.random.Generator
        Decides everything.
    damaged_share : float
        Probability of a damaged mask, and a click that corrects it.
    corrected_share : float
        Probability of a first click, and several that correct a mask one after the other: the object as it was labelled
        where its outline was moved, or a damaged one.
    """
    draw = rng.random()
    if draw < damaged_share:
        prior = damaged(crop.mask, crop.others, rng)
        click = correcting_click(prior, crop.mask, rng)
        if click is not None:
            return Example(crop, [click], prior)
    first = initial_clicks(crop.mask, crop.others, rng)
    if 0 <= draw - damaged_share < corrected_share:
        start = crop.labelled
        if rng.random() < _DAMAGED_FIRST_SHARE or np.array_equal(start, crop.mask):
            start = damaged(crop.mask, crop.others, rng)
        clicks, prior = half_corrected(start, crop.mask, rng)
        if clicks:
            return Example(crop, first + clicks, prior)
    return Example(crop, first, np.zeros_like(crop.mask))


def collate(examples: Sequence[Example]) -> Batch:
    """Return samples of one shape as a batch."""
    images = np.stack([example.crop.image for example in examples])
    masks = np.stack([example.crop.mask for example in examples])
    image = torch.from_numpy(images).permute(0, 3, 1, 2)  # channels last in memory
    prior = np.stack([example.prior for example in examples]).astype(np.uint8) * 255
    clicks = [example.clicks for example in examples]
    return Batch(image, torch.from_numpy(masks.astype(np.uint8)), clicks, torch.from_numpy(prior))


def batch_points(clicks: Sequence[Sequence[Click]]) -> Tensor:
    """Return the clicks of a batch as the networks read them, shape (B, 2N, 2), N that of the sample with most."""
    single = [network_points(sample).reshape(2, -1, 2) for sample in clicks]
    points = np.full((len(single), 2, max(p.shape[1] for p in single), 2), -1, dtype=np.float32)
    for row, sample in zip(points, single, strict=True):
        row[:, : sample.shape[1]] = sample
    return torch.from_numpy(points.reshape(len(single), -1, 2))


class _Numbers(Iterable[list[int]]):
    """Sample numbers, a batch at a time."""

    def __init__(self, first_batch: int, last_batch: int, size: int) -> None:
        self._batches, self._size = range(first_batch, last_batch), size

    def __iter__(self) -> Iterator[list[int]]:
        return (list(range(i * self._size, (i + 1) * self._size)) for i in self._batches)

    def __len__(self) -> int:
        return len(self._batches)


class _Batches(Dataset[Batch | InputError]):
    """Batches by the numbers of their samples; what is wrong, if a sample cannot be had.

    Of an exception that leaves a worker torch raises another, whose message is the traceback.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self._samples = ClickDataset(config)

    def __getitem__(self, numbers: list[int]) -> Batch | InputError:
        try:
            return collate([self._samples[number] for number in numbers])
        except InputError as error:
            return error


def load_batches(config: TrainingConfig, first: int, last: int) -> Iterator[Batch]:
    """Yield batches number `first` to `last` - 1 of a run, prepared ahead in ``config.workers`` processes.

    Raises
    ------
    InputError
        If an image or its labels cannot be used.
    """
    loader = DataLoader(
        _Batches(config),
        batch_size=None,
        sampler=_Numbers(first, last, config.batch),
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch
