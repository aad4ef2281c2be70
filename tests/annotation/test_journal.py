from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.annotation import journal as journal_module
from napari_fbrs.annotation.journal import (
    Journal,
    abandoned_journals,
    journal_folder,
    kept_journals,
    read_journal,
    remove_journal,
    tidy,
)
from napari_fbrs.errors import InputError

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HEADER = {"image": "cells é", "shape": [4, 5]}
ENTRIES = [{"do": "refine", "object": i, "name": "ü" * i} for i in range(5)]


def no_failure(message: str) -> None:
    raise AssertionError(message)


def written(folder: Path) -> Path:
    journal = Journal(folder, HEADER, no_failure)
    for entry in ENTRIES:
        journal.append(entry)
    journal.close()
    return journal.path


def test_what_is_appended_is_read_back(tmp_path):
    header, entries = read_journal(written(tmp_path / "made" / "here"))
    assert entries == ENTRIES
    assert header["image"] == "cells é"
    assert header["format"] == "napari-fbrs journal"


def test_a_person_can_read_it(tmp_path):
    lines = written(tmp_path).read_text().splitlines()
    assert len(lines) == 6
    assert lines[1] == '{"do": "refine", "object": 0, "name": ""}'


def test_of_entries_that_wait_together_the_newest_of_a_key_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "_DELAY", 3600)  # until it is closed
    journal = Journal(tmp_path, HEADER, no_failure)
    gate = threading.Event()
    journal.append(lambda: gate.wait() and {"do": "first"})
    for do, key in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a"), ("c", None), ("c", None), ("a4", "a")):
        journal.append({"do": do}, key)
    gate.set()
    journal.close()
    assert [entry["do"] for entry in read_journal(journal.path)[1]] == ["first", "a2", "b1", "a3", "c", "c", "a4"]


def test_what_is_being_written_is_not_exchanged(tmp_path):
    journal = Journal(tmp_path, HEADER, no_failure)
    begun, gate = threading.Event(), threading.Event()

    def slow() -> dict[str, str]:
        begun.set()
        gate.wait()
        return {"do": "a1"}

    journal.append(slow, "a")
    begun.wait()
    journal.append({"do": "a2"}, "a")
    gate.set()
    journal.close()
    assert [entry["do"] for entry in read_journal(journal.path)[1]] == ["a1", "a2"]


def test_flushed_means_on_the_disk_while_it_is_open(tmp_path):
    journal = Journal(tmp_path, HEADER, no_failure)
    journal.append({"do": "click"})
    journal.flush()
    assert read_journal(journal.path)[1] == [{"do": "click"}]
    assert journal.nbytes == journal.path.stat().st_size
    journal.close()


def test_cut_anywhere_all_complete_entries_are_there(tmp_path):
    whole = written(tmp_path).read_bytes()
    cut = tmp_path / "cut.journal"
    for size in range(len(whole) + 1):
        cut.write_bytes(whole[:size])
        complete = whole[:size].count(b"\n") - 1
        assert read_journal(cut)[1] == ENTRIES[: max(complete, 0)]


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_or_hold_nothing(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("foreign") / "x.journal"
    path.write_bytes(data)
    if data in (b"", *(b'{"format": "napari-fbrs journal"'[:n] for n in range(40))):
        assert read_journal(path) == ({}, [])
    else:
        with pytest.raises(InputError, match="no journal"):
            read_journal(path)


def test_a_damaged_line_ends_it(tmp_path):
    path = written(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"\x00garbage\n", *lines[3:]]))
    assert read_journal(path)[1] == ENTRIES[:2]


def test_another_version_is_refused_and_left(tmp_path):
    path = tmp_path / "old.journal"
    path.write_text(json.dumps({"format": "napari-fbrs journal", "version": 99}) + "\n{}\n")
    with pytest.raises(InputError, match="version 99"):
        read_journal(path)
    assert abandoned_journals(tmp_path) == []
    assert path.exists()


def test_rewriting_replaces_what_was_there_and_goes_on(tmp_path):
    journal = Journal(tmp_path, HEADER, no_failure)
    for entry in ENTRIES:
        journal.append(entry)
    journal.flush()
    before = journal.nbytes
    journal.rewrite([{"do": "snapshot"}])
    journal.append({"do": "click"})
    journal.flush()
    assert read_journal(journal.path)[1] == [{"do": "snapshot"}, {"do": "click"}]
    assert journal.nbytes < before
    journal.close()


def test_discarding_leaves_nothing(tmp_path):
    journal = Journal(tmp_path, HEADER, no_failure)
    journal.append({"do": "click"})
    journal.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_journal_in_use_is_nobody_elses(tmp_path):
    journal = Journal(tmp_path, HEADER, no_failure)
    journal.append({"do": "click"})
    journal.flush()
    assert abandoned_journals(tmp_path) == []
    journal.close()
    (left,) = abandoned_journals(tmp_path)
    assert left.entries == [{"do": "click"}]
    assert abandoned_journals(tmp_path) == []  # held
    left.release()
    (left,) = abandoned_journals(tmp_path)
    left.discard()
    assert list(tmp_path.iterdir()) == []


def test_two_at_once_write_two_files(tmp_path):
    journals = [Journal(tmp_path, HEADER, no_failure) for _ in range(2)]
    for index, journal in enumerate(journals):
        journal.append({"window": index})
        journal.close()
    assert sorted(left.entries[0]["window"] for left in abandoned_journals(tmp_path)) == [0, 1]


