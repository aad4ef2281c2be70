"""The normalised focal loss (Sofiiuk et al. 2019; METHOD section 8), and a soft Jaccard distance beside it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

IGNORE = 255
_GAMMA = 2
_WEIGHT = 0.5


def normalised_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the loss of every sample.

    Parameters
    ----------
    logits : Tensor, shape (B, 1, H, W)
        Any floating type; computed in float32.
    target : Tensor of uint8, shape (B, H, W)
        1 on the object, 0 off it, `IGNORE` where it does not matter.

    Returns
    -------
    Tensor of float32, shape (B,)
        Mean over valid pixels of ``-0.5 w (N / sum(w)) log(pt)`` with pt the probability of the true class and
        ``w = (1 - pt)^2``; the factor ``N / sum(w)`` passes no gradient. 0 where no pixel is valid.
    """
    valid = (target != IGNORE).flatten(1)
    # The logit of the true class: its sigmoid is pt.
    towards = logits.float().flatten(1) * torch.where(target.flatten(1) == 1, 1.0, -1.0)
    weight = torch.sigmoid(-towards).pow(_GAMMA) * valid
    count = valid.sum(dim=1).clamp(min=1)
    with torch.no_grad():
        # Where all is well both sums vanish; the bound keeps their ratio finite.
        factor = count / weight.sum(dim=1).clamp(min=1e-6)
    loss: Tensor = _WEIGHT * factor / count * (weight * functional.softplus(-towards)).sum(dim=1)
    return loss


def jaccard_distance(logits: Tensor, target: Tensor) -> Tensor:
    """Return the soft Jaccard distance of every sample: what the mask at one half is judged by, made smooth.

    The focal loss leaves the probability of what may or may not belong to an object near a half; this term decides it
    so that the expected IoU is largest (Rahman & Wang 2016).

    Parameters
    ----------
    logits : Tensor, shape (B, 1, H, W)
        Any floating type; computed in float32.
    target : Tensor of uint8, shape (B, H, W)
        1 on the object, 0 off it, `IGNORE` where it does not matter.

    Returns
    -------
    Tensor of float32, shape (B,)
        ``1 - sum(p t) / sum(p + t - p t)`` over valid pixels, in [0, 1]; 0 for a sample without an object.
    """
    truth = (target == 1).flatten(1).float()
    probability = torch.sigmoid(logits.float().flatten(1)) * (target != IGNORE).flatten(1)
    shared = (probability * truth).sum(dim=1)
    union = (probability + truth).sum(dim=1) - shared
    distance: Tensor = 1 - shared / union.clamp(min=1e-6)
    return distance * (truth.amax(dim=1) > 0)
