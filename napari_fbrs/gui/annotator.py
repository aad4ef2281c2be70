"""Ties an annotation to its layers: points become clicks, clicks become masks, both can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from napari import Viewer
from napari.layers import Labels, Layer, Points
from napari.utils.events import Event
from qtpy.QtCore import QObject, QTimer, Signal

from napari_fbrs.annotation.history import Place, Refinement
from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.annotation.labels import LabelChange
from napari_fbrs.annotation.objects import Objects
from napari_fbrs.annotation.reconcile import Edit, Point, point_of, reconcile
from napari_fbrs.annotation.scribbles import repainted
from napari_fbrs.annotation.session import SESSION, Result, Session
from napari_fbrs.errors import InputError, MemoryShortageError
from napari_fbrs.export.source import classes_of
from napari_fbrs.gui.kept import kept_session, note_layers
from napari_fbrs.gui.layers import (
    NEW,
    ClickLayers,
    Followers,
    LayerLabels,
    check_labels,
    largest_label,
    painted_change,
)
from napari_fbrs.gui.picture import Picture
from napari_fbrs.gui.strokes import Drawn, StrokeLayer, new_strokes
from napari_fbrs.gui.worker import LatestWorker
from napari_fbrs.inference.predictor import Predictor
from napari_fbrs.models.memory import is_shortage, shortage
from napari_fbrs.strokes import Stroke

_ADDED = "added"
_SETTLED = 150  # milliseconds that a plane is displayed before anything is done ahead for it
_CHANGES = (_ADDED, "removed", "changed")


@dataclass(frozen=True)
class Layers:
    """The layers of an annotation."""

    image: Picture
    positive: Points
    negative: Points
    labels: Labels

    def ours(self) -> tuple[Points, Points, Labels]:
        """Return the layers that are written to."""
        return self.positive, self.negative, self.labels

    def all(self) -> tuple[Layer, ...]:
        """Return all layers, those of the image first."""
        return *self.image.layers, *self.ours()


class Annotator(QObject):
    """Annotates one image layer in one viewer.

    Parameters
    ----------
    viewer : Viewer
        Where the layers are shown.
    layers : Layers
        Checked; points already there become the first clicks.
    predictor : Predictor
        Computes masks.
    parent : QObject, optional
        Owner.
    """

    shown = Signal(object)  # a Result, now in the labels
    refused = Signal(str)  # what could not be done, and why
    crashed = Signal(Exception)
    changed = Signal()  # anything a status line tells
    replaced = Signal(bool)  # the pixels of the image are others now; whether they are as many as before
    unfit = Signal(str)  # why the labels hold no masks of the image any more
    closing = Signal()
    strokes_made = Signal(object)  # the Labels layer that strokes are painted in

    def __init__(self, viewer: Viewer, layers: Layers, predictor: Predictor, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.layers = layers
        self.labels = LayerLabels(layers.labels)
        self.given_classes = classes_of(layers.labels.features)  # that came with the labels
        self.session = self._resumed_session(predictor) or self._new_session(predictor)
        note_layers(layers.labels, layers.image, positive=layers.positive, negative=layers.negative)
        self.strokes: StrokeLayer | None = None
        self.objects = Objects(self.session, empty=layers.labels.metadata.pop(NEW, False))
        self.clicks = ClickLayers(layers.image, layers.positive, layers.negative)
        self._followers = Followers(layers.image)
        self.result: Result | None = None
        self._unmet: dict[Place, frozenset[Point]] = {}
        self.worker = LatestWorker(self)
        self.worker.returned.connect(self._show)
        self.worker.failed.connect(self._fail)
        self.worker.idle.connect(self.changed)
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLED)
        self._settled.timeout.connect(self.warm_up)
        viewer.dims.events.point.connect(self._plane_changed)
        for points in self.clicks:
            points.events.data.connect(self._points_changed)
        layers.labels.events.paint.connect(self._painted)
        layers.labels.events.selected_label.connect(self._label_selected)
        layers.labels.events.data.connect(self._labels_replaced)
        for layer in layers.image.layers:
            layer.events.data.connect(self._image_replaced)
        for moved in layers.image.moved:
            moved.connect(self._image_moved)
        self.read_points()
        self._write_points(strokes=False)  # their layer may be there, and is for the widget to find
        self._settled.start()

    def close(self) -> None:
        """Stop computing and listening; layers stay as they are."""
        self.closing.emit()
        self.worker.close()
        self._settled.stop()
        self.viewer.dims.events.point.disconnect(self._plane_changed)
        self.clicks.mark(())
        self.clicks.deselect()
        for points in self.clicks:
            points.events.data.disconnect(self._points_changed)
        self.layers.labels.events.paint.disconnect(self._painted)
        self.layers.labels.events.selected_label.disconnect(self._label_selected)
        self.layers.labels.events.data.disconnect(self._labels_replaced)
        for layer in self.layers.image.layers:
            layer.events.data.disconnect(self._image_replaced)
        for moved in self.layers.image.moved:
            moved.disconnect(self._image_moved)
        if self.strokes is not None:
            self.strokes.layer.events.paint.disconnect(self._stroke_painted)

    def _image_replaced(self, _event: Event) -> None:
        """Look at pixels that somebody has put in the place of those of the image."""
        self.worker.cancel()
        image, session = self.layers.image, self.session
        fits = image.shape == session.image.shape
        if fits:
            try:
                session.look_at(image.image())
                self._settled.start()
            except InputError:  # channels that are no image together any more
                fits = False
        self.replaced.emit(fits)
        if fits:
            self.update()

    def _labels_replaced(self, _event: Event) -> None:
        """Look at labels that somebody has put in the place of those there were."""
        try:
            check_labels(self.layers.labels, self.layers.image)
        except InputError as error:
            self.unfit.emit(str(error))

    def _image_moved(self, _event: Event) -> None:
        """Keep clicks and masks on their pixels where somebody has given the image another scale, or moved it."""
        strokes = [self.strokes.layer] if self.strokes is not None else []
        self._followers.follow([*self.layers.ours(), *strokes])
        self._write_points(strokes=False)
        self._mark_unmet()
        self.changed.emit()

    def _plane_changed(self, _event: Event) -> None:
        self._settled.start()

    @property
    def busy(self) -> bool:
        """Whether a mask is being computed."""
        return self.worker.busy

    @property
    def sign(self) -> bool:
        """Whether the next click is positive."""
        if self.strokes is not None and self.drawing:
            return self.strokes.positive
        return bool(self.viewer.layers.selection.active != self.layers.negative)

    def set_sign(self, positive: bool) -> None:
        """Make the Points layer of a sign the one that takes clicks, or have the brush paint that sign."""
        if self.strokes is not None and self.drawing:
            self.strokes.take_brush(positive)
        else:
            self._take_clicks(positive)
        self.changed.emit()

    def _take_clicks(self, positive: bool) -> None:
        layer = self.clicks.by_sign[positive]
        if layer not in self.viewer.layers:  # taken away: who asks for its clicks wants it back
            self.viewer.add_layer(layer)
        self.viewer.layers.selection.active = layer
        layer.mode = "add"

    @property
    def drawing(self) -> bool:
        """Whether strokes are painted, and not points clicked."""
        return self.strokes is not None and self.viewer.layers.selection.active == self.strokes.layer

    def set_drawing(self, drawing: bool) -> None:
        """Go on with strokes, painted by napari's brush, or with clicks, of the sign that there was."""
        positive = self.sign
        if drawing:
            strokes = self._stroke_layer()
            self.viewer.layers.selection.active = strokes.layer
            strokes.take_brush(positive)
        else:
            self._take_clicks(positive)
        self.changed.emit()

    def toggle_drawing(self) -> None:
        """Draw strokes, or click points again."""
        self.set_drawing(not self.drawing)

    def use_strokes(self, layer: Labels) -> None:
        """Have strokes painted in a layer; what it shows already becomes strokes of the current object.

        Raises
        ------
        InputError
            If it holds anything but strokes, or is displayed in 3D.
        """
        strokes = StrokeLayer(layer)
        found = list(strokes.read(self.axes(), self._known_strokes()))
        if self.strokes is not None:
            self.strokes.layer.events.paint.disconnect(self._stroke_painted)
        self.strokes = strokes
        layer.events.paint.connect(self._stroke_painted)
        strokes.painted(found)
        self.add_strokes(found)
        self.strokes_made.emit(layer)

    def add_strokes(self, strokes: Iterable[Drawn]) -> None:
        """Give the current object strokes; those that it has already are left out."""
        session = self.session
        new: dict[PlaneIndex, list[Stroke]] = {}
        for plane, stroke in strokes:
            if stroke not in session.refinement(Place(session.object, plane)).clicks.flat:
                new.setdefault(plane, []).append(stroke)
        self._edit_strokes(
            {
                plane: Edit(session.refinement(Place(session.object, plane)).clicks, tuple(added))
                for plane, added in new.items()
            }
        )

    def _edit_strokes(self, edits: Mapping[PlaneIndex, Edit]) -> None:
        limits = self.layers.image.limits()
        try:
            with self.session.together():
                for plane, edit in edits.items():
                    self.session.apply(Place(self.session.object, plane), edit, limits)
        except InputError as error:
            self.refused.emit(str(error))
        self.show_strokes()
        self.update()

    def _stroke_painted(self, event: Event) -> None:
        if self.strokes is None or self.strokes.writing:
            return
        change = painted_change(event)
        if change is None:
            return
        if np.array_equal(self.strokes.store.read(change.indices), change.after):
            self._take_painted(change)
        else:  # a script paints: napari tells before it writes
            QTimer.singleShot(0, lambda: self._take_painted(change))

    def _take_painted(self, change: LabelChange) -> None:
        """Make strokes of what has been painted."""
        if self.strokes is None:
            return
        session = self.session
        known = {place.plane: session.refinement(place).clicks for place in session.places(session.object)}
        try:
            edits = repainted(known, change, self.axes())
        except InputError as error:
            self.refused.emit(str(error))
            edits = {}
        change.undo(self.strokes.store)  # what it shows follows from the strokes
        self._edit_strokes(edits)

    def show_strokes(self) -> None:
        """Show the strokes of the current object, in a layer made for them if there is none yet."""
        strokes = self._known_strokes()
        if strokes and self.strokes is None:
            active = self.viewer.layers.selection.active
            self._stroke_layer()
            self.viewer.layers.selection.active = active
        if self.strokes is not None:
            self.strokes.write(strokes)

    def _stroke_layer(self) -> StrokeLayer:
        """Return the layer of strokes, made if there is none, and in the viewer."""
        if self.strokes is None:
            self.strokes = StrokeLayer(new_strokes(self.layers.image))
            self.strokes.layer.events.paint.connect(self._stroke_painted)
            self.strokes_made.emit(self.strokes.layer)
        if self.strokes.layer not in self.viewer.layers:
            self.viewer.add_layer(self.strokes.layer)
        return self.strokes

    def _known_strokes(self) -> list[Drawn]:
        """Return the strokes of the current object."""
        session = self.session
        return [
            (place.plane, click)
            for place in session.places(session.object)
            for click in session.refinement(place).clicks
            if isinstance(click, Stroke)
        ]

    def toggle_sign(self) -> None:
        """Let the next click be of the other sign."""
        self.set_sign(not self.sign)

    def plane(self) -> PlaneIndex:
        """Return the plane of the image that is displayed.

        Raises
        ------
        InputError
            In 3D view, if the image is not displayed as a plane, or if the sliders stand beyond it.
        """
        plane, image = self._view(), self.layers.image
        extents = (extent for axis, extent in enumerate(image.shape) if axis not in plane.axes)
        if any(not 0 <= at < extent for at, extent in zip(plane.position, extents, strict=True)):
            raise InputError(f"the sliders stand beyond the image {image.name!r}: move them back to a slice of it")
        return plane

    def _view(self) -> PlaneIndex:
        """Return the plane that the sliders stand at, which may lie beyond the image; see `plane`."""
        dims, image = self.viewer.dims, self.layers.image
        if dims.ndisplay != 2:
            raise InputError("clicks are made on planes: switch to 2D view (the button at the bottom left)")
        axes = tuple(axis - (dims.ndim - image.ndim) for axis in dims.displayed)
        if min(axes) < 0:
            raise InputError(f"the image {image.name!r} has no plane along the axes displayed")
        if image.axis in axes:
            raise InputError("the axis of channels is displayed: roll the axes (Ctrl+E) until it has a slider")
        point = np.array(dims.point[-image.ndim :])
        point[list(axes)] = 0  # as napari slices what is rotated out of the view
        at = image.world_to_data(point)
        position = tuple(round(float(at[axis])) for axis in range(image.ndim) if axis not in axes)
        return PlaneIndex(position, (axes[0], axes[1]))

    def axes(self) -> tuple[int, int]:
        """Return the axes of the image that are displayed.

        Raises
        ------
        InputError
            In 3D view, or if the image is not displayed as a plane.
        """
        return self._view().axes

    def place(self) -> Place:
        """Return the current object on the displayed plane; see `plane`."""
        return Place(self.session.object, self.plane())

    def read_points(self) -> None:
        """Take the clicks from the Points layers as they are now."""
        try:
            axes = self.axes()
            points, outside = self.clicks.read()
        except InputError as error:
            self.refused.emit(str(error))
            self._write_points()
            return
        session = self.session
        known = {place.plane: session.refinement(place).clicks for place in session.places(session.object)}
        limits = self.layers.image.limits()
        try:
            with session.together():
                for plane, edit in reconcile(known, points, axes).items():
                    session.apply(Place(session.object, plane), edit, limits)
        except InputError as error:
            self.refused.emit(str(error))
            self._write_points()
        if outside:
            self.refused.emit(f"{outside} point(s) outside the image {self.layers.image.name!r} were taken away")
            self._write_points()
        self.update()

    def show_session(self) -> None:
        """Show the clicks of a session that has been changed by somebody else, and compute what it lacks."""
        self.result = None
        self._write_points()
        self.update()

    def update(self) -> None:
        """Compute what is waiting to be computed, in a thread."""
        waiting = self.session.waiting()
        if waiting:
            # What was done last comes first: a place that cannot be computed would keep the others from it.
            newest = (step.place for step in self.session.history.newest_first() if step.place in waiting)
            place = next(newest, None) or waiting[-1]
            refinement = self.session.refinement(place)
            compute = self.session.compute
            self.worker.submit(lambda cancelled: compute(place, refinement, cancelled))
        self._mark_unmet()
        if self.session.object <= self.labels.largest:
            self.layers.labels.selected_label = self.session.object  # what the brush paints is the current object
        self.changed.emit()

    def warm_up(self) -> None:
        """Do ahead, in a thread, what the first click on the plane displayed will need."""
        try:
            place = self.place()
        except InputError:  # a view in which nothing can be clicked
            return
        if not self.session.refinement(place).clicks:
            limits, warm_up = self.layers.image.limits(), self.session.warm_up
            self.worker.submit_quietly(lambda cancelled: warm_up(place.plane, limits, cancelled))

    def _mark_unmet(self) -> None:
        """Show which clicks their masks contradict; those of masks not computed yet stay as they are."""
        for place in self.session.places(self.session.object):
            unmet = self.session.unmet(place)
            if unmet is not None:
                clicks = self.session.refinement(place).clicks
                self._unmet[place] = frozenset(point_of(place.plane, clicks[i]) for i in unmet)
        self.clicks.mark({p for place in self.session.places(self.session.object) for p in self._unmet.get(place, ())})

    def shown_settings(self) -> tuple[float, float | None]:
        """Return threshold and size of the object displayed, or where there is none, of those to come."""
        try:
            refinement = self.session.refinement(self.place())
        except InputError:  # a view in which nothing can be clicked
            refinement = Refinement()
        if not refinement.clicks:
            return self.session.threshold, self.session.extent
        return refinement.threshold, refinement.extent

    def set_threshold(self, threshold: float) -> None:
        """Change the threshold of the mask displayed, and of those to come."""

        def change(place: Place) -> None:
            if self.session.refinement(place).clicks:
                self.session.set_threshold(place, threshold)
            self.session.threshold = threshold

        self._on_plane(change, or_to_come=True)

    def set_extent(self, extent: float | None) -> None:
        """Say how large the object displayed, and those to come, are; see `Session.set_extent`."""
        self._on_plane(lambda place: self.session.set_extent(place, extent), or_to_come=True)

    def set_predictor(self, predictor: Predictor) -> None:
        """Compute with another model; the mask displayed is computed anew, others when they are clicked again."""
        self.session.predictor = predictor
        self._on_plane(self.session.outdate)
        self._settled.start()

    def next_object(self) -> None:
        """Go on to a new object."""
        if not self.session.places(self.session.object) and self.session.object not in self.objects.known():
            self.refused.emit(f"object {self.session.object} has no clicks yet: click on it first")
            return
        try:
            self.objects.new()
        except InputError as error:
            self.refused.emit(str(error))
        self._write_points()
        self.update()

    def undo(self) -> None:
        """Take back the last click, or the last stroke painted into the labels."""
        self._step(self.session.undo)

    def redo(self) -> None:
        """Do again what was taken back last."""
        self._step(self.session.redo)

    def turn_to(self, label: int) -> None:
        """Go back to an object: its clicks are shown, and the next ones correct it."""
        self.perform(lambda: self._turn(self.objects.turn_to, label))

    def step_object(self, by: int) -> None:
        """Go back to the next object there is (1), or the one before (-1)."""
        self.perform(lambda: self._turn(self.objects.step, by))

    def _turn(self, turn: Callable[[int], object], to: int) -> None:
        """Turn to an object, and to the nearest plane that it is on."""
        turn(to)
        try:
            plane = self._view()
        except InputError:  # a view in which nothing can be clicked
            return
        nearest = self.objects.nearest(plane)
        if nearest not in (None, plane):
            self.display(nearest)

    def clear(self) -> None:
        """Take the current object's clicks and mask away from the displayed plane."""
        self.perform(lambda: self.objects.clear(self.place()))

    def commit(self) -> None:
        """Lock the current object, and go on to a new one."""
        finished = self.session.object
        if finished in self.objects.known():
            self.objects.lock(finished, True)
        self.next_object()

    def perform(self, change: Callable[[], object]) -> None:
        """Do something to objects, and show what came of it; what cannot be done is told."""
        self.worker.cancel()
        try:
            change()
        except InputError as error:
            self.refused.emit(str(error))
        self.result = None
        self._write_points()
        self.update()

    def _new_session(self, predictor: Predictor) -> Session:
        layers = self.layers
        new = layers.labels.metadata.get(NEW, False)  # then it is not worth being looked through
        largest = 0 if new else largest_label(layers.labels)
        session = Session(layers.image.image(), predictor, labels=self.labels, first_object=largest + 1)
        session.classes.update(self.given_classes)
        layers.labels.metadata[SESSION] = session
        return session

    def _resumed_session(self, predictor: Predictor) -> Session | None:
        """Return the session that an annotator before this one, now closed, kept with the same Labels layer."""
        image = self.layers.image.image()
        session = kept_session(self.layers.labels, self.layers.image)
        if session is None:
            return None
        if not image.same(session.image):
            session.look_at(image)
        session.predictor, session.labels = predictor, self.labels  # counted anew
        return session

    def _step(self, step: Callable[[], object]) -> None:
        self.worker.cancel()
        try:
            done = step()
        except InputError as error:
            self.refused.emit(str(error))
            done = None
        if done is None:
            self.update()
            return
        place = getattr(done, "place", None)
        if place is not None:
            self.display(place.plane)
            # Objects to come are set like the one gone back to.
            self.session.threshold, self.session.extent = self.shown_settings()
        self.result = None
        self._write_points()
        self.update()

    def _on_plane(self, change: Callable[[Place], None], *, or_to_come: bool = False) -> None:
        """Change something of what is displayed, if it has clicks, or if the change is for those to come as well."""
        try:
            place = self.place()
        except InputError as error:
            if or_to_come:  # else there is nothing displayed that would have to change
                self.refused.emit(str(error))
            return
        if or_to_come or self.session.refinement(place).clicks:
            try:
                change(place)
            except InputError as error:
                self.refused.emit(str(error))
        self.update()

    def display(self, plane: PlaneIndex) -> None:
        """Move the sliders to a plane, where it is one of those that the view can reach."""
        dims, image = self.viewer.dims, self.layers.image
        world = image.data_to_world(plane.select(0, 0))
        offset = dims.ndim - image.ndim
        for axis in range(image.ndim):
            if axis not in (*plane.axes, image.axis) and axis + offset not in dims.displayed:
                dims.set_point(axis + offset, world[axis])

    def _write_points(self, *, strokes: bool = True) -> None:
        session = self.session
        self.clicks.write(
            point_of(place.plane, click)
            for place in session.places(session.object)
            for click in session.refinement(place).clicks
            if not isinstance(click, Stroke)
        )
        if strokes:
            self.show_strokes()

    def _points_changed(self, event: Event) -> None:
        action = getattr(event.action, "value", event.action)
        if not self.clicks.writing and action in _CHANGES:
            self.read_points()
            if action == _ADDED:  # napari selects what it has added after it has said so
                QTimer.singleShot(0, self.clicks.deselect)
            if self.layers.image.axis is not None:
                QTimer.singleShot(0, self.clicks.centre)

    def _painted(self, event: Event) -> None:
        if self.labels.writing:
            return
        change = painted_change(event)
        if change is None:
            return
        self.objects.labels.note(change)
        locked = list(self.session.locked)
        forbidden = np.isin(change.before, locked) | np.isin(change.after, locked)
        if forbidden.any():  # napari is still writing its own history: put them back once it is done
            back = change.at(forbidden)
            QTimer.singleShot(0, lambda: self._put_back(back))
            change = change.at(~forbidden)
        if len(change.after):
            self.session.painted(change)
        self.changed.emit()

    def _put_back(self, change: LabelChange) -> None:
        change.undo(self.session.labels)
        self.refused.emit("what was painted on a locked object has been taken back: unlock it in the list of objects")

    def _label_selected(self, _event: Event) -> None:
        """Turn to the object that napari's own picker has found; whoever picks one to paint with wants to stay here."""
        label = int(self.layers.labels.selected_label)
        if label != self.session.object and label in self.objects.known():
            self.perform(lambda: self.objects.turn_to(label))

    def _show(self, result: Result) -> None:
        try:
            if self.session.show(result):
                self.result = result
                self.shown.emit(result)
        except InputError as error:
            self.refused.emit(str(error))
            return
        self.update()

    def make_do(self, error: Exception) -> bool:
        """Go on with a predictor that takes less memory, if that is what has run out, and say so.

        False: it is something else, or nothing takes less.
        """
        if not is_shortage(error):
            return False
        if not isinstance(error, MemoryShortageError):  # not of the predictor itself, but around it
            error = shortage(error, self.session.predictor.model.device)
        told = self.session.lighten()
        if told is not None:
            self.refused.emit(f"{error}. From now on {told}; Start, or another model, goes back to what it was")
        return told is not None

    def _fail(self, error: Exception) -> None:
        if self.make_do(error):
            self.update()
            return
        if isinstance(error, InputError):
            self.refused.emit(str(error))
        else:
            self.crashed.emit(error)
        self.changed.emit()
