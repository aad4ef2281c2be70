"""A microscope and its camera: what they do to the light of a specimen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from napari_fbrs.training.scenes.fields import Field, blurred, log_uniform, smooth_noise
from napari_fbrs.training.scenes.specimen import Specimen

Colour = tuple[float, float, float]

_FEW_PHOTONS = 30.0  # from here on the normal distribution stands in for Poisson's
_LEAST_STEP = 7 / 255  # contrast of what is shown
_MOST_COUNTS = 4095  # of a camera of 12 bits
_BLOCK = 8  # of JPEG


@dataclass(frozen=True)
class Microscope:
    """How a specimen is taken.

    Parameters
    ----------
    blur : float
        Sigma of the point spread function, in pixels.
    haze : float
        Share of light that comes from another layer, out of focus.
    haze_blur : float
        Sigma of that layer, in pixels.
    unevenness : float
        How much illumination varies across the field, 0 to 1; its mean is 1.
    vignetting : float
        Share of light lost in the corners.
    photons : float
        Caught where light is 1; 0: so many that none is missed.
    read_noise : float
        Deviation, in units of light.
    inverted : bool
        Whether dark is shown bright.
    gamma : float
        Of the tone curve.
    black, white : tuple of float
        Colours (RGB, 0 to 1) in which light 0 and light 1 are shown.
    coarseness : float
        Step of JPEG's quantisation at its lowest frequencies, in grey levels; 0: none.
    """

    blur: float = 0.6
    haze: float = 0.0
    haze_blur: float = 8.0
    unevenness: float = 0.0
    vignetting: float = 0.0
    photons: float = 0.0
    read_noise: float = 0.0
    inverted: bool = False
    gamma: float = 1.0
    black: Colour = (0.0, 0.0, 0.0)
    white: Colour = (1.0, 1.0, 1.0)
    coarseness: float = 0.0

    def photograph(self, light: Field, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """Return the picture of light from 0 to 1, shape (H, W) or (H, W, 3), as RGB of 8 bits."""
        caught = self._noisy(self._lit(self._focused(light, rng), rng), rng)
        counts = (np.clip(caught, 0, 1) * np.float32(_MOST_COUNTS) + np.float32(0.5)).astype(np.uint16)
        shown = self._tones()
        if counts.ndim == 2:
            levels = shown[counts]
        else:
            levels = np.stack([shown[:, channel][counts[..., channel]] for channel in range(3)], axis=-1)
        return levels if self.coarseness == 0 else _compressed(levels, self.coarseness)

    def _tones(self) -> npt.NDArray[np.uint8]:
        """Return the colour in which each count of the camera is shown, shape (counts, 3)."""
        tone = np.linspace(0, 1, _MOST_COUNTS + 1)[:, None]
        curve = (1 - tone if self.inverted else tone) ** self.gamma
        black, white = np.array(self.black), np.array(self.white)
        tones: npt.NDArray[np.uint8] = (np.clip(black + curve * (white - black), 0, 1) * 255 + 0.5).astype(np.uint8)
        return tones

    def _focused(self, light: Field, rng: np.random.Generator) -> Field:
        sharp = blurred(light, self.blur)
        if self.haze == 0:
            return sharp
        # Another layer of the same specimen: the same things elsewhere.
        rows, columns = (int(rng.integers(n)) for n in light.shape[:2])
        other = np.roll(light[::-1], (rows, columns), (0, 1))
        return (1 - np.float32(self.haze)) * sharp + np.float32(self.haze) * blurred(other, self.haze_blur)

    def _lit(self, light: Field, rng: np.random.Generator) -> Field:
        if self.unevenness == 0 and self.vignetting == 0:
            return light
        shape = (light.shape[0], light.shape[1])
        rows, columns = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
        field = 1 - np.float32(self.vignetting / 2) * (rows[:, None] ** 2 + columns**2)
        wide = np.clip(smooth_noise(shape, 0.35 * max(shape), rng), -2, 2)
        field = field * (1 + np.float32(self.unevenness / 4) * wide)
        field = (field / field.mean()).astype(np.float32)
        lit: Field = light * (field if light.ndim == 2 else field[..., None])
        return lit

    def _noisy(self, light: Field, rng: np.random.Generator) -> Field:
        share = 0.0  # of light that is its variance
        if 0 < self.photons < _FEW_PHOTONS:
            light = (rng.poisson(np.maximum(light, 0) * self.photons) / self.photons).astype(np.float32)
        elif self.photons > 0:
            share = 1 / self.photons
        if share == self.read_noise == 0:
            return light
        variance = np.maximum(light, 0) * np.float32(share) + np.float32(self.read_noise**2)
        noisy: Field = light + np.sqrt(variance) * rng.standard_normal(light.shape, dtype=np.float32)
        return noisy


def choose_microscope(specimen: Specimen, rng: np.random.Generator) -> Microscope:
    """Return a random microscope that shows a specimen, clearly or barely."""
    ratio = log_uniform(rng, 0.03, min(0.9, 0.25 + 0.1 * specimen.detail))  # of noise to contrast
    noise = ratio * specimen.contrast
    typical = float(specimen.light.mean())
    read_share = rng.uniform(0, 0.5)
    photons = typical / (noise**2 * (1 - read_share))
    black, white = _colours(specimen, rng)
    return Microscope(
        blur=max(0.5, min(log_uniform(rng, 0.5, 6), 0.45 * specimen.detail)),
        haze=float(rng.uniform(0.05, 0.4)) if rng.random() < 0.35 else 0.0,
        haze_blur=log_uniform(rng, 5, 30),
        unevenness=float(rng.uniform(0, 0.8)) if rng.random() < 0.5 else 0.0,
        vignetting=float(rng.uniform(0, 0.7)) if rng.random() < 0.3 else 0.0,
        photons=max(photons, 4.0),
        read_noise=float(noise * np.sqrt(read_share)),
        inverted=bool(rng.random() < 0.2),
        gamma=log_uniform(rng, 0.6, 1.6) if rng.random() < 0.4 else 1.0,
        black=black,
        white=white,
        coarseness=log_uniform(rng, 3, 20) if rng.random() < 0.15 else 0.0,
    )


def _colours(specimen: Specimen, rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return the colours of darkness and light: grey, the false colour of a stain, or a warm or cold lamp."""
    least = min(_LEAST_STEP / specimen.contrast, 0.9)
    span = log_uniform(rng, max(0.3, least), 1.0) if rng.random() < 0.5 else 1.0
    low = rng.uniform(0, 1 - span)
    draw = rng.random()
    white = np.ones(3)
    if draw < 0.2 and specimen.light.ndim == 2:
        white = rng.uniform(0, 1, 3)
        white /= white.max()
    elif draw < 0.45:
        white = 1 - rng.uniform(0, 0.25, 3)
    black = white * low if draw >= 0.2 else np.full(3, low)
    return _colour(black), _colour(white * (low + span) if draw >= 0.2 else low + span * white)


