"""Procedural scenes with exact masks: specimens of many kinds, as a microscope might have taken them."""

from napari_fbrs.training.scenes.series import Scenes

__all__ = ["Scenes"]
