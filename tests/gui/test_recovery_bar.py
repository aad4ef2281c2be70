from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_fbrs.annotation import journal as journal_module
from napari_fbrs.clicks import Click

IMAGE = np.arange(80 * 100, dtype=np.uint16).reshape(80, 100)


def begin(bench: Any, pixels: np.ndarray = IMAGE) -> None:
    """Open an image in a viewer without layers, as after a start of napari, and wait until it is looked for."""
    bench.open_widget()
    bench.viewer.layers.clear()
    bench.add_image(pixels, name="cells")
    bench.start()
    bench.wait(lambda: bench.widget.recovery.recorder is not None)


def crash(bench: Any) -> None:
    """Leave the journal as a process that dies leaves it: on the disk, held by nobody."""
    bench.widget.recovery.recorder.journal.close()
    bench.annotator.session.observer = None
    bench.annotator.layers.labels.metadata.clear()


def annotate(bench: Any) -> None:
    bench.click(20, 20)
    bench.settle()
    bench.press("N")
    bench.click(50, 60)
    bench.click(50, 75)
    bench.settle()


def test_work_cut_short_is_offered_and_comes_back(bench, discs):
    begin(bench)
    annotate(bench)
    shown = bench.labels.copy()
    crash(bench)
    begin(bench)
    recovery = bench.widget.recovery
    bench.wait(recovery.isVisible)
    assert "2 objects, 3 clicks" in recovery._text.text()
    assert not bench.labels.any()
    calls = len(discs.calls)
    recovery.restore_button.click()
    np.testing.assert_array_equal(bench.labels, shown)
    assert len(discs.calls) == calls  # nothing had to be computed
    assert not recovery.isVisible()
    assert bench.annotator.session.object == 2
    assert bench.annotator.layers.positive.data.tolist() == [[50, 60], [50, 75]]
    bench.press("N")
    bench.click(70, 20)
    bench.settle()
    assert np.array_equal(bench.labels == 3, discs.mask(IMAGE.shape, [Click(70, 20)]))


def test_what_was_restored_survives_another_crash(bench, discs):
    begin(bench)
    annotate(bench)
    shown = bench.labels.copy()
    for _ in range(2):
        crash(bench)
        begin(bench)
        bench.wait(bench.widget.recovery.isVisible)
        bench.widget.recovery.restore_button.click()
        np.testing.assert_array_equal(bench.labels, shown)


def test_discarded_it_is_gone_and_later_it_comes_again(bench, discs, journals):
    begin(bench)
    annotate(bench)
    crash(bench)
    for button in ("later_button", "discard_button"):
        begin(bench)
        bench.wait(bench.widget.recovery.isVisible)
        getattr(bench.widget.recovery, button).click()
        assert not bench.widget.recovery.isVisible()
    begin(bench)
    assert bench.widget.recovery.offered is None


def test_another_image_is_offered_nothing(bench, discs, journals):
    begin(bench)
    annotate(bench)
    crash(bench)
    begin(bench, IMAGE + 1)
    assert bench.widget.recovery.offered is None
    bench.widget.recovery.recorder.journal.flush()
    assert len(list(journals.glob("*.journal"))) == 2  # the first is kept for its image


def test_masks_that_were_saved_are_not_offered(bench, discs):
    begin(bench)
    annotate(bench)
    bench.widget.recovery.saved()
    crash(bench)
    begin(bench)
    assert bench.widget.recovery.offered is None


def test_what_file_save_has_written_is_not_offered(bench, discs, npe2pm, tmp_path):
    begin(bench)
    annotate(bench)
    with npe2pm.tmp_plugin(package="napari-fbrs"):
        bench.annotator.layers.labels.save(str(tmp_path / "measured.csv"), plugin="napari-fbrs")
        assert bench.annotator.session.unsaved  # measurements hold no masks
        bench.annotator.layers.labels.save(str(tmp_path / "saved.tif"), plugin="napari-fbrs")
    assert not bench.annotator.session.unsaved
    crash(bench)
    begin(bench)
    assert bench.widget.recovery.offered is None


def test_a_widget_closed_and_opened_goes_on_without_a_question(bench, discs, journals):
    begin(bench)
    annotate(bench)
    shown = bench.labels.copy()
    bench.open_widget()
    bench.widget.image.value = bench.viewer.layers["cells"]
    bench.start()
    bench.wait(lambda: bench.widget.recovery.recorder is not None)
    assert bench.widget.recovery.offered is None
    bench.wait(lambda: len(list(journals.glob("*.journal"))) == 1)
    crash(bench)
    begin(bench)
    bench.wait(bench.widget.recovery.isVisible)
    bench.widget.recovery.restore_button.click()
    np.testing.assert_array_equal(bench.labels, shown)


