"""Shortcuts, bound to the annotation's own layers so that napari's keys elsewhere stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Labels
from napari.layers.base import Layer

from napari_fbrs.gui.annotator import Annotator

HINTS = {"T": "positive / negative", "D": "draw / click", "N": "next object", "Ctrl+Z": "undo", "Ctrl+Shift+Z": "redo"}


def bind_keys(annotator: Annotator) -> None:
    """Bind the shortcuts on the Points and Labels layers of an annotation."""
    for layer in annotator.layers.ours():
        _bind_on(annotator, layer)
    if annotator.strokes is not None:
        _bind_on(annotator, annotator.strokes.layer)
    annotator.strokes_made.connect(lambda layer: _bind_on(annotator, layer))


def _bind_on(annotator: Annotator, layer: Layer) -> None:
    _bind(layer, "T", annotator.toggle_sign)
    _bind(layer, "D", annotator.toggle_drawing)
    _bind(layer, "N", annotator.next_object)
    _bind(layer, "Control-Z", _undo(annotator, layer))
    _bind(layer, "Control-Shift-Z", _redo(annotator, layer))


def _bind(layer: Layer, key: str, action: Callable[[], None]) -> None:
    def pressed(_layer: Any) -> None:
        action()

    layer.bind_key(key, pressed, overwrite=True)


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
