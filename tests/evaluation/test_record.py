from __future__ import annotations

from pathlib import Path

import pytest

from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.objects import Sample
from napari_fbrs.evaluation.record import Record, Task
from napari_fbrs.evaluation.simulation import Run

SETTINGS, DATA = {"model": "abc", "clicks": "20"}, {"coins": "12"}
TASKS = [Task("coins", Sample(0, 7), "f-BRS-B"), Task("coins", Sample(1, 2), "voronoi", 3)]
RUN = Run((Click(3, 4), Click(5, 6.5, positive=False)), (0.1 + 0.2, 0.9), (0.01, 1 / 3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a record of two runs."""
    record = Record(tmp_path / "runs.jsonl", SETTINGS, DATA)
    with record.open():
        for task in TASKS:
            record.add(task, RUN)
    return tmp_path / "runs.jsonl"


def test_runs_are_found_again_to_the_last_bit(path: Path):
    assert Record(path, SETTINGS, DATA).runs == dict.fromkeys(TASKS, RUN)


def test_a_run_is_on_disk_as_soon_as_it_is_finished(tmp_path: Path):
    record = Record(tmp_path / "a", SETTINGS, DATA)
    with record.open():
        record.add(TASKS[0], RUN)
        assert Record(tmp_path / "a", SETTINGS, DATA).runs == {TASKS[0]: RUN}


def test_a_line_cut_off_is_done_again(path: Path):
    whole = path.read_bytes()
    for length in range(len(whole) - 40, len(whole)):
        path.write_bytes(whole[:length])
        record = Record(path, SETTINGS, DATA)
        assert set(record.runs) == {TASKS[0]}
        with record.open():
            record.add(TASKS[1], RUN)
        assert path.read_bytes() == whole


def test_a_header_cut_off(path: Path):
    path.write_text('{"kind": "napari')
    record = Record(path, SETTINGS, DATA)
    assert record.runs == {}
    with record.open():
        record.add(TASKS[0], RUN)
    assert Record(path, SETTINGS, DATA).runs == {TASKS[0]: RUN}


def test_other_settings_are_refused(path: Path):
    with pytest.raises(InputError, match=r"made with model abc, this is model xyz; remove it, or name another"):
        Record(path, SETTINGS | {"model": "xyz"}, DATA)
    with pytest.raises(InputError, match="made with threads None, this is threads 1"):
        Record(path, SETTINGS | {"threads": "1"}, DATA)


def test_other_data_are_refused_and_more_data_are_not(path: Path):
    with pytest.raises(InputError, match="another coins than this one"):
        Record(path, SETTINGS, {"coins": "13"})
    assert len(Record(path, SETTINGS, {"nuclei": "1"}).runs) == 2


@pytest.mark.parametrize("content", ["text\n", "{}\n", "[]\n", '{"kind": "napari-fbrs clicks"}\n', "\x00\xff\n"])
def test_what_is_no_record_is_left_alone(tmp_path: Path, content: str):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(InputError, match="is no record of runs"):
        Record(path, SETTINGS, DATA)
    assert path.read_text() == content


def test_a_damaged_line_is_said(path: Path):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + '{"dataset": "coins"}\n' + lines[2])
    with pytest.raises(InputError, match=r"or damaged \(KeyError"):
        Record(path, SETTINGS, DATA)


def test_a_folder_that_is_not_there(tmp_path: Path):
    record = Record(tmp_path / "no" / "runs", SETTINGS, DATA)
    with pytest.raises(InputError, match="cannot write"), record.open():
        pass


def test_without_a_file(tmp_path: Path):
    record = Record(None, SETTINGS, DATA)
    with record.open():
        record.add(TASKS[0], RUN)
    assert record.runs == {TASKS[0]: RUN}
