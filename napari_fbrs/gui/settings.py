"""What users may set: shortcuts, and what makes a click one of the other sign.

In napari's own Preferences from napari 0.9 on; before that in the settings of Qt.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from napari import settings as napari_settings
from qtpy.QtCore import QSettings

PLUGIN = "napari-fbrs"
OTHER_SIGN = ("right button or Shift", "Shift", "nothing")


@dataclass(frozen=True)
class Action:
    """Something a key does: its default, and what the widget says of it."""

    key: str
    hint: str


ACTIONS = MappingProxyType(
    {
        "sign": Action("T", "positive / negative"),
        "draw": Action("D", "draw / click"),
        "next_object": Action("N", "next object"),
        "commit": Action("C", "done: lock, next"),
        "clear": Action("Shift-C", "clear here"),
        "object_before": Action("J", "object before"),
        "object_after": Action("K", "object after"),
        "undo": Action("Control-Z", "undo"),
        "redo": Action("Control-Shift-Z", "redo"),
    }
)


def read_keys() -> dict[str, str]:
    """Return the key of every action, as the user has set it."""
    return {name: str(_read("keys", name, action.key)) for name, action in ACTIONS.items()}


def read_other_sign() -> str:
    """Return what makes a click one of the other sign; one of `OTHER_SIGN`."""
    chosen = str(_read("mouse", "other_sign", OTHER_SIGN[0]))
    return chosen if chosen in OTHER_SIGN else OTHER_SIGN[0]


def write(group: str, name: str, value: str) -> None:
    """Keep a setting."""
    kept = _of_napari()
    if kept is not None:
        setattr(getattr(kept, group), name, value)
    else:
        _of_qt().setValue(f"{group}/{name}", value)


def _read(group: str, name: str, default: str) -> object:
    kept = _of_napari()
    if kept is not None:
        return getattr(getattr(kept, group), name)
    return _of_qt().value(f"{group}/{name}", default)


def _of_napari() -> object | None:
    """Return napari's settings of this plugin; None where this napari has none, or does not know the plugin."""
    read = getattr(napari_settings, "get_plugin_settings", None)
    try:
        return read(PLUGIN) if read is not None else None
    except KeyError:
        return None


def _of_qt() -> QSettings:
    return QSettings(PLUGIN, PLUGIN)
