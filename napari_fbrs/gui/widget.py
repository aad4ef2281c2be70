"""The dock widget: choose an image, start, click."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import napari
from magicgui.widgets import ComboBox
from napari.layers import Image, Labels, Layer, Points, Shapes
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QFormLayout,
    QGroupBox,
    QLabel,
    QPushButton,
    QSpinBox,
    QWidget,
)
from superqt import QCollapsible, QLabeledDoubleSlider

from napari_fbrs.annotation.click_record import Moment, moment_of
from napari_fbrs.annotation.session import SESSION, Result
from napari_fbrs.errors import FBRSError, InputError, MemoryShortageError
from napari_fbrs.gui.annotator import Annotator, Layers
from napari_fbrs.gui.boxes import CostMeter, ModeBox, ModelBoxes, device_text, layer_box, row, scrolled
from napari_fbrs.gui.channel_box import ChannelBox
from napari_fbrs.gui.export_box import ExportBox
from napari_fbrs.gui.kept import kept_session, made_with, note_layers
from napari_fbrs.gui.keys import Shortcuts, hint_text
from napari_fbrs.gui.layers import NEW, check_labels, check_points, check_room, new_labels, new_points
from napari_fbrs.gui.mouse import OtherSign
from napari_fbrs.gui.objects_table import ObjectsBox
from napari_fbrs.gui.panel import Panel
from napari_fbrs.gui.picture import Picture
from napari_fbrs.gui.propagation_box import PropagationBox
from napari_fbrs.gui.record_opener import RecordOpener
from napari_fbrs.gui.recovery import Recovery
from napari_fbrs.gui.strokes import strokes_of_shapes
from napari_fbrs.gui.worker import LatestWorker
from napari_fbrs.inference.prediction import Prediction
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.inference.settings import PredictorSettings
from napari_fbrs.models.checkpoint import Model
from napari_fbrs.models.zoo import load_model

_THRESHOLDS = (0.05, 0.95)
_FIND_OUT, _LARGEST = 0, 100_000  # pixels; the first stands for a size nobody knows


class FBRSWidget(Panel):
    """Segments objects by positive and negative clicks.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the images are.
    """

    # The annotation is not quoted: napari finds the viewer to inject by its type.
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.annotator: Annotator | None = None
        self._loader = LatestWorker(self)
        self._loader.returned.connect(self._loaded)
        self._loader.failed.connect(self._not_loaded)
        self._loading = ""  # the device that a model is being loaded to
        self._refusal: tuple[int | None, str] | None = None  # told last, and of which object; until it has a new mask
        self._dragged = False  # whether what is done is a slider's doing
        self._chosen: Layers | None = None
        self._inputs: tuple[Shortcuts, OtherSign] | tuple[()] = ()  # of the annotator
        self._build()
        for watched in self._watched():
            watched.connect(self._refresh)
        self.reset_choices()
        self._refresh()

    def reset_choices(self, _event: Any = None) -> None:
        """Offer the layers there are now; napari calls this when layers come and go."""
        for box in (self.image, *self._existing.values(), self.strokes):
            box.reset_choices()
        self.channels.offer(self.image.value)
        self.export.reset_choices()

    def start(self) -> None:
        """Make or adopt the layers, load the model, and take clicks."""
        image = self.image.value
        try:
            if self.closed:
                raise InputError("this panel was closed: open another (Layers > Segment > Segment by clicks)")
            if image is None:
                raise InputError("there is no image layer: open an image first (File > Open, or File > Open Sample)")
            self._chosen = self._layers(self.channels.picture(image))
        except InputError as error:
            self._refused(str(error))
            return
        self._load()

    def shut_down(self) -> None:
        """Stop computing; layers and masks stay."""
        self._loader.close()
        self._boxes.close()
        self.meter.close_down()
        self.export.shut()
        self.opener.close_down()
        self.propagation.close_down()
        for watched in self._watched():
            watched.disconnect(self._refresh)
        self.recovery.stop()
        if self.annotator is not None:
            self.annotator.close()

    def _watched(self) -> tuple[Any, ...]:
        """Return the events after which other things are displayed."""
        dims = self.viewer.dims.events
        return dims.current_step, dims.ndisplay, dims.order, self.viewer.layers.selection.events.active

    # -- building

    def _build(self) -> None:
        self.image = layer_box(Image)
        self.channels = ChannelBox(self.viewer)
        self.image.changed.connect(self.channels.offer)
        self._boxes = ModelBoxes(self)
        self.model, self.device = self._boxes.model, self._boxes.device
        self._boxes.chosen.connect(self._model_chosen)
        self._boxes.failed.connect(lambda error: show_error(str(error)))
        self._existing = {  # in the order of layers made: clicks above masks
            "labels": layer_box(Labels, nullable=True),
            "negative": layer_box(Points, nullable=True),
            "positive": layer_box(Points, nullable=True),
        }
        adopt = QCollapsible("Use layers of your own")
        inner = QWidget()
        form = QFormLayout(inner)
        form.setContentsMargins(0, 0, 0, 0)
        for name, box in self._existing.items():
            form.addRow(name.capitalize(), box.native)
        self.strokes = ComboBox(choices=self._scribbles, nullable=True)
        self.strokes.tooltip = (
            "Strokes drawn before: Labels painted 1 on the object and 2 off it, or Shapes\n"
            '(on it, unless a feature called "positive" says something else)'
        )
        form.addRow("Strokes", self.strokes.native)
        adopt.addWidget(inner)

        self.recovery = Recovery(self)
        self.recovery.restored.connect(self._refresh)
        self.start_button = QPushButton("Start")
        self.start_button.clicked.connect(self.start)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

        choices = QFormLayout()
        choices.addRow("Image", self.image.native)
        choices.addRow(self.channels)
        self._boxes.add_to(choices)
        self.mode = ModeBox()
        self.mode.activated.connect(self._model_chosen)
        self.meter = CostMeter(self._boxes, self.mode)
        self.meter.failed.connect(self._crashed)
        choices.addRow("Mode", row(self.mode, self.meter))
        self.zoom = QCheckBox("Zoom in on the object")
        self.zoom.setChecked(True)
        self.zoom.setToolTip(
            "Look at the part of the image around the object, as far as it is known; otherwise always at all of it"
        )
        self.zoom.clicked.connect(self._model_chosen)
        choices.addRow("", self.zoom)
        layout = scrolled(self)
        layout.addLayout(choices)
        layout.addWidget(adopt)
        self.opener = RecordOpener()
        self.opener.restored.connect(self.recovery.note)
        self.opener.said.connect(self._say)
        layout.addWidget(row(self.start_button, self.opener))
        layout.addWidget(self.recovery)
        layout.addWidget(self._clicking())
        layout.addWidget(self.status)
        self.objects = ObjectsBox()
        layout.addWidget(_folded("Objects", self.objects))
        self.propagation = PropagationBox()
        layout.addWidget(_folded("Other slices", self.propagation))
        self.export = ExportBox(self._computing, self._known, self._moment)
        self.export.saved.connect(self._saved)
        layout.addWidget(self.export)
        layout.addStretch()

    def _clicking(self) -> QGroupBox:
        self.signs = {
            True: QPushButton("\N{BLACK CIRCLE} Positive"),
            False: QPushButton("\N{MULTIPLICATION X} Negative"),
        }
        group = QButtonGroup(self)
        for positive, button in self.signs.items():
            button.setCheckable(True)
            button.setToolTip(f"Clicks {'on' if positive else 'off'} the object (T for the other kind)")
            button.setStyleSheet(f"QPushButton:checked {{ background: {'#1e8449' if positive else '#a93246'}; }}")
            button.clicked.connect(lambda _checked, positive=positive: self._annotator().set_sign(positive))
            group.addButton(button)
        self.draw_button = QPushButton("Draw (D)")
        self.draw_button.setCheckable(True)
        self.draw_button.setToolTip(
            "Paint strokes with napari's brush instead of clicking points: all that is painted is on the object, or\n"
            "off it. The eraser, and painting over, take from strokes."
        )
        self.draw_button.clicked.connect(lambda checked: self._annotator().set_drawing(checked))
        self.next_button = QPushButton("Next object (N)")
        self.next_button.clicked.connect(lambda: self._annotator().next_object())
        self.undo_button = QPushButton("Undo")
        self.undo_button.setToolTip("Take back the last click and its mask (Ctrl+Z)")
        self.undo_button.clicked.connect(lambda: self._annotator().undo())
        self.redo_button = QPushButton("Redo")
        self.redo_button.setToolTip("Do it again (Ctrl+Shift+Z)")
        self.redo_button.clicked.connect(lambda: self._annotator().redo())
        self.threshold = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        self.threshold.setRange(*_THRESHOLDS)
        self.threshold.setValue(0.5)
        self.threshold.setToolTip("Probability above which a pixel belongs to the object; the network is not run again")
        self.threshold.valueChanged.connect(self._threshold_moved)

        self.extent = QSpinBox()
        self.extent.setRange(_FIND_OUT, _LARGEST)
        self.extent.setSpecialValueText("find out")
        self.extent.setSuffix(" px")
        self.extent.setStepType(QSpinBox.StepType.AdaptiveDecimalStepType)
        self.extent.setKeyboardTracking(False)
        self.extent.setToolTip(
            "How large objects are, about: the longer side of a box around them, in pixels of the image.\n"
            "Say so if the first click takes a part of the object, or more than the object."
        )
        self.extent.valueChanged.connect(self._extent_changed)

        self.box = QGroupBox("Object")
        layout = QFormLayout(self.box)
        layout.addRow(row(*self.signs.values(), self.draw_button))
        layout.addRow(self.next_button)
        layout.addRow(row(self.undo_button, self.redo_button))
        layout.addRow("Threshold", self.threshold)
        layout.addRow("Size", self.extent)
        self.hints = QLabel()
        self.hints.setWordWrap(True)
        self._show_hints()
        layout.addRow(self.hints)
        return self.box

    def _show_hints(self) -> None:
        self.hints.setText(hint_text())

    def _scribbles(self, _box: Any = None) -> list[Layer]:
        return [layer for layer in self.viewer.layers if isinstance(layer, (Labels, Shapes))]

    # -- starting

    def _layers(self, image: Picture) -> Layers:
        """Return the layers to work in: chosen, or made by an earlier start, or new."""
        chosen: dict[str, Layer] = {}
        for role, box in self._existing.items():
            layer = box.value or self._made_earlier(image, role, chosen.get("labels"))
            if layer is None:
                layer = new_labels(image) if role == "labels" else new_points(image, positive=role == "positive")
            chosen[role] = layer
        for role in ("positive", "negative"):
            check_points(chosen[role], image)
        check_labels(chosen["labels"], image)
        labels = chosen["labels"]
        if NEW not in labels.metadata and kept_session(labels, image) is None:  # begun by somebody else
            check_room(labels)
        if chosen["positive"] == chosen["negative"]:
            raise InputError("positive and negative clicks need a Points layer each: choose two, or none")
        if SESSION not in labels.metadata:  # found again if the model cannot be loaded
            note_layers(labels, image, **chosen)
        for layer in chosen.values():
            if layer not in self.viewer.layers:
                self.viewer.add_layer(layer)
        return Layers(image, chosen["positive"], chosen["negative"], labels)

    def _made_earlier(self, image: Picture, role: str, labels: Layer | None) -> Layer | None:
        """Return the layer of an earlier start: with these labels, as another object's clicks are not those of this."""
        now = self.annotator.layers if self.annotator is not None else None
        if now is not None and image.like(now.image) and labels in (None, now.labels) and role in self._existing:
            return getattr(now, role)
        made = (one for one in self.viewer.layers if made_with(one, role, one if labels is None else labels, image))
        return next((layer for layer in made if _fits(layer, image)), None)

    def _load(self, on: str | None = None) -> None:
        name, device = self._boxes.names
        self._loading = device = on or device
        mode, zoom = self.mode.currentText(), self.zoom.isChecked()
        self.start_button.setEnabled(False)
        self._say(f"Loading the model {name} ...")
        self._loader.submit(lambda _cancelled: _predictor(load_model(name, device), mode, zoom=zoom))

    def _not_loaded(self, error: Exception) -> None:
        """Try the CPU where another device has no room for the model; else say what is wrong."""
        if isinstance(error, MemoryShortageError) and self._loading != "cpu":
            show_warning(f"{error}. The model is loaded to the CPU instead")
            self._load(on="cpu")
        else:
            self._crashed(error)

    def _loaded(self, predictor: Predictor) -> None:
        self.start_button.setEnabled(True)
        layers = self._chosen
        if layers is None:
            return
        if self.annotator is not None and self.annotator.layers == layers:
            self.annotator.set_predictor(predictor)
            for inputs in self._inputs:
                inputs.read_settings()
        elif gone := [layer.name for layer in layers.all() if layer not in self.viewer.layers]:
            self._refused(f"{', '.join(map(repr, gone))} was removed while the model was loading: press Start again")
            return
        else:
            self._let_go()  # before another annotator takes over the session and its labels
            try:
                self.annotator = self._new_annotator(layers, predictor)
            except InputError as error:
                self._refresh()
                self._refused(str(error))
                return
            self.recovery.follow(self.annotator)
            self.opener.follow(self.annotator)
        self._show_hints()
        self._take_strokes(self.annotator)
        self.annotator.set_sign(True)
        self.export.labels.value = layers.labels
        self._refresh()

    def _let_go(self) -> None:
        """Leave an annotation; its layers stay."""
        self.recovery.stop()
        if self.annotator is not None:
            self.annotator.close()
        self.annotator = None

    def _image_replaced(self, fits: bool) -> None:
        """Go on where the pixels of the image were exchanged for as many others; else leave the annotation."""
        annotator = self._annotator()
        image, labels = annotator.layers.image.name, annotator.layers.labels.name
        if fits:
            self.recovery.follow(annotator)  # a journal belongs to the pixels it was begun on
            self._refused(f"the pixels of {image!r} were replaced: clicks look at the new ones, masks stay as they are")
            return
        self._leave(
            f"{image!r} has another shape now: press Start for layers that fit it; the masks so far stay in {labels!r}"
        )

    def _leave(self, why: str) -> None:
        """Leave an annotation that cannot go on, and say why."""
        self._let_go()
        self._refresh()
        self._refused(why)

    def _take_strokes(self, annotator: Annotator) -> None:
        """Make use of strokes drawn before: in layers chosen, or in the one made by an earlier start."""
        image, chosen = annotator.layers.image, self.strokes.value
        layer = chosen if isinstance(chosen, Labels) else self._made_earlier(image, "strokes", annotator.layers.labels)
        try:
            if isinstance(layer, Labels) and (annotator.strokes is None or annotator.strokes.layer != layer):
                check_labels(layer, image)
                annotator.use_strokes(layer)
            annotator.show_strokes()
            if isinstance(chosen, Shapes):
                annotator.add_strokes(strokes_of_shapes(chosen, image, annotator.axes()))
        except InputError as error:
            self._refused(str(error))

    def _new_annotator(self, layers: Layers, predictor: Predictor) -> Annotator:
        annotator = Annotator(self.viewer, layers, predictor, self)
        annotator.changed.connect(self._refresh)
        annotator.changed.connect(self.recovery.note)
        annotator.shown.connect(self._measured)
        annotator.refused.connect(self._refused)
        annotator.replaced.connect(self._image_replaced)
        annotator.unfit.connect(self._leave)
        annotator.crashed.connect(self._crashed)
        annotator.strokes_made.connect(lambda layer: note_layers(layers.labels, layers.image, strokes=layer))
        self._inputs = Shortcuts(annotator), OtherSign(annotator)
        return annotator

    def _measured(self, result: Result) -> None:
        self._refusal = None
        if result.prediction is not None:
            self.mode.measured(self._annotator().session.predictor.mode, _milliseconds(result.prediction))

    def _known(self, labels: Labels) -> dict[str, Any]:
        """Return what is known of a layer's objects: the classes given to them, the grey image they lie on."""
        annotator = self.annotator
        if annotator is None or annotator.layers.labels != labels:
            return {}
        image = annotator.layers.image
        classes = dict.fromkeys(annotator.given_classes, "") | annotator.session.classes  # "": taken away since
        known: dict[str, Any] = {} if image.rgb else {"intensities": image.grey()}
        return known | ({"classes": classes} if classes else {})

    def _moment(self, labels: Labels) -> tuple[Moment, Mapping[str, Any]] | None:
        """Return what a click record of a layer follows from, and the names of its image; None without clicks."""
        annotator = self.annotator
        if annotator is None or annotator.layers.labels != labels:
            return None
        image = annotator.layers.image
        return moment_of(annotator.session), {"name": image.name, "source": image.layer.source.path}

    def _saved(self, labels: Labels) -> None:
        if self.annotator is not None and self.annotator.layers.labels == labels:
            self.recovery.saved()

    def _computing(self, labels: Labels) -> bool:
        """Return whether a mask for a layer is being computed."""
        return self.annotator is not None and self.annotator.layers.labels == labels and self.annotator.busy

    def _model_chosen(self) -> None:
        if self.annotator is not None:
            self._load()

    # -- telling

    def _annotator(self) -> Annotator:
        assert self.annotator is not None, "buttons are disabled before the start"
        return self.annotator

    def _threshold_moved(self, value: float) -> None:
        self._dragged = True
        try:
            self._annotator().set_threshold(value)
        finally:
            self._dragged = False

    def _extent_changed(self, value: int) -> None:
        self._annotator().set_extent(None if value == _FIND_OUT else value)

    def _refused(self, message: str) -> None:
        refusal = (self.annotator.session.object if self.annotator is not None else None), message
        if refusal != self._refusal or not self._dragged:  # a slider that is dragged would say it many times
            show_warning(message)
        self._refusal = refusal
        self._say(message)

    def _crashed(self, error: Exception) -> None:
        self.start_button.setEnabled(True)
        if not isinstance(error, FBRSError):
            logging.getLogger(__name__).error("computation failed", exc_info=error)
            error = RuntimeError(f"the computation failed ({type(error).__name__}: {error}); your clicks are kept")
        show_error(str(error))
        self._say(str(error))

    def _say(self, text: str) -> None:
        self.status.setText(text)

    def _refresh(self, _event: Any = None) -> None:
        """Bring buttons and the status line up to date."""
        annotator = self.annotator
        if _event is not None:  # something else is displayed
            self._refusal = None
        self.box.setEnabled(annotator is not None)
        self.objects.refresh(annotator)
        self.propagation.refresh(annotator)
        if annotator is None:
            self._say("Choose an image, press Start, then click on an object.")
            return
        session = annotator.session
        self.box.setTitle(f"Object {session.object}")
        self.signs[annotator.sign].setChecked(True)
        self.draw_button.setChecked(annotator.drawing)
        self.undo_button.setEnabled(len(session.history) > 0)
        self.redo_button.setEnabled(session.history.can_redo)
        threshold, extent = annotator.shown_settings()
        with QSignalBlocker(self.threshold), QSignalBlocker(self.extent):
            self.threshold.setValue(threshold)
            self.extent.setValue(_FIND_OUT if extent is None else round(extent))
        count = sum(len(session.refinement(place).clicks) for place in session.places(session.object))
        device = device_text(session.predictor.model.device)
        removed = [repr(layer.name) for layer in annotator.layers.ours() if layer not in self.viewer.layers]
        if removed:
            self._say(f"{', '.join(removed)} is not among the layers any more: Start puts it back.")
        elif self._refusal is not None and self._refusal[0] == session.object:
            self._say(self._refusal[1])
        elif annotator.busy:
            self._say(f"Object {session.object}, {_clicks(count)}: computing on {device} ...")
        elif annotator.result is not None and count:
            self._say(f"Object {session.object}, {_clicks(count)} on {device}. {_result_text(annotator.result)}")
        else:
            self._say(f"Object {session.object}, {_clicks(count)}. Ready on {device}: click on the object.")


def _fits(layer: Layer, image: Picture) -> bool:
    """Whether a layer made for an image fits it as it is now."""
    try:
        (check_labels if isinstance(layer, Labels) else check_points)(layer, image)
    except InputError:
        return False
    return True


def _predictor(model: Model, mode: str, *, zoom: bool) -> Predictor:
    if zoom:
        return Predictor(model, mode)
    settings = replace(PredictorSettings.of_model(model.settings), zoom=None)
    return Predictor(model, mode, settings=settings)


def _folded(title: str, content: QWidget) -> QCollapsible:
    folded = QCollapsible(title)
    folded.addWidget(content)
    return folded


def _clicks(count: int) -> str:
    return f"{count} click{'' if count == 1 else 's'}"


def _milliseconds(prediction: Prediction) -> float:
    return 1000 * sum(prediction.timings.values())


def _result_text(result: Result) -> str:
    if result.prediction is None:
        return ""
    milliseconds = _milliseconds(result.prediction)
    if not result.unmet:
        return f"Mask in {milliseconds:.0f} ms, all clicks met."
    numbers = ", ".join(str(index + 1) for index in result.unmet)
    return f"Mask in {milliseconds:.0f} ms; click {numbers} not met: add one beside it, or move the threshold."
