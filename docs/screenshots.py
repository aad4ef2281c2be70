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
from qtpy.QtCore import QItemSelectionModel, Qt
from qtpy.QtWidgets import QApplication, QScrollArea
from skimage import filters
from superqt import QCollapsible

from napari_fbrs.gui.demo import open_demo
from napari_fbrs.gui.widget import FBRSWidget
from napari_fbrs.samples import coins_clicks, nuclei_stack

HERE = Path(__file__).parent
_SIZE = (1300, 850)
_COLOURS = 256  # of a picture: less to download
_SMALL, _FEW_COLOURS, _SHOWN_FOR = (780, 510), 96, 1400  # pixels; colours; milliseconds: of pictures that move
_AND_THIS_ROW = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows


def main(names: list[str]) -> None:
    """Take the pictures named, or all."""
    steps = {"coins": coins, "stack": stack, "restore": restore, "sequences": sequences}
    steps |= {"sides": sides, "channels": channels, "objects": objects}
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


def sequences() -> None:
    """Take what is done in several steps, as pictures that move."""
    viewer, widget, middle, truth = _nuclei()
    annotator = widget.annotator
    with _Sequence(viewer, "slices.gif") as take:
        for z in (middle, middle + 1):
            viewer.dims.set_current_step(0, z)
            take()
            _click_at(widget, z, truth)
            take()
        viewer.dims.set_current_step(0, middle)
        take()
    with _Sequence(viewer, "undo.gif") as take:
        _click_at(widget, middle, truth, offset=(0, 12), positive=False)
        take()
        for step in (annotator.undo, annotator.undo, annotator.redo, annotator.redo):
            step()
            _settle(widget)
            take()
    with _Sequence(viewer, "propagation.gif") as take:
        _open(widget, "Other slices")
        widget.propagation.start("whole")
        _wait(lambda: not widget.propagation.busy)
        for z in np.flatnonzero((annotator.layers.labels.data == annotator.session.object).any(axis=(1, 2))):
            viewer.dims.set_current_step(0, int(z))
            take()
    viewer.close()
    _turned()
    _corrected()
    sides()
    channels()
    objects()


def _turned() -> None:
    """Take a click on an image that is rotated, and its mask from the side."""
    viewer, widget, middle, truth = _nuclei(rotate=25)
    with _Sequence(viewer, "transforms.gif") as take:
        viewer.dims.set_current_step(0, middle)
        take()
        _click_at(widget, middle, truth)
        take()
        widget.propagation.start("whole")
        _wait(lambda: not widget.propagation.busy)
        for layer in viewer.layers:
            layer.rotate = np.eye(3)
        viewer.dims.order = (1, 0, 2)
        viewer.dims.set_current_step(1, int(np.argwhere(truth)[:, 1].mean()))
        viewer.reset_view()
        take()
    viewer.close()


def _corrected() -> None:
    """Take a mask of somebody else's that clicks correct."""
    viewer, widget, middle, truth = _nuclei(damaged=True)
    with _Sequence(viewer, "correction.gif") as take:
        viewer.dims.set_current_step(0, middle)
        widget.annotator.turn_to(1)
        take()
        wrong = truth[middle] & (widget.annotator.layers.labels.data[middle] != 1)
        row, column = np.argwhere(wrong).mean(axis=0)
        widget.annotator.clicks.by_sign[True].add([[middle, row, column]])
        _settle(widget)
        take()
    viewer.close()


def sides() -> None:
    """Take clicks on an object in both side views of a stack."""
    viewer, widget, _middle, truth = _nuclei()
    centre = np.argwhere(truth).mean(axis=0).round().astype(int)
    with _Sequence(viewer, "sides.gif") as take:
        for axis in (1, 2):
            viewer.dims.order = (axis, 0, 3 - axis)  # XZ, then YZ
            viewer.dims.set_current_step(axis, int(centre[axis]))
            viewer.reset_view()
            take()
            place = np.argwhere(truth.take(centre[axis], axis)).mean(axis=0)
            widget.annotator.clicks.by_sign[True].add([np.insert(place, axis, centre[axis])])
            _settle(widget)
            take()
    viewer.close()


