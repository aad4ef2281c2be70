"""Looks of an image that should not matter: colour, contrast, light, sharpness, noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_Image = npt.NDArray[np.float32]
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def augment(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return an image with a random choice of changes; no pixel moves.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    rng : numpy.random.Generator
        Decides everything.
    """
    steps: tuple[tuple[float, Callable[[_Image, np.random.Generator], _Image]], ...] = (
        (0.10, grey),
        (0.10, permuted_channels),
        (0.08, mixed_channels),
        (0.12, inverted),
        (0.20, uneven_light),
        (0.40, contrast),
        (0.30, gamma),
        (0.12, blurred),
        (0.12, gaussian_noise),
        (0.06, shot_noise),
    )
    chosen = rng.random(len(steps)) < [probability for probability, _ in steps]
    if not chosen.any():
        return image
    changed = image.astype(np.float32) * np.float32(1 / 255)
    for (_, step), use in zip(steps, chosen, strict=True):
        if use:
            changed = np.clip(step(changed, rng), 0, 1)
    return (changed * 255 + 0.5).astype(np.uint8)


def grey(image: _Image, rng: np.random.Generator) -> _Image:
    """Return an image without colour."""
    del rng
    return np.repeat((image @ _GREY)[..., None], 3, axis=2)


def permuted_channels(image: _Image, rng: np.random.Generator) -> _Image:
    """Return an image whose channels have changed places."""
    permuted: _Image = image[..., rng.permutation(3)]
    return permuted


def mixed_channels(image: _Image, rng: np.random.Generator) -> _Image:
    """Return an image whose channels are random averages of its channels, as other stains would be."""
    mixed: _Image = image @ rng.dirichlet((1, 1, 1), 3).T.astype(np.float32)
    return mixed


def inverted(image: _Image, rng: np.random.Generator) -> _Image:
    """Return the negative: bright on dark for dark on bright."""
    del rng
    return 1 - image


def contrast(image: _Image, rng: np.random.Generator) -> _Image:
    """Return an image with another range of brightness."""
    factor, shift = np.float32(rng.uniform(0.5, 1.6)), np.float32(rng.uniform(-0.2, 0.2))
    middle = image.mean(dtype=np.float32)
    changed: _Image = (image - middle) * factor + middle + shift
    return changed


def gamma(image: _Image, rng: np.random.Generator) -> _Image:
    """Return an image with another tone curve."""
    curved: _Image = image ** np.float32(np.exp(rng.uniform(-0.7, 0.7)))
    return curved


def blurred(image: _Image, rng: np.random.Generator) -> _Image:
    """Return an image out of focus."""
    sigma = rng.uniform(0.5, 2.0)
    soft: _Image = ndimage.gaussian_filter(image, (sigma, sigma, 0), truncate=2.5)
    return soft


def gaussian_noise(image: _Image, rng: np.random.Generator) -> _Image:
    """Return an image with the noise of a detector, the same in all channels or in each its own."""
    channels = 3 if rng.random() < 0.5 else 1
    noise = rng.standard_normal((*image.shape[:2], channels), dtype=np.float32)
    return image + noise * np.float32(rng.uniform(0.01, 0.1))


def shot_noise(image: _Image, rng: np.random.Generator) -> _Image:
    """Return an image in which brightness is a count of few photons (Gaussian approximation)."""
    photons = np.float32(np.exp(rng.uniform(np.log(20), np.log(500))))
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noisy: _Image = image + noise * np.sqrt(image / photons)
    return noisy


def uneven_light(image: _Image, rng: np.random.Generator) -> _Image:
    """Return an image lit by a smooth field that changes by up to a half on either side."""
    rows, columns = (np.linspace(-1, 1, n, dtype=np.float32) for n in image.shape[:2])
    a, b, c, d = rng.uniform(-0.25, 0.25, 4).astype(np.float32)
    field = 1 + a * rows[:, None] + b * columns + c * rows[:, None] ** 2 + d * columns**2
    lit: _Image = image * field[..., None]
    return lit
