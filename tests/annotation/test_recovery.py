from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from fakes import DiscPredictor

from napari_fbrs.annotation import journal as journal_module
from napari_fbrs.annotation.encoding import encode_mask, encode_plane
from napari_fbrs.annotation.history import Refinement
from napari_fbrs.annotation.image import Image
from napari_fbrs.annotation.journal import abandoned_journals, read_journal
from napari_fbrs.annotation.labels import ArrayLabels, LabelChange, PlaneMask
from napari_fbrs.annotation.recovery import Recorder, belongs, header, restore, unsaved
from napari_fbrs.annotation.session import Seen, Session
from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError
from napari_fbrs.inference.plane import Crop
from napari_fbrs.strokes import Stroke

SHAPE = (3, 40, 50)


MASK_OUTSIDE = encode_mask(PlaneMask.pack(Crop(30, 59, 0, 9), np.ones((30, 10), bool)))
NOTE = {"do": "note", "object": 1, "threshold": 0.5, "extent": None, "overwrite": False, "locked": [], "classes": {}}


def no_failure(message: str) -> None:
    raise AssertionError(message)


def session_on(labels: npt.NDArray[np.int32] | None = None, shape: tuple[int, ...] = SHAPE) -> Session:
    store = None if labels is None else ArrayLabels(labels)
    return Session(np.zeros(shape, np.uint8), DiscPredictor(), labels=store)  # type: ignore[arg-type]


def recorder_of(session: Session, folder: Path, max_bytes: int = 2**26) -> Recorder:
    return Recorder(session, folder, header(session.image, name="cells"), no_failure, max_bytes)


def everything(session: Session) -> npt.NDArray[np.int32]:
    return np.asarray(session.labels.read((slice(None),) * session.image.ndim)).copy()


def act(session: Session, rng: np.random.Generator) -> None:
    """Do one of the things a user does."""
    at = (int(rng.integers(SHAPE[0])),)
    row, column = (int(rng.integers(n)) for n in SHAPE[1:])
    what = rng.integers(8)
    if what < 3:
        session.click(Click(row, column, bool(rng.random() < 0.7)), position=at)
    elif what == 3:
        session.click(Stroke.of([[row, column], [row, max(column - 1, 0)]]), position=at)
    elif what == 4:
        session.next_object()
    elif what == 5:
        session.undo()
    elif what == 6:
        session.redo()
    else:
        place = session.place(at)
        if session.refinement(place).clicks:
            session.set_threshold(place, float(rng.uniform(0.3, 0.7)))
            session.update(place)


def restored(folder: Path, labels: npt.NDArray[np.int32] | None = None) -> Session:
    (left,) = abandoned_journals(folder)
    again = session_on(labels)
    try:
        restore(again, left.entries)
    finally:
        left.release()
    return again


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("max_bytes", [2**26, 2000])
def test_what_was_shown_comes_back(tmp_path, seed, max_bytes):
    rng, session = np.random.default_rng(seed), session_on()
    recorder = recorder_of(session, tmp_path, max_bytes)
    for _ in range(40):
        act(session, rng)
        recorder.note()
        if max_bytes < 2**26:
            recorder.journal.flush()  # so that it notices its size
    recorder.journal.close()  # as a crash would leave it
    again = restored(tmp_path)
    np.testing.assert_array_equal(everything(again), everything(session))
    assert again.object == session.object
    assert again.waiting() == session.waiting() == []
    for place, refinement, mask, seen in session.state():
        if refinement.clicks:
            assert again.refinement(place) == refinement
        assert seen is Seen.CURRENT
        there = next(m for p, _, m, _ in again.state() if p == place)
        assert (there is None) == (mask is None)
    # And it goes on as if nothing had been: the same click has the same effect on both.
    for one in (session, again):
        one.click(Click(20, 25), position=(1,))
    np.testing.assert_array_equal(everything(again), everything(session))


def test_a_journal_cut_anywhere_restores_a_moment_that_was(tmp_path):
    session = session_on()
    recorder = recorder_of(session, tmp_path / "whole")
    for column in (10, 20, 30):
        session.click(Click(10, column), position=(1,))
    recorder.journal.close()
    whole = recorder.journal.path.read_bytes()
    cut = tmp_path / "cut.journal"
    clicks = set()
    for size in range(0, len(whole) + 1, 7):
        cut.write_bytes(whole[:size])
        again = session_on()
        restore(again, read_journal(cut)[1])
        place = again.place((1,))
        clicks.add(len(again.refinement(place).clicks))
        for waiting in again.waiting():
            again.update(waiting)
        fresh = session_on()
        for click in again.refinement(place).clicks:
            fresh.click(click, position=(1,))
        np.testing.assert_array_equal(everything(again), everything(fresh))
    assert clicks == {0, 1, 2, 3}


