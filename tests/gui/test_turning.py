"""Turning to an object shows it: the view goes to the nearest plane that it is on."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

SHAPE = (5, 80, 100)


def shown(bench) -> int:
    """Return the slice that is displayed, along the first axis with a slider."""
    return bench.viewer.dims.current_step[bench.viewer.dims.not_displayed[0]]


def click_row(bench, number: int) -> None:
    table = bench.widget.objects.table
    at = table.visualItemRect(table.item(number, 0)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at)


@pytest.fixture
def stack(bench, discs):
    """Object 1 on slices 0 and 1, object 2 on slice 3, which is displayed."""
    bench.add_image(np.zeros(SHAPE, np.uint8), scale=(2, 1, 1))
    bench.start()
    for z, column in ((0, 20), (1, 20), (3, 60)):
        if z == 3:
            bench.press("N")
        bench.viewer.dims.set_point(0, 2 * z)
        bench.click(z, 40, column)
        bench.settle()
    return bench


def test_keys_and_rows_go_to_the_object(stack):
    stack.press("J")
    assert (stack.annotator.session.object, shown(stack)) == (1, 1)
    stack.press("K")
    assert (stack.annotator.session.object, shown(stack)) == (2, 3)
    click_row(stack, 0)
    assert (stack.annotator.session.object, shown(stack)) == (1, 1)
    stack.press("Shift-C")  # of what is displayed
    assert not (stack.labels[1] == 1).any()
    assert (stack.labels[0] == 1).any()


def test_the_view_stays_where_the_object_is_or_is_nowhere(stack):
    stack.viewer.dims.set_point(0, 0)
    stack.press("J")
    assert (stack.annotator.session.object, shown(stack)) == (1, 0)
    stack.press("N")
    assert shown(stack) == 0
    stack.press("J")
    assert shown(stack) == 3
    stack.annotator.layers.labels.selected_label = 1  # to paint with, here
    assert (stack.annotator.session.object, shown(stack)) == (1, 3)
    stack.viewer.dims.ndisplay = 3
    stack.press("J")
    assert stack.annotator.session.object == 2


def test_an_object_painted_elsewhere_is_gone_to_in_a_side_view_as_well(stack):
    stack.annotator.layers.labels.paint((4, 70, 90), 7)
    stack.viewer.dims.set_point(0, 0)
    stack.widget._refresh()
    click_row(stack, 2)
    assert (stack.annotator.session.object, shown(stack)) == (7, 4)
    stack.viewer.dims.order = (1, 0, 2)  # XZ
    stack.viewer.dims.set_point(1, 40)
    stack.press("K")
    assert (stack.annotator.session.object, shown(stack)) == (1, 40)
    stack.press("J")
    painted = np.flatnonzero((stack.labels == 7).any(axis=(0, 2)))
    assert (stack.annotator.session.object, shown(stack)) == (7, painted.min())
