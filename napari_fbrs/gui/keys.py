"""Shortcuts, bound to the annotation's own layers so that napari's keys elsewhere stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from napari.layers import Labels
from napari.layers.base import Layer
from napari.utils.key_bindings import coerce_keybinding

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


def bind_keys(annotator: Annotator) -> None:
    """Bind the shortcuts on the layers of an annotation; keys that napari does not know are told, and left out."""
    keys = read_keys()
    for layer in annotator.layers.ours():
        unknown = _bind_on(annotator, layer, keys)
    if annotator.strokes is not None:
        _bind_on(annotator, annotator.strokes.layer, keys)
    annotator.strokes_made.connect(lambda layer: _bind_on(annotator, layer, keys))
    for name in unknown:
        annotator.refused.emit(
            f"napari knows no key {keys[name]!r}, set for {ACTIONS[name].hint!r}: change it in the Preferences "
            f"(its own is {ACTIONS[name].key!r})"
        )


def _bind_on(annotator: Annotator, layer: Layer, keys: Mapping[str, str]) -> list[str]:
    """Bind the shortcuts on a layer, and return the names of the actions whose key is none."""
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
    return [name for name, action in actions.items() if not _bind(layer, keys[name], action)]


def _bind(layer: Layer, key: str, action: Callable[[], object]) -> bool:
    def pressed(_layer: Any) -> None:
        action()

    if not coerce_keybinding(key).part0.key:  # 0 is the key that is none
        return False
    layer.bind_key(key, pressed, overwrite=True)
    return True


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
