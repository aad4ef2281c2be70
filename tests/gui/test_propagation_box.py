"""Carrying an object to other slices, by the buttons of the widget."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fbrs.clicks import Click
from napari_fbrs.errors import CancelledError
from napari_fbrs.inference.following import Sighting

SHAPE = (7, 80, 100)


class Follower:
    """Finds the same mask on every plane, as long as the predictor's gate is open."""

    sureness = (1.0,)  # on the plane it starts from, and on those it comes to; the last one goes on

    def __init__(self, predictor, cancelled):
        self.predictor, self.cancelled = predictor, cancelled

    def learn(self, *_known):
        return None

    def find(self, _plane, box, pixels, *_settings):
        while not self.predictor.gate.wait(0.01):
            if self.cancelled():
                raise CancelledError("called off")
        now, *later = self.sureness
        self.sureness = later or [now]
        return Sighting(box, pixels, now)


@pytest.fixture(autouse=True)
def _followed_at_once(monkeypatch):
    monkeypatch.setattr("napari_fbrs.annotation.propagation.Follower", Follower)


@pytest.fixture
def stack(bench, discs):
    """Discs on a stack of seven planes, one click on plane 3."""
    bench.add_image(np.zeros(SHAPE, np.uint8), axis_labels=("time", "y", "x"))
    bench.start()
    bench.viewer.dims.set_point(0, 3)
    bench.click(3, 40, 50)
    bench.settle()
    return bench


def carry(bench, way: str) -> None:
    bench.widget.propagation.buttons[way].click()
    bench.wait(lambda: not bench.widget.propagation.busy)


def slices(bench) -> list[int]:
    return np.flatnonzero((bench.labels == 1).any(axis=(1, 2))).tolist()


@pytest.mark.parametrize(
    ("way", "expected"), [("forward", [3, 4, 5, 6]), ("backward", [0, 1, 2, 3]), ("whole", [0, 1, 2, 3, 4, 5, 6])]
)
def test_an_object_is_carried_and_one_undo_takes_all_back(stack, discs, way, expected):
    assert stack.widget.propagation.axis.currentText().startswith("time")
    before = stack.labels.copy()
    carry(stack, way)
    assert slices(stack) == expected
    stack.press("Control-Z")
    stack.settle()
    np.testing.assert_array_equal(stack.labels, before)
    stack.press("Control-Shift-Z")
    stack.settle()
    assert slices(stack) == expected


def test_between_two_refined_slices(stack):
    stack.viewer.dims.set_point(0, 6)
    stack.click(6, 40, 52)
    stack.settle()
    carry(stack, "between")
    assert slices(stack) == [3, 4, 5, 6]


def test_it_is_cancelled_and_nothing_is_written(stack, discs):
    before = stack.labels.copy()
    discs.gate.clear()
    box = stack.widget.propagation
    box.buttons["forward"].click()
    assert box.busy
    assert not box.running.isHidden()
    assert not box.buttons["forward"].isEnabled()
    box.cancel.click()
    discs.gate.set()
    stack.wait(lambda: not box.busy)
    stack.wait(box.buttons["forward"].isEnabled)
    assert box.running.isHidden()
    np.testing.assert_array_equal(stack.labels, before)


@pytest.mark.parametrize(
    ("change", "told", "left"),
    [
        (lambda bench: bench.widget.objects.delete.click(), "object 1 was changed meanwhile", []),
        (lambda bench: bench.press("Control-Z"), "object 1 was changed meanwhile", []),
        (lambda bench: bench.click(3, 40, 56), "object 1 was changed meanwhile", [3]),
        (lambda bench: bench.annotator.layers.labels.paint((3, 5, 5), 1), "object 1 was changed meanwhile", [3]),
        (lambda bench: bench.press("C"), "object 1 is locked", [3]),
    ],
    ids=["deleted", "undone", "clicked", "painted", "locked"],
)
def test_an_object_that_is_no_longer_what_was_carried_is_not_written(stack, discs, change, told, left):
    discs.gate.clear()
    box = stack.widget.propagation
    box.buttons["whole"].click()
    change(stack)
    can_redo = stack.annotator.session.history.can_redo
    with stack.refusal(told):
        discs.gate.set()
        stack.wait(lambda: not box.busy)
    stack.settle()
    assert slices(stack) == left
    stack.press("Control-Shift-Z")  # what was undone meanwhile can still be done again
    stack.settle()
    assert slices(stack) == ([3] if can_redo else left)


def test_an_object_merged_meanwhile_is_not_carried(stack, discs):
    stack.press("N")
    stack.click(3, 60, 20)
    stack.settle()
    discs.gate.clear()
    box = stack.widget.propagation
    box.buttons["whole"].click()
    stack.widget.objects.table.selectAll()
    stack.widget.objects.merge.click()
    with stack.refusal("object 2 was changed meanwhile"):
        discs.gate.set()
        stack.wait(lambda: not box.busy)
    assert "nothing was carried" in stack.widget.status.text()
    stack.settle()
    assert slices(stack) == [3]
    assert not (stack.labels == 2).any()


def test_without_a_mask_it_says_what_to_do(stack):
    stack.viewer.dims.set_point(0, 0)
    with stack.refusal("click on it first"):
        stack.widget.propagation.buttons["forward"].click()


def test_slices_to_check_are_listed_and_gone_to(stack, monkeypatch):
    monkeypatch.setattr(Follower, "sureness", (1.0, 0.6, 1.0))
    carry(stack, "forward")
    box = stack.widget.propagation
    assert box.check.count() == 3
    item = box.check.item(1)
    assert "60%" in item.text()
    box.check.itemClicked.emit(item)
    at = stack.viewer.dims.current_step[0]
    assert f"Slice {at}:" in item.text()
    stack.click(at, 30, 50)
    stack.settle()
    assert box.check.count() == 2
    assert stack.annotator.session.refinement(stack.annotator.place()).clicks.flat == (Click(30, 50),)


def test_axes_are_those_of_the_view(stack):
    box = stack.widget.propagation

    def offered() -> list[str]:
        return [box.axis.itemText(i) for i in range(box.axis.count())]

    stack.viewer.dims.ndisplay = 3
    stack.press("T")
    assert not offered()
    assert not box.buttons["forward"].isEnabled()
    stack.viewer.dims.ndisplay = 2
    assert offered() == ["time (axis 0)"]
    assert box.buttons["forward"].isEnabled()
    for expected in ("x (axis 2)", "y (axis 1)", "time (axis 0)"):
        stack.viewer.dims.roll()
        assert offered() == [expected]
    carry(stack, "forward")
    assert slices(stack) == [3, 4, 5, 6]