def test_painted_pixels_and_labels_there_before_come_back(tmp_path):
    before = np.zeros(SHAPE, np.int32)
    before[0, 5:9, 5:9] = 7
    session = session_on(before.copy())
    recorder = recorder_of(session, tmp_path)
    stroke = tuple(np.array(axis) for axis in ([2, 2], [3, 3], [4, 5]))
    session.painted(LabelChange(stroke, np.zeros(2, np.int32), np.full(2, 9, np.int32)))
    recorder.journal.close()
    expected = before.copy()
    expected[stroke] = 9
    np.testing.assert_array_equal(everything(restored(tmp_path, before.copy())), expected)  # the same ones loaded again
    np.testing.assert_array_equal(everything(restored(tmp_path)), expected)
    with pytest.raises(InputError, match="new Labels layer"):
        restored(tmp_path, np.full(SHAPE, 3, np.int32))


def test_names_locks_and_settings_come_back(tmp_path):
    session = session_on()
    recorder = recorder_of(session, tmp_path)
    session.click(Click(10, 10), position=(0,))
    session.classes[1] = "nucleus é"
    session.locked.add(1)
    session.overwrite, session.extent, session.threshold = True, 17.5, 0.4
    recorder.note()
    recorder.note()
    recorder.journal.close()
    (left,) = abandoned_journals(tmp_path)
    assert [entry["do"] for entry in left.entries].count("note") == 2  # the first one, and what has changed
    left.release()
    again = restored(tmp_path)
    assert again.classes == {1: "nucleus é"}
    assert again.locked == {1}
    assert (again.overwrite, again.extent, again.threshold) == (True, 17.5, 0.4)


def test_a_new_object_takes_a_new_label(tmp_path):
    session = session_on()
    recorder = recorder_of(session, tmp_path)
    session.click(Click(10, 10), position=(0,))
    session.next_object()
    session.click(Click(30, 30), position=(0,))
    recorder.journal.close()
    assert restored(tmp_path).next_object() == 3


def test_a_journal_stays_bounded(tmp_path):
    session = session_on()
    recorder = recorder_of(session, tmp_path, max_bytes=5000)
    largest = 0
    for index in range(60):
        session.click(Click(20, 25, bool(index % 2 == 0)), position=(1,))
        session.undo()
        recorder.journal.flush()
        largest = max(largest, recorder.journal.path.stat().st_size)
    assert largest < 12_000  # the bound and what was added before it was noticed
    recorder.stop(discard=True)
    assert list(tmp_path.iterdir()) == []


def test_stopped_it_follows_no_longer(tmp_path):
    session = session_on()
    store = session.labels
    recorder = recorder_of(session, tmp_path)
    recorder.stop(discard=False)
    assert session.labels is store
    session.click(Click(10, 10), position=(0,))
    assert [entry["do"] for entry in read_journal(recorder.journal.path)[1]] == ["note"]


def test_it_knows_its_image():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (3, 900, 700)).astype(np.uint8)
    other = pixels.copy()
    other[1, ::2] += 1
    about = header(Image(pixels), name="cells", source="cells.tif")
    assert belongs(header(Image(pixels.copy()), name="renamed"), about)
    for array in (other, pixels.astype(np.uint16), pixels[:2]):
        assert not belongs(header(Image(array), name="cells"), about)
    assert not belongs({}, about)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"do": "fly"}, "'fly'"),
        ({}, "damaged"),
        ({"do": "show", "object": 1, "plane": [9], "axes": [1, 2], "mask": None, "seen": 2}, "no plane"),
        ({"do": "show", "object": 1, "plane": [0], "axes": [1, 2], "mask": MASK_OUTSIDE, "seen": 2}, "damaged"),
        (
            {
                "do": "refine",
                "object": 1,
                "plane": [0],
                "axes": [1, 2],
                "rounds": [[[900, 2, 1]]],
                "threshold": 0.5,
                "seen": 0,
            },
            "outside",
        ),
        (
            {
                "do": "refine",
                "object": 1,
                "plane": [0],
                "axes": [1, 2],
                "rounds": [[{"stroke": "9:0-99", "positive": 1}]],
                "threshold": 0.5,
                "seen": 0,
            },
            "outside",
        ),
        (NOTE | {"object": 10**21}, "damaged"),
        (NOTE | {"threshold": 7}, "damaged"),
        (NOTE | {"extent": -3}, "damaged"),
        ({"do": "together", "entries": [{"do": "fly"}]}, "'fly'"),
        ({"do": "refine", "object": 1, "plane": [0], "axes": [1, 2], "rounds": [[["a", 2, 1]]]}, "damaged"),
        ({"do": "write", "pixels": 10**12, "steps": "", "labels": ""}, "damaged"),
        ({"do": "note", "object": 2}, "damaged"),
    ],
)
def test_a_damaged_journal_changes_nothing(entry, message):
    labels = np.full(SHAPE, 4, np.int32)
    session = session_on(labels)
    begun = [{"do": "labels", **encode_plane((at,), labels[at])} for at in range(SHAPE[0])]
    with pytest.raises(InputError, match=message):
        restore(session, [*begun, entry])
    assert (labels == 4).all()
    assert session.state() == []
    assert session.refinement(session.place((0,))) == Refinement()


