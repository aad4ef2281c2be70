"""How a predictor predicts: where its variables sit, and how it looks at planes."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from napari_fbrs.errors import InputError
from napari_fbrs.inference.zoom import Zoom
from napari_fbrs.models.checkpoint import ModelSettings, is_count
from napari_fbrs.models.network import Cut

MODES = MappingProxyType(
    {
        "NoBRS": None,
        "RGB-BRS": Cut.RGB,
        "DistMap-BRS": Cut.MAPS,
        "f-BRS-A": Cut.A,
        "f-BRS-B": Cut.B,
        "f-BRS-C": Cut.C,
    }
)
DEFAULT_MODE = "f-BRS-B"


def check_mode(mode: str) -> None:
    """Raise `InputError` where no mode is called that."""
    if mode not in MODES:
        raise InputError(f"no mode is called {mode!r}; choose one of {', '.join(MODES)}")


@dataclass(frozen=True)
class PredictorSettings:
    """How a predictor looks at planes.

    Parameters
    ----------
    zoom : Zoom or None
        How crops are chosen from the second click on; None: always the whole plane.
    input_size : int or None
        Longer side, in pixels, that the whole plane is brought to before the network; None: left as it is.
    flip : bool
        Whether logits are averaged over the image and its mirror image.
    first_look : bool
        Whether the first clicks look at crops around themselves as well.
    insist : bool
        Whether the optimisation goes on while a pixel clicked is on the wrong side; as published, it stops once the
        mask hardly changes.
    local : bool
        Whether the optimisation decodes the clicks' surroundings alone, where the mode and the network allow it, and
        ends once the pixels clicked are right; as published, it decodes the map, and looks at the squares around the
        clicks and at the mask.
    network_clicks : int or None
        How many clicks, the first ones, the network is shown in the modes that optimise; None: all. Later ones act
        through the optimisation alone, on features that are there already: at once, but less local.
    half : bool
        Whether features are computed in bfloat16, where the device is fast at it; all else stays in float32.
    folded : bool
        Whether batch norms are taken into the convolutions: the same to float rounding.
    steady : bool
        Whether a click beyond `network_clicks` that changes much of the mask is predicted anew, with all clicks shown
        to the network: scales and biases act everywhere, and single late clicks would break masks.
    contained : bool
        Whether, once an object is there, pixels clicked are as they were said to be whatever the optimisation makes of
        them, and from the third click on a change of the mask that no click is connected with is left out, in the modes
        that optimise.

    Raises
    ------
    InputError
        If `input_size` is no positive whole number, or `network_clicks` is none from 0 on.
    """

    zoom: Zoom | None = field(default_factory=Zoom)
    input_size: int | None = None
    flip: bool = True
    first_look: bool = False
    insist: bool = False
    local: bool = False
    network_clicks: int | None = 8
    half: bool = False
    folded: bool = False
    steady: bool = False
    contained: bool = False

    def __post_init__(self) -> None:
        if self.input_size is not None and not is_count(self.input_size, 1):
            raise InputError(f"input_size is a number of pixels or None, got {self.input_size!r}")
        if self.network_clicks is not None and not is_count(self.network_clicks, 0):
            raise InputError(f"network_clicks is a number of clicks or None, got {self.network_clicks!r}")

    @classmethod
    def of_model(cls, settings: ModelSettings) -> PredictorSettings:
        """Return the settings that suit a model."""
        zoom = Zoom(
            target_size=settings.target_size,
            min_crop_size=settings.min_crop_size,
            largest_size=settings.largest_size,
        )
        shipped = dict.fromkeys(("first_look", "insist", "local", "half", "folded", "steady", "contained"), True)
        return cls(zoom=zoom, input_size=settings.target_size, **shipped)


@dataclass(frozen=True)
class Method:
    """What decides a prediction besides the image and the clicks.

    Parameters
    ----------
    model : str
        The model's name, for people.
    sha256 : str
        Of the model's file, hexadecimal.
    mode : str
        A key of `MODES`.
    settings : PredictorSettings
        How planes are looked at.
    """

    model: str
    sha256: str
    mode: str
    settings: PredictorSettings
