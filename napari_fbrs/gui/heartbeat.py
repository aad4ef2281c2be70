"""``python -m napari_fbrs.gui.heartbeat``: how long clicks hold up the window, with the plugin and with napari alone.

A timer beats in the window's thread; what keeps it from beating keeps the window from answering. Each click is made
twice in turn: in the plugin's Points layer, and in a Points layer that nobody listens to.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import napari
import numpy as np
import numpy.typing as npt
from napari.layers import Points
from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtWidgets import QApplication
from skimage import data, measure

from napari_fbrs.annotation.output import replacing
from napari_fbrs.gui.annotator import Annotator
from napari_fbrs.gui.layers import new_points
from napari_fbrs.gui.picture import Picture
from napari_fbrs.gui.widget import FBRSWidget
from napari_fbrs.samples.truth import coins_truth

_TARGET = 16.0  # milliseconds, a frame
_OWN = "held by the plugin"
_BEAT = 1  # milliseconds
_CLICKS_AN_OBJECT = 10
_PATIENCE = 300  # seconds
_QUIET = 0.1  # seconds after a mask in which napari draws


class Heartbeat(QObject):
    """Beats in the window's thread and remembers the longest pause."""

    def __init__(self) -> None:
        super().__init__()
        self._last = time.perf_counter()
        self._longest = 0.0
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(_BEAT)

    def longest_during(self, act: Callable[[], object], done: Callable[[], bool]) -> float:
        """Return the longest pause, in milliseconds, from something done until a while after its consequences."""
        self._last, self._longest = time.perf_counter(), 0.0
        act()
        _wait(done)
        _wait(_after(_QUIET))
        return max(0.0, 1000 * self._longest - _BEAT)

    def _beat(self) -> None:
        now = time.perf_counter()
        self._longest, self._last = max(self._longest, now - self._last), now


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _wait(condition: Callable[[], bool]) -> None:
    over = _after(_PATIENCE)
    while not condition():
        QApplication.processEvents()
        if over():
            raise TimeoutError("the plugin did not get ready")


def pictures(side: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Return coins in rows and columns until a picture is full, and the middles of those that are whole."""
    coins, truth = data.coins(), coins_truth()
    repeats = [-(-side // extent) for extent in coins.shape]
    middles = np.array([region.centroid for region in measure.regionprops(truth)])
    corners = np.indices(repeats).reshape(2, -1).T * coins.shape
    everywhere = (corners[:, None] + middles[None]).reshape(-1, 2)
    return np.tile(coins, repeats)[:side, :side], everywhere[(everywhere < side - 50).all(axis=1)]


def clicks(middles: npt.NDArray[np.float64], count: int) -> Iterator[tuple[bool, npt.NDArray[np.float64], bool]]:
    """Yield clicks around coins: whether it is the first on its coin, where, and its sign."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(middles))
    for number in range(count):
        nth = number % _CLICKS_AN_OBJECT
        positive = nth % 2 == 0
        angle, distance = rng.uniform(0, 2 * np.pi), (rng.uniform(0, 12) if positive else rng.uniform(32, 48))
        offset = distance * np.array([np.sin(angle), np.cos(angle)]) * (nth > 0)
        yield nth == 0, middles[order[number // _CLICKS_AN_OBJECT % len(order)]] + offset, positive


class Held:
    """How long the plugin's own answers to napari's events and to finished masks hold the window's thread.

    Counted is the thread's processor time, which other programs do not add to; what napari does when the plugin writes
    points and labels is counted, what it draws afterwards is not.
    """

    def __init__(self, annotator: Annotator) -> None:
        self.longest = 0.0  # milliseconds
        for points in annotator.clicks:
            points.events.data.disconnect(annotator._points_changed)
            points.events.data.connect(self._timed(annotator._points_changed))
        annotator.worker.returned.disconnect(annotator._show)
        annotator.worker.returned.connect(self._timed(annotator._show))

    def _timed(self, answer: Callable[[Any], None]) -> Callable[[Any], None]:
        def timed(event: Any) -> None:
            start = time.thread_time()
            answer(event)
            self.longest = max(self.longest, 1000 * (time.thread_time() - start))

        return timed


def measure_window(count: int, side: int) -> dict[str, list[float]]:
    """Return the longest pause of each click, in milliseconds, by who was listening."""
    pixels, middles = pictures(side)
    viewer = napari.Viewer()
    image = viewer.add_image(pixels, name="coins")
    widget = FBRSWidget(viewer)
    viewer.window.add_dock_widget(widget, area="right")
    widget.start()
    _wait(lambda: widget.annotator is not None)
    annotator = widget.annotator
    assert annotator is not None
    alone = viewer.add_layer(new_points(Picture(image), positive=True))
    heartbeat, held = Heartbeat(), Held(annotator)
    pauses: dict[str, list[float]] = {_OWN: [], "with the plugin": [], "napari alone": []}
    _wait(_after(2))  # what is done ahead of the first click is done
    for first, place, positive in clicks(middles, count):
        if first and annotator.session.places(annotator.session.object):
            annotator.next_object()
            _clear(alone)
        layer = annotator.clicks.by_sign[positive]
        held.longest = 0.0
        pauses["with the plugin"].append(heartbeat.longest_during(_adding(layer, place), _shown(annotator)))
        pauses[_OWN].append(held.longest)
        pauses["napari alone"].append(heartbeat.longest_during(_adding(alone, place), lambda: True))
    viewer.close()
    return pauses


def _clear(layer: Points) -> None:
    layer.data = np.empty((0, 2))


def _adding(layer: Points, place: npt.NDArray[np.float64]) -> Callable[[], None]:
    return lambda: layer.add([place])


def _shown(annotator: Annotator) -> Callable[[], bool]:
    return lambda: not annotator.busy and not annotator.session.waiting()


def summary(pauses: dict[str, list[float]]) -> dict[str, Any]:
    """Return median, 95th percentile and maximum of the pauses, and whether the target is met."""
    figures: dict[str, Any] = {
        who: dict(zip(("median", "p95", "most"), map(float, np.percentile(times, (50, 95, 100))), strict=True))
        for who, times in pauses.items()
    }
    return figures | {"target": _TARGET, "met": figures[_OWN]["p95"] <= _TARGET}


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=200, metavar="N")
    parser.add_argument("--side", type=int, default=2048, metavar="PIXELS")
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    pauses = measure_window(args.clicks, args.side)
    told = summary(pauses)
    for who in pauses:
        figures = ", ".join(f"{name} {value:.1f}" for name, value in told[who].items())
        sys.stdout.write(f"{who}: {figures} ms\n")
    verdict = "met" if told["met"] else "not met"
    sys.stdout.write(f"target: 95th percentile of at most {_TARGET:g} ms held by the plugin: {verdict}\n")
    if args.json:
        with replacing(args.json) as temporary:
            temporary.write_text(json.dumps(told | {"milliseconds": pauses}, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
