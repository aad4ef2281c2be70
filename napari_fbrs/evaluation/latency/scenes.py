"""What is clicked on: pictures whose objects are known, and what each click finds when it is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fbrs.clicks import Click
from napari_fbrs.evaluation.simulation import THRESHOLD, next_click
from napari_fbrs.inference.plane import Plane
from napari_fbrs.inference.prediction import State
from napari_fbrs.inference.predictor import Predictor


@dataclass(frozen=True, eq=False)
class Picture:
    """An image and the mask of one object in it.

    Parameters
    ----------
    name : str
        In tables.
    pixels : ndarray, shape (H, W) or (H, W, 3)
        Grey or colours.
    truth : ndarray of int, shape (H, W)
        1 on the object, 0 off it.
    """

    name: str
    pixels: npt.NDArray[Any]
    truth: npt.NDArray[np.int_]


@dataclass(frozen=True)
class Moment:
    """A click, and what it continues from: the same for everything that is timed.

    Parameters
    ----------
    clicks : tuple of Click
        All so far, the new one last.
    state : State or None
        Of the prediction before it; None: it is the first.
    """

    clicks: tuple[Click, ...]
    state: State | None


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and the clicks made on it.

    Parameters
    ----------
    picture : Picture
        What is clicked on.
    plane : Plane
        Its pixels.
    moments : tuple of Moment
        The first click, the second, ...; fewer than asked for where no pixel was wrong any more.
    """

    picture: Picture
    plane: Plane
    moments: tuple[Moment, ...]

    def at(self, counts: tuple[int, ...]) -> Iterator[Moment]:
        """Yield the moments of some numbers of clicks, as far as there are any."""
        return (self.moments[count - 1] for count in counts if count <= len(self.moments))


def make_scene(picture: Picture, predictor: Predictor, count: int) -> Scene:
    """Have a simulated user click `count` times, always in the middle of the largest error of a predictor's mask."""
    plane = predictor.prepare(picture.pixels)
    mask = np.zeros(plane.shape, dtype=bool)
    clicks: tuple[Click, ...] = ()
    state: State | None = None
    moments: list[Moment] = []
    while len(moments) < count:
        click = next_click(picture.truth, mask, clicks)
        if click is None:
            break
        clicks = (*clicks, click)
        moments.append(Moment(clicks, state))
        prediction = predictor.predict(plane, clicks, state)
        state, mask = prediction.state, prediction.mask(THRESHOLD)
    return Scene(picture, plane, tuple(moments))
