"""Shortcuts, bound to the annotation's own layers so that napari's keys elsewhere stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Labels
from napari.layers.base import Layer
from napari.utils.key_bindings import coerce_keybinding
from qtpy.QtCore import QObject

from napari_fbrs.gui.annotator import Annotator
from napari_fbrs.gui.settings import ACTIONS, OTHER_SIGN, read_keys, read_other_sign


def hints() -> dict[str, str]:
    """Return what each key does, the keys as people write them."""
    return {key.replace("Control", "Ctrl").replace("-", "+"): ACTIONS[name].hint for name, key in read_keys().items()}


def hint_text() -> str:
    """Return what keys and the mouse do, as rich text; its lines break between hints, not within them."""
    told, other = hints(), read_other_sign()
    if other != OTHER_SIGN[-1]:
        told[other] = "the other sign"
    return " &middot; ".join(f"<b>{key}</b> {what}".replace(" ", "&nbsp;") for key, what in told.items())


class Shortcuts(QObject):
    """The shortcuts on the layers of an annotation.

    Parameters
    ----------
    annotator : Annotator
        Whose layers they are bound on, as long as it is not closed. Keys that napari does not know are told, and left
        out.
    """

    def __init__(self, annotator: Annotator) -> None:
        super().__init__(annotator)
        self._annotator = annotator
        self._keys = read_keys()
        self._bound: list[tuple[Layer, str, Callable[[Any], None]]] = []
        self._bind()
        annotator.strokes_made.connect(self._bind_on)
        annotator.closing.connect(self.close)

    def read_settings(self) -> None:
        """Bind other keys, if the user has set others since."""
        if read_keys() != self._keys:
            self.close()
            self._keys = read_keys()
            self._bind()

    def close(self) -> None:
        """Leave keys to napari again, but for those that somebody else has bound since."""
        for layer, key, pressed in self._bound:
            if layer.keymap.get(coerce_keybinding(key)) is pressed:
                layer.bind_key(key, None)
        self._bound = []

    def _bind(self) -> None:
        annotator, keys = self._annotator, self._keys
        for layer in annotator.layers.ours():
            self._bind_on(layer)
        if annotator.strokes is not None:
            self._bind_on(annotator.strokes.layer)
        for name in (name for name, key in keys.items() if not _known(key)):
            annotator.refused.emit(
                f"napari knows no key {keys[name]!r}, set for {ACTIONS[name].hint!r}: change it in the Preferences "
                f"(its own is {ACTIONS[name].key!r})"
            )

    def _bind_on(self, layer: Layer) -> None:
        annotator = self._annotator
        actions: dict[str, Callable[[], object]] = {
            "sign": annotator.toggle_sign,
            "draw": annotator.toggle_drawing,
            "next_object": annotator.next_object,
            "commit": annotator.commit,
            "clear": annotator.clear,
            "object_before": lambda: annotator.step_object(-1),
            "object_after": lambda: annotator.step_object(1),
            "undo": _undo(annotator, layer),
            "redo": _redo(annotator, layer),
        }
        for name, action in actions.items():
            key = self._keys[name]
            if _known(key):
                pressed = _ignoring_layer(action)
                layer.bind_key(key, pressed, overwrite=True)
                self._bound.append((layer, key, pressed))


def _known(key: str) -> bool:
    return bool(coerce_keybinding(key).part0.key)  # 0 is the key that is none


def _ignoring_layer(action: Callable[[], object]) -> Callable[[Any], None]:
    def pressed(_layer: Any) -> None:
        action()

    return pressed


def _undo(annotator: Annotator, layer: Layer) -> Callable[[], None]:
    """Undo a step of the annotation; before its first one, napari's own of a Labels layer."""

    def undo() -> None:
        if len(annotator.session.history) or not isinstance(layer, Labels):
            annotator.undo()
        else:
            layer.undo()

    return undo


def _redo(annotator: Annotator, layer: Layer) -> Callable[[], None]:
    def redo() -> None:
        if annotator.session.history.can_redo or not isinstance(layer, Labels):
            annotator.redo()
        else:
            layer.redo()

    return redo