def test_clicks_made_before_the_answer_are_not_overwritten(bench, discs):
    begin(bench)
    annotate(bench)
    crash(bench)
    begin(bench)
    bench.wait(bench.widget.recovery.isVisible)
    bench.click(70, 20)
    bench.settle()
    with Warned("undo it before you restore"):
        bench.widget.recovery.restore_button.click()
    assert np.array_equal(bench.labels == 1, discs.mask(IMAGE.shape, [Click(70, 20)]))
    bench.annotator.undo()
    bench.settle()
    bench.widget.recovery.restore_button.click()
    assert set(np.unique(bench.labels)) == {0, 1, 2}


def test_what_was_painted_since_is_not_overwritten(bench, discs):
    begin(bench)
    annotate(bench)
    crash(bench)
    begin(bench)
    bench.wait(bench.widget.recovery.isVisible)
    labels = bench.annotator.layers.labels
    labels.paint((70, 20), 9)
    painted = bench.labels.copy()
    assert painted.any()
    with Warned("undo it before you restore"):
        bench.widget.recovery.restore_button.click()
    np.testing.assert_array_equal(bench.labels, painted)


def test_a_full_disk_never_costs_the_only_copy(bench, discs, journals, monkeypatch):
    begin(bench)
    annotate(bench)
    shown = bench.labels.copy()
    crash(bench)
    (kept,) = journals.glob("*.journal")

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    bench.open_widget()
    bench.viewer.layers.clear()
    monkeypatch.setattr(journal_module.os, "fsync", full)
    with Warned("No space left") as heard:
        begin(bench)
        bench.wait(bench.widget.recovery.isVisible)
        bench.widget.recovery.restore_button.click()
        bench.wait(lambda: heard and not bench.widget.recovery.recorder.journal.alive)
    np.testing.assert_array_equal(bench.labels, shown)
    bench.widget.close()
    assert kept.exists()


def test_metadata_of_layers_are_no_orders(bench, discs, tmp_path):
    victim = tmp_path / "thesis.txt"
    victim.write_text("years of work")
    image = bench.add_image(IMAGE, name="cells")
    labels = bench.viewer.add_labels(np.zeros(IMAGE.shape, np.int32))
    for layer in (image, labels):
        layer.metadata["napari-fbrs journal"] = str(victim)
    bench.widget._existing["labels"].value = labels
    bench.start()
    bench.wait(lambda: bench.widget.recovery.recorder is not None)
    bench.widget.recovery.recorder.journal.flush()
    assert victim.exists()


def test_a_damaged_journal_does_not_end_journals(bench, discs, journals):
    begin(bench)
    annotate(bench)
    crash(bench)
    (path,) = journals.glob("*.journal")
    path.write_bytes(path.read_bytes() + b'{"do": "refine", "rounds": [1], "object": 1, "plane": [], "axes": [0, 1]}\n')
    begin(bench)
    assert bench.widget.recovery.offered is None
    assert path.exists()
    bench.click(20, 20)
    bench.settle()
    assert bench.widget.recovery.recorder.journal.flush()


def test_other_points_layers_keep_undo_in_step(bench, discs):
    begin(bench)
    annotate(bench)
    points = bench.viewer.add_points(ndim=2, name="mine")
    bench.widget._existing["positive"].value = points
    bench.widget._existing["labels"].value = bench.annotator.layers.labels
    bench.start()
    bench.wait(lambda: bench.widget.recovery.recorder is not None)
    assert bench.annotator.layers.positive == points
    steps = len(bench.annotator.session.history)
    bench.press("N")
    bench.click(70, 20)
    bench.settle()
    assert len(bench.annotator.session.history) == steps + 1


def test_no_place_to_keep_it_is_one_warning(bench, discs, journals, monkeypatch):
    blocked = journals / "file"
    blocked.write_text("")
    monkeypatch.setenv("NAPARI_FBRS_JOURNALS", str(blocked / "folder"))
    with Warned("no longer recorded") as heard:
        begin(bench)
        annotate(bench)
        bench.wait(lambda: bool(heard))
    assert len(heard) == 1
    assert set(np.unique(bench.labels)) == {0, 1, 2}


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_killed_process_is_restored_here(bench, discs, journals, tmp_path):
    """The masks are those that the process that died had shown."""
    np.save(tmp_path / "image.npy", IMAGE)
    code = Path(__file__).with_name("killed.py")
    subprocess.run([sys.executable, str(code), str(tmp_path), str(journals)], check=False, timeout=300)
    shown = np.load(tmp_path / "shown.npy")
    assert set(np.unique(shown)) == {0, 1, 2}
    begin(bench)
    bench.wait(bench.widget.recovery.isVisible)
    bench.widget.recovery.restore_button.click()
    np.testing.assert_array_equal(bench.labels, shown)


class Warned:
    """Collects napari's warnings with a text in them; there must be one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.heard: list[str] = []

    def __enter__(self) -> list[str]:
        notification_manager.notification_ready.connect(self._hear)
        return self.heard

    def __exit__(self, *_: object) -> None:
        notification_manager.notification_ready.disconnect(self._hear)
        assert self.heard

    def _hear(self, notification: Any) -> None:
        if self.text in notification.message:
            self.heard.append(notification.message)
