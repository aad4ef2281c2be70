"""Click records written from the window, and opened in it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog, QMessageBox
from skimage import data

from napari_fbrs.annotation import replaying
from napari_fbrs.annotation.click_record import read_record

IMAGE = np.arange(80 * 100, dtype=np.uint16).reshape(80, 100)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, discs: Any) -> SimpleNamespace:
    """Answer the dialogs; discs stand for the model recorded as well."""
    answers = SimpleNamespace(
        path=tmp_path / "cells.tif", record=tmp_path / "cells.clicks.json", replace=False, text=""
    )

    def question(_parent: Any, _title: str, text: str, _buttons: Any) -> QMessageBox.StandardButton:
        answers.text = text
        return QMessageBox.StandardButton.Yes if answers.replace else QMessageBox.StandardButton.No

    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_args, **_options: (str(answers.path), ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_args, **_options: (str(answers.record), ""))
    monkeypatch.setattr(QMessageBox, "question", question)
    monkeypatch.setattr(replaying.Predictors, "__call__", lambda _self, _method: discs)
    monkeypatch.setattr(replaying, "choose_device", lambda _name: None)
    discs.model.settings = None
    return answers


def begin(bench: Any, pixels: np.ndarray = IMAGE) -> None:
    bench.open_widget()
    bench.viewer.layers.clear()
    bench.add_image(pixels, name="cells")
    bench.start()


def export(bench: Any) -> str:
    box = bench.widget.export
    box.format.setCurrentIndex(box.format.findData("tiff"))
    box.record.setChecked(True)
    box.export_button.click()
    bench.wait(box.export_button.isEnabled)
    return box.status.text()


def annotate(bench: Any) -> None:
    bench.click(20, 20)
    bench.settle()
    bench.press("N")
    bench.click(20, 32)
    bench.click(20, 44)
    bench.settle()


def open_record(bench: Any) -> str:
    """Press the button, and return what the widget is told once it is done."""
    opener = bench.widget.opener
    said: list[str] = []
    opener.said.connect(said.append)
    opener.click()
    assert not opener.isEnabled()
    bench.wait(opener.isEnabled)
    (text,) = said
    return text


def test_a_record_beside_the_export_is_opened_and_clicked_on(bench, asked):
    begin(bench)
    annotate(bench)
    shown = bench.labels.copy()
    assert export(bench) == "2 objects written to cells.tif, click record to cells.clicks.json."
    assert [mask.place.object for mask in read_record(asked.record).masks] == [1, 2]
    begin(bench)
    assert not bench.labels.any()
    assert open_record(bench) == "Record opened: 2 masks, as recorded."
    np.testing.assert_array_equal(bench.labels, shown)
    assert bench.annotator.session.object == 2
    assert bench.annotator.layers.positive.data.tolist() == [[20, 32], [20, 44]]
    bench.press("N")
    bench.click(70, 20)
    bench.settle()
    assert sorted(np.unique(bench.labels).tolist()) == [0, 1, 2, 3]
    bench.annotator.undo()
    np.testing.assert_array_equal(bench.labels, shown)


def test_a_record_of_another_image_changes_nothing(bench, asked):
    begin(bench)
    annotate(bench)
    export(bench)
    begin(bench, IMAGE[::-1].copy())
    with bench.refusal("not the image of the record"):
        open_record(bench)
    assert not bench.labels.any()


def test_what_has_been_clicked_meanwhile_is_not_lost(bench, asked):
    begin(bench)
    annotate(bench)
    export(bench)
    shown = bench.labels.copy()
    with bench.refusal("clicked on this image already"):
        open_record(bench)
    np.testing.assert_array_equal(bench.labels, shown)


def test_a_damaged_record_is_said(bench, asked):
    begin(bench)
    asked.record.write_text(json.dumps({"format": "something else"}))
    with bench.refusal("no click record"):
        open_record(bench)


def test_a_record_that_is_there_is_kept_unless_the_user_says_so(bench, asked):
    begin(bench)
    annotate(bench)
    asked.record.write_text("precious")
    export(bench)
    assert asked.text == "cells.clicks.json is there already. Replace it?"
    assert (asked.record.read_text(), asked.path.exists()) == ("precious", False)
    asked.replace = True
    export(bench)
    assert len(read_record(asked.record).masks) == 2
    assert asked.path.exists()


def test_a_layer_that_nobody_clicked_on_has_no_record(bench, asked):
    layer = bench.viewer.add_labels(np.eye(20, dtype=np.int32), name="painted")
    bench.widget.export.labels.value = layer
    with bench.refusal("no clicks led to 'painted'"):
        export(bench)
    assert not asked.path.exists()


def test_records_are_opened_once_an_image_is_chosen(bench, asked):
    assert not bench.widget.opener.isEnabled()
    begin(bench)
    assert bench.widget.opener.isEnabled()


def test_the_bundled_model_computes_the_same_masks_again(coins_bench, monkeypatch, tmp_path):
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_args, **_options: (str(tmp_path / "coins.tif"), ""))
    record = tmp_path / "coins.clicks.json"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_args, **_options: (str(record), ""))
    coins_bench.click(53, 277)
    coins_bench.settle()
    coins_bench.click(59, 257)
    coins_bench.settle()
    shown = coins_bench.labels.copy()
    export(coins_bench)
    begin(coins_bench, data.coins())
    assert open_record(coins_bench) == "Record opened: 1 mask, as recorded."
    assert shown.any()
    np.testing.assert_array_equal(coins_bench.labels, shown)
