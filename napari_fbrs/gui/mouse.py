"""The other sign by the right button or Shift, without going to the other layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from napari.layers import Points
from napari.utils.events import Event
from qtpy.QtCore import QObject, QTimer

from napari_fbrs.gui.annotator import Annotator
from napari_fbrs.gui.settings import OTHER_SIGN, read_other_sign

_RIGHT = 2


class OtherSign(QObject):
    """Puts points added with the right button, or with Shift, into the Points layer of the other sign.

    Parameters
    ----------
    annotator : Annotator
        Whose Points layers are watched, as long as it lives.
    """

    def __init__(self, annotator: Annotator) -> None:
        super().__init__(annotator)
        self._annotator = annotator
        self._wanted = False
        self.read_settings()
        annotator.closing.connect(self.close)
        for points in annotator.clicks:
            points.mouse_drag_callbacks.insert(0, self._pressed)
            # First: the point has moved before the annotator reads it.
            points.events.data.connect(self._changed, position="first")

    def read_settings(self) -> None:
        """Go by what the user has set."""
        self._choice = read_other_sign()

    def close(self) -> None:
        """Stop watching."""
        for points in self._annotator.clicks:
            if self._pressed in points.mouse_drag_callbacks:
                points.mouse_drag_callbacks.remove(self._pressed)
            points.events.data.disconnect(self._changed)

    def _pressed(self, _layer: Points, event: Any) -> Iterator[None]:
        """Note, until the button is up again, whether the point that napari adds then is one of the other sign."""
        right = event.button == _RIGHT and self._choice == OTHER_SIGN[0]
        shift = "Shift" in event.modifiers and self._choice != OTHER_SIGN[-1]
        yield
        while event.type == "mouse_move":
            yield
        self._wanted = right or shift
        QTimer.singleShot(0, self._forget)

    def _forget(self) -> None:
        self._wanted = False

    def _changed(self, event: Event) -> None:
        action = getattr(event.action, "value", event.action)
        if action == "added" and self._wanted and not self._annotator.clicks.writing:
            self._wanted = False
            self._annotator.clicks.move_last(event.source)
