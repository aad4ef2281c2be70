"""What is measured by its name in tables: the modes of the predictor, and the baselines."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.baselines import BASELINES
from napari_fbrs.evaluation.files import dataset_name
from napari_fbrs.evaluation.layouts import LAYOUTS, Pictures
from napari_fbrs.evaluation.mosaics import Mosaics
from napari_fbrs.evaluation.objects import Dataset
from napari_fbrs.evaluation.simulation import Subject
from napari_fbrs.evaluation.subjects import Predicting, published_settings
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import MODES, PredictorSettings
from napari_fbrs.models.checkpoint import Model
from napari_fbrs.models.zoo import load_model
from napari_fbrs.processes import Cancelled

SUBJECTS = (*MODES, *BASELINES)
ALL = "all"
_CACHE_BYTES = 128 * 2**20  # one plane's features; nobody comes back to the planes before
_NEEDS = MappingProxyType({"grabcut": "cv2"})


def chosen_subjects(names: list[str]) -> list[str]:
    """Return the names asked for, "all" standing for each that can be used here.

    Raises
    ------
    InputError
        If one is not known.
    """
    for name in names:
        if name not in (*SUBJECTS, ALL):
            raise InputError(
                f"nothing is called {name!r} that could be measured; --mode takes {', '.join(SUBJECTS)}, {ALL}"
            )
    every = [name for name in SUBJECTS if name not in missing_subjects()]
    return list(dict.fromkeys(one for name in names for one in (every if name == ALL else [name])))


def missing_subjects() -> list[str]:
    """Return the names of those whose packages are not installed."""
    return [name for name, package in _NEEDS.items() if importlib.util.find_spec(package) is None]


@dataclass(frozen=True)
class DataSpec:
    """A data set in files, and how to read it; `mosaic` is the side of mosaics to make of it, None for none."""

    path: Path
    layout: str
    part: str = "all"
    mosaic: int | None = None

    @property
    def name(self) -> str:
        """The folder's or the zip's name, without its extension."""
        return dataset_name(self.path)

    def open(self) -> Dataset:
        """Open it."""
        pictures = Pictures(self.path, self.layout, self.part)
        return Mosaics(pictures, self.mosaic) if self.mosaic else pictures


@dataclass(frozen=True)
class FileSetup:
    """Data sets in files, and subjects by name; opened by each process for itself.

    Parameters
    ----------
    data : mapping of str to DataSpec
        By the names used in tables.
    model, device : str
        For `load_model`.
    published : bool, optional
        Whether the settings are those of the published evaluation, instead of those that suit the model.
    """

    data: Mapping[str, DataSpec]
    model: str
    device: str
    published: bool = False

    @cached_property
    def loaded(self) -> Model:
        """The model, loaded when it is first needed."""
        return load_model(self.model, self.device)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "loaded"}

    def dataset(self, name: str) -> Dataset:
        """Open a data set."""
        return self.data[name].open()

    def subject(self, name: str, dataset: str, cancelled: Cancelled) -> Subject:
        """Make what is measured on a data set."""
        if name in BASELINES:
            return BASELINES[name]()
        predictor = Predictor(self.loaded, name, settings=self.settings(dataset), cache_bytes=_CACHE_BYTES)
        return Predicting(predictor, cancelled=cancelled)

    def settings(self, dataset: str) -> PredictorSettings:
        """Return how the predictor looks at the planes of a data set."""
        if self.published:
            return published_settings(LAYOUTS[self.data[dataset].layout].zoom)
        return PredictorSettings.of_model(self.loaded.settings)
