"""All masks of a layer, exported from the widget."""

from __future__ import annotations

import csv
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from napari.layers import Labels
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_fbrs.gui import export_box as module
from napari_fbrs.gui.export_box import ExportBox


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """Answer the dialogs: a path, and whether a file may be replaced."""
    answers = SimpleNamespace(path=tmp_path / "out", replace=False, offered="", questions=0)

    def path(_parent: Any, _title: str, usual: str, _filter: str, **_options: Any) -> tuple[str, str]:
        answers.offered = usual
        return (str(answers.path) if answers.path else "", "")

    def question(*_args: Any) -> QMessageBox.StandardButton:
        answers.questions += 1
        return QMessageBox.StandardButton.Yes if answers.replace else QMessageBox.StandardButton.No

    monkeypatch.setattr(QFileDialog, "getSaveFileName", path)
    monkeypatch.setattr(QMessageBox, "question", question)
    return answers


def export(bench: Any, format_name: str) -> str:
    """Press Export, and return what the box says once it is done."""
    box: ExportBox = bench.widget.export
    box.format.setCurrentIndex(box.format.findData(format_name))
    box.export_button.click()
    bench.wait(box.export_button.isEnabled)
    return box.status.text()


def test_all_masks_of_all_objects_of_all_slices(bench, discs, asked):
    bench.add_image(np.zeros((3, 80, 100), dtype=np.uint8), name="stack", scale=(2, 0.5, 0.5))
    bench.start()
    bench.viewer.dims.set_point(0, 0)
    bench.click(0, 20, 20)
    bench.settle()
    bench.viewer.dims.set_point(0, 4)  # in the world: plane 2
    bench.click(2, 40, 50)
    bench.settle()
    bench.annotator.next_object()
    bench.click(2, 20, 80)
    bench.settle()
    assert export(bench, "masks") == "2 objects of 3 slices written to out."
    assert asked.offered.endswith("stack objects masks")
    with (asked.path / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["z"], row["object"]) for row in rows] == [("0", "1"), ("2", "1"), ("2", "2")]
    for row in rows:
        with PIL.Image.open(asked.path / row["file"]) as picture:
            mask = np.asarray(picture)
        np.testing.assert_array_equal(mask, np.where(bench.labels[int(row["z"])] == int(row["object"]), 255, 0))
        assert (mask == 255).sum() == 253  # a disc


def test_a_mask_that_is_being_computed_is_waited_for(disc_bench, discs, asked):
    discs.gate.clear()
    disc_bench.click(30, 30)
    box = disc_bench.widget.export
    box.format.setCurrentIndex(box.format.findData("tiff"))
    box.export_button.click()
    assert "Waiting for the mask" in box.status.text()
    assert not box.export_button.isEnabled()
    discs.gate.set()
    disc_bench.wait(box.export_button.isEnabled)
    back = tifffile.imread(asked.path.with_suffix(".tif"))
    np.testing.assert_array_equal(back, disc_bench.labels)
    assert back.sum() == 253


def test_scale_units_and_classes_of_the_layer_are_kept(bench, asked):
    labels = np.zeros((2, 8, 9), dtype=np.int32)
    labels[0, 2:4, 3:6] = 4
    units = ("um", "um", "um")
    features = {"index": [4], "class": ["cell"]}
    layer = bench.viewer.add_labels(labels, scale=(2, 0.5, 0.25), units=units, name="mine", features=features)
    bench.widget.export.labels.value = layer
    bench.widget.export.classes.setText("cell")
    export(bench, "csv")
    with asked.path.with_suffix(".csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["object"], row["class"], row["z"], row["unit"]) == ("4", "cell", "0", "micrometer")
    assert float(row["area"]) == 6 * 0.5 * 0.25
    bench.widget.export.crop.setText("3:6,4:")
    export(bench, "tiff")
    np.testing.assert_array_equal(tifffile.imread(asked.path.with_suffix(".tif")), labels[:, 3:6, 4:])
    bench.widget.export.crop.setText("3:6")
    with bench.refusal("rows,columns"):
        export(bench, "tiff")


def test_an_existing_file_is_kept_unless_the_user_says_so(disc_bench, asked):
    disc_bench.click(30, 30)
    disc_bench.settle()
    file = asked.path.with_suffix(".tif")
    file.write_text("precious")
    export(disc_bench, "tiff")
    assert (file.read_text(), asked.questions) == ("precious", 1)
    asked.replace = True
    assert "written" in export(disc_bench, "tiff")
    assert tifffile.imread(file).sum() == 253


def test_a_folder_with_other_files_is_never_replaced(disc_bench, asked):
    disc_bench.click(30, 30)
    disc_bench.settle()
    asked.path.mkdir()
    (asked.path / "thesis.txt").write_text("precious")
    asked.replace = True
    with disc_bench.refusal("more than an earlier export"):
        export(disc_bench, "masks")
    assert [path.name for path in asked.path.iterdir()] == ["thesis.txt"]


def test_intensities_and_classes_known_to_the_annotation_are_exported(bench, discs, asked):
    image = np.random.default_rng(0).integers(0, 4000, (80, 100), dtype=np.uint16)
    bench.add_image(image)
    bench.start()
    bench.click(30, 30)
    bench.settle()
    bench.annotator.session.classes[1] = "nucleus"
    export(bench, "csv")
    with asked.path.with_suffix(".csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["class"] == "nucleus"
    assert float(row["intensity_mean"]) == pytest.approx(image[bench.labels == 1].mean())


def test_classes_given_in_the_table_join_those_of_the_layer(bench, discs, asked):
    labels = np.zeros((80, 100), dtype=np.int32)
    labels[10:20, 10:20], labels[40:60, 40:60] = 1, 2
    bench.add_image(np.zeros((80, 100), dtype=np.uint8))
    features = {"index": [0, 1, 2], "class": ["", "nucleus", "cytoplasm"]}
    bench.widget._existing["labels"].value = bench.viewer.add_labels(labels, features=features)
    bench.start()
    bench.widget.objects.table.item(0, 1).setText("blob")
    export(bench, "csv")
    with asked.path.with_suffix(".csv").open(newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)] == ["blob", "cytoplasm"]
    assert bench.widget.objects.table.item(1, 1).text() == "cytoplasm"
    bench.widget.objects.table.item(1, 1).setText("")
    asked.replace = True
    export(bench, "csv")
    with asked.path.with_suffix(".csv").open(newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)] == ["blob", ""]