def test_empty_ones_are_tidied_away(tmp_path):
    Journal(tmp_path, HEADER, no_failure).close()
    assert len(list(tmp_path.glob("*.journal"))) == 1
    assert abandoned_journals(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_killed_process_leaves_what_it_flushed(tmp_path):
    code = (
        "import sys; from pathlib import Path; from napari_fbrs.annotation.journal import Journal\n"
        "j = Journal(Path(sys.argv[1]), {}, print); j.append({'do': 'click'}); j.flush(); print('ready', flush=True)\n"
        "sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert abandoned_journals(tmp_path) == []
        process.send_signal(signal.SIGKILL)
    (left,) = abandoned_journals(tmp_path)
    assert left.entries == [{"do": "click"}]
    left.discard()


def test_no_folder_is_one_warning_and_no_more(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    warnings: list[str] = []
    journal = Journal(file / "sub", HEADER, warnings.append)
    for _ in range(20):
        journal.append({"do": "click"})
    journal.flush()
    journal.append({"do": "click"})
    journal.discard()
    (warning,) = warnings
    assert "no longer recorded" in warning
    assert str(file / "sub") in warning


def test_a_full_disk_is_one_warning(tmp_path, monkeypatch):
    warnings: list[str] = []
    journal = Journal(tmp_path, HEADER, warnings.append)
    journal.append({"do": "click"})
    journal.flush()

    def full(*_args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal_module.os, "fsync", full)
    for _ in range(3):
        journal.append({"do": "more"})
        journal.flush()
    journal.close()
    (warning,) = warnings
    assert "No space left on device" in warning
    assert read_journal(journal.path)[1][0] == {"do": "click"}


def test_the_folder_can_be_named(monkeypatch, tmp_path):
    assert journal_folder().name == "journals"
    monkeypatch.setenv("NAPARI_FBRS_JOURNALS", str(tmp_path))
    assert journal_folder() == tmp_path
    assert os.environ["NAPARI_FBRS_JOURNALS"] == str(tmp_path)


def test_deep_nesting_is_damage(tmp_path):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes() + b"[" * 200_000 + b"\n")
    assert read_journal(path)[1] == ENTRIES


def test_what_is_being_written_anew_is_nobodys_find(tmp_path):
    journal = Journal(tmp_path, HEADER, no_failure)
    journal.append({"do": "click"})
    journal.flush()
    partial = tmp_path / f".{journal.path.stem}.1.partial.journal"
    partial.write_bytes(journal.path.read_bytes())
    assert abandoned_journals(tmp_path) == []
    assert partial.exists()
    journal.discard()
    assert list(tmp_path.iterdir()) == []


def test_what_was_lost_is_told_and_nothing_called(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    journal = Journal(file / "sub", HEADER, lambda _: None)
    journal.append({"do": "click"})
    called: list[int] = []
    assert journal.flush() is False
    journal.when_written(lambda: called.append(1))
    journal.close()
    assert called == []


def test_it_calls_once_all_is_written(tmp_path):
    journal = Journal(tmp_path, HEADER, no_failure)
    journal.append({"do": "click"})
    found: list[int] = []
    journal.when_written(lambda: found.append(len(read_journal(journal.path)[1])))
    journal.close()
    assert found == [1]


def test_only_wanted_ones_are_read(tmp_path):
    kept = written(tmp_path)
    assert abandoned_journals(tmp_path, lambda header: header["image"] == "other") == []
    assert kept.exists()


def test_an_entry_that_cannot_be_written_ends_it_with_one_warning(tmp_path):
    warnings: list[str] = []
    journal = Journal(tmp_path, HEADER, warnings.append)
    journal.append({"do": object()})
    assert journal.flush() is False
    assert len(warnings) == 1


def aged(folder: Path, days: float) -> Path:
    path = written(folder)
    moment = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (moment, moment))
    return path


def test_journals_are_listed_the_one_changed_last_first(tmp_path):
    assert kept_journals(tmp_path / "none") == []
    old, new = aged(tmp_path, 3), aged(tmp_path, 1)
    (tmp_path / "notes.txt").write_text("not one")
    kept = kept_journals(tmp_path)
    assert [journal.path for journal in kept] == [new, old]
    assert kept[0].nbytes == new.stat().st_size
    assert kept[0].changed == NOW - timedelta(days=1)


def test_only_old_ones_beyond_the_bound_are_removed_unasked(tmp_path):
    ancient, old, young = (aged(tmp_path, days) for days in (300, 100, 29))
    size = ancient.stat().st_size
    tidy(tmp_path, most=3 * size, now=NOW)
    assert len(kept_journals(tmp_path)) == 3
    tidy(tmp_path, most=2 * size, now=NOW)
    assert [journal.path for journal in kept_journals(tmp_path)] == [young, old]
    tidy(tmp_path, most=0, now=NOW)
    assert [journal.path for journal in kept_journals(tmp_path)] == [young]
    assert not list(tmp_path.glob(f"{old.stem}*"))


def test_what_a_process_holds_is_not_removed(tmp_path):
    journal = Journal(tmp_path, HEADER, no_failure)
    journal.append({"do": "click"})
    journal.flush()
    with pytest.raises(InputError, match="in use"):
        remove_journal(journal.path)
    tidy(tmp_path, most=0, youngest=timedelta(0), now=NOW + timedelta(days=9999))
    assert journal.path.exists()
    journal.close()
    remove_journal(journal.path)
    assert kept_journals(tmp_path) == []