def channels() -> None:
    """Take layers that are channels of one image, which the network is shown together."""
    viewer = napari.Viewer(title="napari-fbrs: channels")
    viewer.window.resize(*_SIZE)
    (image, options, _), (truth, _, _) = nuclei_stack()
    label = _whole_bright_one(image, truth)
    middle = int(np.argwhere(truth == label)[:, 0].mean())
    around = filters.gaussian((truth[middle] > 0).astype(float), 5) - 0.4 * (truth[middle] > 0)
    scale = options["scale"][1:]
    viewer.add_image(around, name="cytoplasm", scale=scale, colormap="green")
    viewer.add_image(image[middle], name="nucleus", scale=scale, colormap="magenta", blending="additive")
    widget = FBRSWidget(viewer)
    viewer.window.add_dock_widget(widget, name="f-BRS interactive segmentation", area="right")
    viewer.reset_view()
    with _Sequence(viewer, "channels.gif") as take:
        take()
        source = widget.channels.source
        source.setCurrentIndex(source.findText("several layers"))
        take()
        widget.start()
        _wait(lambda: widget.annotator is not None)
        row, column = np.argwhere(truth[middle] == label).mean(axis=0)
        widget.annotator.clicks.by_sign[True].add([[row, column]])
        _settle(widget)
        take()
    viewer.close()


def objects() -> None:
    """Take what is done to objects: pick, name, lock, delete, merge, overwrite."""
    viewer, widget = _demo()
    annotate_coins(widget)
    _open(widget, "Objects")
    box, annotator = widget.objects, widget.annotator
    with _Sequence(viewer, "objects.gif") as take:
        take()
        box.table.selectRow(1)  # picked
        take()
        _name(widget, {2: "penny"})
        box.table.item(1, box.table.columnCount() - 1).setCheckState(Qt.CheckState.Checked)
        take()
        box.table.selectRow(2)
        box.delete.click()
        take()
        box.table.selectRow(2)
        box.table.selectionModel().select(box.table.model().index(3, 0), _AND_THIS_ROW)
        box.merge.click()
        take()
        box.overlap.setCurrentIndex(1)  # a new object takes the pixels of others, but not those of the locked one
        for clicks in list(coins_clicks().values())[:2]:
            annotator.next_object()
            click(widget, clicks[0])
        take()
    viewer.close()


def _nuclei(*, damaged: bool = False, rotate: float = 0) -> tuple[napari.Viewer, FBRSWidget, int, np.ndarray]:
    """Return a viewer of nuclei, started; the middle slice of one, and which pixels are its."""
    viewer = napari.Viewer(title="napari-fbrs: nuclei")
    viewer.window.resize(*_SIZE)
    (image, options, _), (truth, _, _) = nuclei_stack()
    layer = viewer.add_image(image, **options, rotate=rotate)
    widget = FBRSWidget(viewer)
    viewer.window.add_dock_widget(widget, name="f-BRS interactive segmentation", area="right")
    one = truth == _whole_bright_one(image, truth)
    if damaged:
        mask = one.astype(np.int32)
        mask[..., int(np.argwhere(one)[:, 2].mean()) :] = 0
        widget._existing["labels"].value = viewer.add_labels(mask, scale=layer.scale, name="somebody's masks")
    viewer.reset_view()
    widget.start()
    _wait(lambda: widget.annotator is not None)
    planes = np.flatnonzero(one.any(axis=(1, 2)))
    return viewer, widget, int(planes[len(planes) // 2]), one


def _click_at(
    widget: FBRSWidget, z: int, truth: np.ndarray, *, offset: tuple[int, int] = (0, 0), positive: bool = True
) -> None:
    row, column = np.argwhere(truth[z]).mean(axis=0) + offset
    widget.annotator.clicks.by_sign[positive].add([[z, row, column]])
    _settle(widget)


class _Sequence:
    """Pictures of a viewer, one after the other, as one that moves.

    Parameters
    ----------
    viewer : Viewer
        What is taken, each time this is called.
    name : str
        Of the file.
    """

    def __init__(self, viewer: napari.Viewer, name: str) -> None:
        self._viewer, self._name = viewer, name
        self._pictures: list[Image.Image] = []

    def __call__(self) -> None:
        self._pictures.append(_pictured(self._viewer).resize(_SMALL, Image.Resampling.LANCZOS))

    def __enter__(self) -> _Sequence:
        return self

    def __exit__(self, *_failed: object) -> None:
        # One palette for all, or what stays as it is would flicker.
        together = Image.fromarray(np.concatenate([np.asarray(picture) for picture in self._pictures]))
        palette = together.quantize(_FEW_COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=3)
        first, *others = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in self._pictures)
        first.save(HERE / self._name, save_all=True, append_images=others, duration=_SHOWN_FOR, loop=0, optimize=True)


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
    picture = _pictured(viewer).quantize(_COLOURS, method=Image.Quantize.MAXCOVERAGE)
    picture.save(HERE / name, optimize=True)


def _pictured(viewer: napari.Viewer) -> Image.Image:
    for _ in range(20):
        QApplication.processEvents()
        time.sleep(0.02)
    return Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)[..., :3])


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
