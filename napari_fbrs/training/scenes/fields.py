"""Smooth random fields, and blur that costs the same at any width; both made on coarse grids."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Field = npt.NDArray[np.float32]

_OVERSAMPLING = 2.0  # points of the coarse grid a sigma: linear interpolation between them does not show


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a random number between two, every octave as likely."""
    return float(np.exp(rng.uniform(np.log(low), np.log(max(high, low)))))


def smooth_noise(shape: tuple[int, int], sigma: float | tuple[float, float], rng: np.random.Generator) -> Field:
    """Return noise of mean 0 and deviation 1.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    sigma : float or tuple of float
        Of the Gaussian without finer detail than which the noise is, in pixels; a pair: along rows and columns.
    rng : numpy.random.Generator
        Decides everything.
    """
    widths = np.broadcast_to(np.asarray(sigma, dtype=float), 2)
    factors = np.maximum(widths / _OVERSAMPLING, 1)
    coarse_shape = np.ceil(np.array(shape) / factors).astype(int) + 3
    noise = rng.standard_normal(coarse_shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, widths / factors, mode="wrap", truncate=3)
    noise -= noise.mean()
    noise /= max(float(noise.std()), 1e-6)
    return _resampled(noise, shape, (float(factors[0]), float(factors[1])))


def streaks(shape: tuple[int, int], width: float, length: float, angle: float, rng: np.random.Generator) -> Field:
    """Return noise of mean 0 and deviation 1, drawn out along an angle in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.abs([[cos, sin], [sin, cos]]) @ shape
    along = smooth_noise((int(turned[0]) + 3, int(turned[1]) + 3), (width, length), rng)
    rows, columns = (np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2) for n in shape)
    across = np.float32(cos) * rows[:, None] - np.float32(sin) * columns + np.float32(turned[0] / 2 + 1)
    down = np.float32(sin) * rows[:, None] + np.float32(cos) * columns + np.float32(turned[1] / 2 + 1)
    field: Field = along[across.astype(np.int32), down.astype(np.int32)]
    return field


def blurred(image: Field, sigma: float) -> Field:
    """Return an image, of one channel or several, convolved with a Gaussian of `sigma` pixels."""
    step = int(sigma / (2 * _OVERSAMPLING))
    if step < 2:
        return _filtered(image, sigma)
    rows, columns = image.shape[:2]
    padded = np.pad(image, [(0, -rows % step), (0, -columns % step)] + [(0, 0)] * (image.ndim - 2), mode="edge")
    blocks = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step, *image.shape[2:])
    coarse = _filtered(blocks.mean(axis=(1, 3), dtype=np.float32), sigma / step)
    offset = (step - 1) / 2 / step
    return _resampled(coarse, (rows, columns), (step, step), offset)


def _filtered(image: Field, sigma: float) -> Field:
    filtered: Field = ndimage.gaussian_filter(image, (sigma, sigma, 0)[: image.ndim], truncate=3, mode="nearest")
    return filtered


def _resampled(coarse: Field, shape: tuple[int, int], steps: tuple[float, float], offset: float = 0.0) -> Field:
    """Return values between the points of a grid that lie `steps` pixels apart, the first one `offset` steps in."""
    fine = coarse
    for axis, (size, step) in enumerate(zip(shape, steps, strict=True)):
        at = np.clip(np.arange(size, dtype=np.float32) / np.float32(step) - np.float32(offset), 0, fine.shape[axis] - 1)
        low = np.minimum(at.astype(np.intp), max(fine.shape[axis] - 2, 0))
        high = np.minimum(low + 1, fine.shape[axis] - 1)
        share = (at - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(fine.ndim)])
        fine = fine.take(low, axis) * (1 - share) + fine.take(high, axis) * share
    return fine
