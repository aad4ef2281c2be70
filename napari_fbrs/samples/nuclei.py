"""A stack of touching nuclei as a microscope might have taken it, with the truth it was made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_fbrs.errors import InputError

NUCLEI_SCALE = (2.0, 0.5, 0.5)  # micrometres between planes, rows and columns
_RADII = (5.0, 8.0)  # micrometres
_MAX_OVERLAP = 0.15  # of a nucleus, lost to its neighbours where it is pressed against them
_ATTEMPTS = 200  # places tried for a nucleus
_BLUR = (0.9, 1.0, 1.0)  # pixels: 1.8 um along the axis of light, 0.5 um across it
_OFFSET, _PHOTONS, _READ_NOISE = 100.0, 260.0, 4.0  # camera counts

Volume = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]


def generate_nuclei(
    shape: tuple[int, int, int] = (24, 192, 192), count: int = 80, seed: int = 0
) -> tuple[npt.NDArray[np.uint16], Labels]:
    """Return a stack of nuclei and its labels.

    Ellipsoids of 5 to 8 um radius, many of them touching, with texture and dark nucleoli, brightness from one nucleus
    to another and across the field uneven, blurred more along the axis of light than across it, with shot and read
    noise. Distances are those of `NUCLEI_SCALE`.

    Parameters
    ----------
    shape : tuple of int, optional
        Planes, rows and columns.
    count : int, optional
        How many nuclei.
    seed : int, optional
        The same seed gives the same stack.

    Returns
    -------
    image : ndarray of uint16
    labels : ndarray of int32
        0 off the nuclei, which are numbered from 1 to `count`; each is one connected object.

    Raises
    ------
    InputError
        If so many do not fit, or a number is not positive.

    Examples
    --------
    >>> from napari_fbrs.samples import generate_nuclei
    >>> image, labels = generate_nuclei((12, 96, 96), count=5)
    >>> image.shape, int(labels.max())
    ((12, 96, 96), 5)
    """
    if count < 1 or len(shape) != 3 or min(shape) < 1:
        raise InputError(f"nuclei need a shape of three positive numbers and a positive count, got {shape}, {count}")
    rng = np.random.default_rng(seed)
    labels = _place(shape, count, rng)
    return _photograph(_stain(labels, count, rng), rng), labels


@dataclass(frozen=True, eq=False)
class _Ellipsoid:
    """An ellipsoid turned in the plane; lengths in micrometres."""

    centre: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]
    angle: float

    def box(self, shape: tuple[int, int, int]) -> tuple[slice, ...]:
        """Return the part of the stack that holds it."""
        reach = np.array([self.radii[0], *[self.radii[1:].max()] * 2]) / NUCLEI_SCALE
        middle = self.centre / NUCLEI_SCALE
        low = np.maximum(np.floor(middle - reach), 0).astype(int)
        high = np.minimum(np.ceil(middle + reach) + 1, shape).astype(int)
        return tuple(slice(a, b) for a, b in zip(low, high, strict=True))

    def level(self, box: tuple[slice, ...]) -> Volume:
        """Return, for the voxels of a box, 0 at the centre, 1 on the surface, more outside."""
        z, y, x = (
            np.arange(part.start, part.stop) * step - at
            for part, step, at in zip(box, NUCLEI_SCALE, self.centre, strict=True)
        )
        z, y, x = np.meshgrid(z, y, x, indexing="ij", sparse=True)
        sin, cos = np.sin(self.angle), np.cos(self.angle)
        turned = (z, cos * y - sin * x, sin * y + cos * x)
        squares = sum(((axis / radius) ** 2 for axis, radius in zip(turned, self.radii, strict=True)), start=0.0)
        level: Volume = np.sqrt(squares, dtype=np.float32)
        return level


def _draw(shape: tuple[int, int, int], rng: np.random.Generator) -> _Ellipsoid:
    centre = rng.uniform(0, np.multiply(shape, NUCLEI_SCALE))
    return _Ellipsoid(centre, rng.uniform(*_RADII, size=3), rng.uniform(0, np.pi))


def _place(shape: tuple[int, int, int], count: int, rng: np.random.Generator) -> Labels:
    """Return `count` nuclei; where two meet, a voxel belongs to the one whose centre is relatively nearer."""
    packing = _Packing(shape, count)
    for label in range(1, count + 1):
        if not any(packing.add(label, _draw(shape, rng)) for _ in range(_ATTEMPTS)):
            raise InputError(f"only {label - 1} of {count} nuclei fit into a stack of {shape}; ask for fewer")
    return packing.labels


class _Packing:
    """Nuclei placed one after the other, none of which loses much of itself to its neighbours."""

    def __init__(self, shape: tuple[int, int, int], count: int) -> None:
        self.shape = shape
        self.labels: Labels = np.zeros(shape, dtype=np.int32)
        self._levels = np.ones(shape, dtype=np.float32)  # of the nucleus that each voxel belongs to; 1 off the nuclei
        self._to_spare = np.zeros(count + 1)  # voxels that each nucleus may still lose

    def add(self, label: int, nucleus: _Ellipsoid) -> bool:
        """Add a nucleus where there is room for it; say whether there was."""
        box = nucleus.box(self.shape)
        labels, levels, level = self.labels[box], self._levels[box], nucleus.level(box)
        mine = level < levels
        size = np.count_nonzero(level < 1)
        to_spare = np.count_nonzero(mine) - (1 - _MAX_OVERLAP) * size
        lost = np.bincount(labels[mine], minlength=len(self._to_spare))
        lost[0] = 0
        if size == 0 or to_spare < 0 or (lost > self._to_spare).any():
            return False
        self._to_spare -= lost
        self._to_spare[label] = to_spare
        labels[mine] = label
        levels[mine] = level[mine]
        return True


def _stain(labels: Labels, count: int, rng: np.random.Generator) -> Volume:
    """Return how bright the stain is, about 0 to 1, under uneven light."""
    brightness = np.concatenate(([0.04], rng.uniform(0.45, 1.0, count))).astype(np.float32)
    chromatin = 1 + 0.18 * _smooth_noise(labels.shape, (0.6, 2.0, 2.0), rng)
    nucleoli = np.where(_smooth_noise(labels.shape, (0.8, 3.0, 3.0), rng) > 1.5, np.float32(0.55), np.float32(1))
    stained = brightness[labels] * np.where(labels > 0, chromatin * nucleoli, np.float32(1))
    blurred: Volume = ndimage.gaussian_filter(stained.astype(np.float32), _BLUR)
    return np.maximum(blurred, 0) * _light(labels.shape, rng)


def _smooth_noise(shape: tuple[int, ...], sigma: tuple[float, ...], rng: np.random.Generator) -> Volume:
    """Return noise of mean 0 and deviation 1 without detail finer than `sigma`."""
    noise: Volume = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
    noise /= noise.std()
    return noise


def _light(shape: tuple[int, ...], rng: np.random.Generator) -> Volume:
    """Return the light at each voxel: brightest off the middle of the field, dimmer with depth."""
    middle = rng.uniform(0.25, 0.75, size=2)
    z, y, x = (np.linspace(0, 1, extent, dtype=np.float32) for extent in shape)
    field = 0.4 + 0.6 * np.exp(-((y[:, None] - middle[0]) ** 2 + (x - middle[1]) ** 2) / 0.3)
    light: Volume = (field * np.exp(-0.5 * z)[:, None, None]).astype(np.float32)
    return light


def _photograph(light: Volume, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Return camera counts, with the noise of photons and of reading."""
    photons = rng.poisson(_PHOTONS * light)
    counts = _OFFSET + photons + rng.normal(0, _READ_NOISE, light.shape)
    return np.clip(np.rint(counts), 0, np.iinfo(np.uint16).max).astype(np.uint16)
