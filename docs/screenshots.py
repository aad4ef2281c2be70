"""Retakes the pictures in docs/: ``xvfb-run -a -s "-screen 0 1400x1000x24" python docs/screenshots.py``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

from napari_fbrs.gui.demo import open_demo
from napari_fbrs.gui.widget import FBRSWidget
from napari_fbrs.samples import coins_clicks

HERE = Path(__file__).parent


def main() -> None:
    """Take every picture."""
    viewer, widget = open_demo()
    viewer.window.resize(1300, 850)
    _wait(lambda: widget.annotator is not None)
    viewer.reset_view()
    annotate_coins(widget)
    _take(viewer, "clicking.png")
    viewer.close()


def annotate_coins(widget: FBRSWidget) -> None:
    """Put the recorded clicks on the coins, as a user would, one by one."""
    annotator = widget.annotator
    for count, clicks in enumerate(coins_clicks().values()):
        if count:
            annotator.next_object()
        for click in clicks:
            annotator.set_sign(click.positive)
            annotator.clicks.by_sign[click.positive].add([[click.row, click.column]])
            _wait(lambda: not annotator.busy and not annotator.session.waiting())


def _take(viewer: napari.Viewer, name: str) -> None:
    for _ in range(20):
        QApplication.processEvents()
        time.sleep(0.02)
    viewer.screenshot(str(HERE / name), canvas_only=False, flash=False)


def _wait(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        QApplication.processEvents()
        time.sleep(0.01)
        if time.monotonic() > end:
            raise TimeoutError("the plugin did not get ready")


if __name__ == "__main__":
    main()