def test_names_that_no_file_can_have_are_neither_offered_nor_a_crash(disc_bench, asked):
    disc_bench.click(30, 30)
    disc_bench.settle()
    asked.path = asked.path.with_name("n" * 300)
    disc_bench.annotator.layers.labels.name = "weird/na:me*?"
    with disc_bench.refusal("cannot write"):
        export(disc_bench, "masks")
    assert Path(asked.offered).name == "weird_na_me__ masks"
    disc_bench.annotator.layers.labels.name = "n" * 300
    with disc_bench.refusal("cannot write"):
        export(disc_bench, "masks")
    assert Path(asked.offered).name == "n" * 80 + " masks"


def test_all_masks_in_a_file_are_saved_work_and_others_are_not(disc_bench, asked, monkeypatch):
    saved = []
    monkeypatch.setattr(disc_bench.widget.recovery, "saved", lambda: saved.append(1))
    for column in (30, 70):
        disc_bench.click(30, column)
        disc_bench.settle()
        disc_bench.annotator.next_object()
    asked.replace = True
    export(disc_bench, "csv")
    disc_bench.widget.export.objects.setText("1")
    export(disc_bench, "masks")
    assert not saved
    disc_bench.widget.export.objects.setText("")
    export(disc_bench, "masks")
    assert saved == [1]


def test_what_cannot_be_exported_is_said(bench, asked):
    with bench.refusal("no Labels layer"):
        export(bench, "tiff")
    layer = bench.viewer.add_labels(np.zeros((8, 9), dtype=np.int32), name="empty")
    bench.widget.export.labels.value = layer
    with bench.refusal("no object in 'empty'"):
        export(bench, "tiff")
    layer.data[3, 4] = 1
    bench.widget.export.objects.setText("one")
    with bench.refusal("numbers from 1"):
        export(bench, "tiff")
    bench.widget.export.objects.setText("5")
    with bench.refusal("none of the objects"):
        export(bench, "tiff")
    assert not list(asked.path.parent.iterdir())


def test_nothing_happens_where_no_path_is_chosen(disc_bench, asked):
    asked.path = None
    assert export(disc_bench, "tiff") == ""


def test_cancelling_leaves_nothing(bench, asked, monkeypatch):
    started, go_on = Event(), Event()
    really = module.export_labels

    def slowly(*args: Any, progress: Any, **kwargs: Any) -> Any:
        def told(done: int, total: int) -> None:
            progress(done, total)
            started.set()
            go_on.wait(60)

        return really(*args, progress=told, **kwargs)

    monkeypatch.setattr(module, "export_labels", slowly)
    layer = bench.viewer.add_labels(np.arange(400, dtype=np.int32).reshape(20, 20))
    box = bench.widget.export
    box.labels.value = layer
    box.format.setCurrentIndex(box.format.findData("masks"))
    box.export_button.click()
    bench.wait(started.is_set)
    bench.wait(lambda: box.bar.maximum() == 400)
    box.cancel_button.click()
    go_on.set()
    bench.wait(box.export_button.isEnabled)
    assert box.status.text() == "Called off: nothing was written."
    assert not list(asked.path.parent.iterdir())


def test_edits_made_while_it_is_written_are_not_in_it(bench, asked, monkeypatch):
    started, go_on = Event(), Event()
    really = module.export_labels

    def later(*args: Any, **kwargs: Any) -> Any:
        started.set()
        go_on.wait(60)
        return really(*args, **kwargs)

    monkeypatch.setattr(module, "export_labels", later)
    layer: Labels = bench.viewer.add_labels(np.eye(20, dtype=np.int32))
    box = bench.widget.export
    box.labels.value = layer
    box.format.setCurrentIndex(box.format.findData("tiff"))
    box.export_button.click()
    bench.wait(started.is_set)
    layer.data[:] = 7
    go_on.set()
    bench.wait(box.export_button.isEnabled)
    np.testing.assert_array_equal(tifffile.imread(asked.path.with_suffix(".tif")), np.eye(20))


def test_only_what_a_format_uses_is_offered(bench):
    box = bench.widget.export
    offered = {}
    for name in ("tiff", "slices", "masks", "coco"):
        box.format.setCurrentIndex(box.format.findData(name))
        offered[name] = [not part.isHidden() for part in (box.value, box.margin, box.names)], box.value.itemText(0)
    assert [shown for shown, _ in offered.values()] == [
        [False, False, False],
        [True, False, True],
        [True, True, True],
        [False, False, True],
    ]
    assert (offered["slices"][1], offered["masks"][1]) == ("labels", "0 and 255")
