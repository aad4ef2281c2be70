"""What a prediction is, and what the next one continues from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from napari_fbrs.clicks import Click
from napari_fbrs.inference.contradictions import contradicted
from napari_fbrs.inference.first_look import Expected
from napari_fbrs.inference.optimizer import Evaluation, Variables
from napari_fbrs.inference.plane import Crop
from napari_fbrs.inference.prior import Implied, Prior
from napari_fbrs.models.network import resize


@dataclass(frozen=True, eq=False)
class State:
    """What the next prediction of an object continues from; a value, never changed.

    Parameters
    ----------
    crop : Crop or None
        The part last zoomed in on; None before that.
    variables : ndarray of float32, one axis, or None
        Scales and biases of f-BRS, or an input's bias; None before the first optimisation. They belong to the mode
        they were found in, and are not used where their number is not that of the mode's own.
    box : Crop or None
        Bounding box of the mask; None when it is empty: the next prediction looks for the object anew.
    prior : Prior or None
        The mask so far, as the network is shown it; stays what it was from the last click shown to the network on.
    expected : Expected or None
        What is known of the object's size; for the first look at it.
    implied : Implied or None
        What a mask says that was there before the first click.
    last : Prior or None
        What was predicted last, as large as the network's input: where, and at what size, a bias of pixels belongs.

    Raises
    ------
    ValueError
        If the variables have more axes than one.
    """

    crop: Crop | None = None
    variables: Variables | None = None
    box: Crop | None = None
    prior: Prior | None = None
    expected: Expected | None = None
    implied: Implied | None = None
    last: Prior | None = None

    def __post_init__(self) -> None:
        if self.variables is not None and self.variables.ndim != 1:
            raise ValueError(f"variables have one axis, these have the shape {self.variables.shape}")


@dataclass(frozen=True, eq=False)
class Prediction:
    """The probability map after some clicks, and what the next prediction continues from.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the plane.
    crop : Crop
        The part that was looked at; the probability is 0 outside.
    network_probability : ndarray of float32, shape of the network's input
        Probabilities of the crop before they are brought back to its size.
    clicks : tuple of Click
        What was predicted from.
    state : State
        To be handed to the next prediction.
    timings : mapping of str to float
        Seconds by stage: read, embed, optimise, resize.
    evaluations : tuple of Evaluation
        Of the optimiser, in order; empty where it did not run.
    """

    shape: tuple[int, int]
    crop: Crop
    network_probability: npt.NDArray[np.float32]
    clicks: tuple[Click, ...]
    state: State
    timings: dict[str, float] = field(default_factory=dict)
    evaluations: tuple[Evaluation, ...] = ()
    packed: tuple[float, npt.NDArray[np.uint8]] | None = None  # a threshold, and the crop's mask at it as bits

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        kept = [self.network_probability, self.state.variables, self.packed and self.packed[1]]
        if self.state.prior is not None and self.state.prior.probability is not self.network_probability:
            kept.append(self.state.prior.probability)
        return sum(part.nbytes for part in kept if part is not None)

    @property
    def crop_probability(self) -> npt.NDArray[np.float32]:
        """Probabilities in [0, 1] of the crop, in pixels of the plane; computed at each call."""
        if self.network_probability.shape == self.crop.shape:
            return self.network_probability.copy()
        tensor = torch.from_numpy(self.network_probability)[None, None]
        probability: npt.NDArray[np.float32] = resize(tensor, self.crop.shape)[0, 0].numpy()
        return probability

    @property
    def probability(self) -> npt.NDArray[np.float32]:
        """Probabilities in [0, 1] of the plane; computed at each call."""
        probability = np.zeros(self.shape, dtype=np.float32)
        probability[self.crop.slices] = self.crop_probability
        return probability

    def crop_mask(self, threshold: float = 0.5) -> npt.NDArray[np.bool_]:
        """Return which pixels of the crop have a probability above `threshold`."""
        if self.packed is None or self.packed[0] != threshold:
            return self.crop_probability > threshold
        rows, columns = self.crop.shape
        return np.unpackbits(self.packed[1], count=rows * columns).reshape(rows, columns).view(bool)

    def mask(self, threshold: float = 0.5) -> npt.NDArray[np.bool_]:
        """Return which pixels of the plane have a probability above `threshold`."""
        mask = np.zeros(self.shape, dtype=bool)
        mask[self.crop.slices] = self.crop_mask(threshold)
        return mask

    def contradicted(self, mask: npt.NDArray[np.bool_]) -> tuple[int, ...]:
        """Return the positions, in `clicks`, of those that a mask of the crop contradicts."""
        return contradicted(self.clicks, mask, self.crop)

    @property
    def unmet(self) -> tuple[int, ...]:
        """Positions, in `clicks`, of those that the mask at 0.5 contradicts."""
        return self.contradicted(self.crop_mask())
