"""Objects in the widget: picked, named, locked, deleted and merged by mouse and keys."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLineEdit

from napari_fbrs.clicks import Click

SHAPE = (80, 100)


@pytest.fixture
def two(disc_bench):
    """Object 1 left and object 2 right, 2 the current one."""
    disc_bench.click(40, 20)
    disc_bench.settle()
    disc_bench.press("N")
    disc_bench.click(40, 70)
    disc_bench.settle()
    return disc_bench


def points_of(bench) -> list[list[float]]:
    return np.rint(bench.annotator.layers.positive.data).tolist()


def texts(bench) -> list[list[str]]:
    table = bench.widget.objects.table
    return [[table.item(r, c).text() for c in range(5)] for r in range(table.rowCount())]


def test_the_table_lists_the_objects(two, discs):
    area = str(discs.mask(SHAPE, [Click(40, 20)]).sum())
    assert texts(two) == [["1", "", "1", "1", area], ["2", "", "1", "1", area]]
    assert two.widget.objects.chosen() == [2]
    two.annotator.undo()
    two.settle()
    assert [row[0] for row in texts(two)] == ["1"]


def test_an_object_picked_in_the_labels_layer_has_its_clicks_back(two, discs):
    labels = two.annotator.layers.labels
    two.viewer.layers.selection.active = labels
    labels.mode = "pick"
    two.click(40, 20)
    assert two.annotator.session.object == 1
    assert points_of(two) == [[40, 20]]
    assert two.widget.objects.chosen() == [1]
    two.annotator.set_sign(True)
    two.click(50, 20)
    two.settle()
    np.testing.assert_array_equal(two.labels == 1, discs.mask(SHAPE, [Click(40, 20), Click(50, 20)]))


def test_a_row_clicked_and_the_arrows_turn_to_objects(two):
    box = two.widget.objects
    box.table.selectRow(0)
    assert two.annotator.session.object == 1
    assert points_of(two) == [[40, 20]]
    box.next.click()
    assert two.annotator.session.object == 2
    assert two.annotator.layers.labels.selected_label == 2
    box.next.click()
    assert two.annotator.session.object == 1
    box.previous.click()
    assert points_of(two) == [[40, 70]]


def test_a_class_is_typed_in(two):
    table = two.widget.objects.table
    table.item(0, 1).setText("nucleus")
    assert two.annotator.session.classes == {1: "nucleus"}
    assert texts(two)[0][1] == "nucleus"


def test_a_locked_object_does_not_change(two):
    table = two.widget.objects.table
    table.item(1, 5).setCheckState(Qt.CheckState.Checked)
    before = two.labels.copy()
    with two.refusal("object 2 is locked"):
        two.click(20, 80)
    assert points_of(two) == [[40, 70]]
    with two.refusal("object 2 is locked"):
        two.annotator.undo()
    labels = two.annotator.layers.labels
    with two.refusal("locked object"):
        labels.paint((40, 70), 1)
        labels.paint((5, 5), 2)
        two.wait(lambda: np.array_equal(two.labels, before))
    with two.refusal("object 2 is locked"):
        two.widget.objects.delete.click()
    np.testing.assert_array_equal(two.labels, before)
    table.item(1, 5).setCheckState(Qt.CheckState.Unchecked)
    two.annotator.undo()
    two.settle()
    assert not (two.labels == 2).any()


def test_deleting_and_merging_are_one_step_each(two):
    before = two.labels.copy()
    box = two.widget.objects
    box.table.selectAll()
    box.merge.click()
    two.settle()
    np.testing.assert_array_equal(two.labels == 1, before > 0)
    assert sorted(points_of(two)) == [[40, 20], [40, 70]]
    two.press("Control-Z")
    two.settle()
    np.testing.assert_array_equal(two.labels, before)
    box.table.selectRow(0)
    box.delete.click()
    two.settle()
    np.testing.assert_array_equal(two.labels, np.where(before == 1, 0, before))
    two.press("Control-Z")
    two.settle()
    np.testing.assert_array_equal(two.labels, before)


def test_several_rows_are_deleted_in_one_step_or_with_a_locked_one_not_at_all(two):
    before = two.labels.copy()
    box = two.widget.objects
    box.table.item(1, 5).setCheckState(Qt.CheckState.Checked)
    box.table.selectAll()
    for button in (box.delete, box.merge):
        with two.refusal("object 2 is locked"):
            button.click()
        np.testing.assert_array_equal(two.labels, before)
    box.table.item(1, 5).setCheckState(Qt.CheckState.Unchecked)
    box.table.selectAll()
    box.delete.click()
    assert not two.labels.any()
    two.press("Control-Z")
    two.settle()
    np.testing.assert_array_equal(two.labels, before)


def test_a_locked_object_of_another_tool_is_not_cleared(bench, discs):
    bench.add_image(np.zeros(SHAPE, np.uint8))
    masks = np.zeros(SHAPE, np.int32)
    masks[40:60, 40:60] = 2
    bench.widget._existing["labels"].value = bench.viewer.add_labels(masks.copy())
    bench.start()
    bench.annotator.turn_to(2)
    bench.widget.objects.table.item(0, 5).setCheckState(Qt.CheckState.Checked)
    with bench.refusal("object 2 is locked"):
        bench.press("Shift-C")
    np.testing.assert_array_equal(bench.labels, masks)


def test_overlaps_are_a_choice_in_sight(two, discs):
    two.click(40, 28)  # of object 2, within object 1
    two.settle()
    first = discs.mask(SHAPE, [Click(40, 20)])
    np.testing.assert_array_equal(two.labels == 1, first)
    two.widget.objects.overlap.setCurrentText("Overwrite them")
    two.click(42, 28)
    two.settle()
    assert two.labels[40, 24] == 2
    two.annotator.undo()
    two.settle()
    np.testing.assert_array_equal(two.labels == 1, first)


def test_masks_of_another_tool_are_corrected_by_clicks(bench, discs):
    masks = np.zeros(SHAPE, np.int32)
    masks[10:30, 10:30] = 1
    masks[50:70, 50:70] = 2
    bench.add_image(np.zeros(SHAPE, np.uint8))
    bench.widget._existing["labels"].value = bench.viewer.add_labels(masks, name="cellpose")
    bench.start()
    labels = bench.annotator.layers.labels
    bench.viewer.layers.selection.active = labels
    labels.mode = "pick"
    bench.click(60, 60)
    assert bench.annotator.session.object == 2
    bench.annotator.set_sign(True)
    bench.click(40, 80)
    bench.settle()
    expected = masks * 0
    expected[10:30, 10:30], expected[50:70, 50:70] = 1, 2
    expected[discs.mask(SHAPE, [Click(40, 80)])] = 2
    np.testing.assert_array_equal(bench.labels, expected)
    bench.annotator.undo()
    bench.settle()
    assert (bench.labels == 2).sum() == 400


def test_a_class_is_typed_in_while_a_mask_arrives(two, discs, qtbot):
    table = two.widget.objects.table
    discs.gate.clear()
    two.click(60, 70)
    table.editItem(table.item(1, 1))
    (editor,) = table.findChildren(QLineEdit)
    qtbot.keyClicks(editor, "nucl")
    discs.gate.set()
    two.settle()
    assert texts(two)[1][3:] == ["2", str(discs.mask(SHAPE, [Click(40, 70), Click(60, 70)]).sum())]
    assert table.findChildren(QLineEdit) == [editor]
    qtbot.keyClicks(editor, "eus")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    two.wait(lambda: two.annotator.session.classes)  # Qt takes it over in its own time
    assert two.annotator.session.classes == {2: "nucleus"}
    assert texts(two)[1][1] == "nucleus"