def _colour(values: npt.NDArray[np.float64]) -> Colour:
    red, green, blue = np.clip(values, 0, 1)
    return float(red), float(green), float(blue)


def _compressed(levels: npt.NDArray[np.uint8], step: float) -> npt.NDArray[np.uint8]:
    """Return grey levels after quantisation of their blocks' cosine transforms, coarser at higher frequencies."""
    rows, columns = levels.shape[:2]
    padded = np.pad(levels, ((0, -rows % _BLOCK), (0, -columns % _BLOCK), (0, 0)), mode="edge").astype(np.float32)
    blocks = padded.reshape(padded.shape[0] // _BLOCK, _BLOCK, padded.shape[1] // _BLOCK, _BLOCK, 3)
    frequency = np.arange(_BLOCK, dtype=np.float32)
    steps = np.float32(step) * (1 + 0.5 * (frequency[:, None] + frequency))[None, :, None, :, None]
    spectrum = fft.dctn(blocks, axes=(1, 3), norm="ortho")
    restored = fft.idctn(np.rint(spectrum / steps) * steps, axes=(1, 3), norm="ortho")
    cropped = np.clip(restored.reshape(padded.shape)[:rows, :columns], 0, 255)
    picture: npt.NDArray[np.uint8] = (cropped + np.float32(0.5)).astype(np.uint8)
    return picture
