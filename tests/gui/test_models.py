"""The model box: what is there is chosen, what is not is downloaded, beside the window."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from qtpy.QtCore import Qt
from release import NAME

from napari_fbrs.gui import widget as widget_module
from napari_fbrs.models import zoo
from napari_fbrs.models.zoo import find_model


@pytest.fixture
def boxes(bench, release):
    bench.widget.model.refresh()
    return bench.widget._boxes


def texts(box):
    return [box.itemText(index) for index in range(box.count()) if box.itemText(index)]


def choose(box, name):
    """Open the box and choose, as a person would."""
    box.showPopup()
    box.hidePopup()
    box.setCurrentIndex(box.findData(name))
    box.activated.emit(box.currentIndex())


def test_models_there_and_models_to_download_are_told_apart(boxes, folder):
    (folder / "mine.safetensors").touch()
    boxes.model.refresh()
    assert texts(boxes.model) == ["default", "mine", f"{NAME}: download 0 MB"]
    tooltips = [boxes.model.itemData(boxes.model.findData(n), Qt.ItemDataRole.ToolTipRole) for n in ("mine", NAME)]
    assert tooltips == [
        f"In the models folder: {folder / 'mine.safetensors'}",
        f"Not on this machine: get {zoo.RELEASE}{NAME}.pth and put it in {folder}",
    ]


def test_a_model_is_downloaded_beside_the_window_and_used(bench, boxes, release, folder):
    bench.add_image(np.zeros((40, 40), dtype=np.uint8))
    bench.start()
    assert not boxes.download.isVisible()
    choose(boxes.model, NAME)
    assert boxes.download.isVisible()
    assert release.asked == []  # it asks first
    release.gate.clear()
    boxes.download.download_button.click()
    size = len(release.files[f"/{NAME}.pth"])
    bench.wait(lambda: boxes.download.bar.maximum() == size and boxes.download.bar.value() > 0)
    assert boxes.download.bar.value() < size
    assert boxes.names[0] == "default"  # meanwhile
    release.gate.set()
    bench.wait(lambda: bench.annotator.session.predictor.model.name == NAME)
    assert (folder / f"{NAME}.pth").is_file()
    assert not boxes.download.isVisible()
    assert boxes.names[0] == NAME
    assert texts(boxes.model) == ["default", NAME]


def test_a_download_is_called_off(bench, boxes, release, folder):
    choose(boxes.model, NAME)
    release.gate.clear()
    boxes.download.download_button.click()
    bench.wait(lambda: boxes.download.bar.value() > 0)
    boxes.download.cancel_button.click()
    assert not boxes.download.isVisible()
    assert boxes.model.currentData() == boxes.names[0] == "default"
    release.gate.set()
    bench.wait(lambda: not boxes.download.busy)
    assert list(folder.iterdir()) == []
    choose(boxes.model, NAME)  # and can be begun again
    boxes.download.download_button.click()
    bench.wait(lambda: boxes.names[0] == NAME)


def test_without_a_network_it_says_which_file_to_put_where(bench, boxes, folder, monkeypatch):
    errors = []
    monkeypatch.setattr(widget_module, "show_error", errors.append)
    monkeypatch.setattr(zoo, "RELEASE", "http://127.0.0.1:9/")  # where nobody listens
    choose(boxes.model, NAME)
    boxes.download.download_button.click()
    bench.wait(lambda: bool(errors))
    said = f"get http://127.0.0.1:9/{NAME}.pth and put it in {folder}"
    assert said in errors[0]
    assert said in boxes.download.text.text()
    assert boxes.download.isVisible()
    assert boxes.download.download_button.isEnabled()  # to be tried again
    assert boxes.names[0] == "default"


def test_a_file_placed_by_hand_is_found(bench, boxes, release, folder):
    choose(boxes.model, NAME)
    shutil.copy(find_model("default"), folder / f"{NAME}.safetensors")
    shutil.copy(find_model("default"), folder / "mine.safetensors")
    choose(boxes.model, "mine")
    assert not boxes.download.isVisible()
    assert texts(boxes.model) == ["default", "mine", NAME]
    assert boxes.names[0] == "mine"
    (folder / "mine.safetensors").unlink()
    boxes.model.refresh()
    assert boxes.names[0] == boxes.model.currentText() == "default"
    assert release.asked == []


def test_a_file_by_the_name_of_the_bundled_model_is_pointed_out(boxes, folder):
    (folder / "default.safetensors").touch()
    boxes.model.refresh()
    assert f"Not listed: {folder / 'default.safetensors'}" in boxes.model.toolTip()
    assert find_model("default").parent != folder


def test_closing_the_widget_calls_a_download_off(bench, boxes, release, folder):
    choose(boxes.model, NAME)
    release.gate.clear()
    boxes.download.download_button.click()
    bench.wait(lambda: boxes.download.bar.value() > 0)
    bench.widget.close()
    release.gate.set()
    bench.wait(lambda: not boxes.download.busy)
    assert list(folder.iterdir()) == []