def test_large_images_are_told_apart_by_tiles_all_over_them():
    class Huge:
        shape, ndim, dtype = (5, 50_000, 70_000), 3, np.dtype(np.uint8)

        def __init__(self, at: tuple[int, int]) -> None:
            self.at = at
            self.read: list[tuple[int, int]] = []

        def __getitem__(self, index):
            z, rows, columns = index
            assert z == 2
            self.read.append((rows.stop, columns.stop))
            assert rows.stop - rows.start == columns.stop - columns.start == 256
            black = np.zeros((256, 256), np.uint8)  # a slide: tissue in one corner
            return black if rows.stop < 50_000 or columns.start else black + self.at[0]

    slides = [Huge(at) for at in ((1, 2), (1, 2), (3, 2))]
    first, same, other = (header(Image(slide), name="") for slide in slides)
    assert {rows for rows, _ in slides[0].read} >= {256, 50_000}
    assert {columns for _, columns in slides[0].read} >= {256, 70_000}
    assert belongs(first, same)
    assert not belongs(first, other)


def test_exported_work_is_not_unsaved_until_it_changes(tmp_path):
    session = session_on()
    recorder = recorder_of(session, tmp_path)
    session.click(Click(10, 10), position=(0,))
    session.click(Click(12, 10), position=(0,))

    def counted() -> tuple[int, int]:
        recorder.journal.flush()
        return unsaved(read_journal(recorder.journal.path)[1])

    assert counted() == (1, 2)
    recorder.saved()
    assert counted() == (0, 0)
    recorder.stop(discard=False)
    recorder = recorder_of(session, tmp_path)  # in a widget opened again
    assert counted() == (0, 0)
    session.classes[1] = "cell"
    recorder.note()
    assert counted() == (1, 2)


def test_labels_that_were_only_loaded_are_no_work(tmp_path):
    recorder = recorder_of(session_on(np.full(SHAPE, 5, np.int32)), tmp_path)
    recorder.journal.flush()
    assert unsaved(read_journal(recorder.journal.path)[1]) == (0, 0)


def test_steps_made_together_are_restored_together(tmp_path):
    session = session_on()
    recorder = recorder_of(session, tmp_path)
    session.click(Click(10, 10), position=(0,))
    with session.together():
        for at in (1, 2):
            session.click(Click(10, 10), position=(at,))
    recorder.journal.close()
    lines = recorder.journal.path.read_bytes().splitlines(keepends=True)
    (tmp_path / "cut.journal").write_bytes(b"".join(lines[:-1]) + lines[-1][:-9])
    again = session_on()
    restore(again, read_journal(tmp_path / "cut.journal")[1])
    assert len(again.annotated()) == 1
    assert not everything(again)[1:].any()


def test_a_click_not_computed_on_painted_pixels_is_computed_as_it_would_have_been(tmp_path):
    session = session_on()
    recorder = recorder_of(session, tmp_path)
    place = session.place((0,))
    painted = tuple(axis.ravel() for axis in np.meshgrid([0], range(8, 20), range(8, 20), indexing="ij"))
    session.labels.write(painted, np.ones(144, np.int32))
    session.click(Click(12, 12), position=(0,))
    session.add(place, [Click(18, 18, positive=False)])
    recorder.journal.close()
    again = restored(tmp_path)
    assert again.waiting() == [place]
    for one in (session, again):
        one.update(place)
    np.testing.assert_array_equal(everything(again), everything(session))


def test_beyond_its_bound_it_is_written_anew_once(tmp_path, monkeypatch):
    session = session_on()
    recorder = recorder_of(session, tmp_path, max_bytes=1)
    recorder.journal.flush()
    monkeypatch.setattr(journal_module, "_DELAY", 3600)  # until it is stopped
    calls = []
    rewrite = recorder.journal.rewrite
    monkeypatch.setattr(recorder.journal, "rewrite", lambda entries: (calls.append(1), rewrite(entries)))
    monkeypatch.setattr(recorder.journal, "nbytes_anew", 0)
    for column in range(5, 45, 5):
        session.click(Click(10, column), position=(0,))
    assert len(calls) == 1
    recorder.stop(discard=True)
