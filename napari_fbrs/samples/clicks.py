"""Clicks that somebody has made, for the demo without a window."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from napari_fbrs.annotation.click_file import ClicksByPlace, read_clicks


def coins_clicks_path() -> Path:
    """Return the file of `coins_clicks`; an example of a click file."""
    # Wheels and editable installs are unpacked, so the resource is a real file.
    return Path(str(resources.files("napari_fbrs.samples"))) / "coins_clicks.csv"


def coins_clicks() -> ClicksByPlace:
    """Return recorded clicks on a few of the coins of `skimage.data.coins`."""
    return read_clicks(coins_clicks_path())
