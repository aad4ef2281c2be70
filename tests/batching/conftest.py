from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from fakes import BrightNetwork, model_of

from napari_fbrs.annotation.image_file import write_png
from napari_fbrs.models import zoo
from napari_fbrs.models.checkpoint import fingerprint

Masks = dict[str, npt.NDArray[np.bool_]]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process load a model that finds what is bright."""
    model = replace(model_of(BrightNetwork()), fingerprint=fingerprint(zoo.find_model("default")))
    monkeypatch.setattr(zoo, "load_model", lambda *_: model)


@pytest.fixture
def squares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Masks:
    """Write three images with a bright square each, clicks beside them, into ``images``; return what is to be found."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    masks = {}
    for number, name in enumerate("abc"):
        masks[name] = np.zeros((40, 60), dtype=bool)
        masks[name][5 + number : 20, 10 : 30 + number] = True
        write_png(tmp_path / "images" / f"{name}.png", np.where(masks[name], 255, 0).astype(np.uint8))
        (tmp_path / "images" / f"{name}.csv").write_text("object,row,column,positive\n1,12,20,1\n")
    return masks
