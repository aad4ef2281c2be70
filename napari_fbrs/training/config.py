"""What a training run was asked to do, as it is written into its folder."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

from napari_fbrs.annotation.output import replacing
from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.files import dataset_name
from napari_fbrs.models.resnet import OUTPUT_STRIDES

CONFIG = "config.json"
_LEAST = {"samples": 1, "crop": 32, "shards": 1, "validate_every": 1, "seed": 0, "threads": 0, "workers": 0}
_LARGEST_SEED = 2**32 - 1  # torch is seeded with a million times as much, which must fit into 64 bits


@dataclass(frozen=True)
class SourceSpec:
    """One set of training images.

    Parameters
    ----------
    path : str
        A zip or a folder, see `napari_fbrs.evaluation.datasets.Source`; or "scenes" for procedural ones.
    weight : float, optional
        Relative share of the samples.

    Raises
    ------
    InputError
        If the weight is not finite and above 0.
    """

    path: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise InputError(f"the weight of {self.path} must be finite and above 0, found {self.weight}")

    @property
    def name(self) -> str:
        """What the source is called."""
        return dataset_name(Path(self.path))


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a run; a run is resumed with the same values.

    Parameters
    ----------
    sources : tuple of SourceSpec
        Where images come from.
    run_folder : str
        Checkpoint, log and configuration are kept here.
    init : str or None
        A model (name or path) to start from, or an ``.npz`` of backbone weights in torchvision's names. None: random.
    stages : {1, 2, 3, 4}
    output_stride : {8, 16}
    late : bool
        Of a network that does not start from a model, see `napari_fbrs.models.deeplab.DeepLabArchitecture`.
    fine_tune : bool
        Keep the backbone as it is: for a few images of one kind.
    samples : int
        Length of the schedule; may be changed when resuming.
    batch : int
        Samples a step.
    crop : int
        Longer side of the crops, in pixels.
    largest_crop : int or None
        Half the batches have crops larger than that, up to this; None: none has. A model trained so is shown large
        objects in more detail, see `napari_fbrs.models.checkpoint.ModelSettings`.
    min_area : int
        Objects of fewer pixels are not chosen where an image has larger ones.
    lr, backbone_lr_factor, weight_decay : float
        AdamW; the backbone learns at ``lr * backbone_lr_factor``.
    warm_up : int
        Samples over which the learning rate rises; at most a tenth of the schedule, see `rise`.
    ema_decay : float
        Of the averaged weights, per step; less where the schedule is short, see `decay`.
    clip : float
        Largest norm of a gradient.
    rounds : tuple of float
        Probability of 0, 1, 2, ... rounds of correcting clicks.
    guided : bool
        Whether the network is given a guide, if it has none yet: it then sees the mask it is to correct.
    damaged_share : float
        Share of the samples that start from a damaged mask and a click that corrects it, where there is a guide.
    corrected_share : float
        Share of those that start from a mask and several clicks, each of which has corrected what is around it alone
        (but the last, which is still to do so), where there is a guide.
    ambiguity : float
        Pixels of an image by which the outline of an object is moved at most, out or in, everywhere alike or here more
        than there: what the edge of an object is differs between people, labels are not drawn to the pixel, and a
        network that has seen them differ asks the clicks.
    jaccard_weight : float
        Of the soft Jaccard distance, which is added to the normalised focal loss.
    validate_every, validation_images : int
        Samples between validations; images of each source.
    checkpoint_minutes : float
        Time between checkpoints.
    seed : int
        Decides data, clicks and dropout together with a sample's position.
    device : str
        "auto", "cpu", "cuda", ...
    precision : {"auto", "float32", "bfloat16"}
        "auto": bfloat16 where the processor has instructions for it.
    threads : int
        Of the computation on a CPU; 0 leaves torch's choice. Where other work keeps cores busy, 1 is fastest by far:
        threads wait for one another at every layer (see `shards`).
    shards : int
        Parts of a batch that are computed at the same time, each with `threads` threads. Batch norm sees a part at a
        time. With more than one, dropout is no longer decided by the seed.
    workers : int
        Processes that prepare samples; 0 prepares them in the training process.
    cache_mb : int
        Memory for decoded images, in MiB, shared by sources and workers.
    tensorboard : bool
        Whether figures are written for TensorBoard, too.

    Raises
    ------
    InputError
        If a value cannot be used, or two of them not together.
    """

    sources: tuple[SourceSpec, ...]
    run_folder: str
    init: str | None = "default"
    stages: int = 3
    output_stride: int = 16
    late: bool = False
    fine_tune: bool = False
    samples: int = 100_000
    batch: int = 16
    crop: int = 224
    largest_crop: int | None = None
    min_area: int = 24
    lr: float = 5e-4
    backbone_lr_factor: float = 0.15
    weight_decay: float = 1e-3
    warm_up: int = 3_000
    ema_decay: float = 0.998
    clip: float = 1.0
    rounds: tuple[float, ...] = (0.4, 0.25, 0.2, 0.15)
    guided: bool = True
    damaged_share: float = 0.15
    corrected_share: float = 0.25
    ambiguity: float = 1.0
    jaccard_weight: float = 0.5
    validate_every: int = 8_000
    validation_images: int = 20
    checkpoint_minutes: float = 3.0
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    shards: int = 1
    workers: int = 1
    cache_mb: int = 1500
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if not self.sources:
            raise InputError("training needs at least one source of labelled images")
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, found {getattr(self, name)}")
        if self.seed > _LARGEST_SEED:
            raise InputError(f"seed must be at most {_LARGEST_SEED}, found {self.seed}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise InputError(f"lr must be finite and above 0, found {self.lr}")
        if self.crop % 32:
            raise InputError(f"crop must be a multiple of 32, found {self.crop}")
        if self.largest_crop is not None and (self.largest_crop <= self.crop or self.largest_crop % 32):
            raise InputError(f"the largest crop must be larger than {self.crop}, and a multiple of 32")
        if self.stages not in range(1, 5) or self.output_stride not in OUTPUT_STRIDES:
            raise InputError(f"a network has 1 to 4 stages and an output stride of {OUTPUT_STRIDES}")
        if self.starts_from_model and (self.stages, self.output_stride, self.late) != (3, 16, False):
            raise InputError(
                "a run that starts from a model keeps its architecture: give an .npz of a backbone, or 'none'"
            )
        if self.batch < 2 * self.shards:
            raise InputError(f"batch norm needs at least 2 samples in each of the {self.shards} parts of a batch")

    @property
    def starts_from_model(self) -> bool:
        """Whether it starts from a whole model, rather than from a backbone or from nothing."""
        return self.init is not None and not self.init.endswith(".npz")

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.run_folder)

    @property
    def steps(self) -> int:
        """Steps of the whole schedule."""
        return math.ceil(self.samples / self.batch)

    @property
    def rise(self) -> int:
        """Samples over which the learning rate rises."""
        return min(self.warm_up, self.samples // 10)

    @property
    def decay(self) -> float:
        """Decay of the averaged weights: what they forget lies at most a quarter of the schedule back."""
        return max(0.0, min(self.ema_decay, 1 - 4 / self.steps))

    def save(self) -> None:
        """Write the configuration into the run folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / CONFIG) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def load(cls, folder: Path) -> TrainingConfig:
        """Read the configuration of a run.

        Raises
        ------
        InputError
            If there is none, or it is damaged.
        """
        path = folder / CONFIG
        if not path.is_file():
            raise InputError(f"{folder} is no training run: there is no {CONFIG}")
        try:
            values = json.loads(path.read_text())
            values["sources"] = tuple(SourceSpec(**source) for source in values["sources"])
            values["rounds"] = tuple(values["rounds"])
            return cls(**values)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"{path} is damaged, or of another version ({error}): mend it, or begin a run in another folder"
            ) from error
