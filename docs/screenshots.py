"""Retakes the pictures in docs/: ``xvfb-run -a -s "-screen 0 1400x1000x24" python docs/screenshots.py [NAME ...]``."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from PIL import Image
from qtpy.QtWidgets import QApplication, QScrollArea
from superqt import QCollapsible

from napari_fbrs.gui.demo import open_demo
from napari_fbrs.gui.widget import FBRSWidget
from napari_fbrs.samples import coins_clicks, nuclei_stack

HERE = Path(__file__).parent
_SIZE = (1300, 850)
_COLOURS = 256  # of a picture: less to download


def main(names: list[str]) -> None:
    """Take the pictures named, or all."""
    steps = {"coins": coins, "stack": stack, "restore": restore}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_FBRS_JOURNALS"] = folder  # none of the user's
        for name in names or steps:
            steps[name]()


def coins() -> None:
    """Take what is done to a single image: start, click, correct, draw, go on, list objects, export."""
    viewer, widget = _demo()
    _take(viewer, "start.png")
    every = coins_clicks()
    last = max(every)
    click(widget, every[last][0])
    _take(viewer, "click.png")
    annotator = widget.annotator
    while annotator.session.history:
        annotator.undo()
    annotate_coins(widget)
    _take(viewer, "clicking.png")
    _open(widget, "Objects")
    _name(widget, {1: "large", 5: "large"})
    _take(viewer, "objects.png")
    _open(widget, "Export")
    _take(viewer, "export.png")
    viewer.close()


def stack() -> None:
    """Take an object carried through a stack."""
    viewer = napari.Viewer(title="napari-fbrs: nuclei")
    viewer.window.resize(*_SIZE)
    (image, options, _), (truth, _, _) = nuclei_stack()
    viewer.add_image(image, **options)
    widget = FBRSWidget(viewer)
    viewer.window.add_dock_widget(widget, name="f-BRS interactive segmentation", area="right")
    viewer.reset_view()
    widget.start()
    _wait(lambda: widget.annotator is not None)
    label = _whole_bright_one(image, truth)
    planes = np.flatnonzero((truth == label).any(axis=(1, 2)))
    middle = int(planes[len(planes) // 2])
    viewer.dims.set_current_step(0, middle)
    row, column = np.argwhere(truth[middle] == label).mean(axis=0)
    annotator = widget.annotator
    annotator.clicks.by_sign[True].add([[middle, row, column]])
    _settle(widget)
    _open(widget, "Other slices")
    widget.propagation.start("whole")
    _wait(lambda: not widget.propagation.busy)
    viewer.dims.set_current_step(0, middle + 2)
    _take(viewer, "stack.png")
    viewer.close()


def _whole_bright_one(image: np.ndarray, truth: np.ndarray) -> int:
    """Return the label of a nucleus that no border cuts, the one with most light."""
    inside = truth.copy()
    for label in np.unique(np.concatenate([np.take(truth, end, axis).ravel() for axis in range(3) for end in (0, -1)])):
        inside[truth == label] = 0
    return int(np.argmax(np.bincount(inside.ravel(), image.ravel())[1:])) + 1


def restore() -> None:
    """Take what the next start offers after a crash."""
    viewer, widget = _demo()
    annotate_coins(widget)
    widget.recovery.recorder.journal.close()  # as a process that dies leaves it
    widget.annotator.layers.labels.metadata.clear()
    viewer.close()
    viewer, widget = _demo()
    _wait(widget.recovery.isVisible)
    _take(viewer, "restore.png")
    viewer.close()


def annotate_coins(widget: FBRSWidget) -> None:
    """Put the recorded clicks on the coins, as a user would, one by one."""
    for count, clicks in enumerate(coins_clicks().values()):
        if count:
            widget.annotator.next_object()
        for one in clicks:
            click(widget, one)


def click(widget: FBRSWidget, one: object) -> None:
    """Put a click on the image, and wait for its mask."""
    annotator = widget.annotator
    annotator.set_sign(one.positive)
    annotator.clicks.by_sign[one.positive].add([[one.row, one.column]])
    _settle(widget)


def _demo() -> tuple[napari.Viewer, FBRSWidget]:
    viewer, widget = open_demo()
    viewer.window.resize(*_SIZE)
    _wait(lambda: widget.annotator is not None and widget.recovery.recorder is not None)
    viewer.reset_view()
    return viewer, widget


def _name(widget: FBRSWidget, classes: dict[int, str]) -> None:
    for label, name in classes.items():
        widget.annotator.objects.rename(label, name)
    widget.annotator.changed.emit()


def _open(widget: FBRSWidget, title: str) -> None:
    """Unfold a part of the widget, and fold the others."""
    for part in widget.findChildren(QCollapsible):
        (part.expand if part.text() == title else part.collapse)(animate=False)
        if part.text() == title:
            shown = part
    for _ in range(5):
        QApplication.processEvents()
        time.sleep(0.02)
    widget.findChild(QScrollArea).ensureWidgetVisible(shown)


def _take(viewer: napari.Viewer, name: str) -> None:
    for _ in range(20):
        QApplication.processEvents()
        time.sleep(0.02)
    pixels = viewer.screenshot(canvas_only=False, flash=False)
    picture = Image.fromarray(pixels[..., :3]).quantize(_COLOURS, method=Image.Quantize.MAXCOVERAGE)
    picture.save(HERE / name, optimize=True)


def _settle(widget: FBRSWidget) -> None:
    _wait(lambda: not widget.annotator.busy and not widget.annotator.session.waiting())


def _wait(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        QApplication.processEvents()
        time.sleep(0.01)
        if time.monotonic() > end:
            raise TimeoutError("the plugin did not get ready")


if __name__ == "__main__":
    main(sys.argv[1:])
