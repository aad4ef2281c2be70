"""Files appear whole or not at all, and none is replaced without being asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_fbrs.errors import CancelledError, InputError
from napari_fbrs.export import FORMATS, LabelImage, Options, export_labels
from napari_fbrs.export import formats as formats_module

SMALL = LabelImage(np.array([[0, 1, 2], [3, 3, 0]], dtype=np.uint8), "small")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("moment", [1, 4, 9])
def test_an_export_called_off_leaves_everything_as_it_was(format_name, moment, stack, tmp_path):
    image = LabelImage(np.where(stack.data > 65535, 0, stack.data), "series")
    path = export_labels(SMALL, tmp_path / "out", format_name).path
    before = contents(tmp_path)
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 6 + moment  # the six planes are read first

    for target, overwrite in ((path, True), (tmp_path / "new", False)):
        asked = 0
        with pytest.raises(CancelledError):
            export_labels(image, target, format_name, overwrite=overwrite, cancelled=cancelled)
        assert asked > 6
        assert contents(tmp_path) == before


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_name_that_is_not_utf_8_is_written_as_far_as_it_is(format_name, tmp_path):
    image = LabelImage(SMALL.data, "zell_\udcfc")
    for overwrite in (False, True):
        export_labels(image, tmp_path / "out", format_name, overwrite=overwrite)
    found = contents(tmp_path)
    assert found
    assert not any("udcfc" in name or b"udcfc" in content for name, content in found.items())


@pytest.mark.parametrize("format_name", FORMATS)
def test_what_is_there_is_replaced_only_when_asked(format_name, tmp_path):
    path = export_labels(SMALL, tmp_path / "out", format_name).path
    before = contents(tmp_path)
    with pytest.raises(InputError, match="already"):
        export_labels(SMALL, path, format_name)
    assert contents(tmp_path) == before
    other = LabelImage(np.array([[0, 7]], dtype=np.uint8), "other")
    export_labels(other, path, format_name, overwrite=True)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    fresh_path = export_labels(other, fresh / "out", format_name).path
    assert contents(tmp_path).keys() - contents(fresh).keys() == {
        f"fresh/{name}" for name in contents(fresh)
    }  # nothing of the first is left
    assert path.exists()
    assert fresh_path.name == path.name


@pytest.mark.parametrize("format_name", [name for name, format_ in FORMATS.items() if format_.folder])
def test_a_folder_with_anything_else_in_it_is_never_replaced(format_name, tmp_path):
    suffix = (*FORMATS[format_name].suffixes, "")[0]
    folder = tmp_path / f"out{suffix}"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="more than an earlier export"):
        export_labels(SMALL, folder, format_name, overwrite=True)
    assert contents(tmp_path) == {f"out{suffix}/thesis.txt": b"precious"}


def test_an_image_in_zarr_is_never_replaced(tmp_path):
    folder = tmp_path / "image.zarr"
    folder.mkdir()
    (folder / ".zattrs").write_text('{"multiscales": []}')
    with pytest.raises(InputError, match="more than an earlier export"):
        export_labels(SMALL, folder, "ome-zarr", overwrite=True)


@pytest.mark.parametrize("format_name", ["masks", "ome-zarr"])
def test_an_export_to_which_a_file_was_added_is_kept(format_name, tmp_path):
    folder = export_labels(SMALL, tmp_path / "out", format_name).path
    assert export_labels(SMALL, folder, format_name, overwrite=True).path == folder
    (folder / "corrected.png").write_bytes(b"precious")
    with pytest.raises(InputError, match="more than an earlier export"):
        export_labels(SMALL, folder, format_name, overwrite=True)


def test_a_file_that_comes_into_being_meanwhile_is_kept(tmp_path):
    target = tmp_path / "out.tif"

    def progress(done: int, total: int) -> None:
        target.write_text("precious")

    with pytest.raises(InputError, match="already"):
        export_labels(SMALL, target, "tiff", progress=progress)
    assert contents(tmp_path) == {"out.tif": b"precious"}


def test_a_process_that_is_killed_leaves_no_half_written_file(tmp_path):
    code = (
        "import os, signal, numpy as np\n"
        "from napari_fbrs.export import LabelImage, export_labels\n"
        "image = LabelImage(np.arange(1, 401).reshape(20, 20))\n"
        "def progress(done, total):\n"
        "    if done == 200: os.kill(os.getpid(), signal.SIGKILL)\n"
        "export_labels(image, 'masks', 'masks', progress=progress)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "masks").exists()
    (leftover,) = tmp_path.iterdir()
    assert leftover.name.endswith(".partial")
    export_labels(SMALL, tmp_path / "masks", "masks")


@pytest.mark.parametrize("format_name", FORMATS)
def test_progress_goes_up_to_the_end(format_name, stack, tmp_path):
    image = LabelImage(np.where(stack.data > 65535, 0, stack.data))
    told: list[tuple[int, int]] = []
    export_labels(image, tmp_path / "out", format_name, progress=lambda *done: told.append(done))
    assert told == sorted(told)
    assert len(told) >= 6
    assert told[-1] == (told[0][1], told[0][1])


def test_suffixes(tmp_path):
    names = {
        ("labels", "tiff"): "labels.tif",
        ("labels.TIFF", "tiff"): "labels.TIFF",
        ("10.5um", "csv"): "10.5um.csv",
        ("a", "ome-tiff"): "a.ome.tif",
        ("b.zarr", "ome-zarr"): "b.zarr",
        ("c", "masks"): "c",
    }
    for (name, format_name), expected in names.items():
        assert export_labels(SMALL, tmp_path / name, format_name).path == tmp_path / expected
    for name, format_name in (("d.png", "tiff"), ("d.tif", "ome-tiff"), ("d.csv", "geojson")):
        with pytest.raises(InputError, match="is written as"):
            export_labels(SMALL, tmp_path / name, format_name)


def test_places_that_cannot_be_written_to(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        export_labels(SMALL, tmp_path / "none" / "out", "tiff")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        export_labels(SMALL, tmp_path / "file", "masks", overwrite=True)
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        export_labels(SMALL, tmp_path / "folder.tif", "tiff", overwrite=True)
    with pytest.raises(InputError, match="no format 'docx'"):
        export_labels(SMALL, tmp_path / "out", "docx")


def test_options_that_a_format_does_not_take(tmp_path):
    with pytest.raises(InputError, match="tiff takes no margin, value"):
        export_labels(SMALL, tmp_path / "out", "tiff", options=Options(value=1, margin=3))


def test_a_package_that_is_absent_is_named_with_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(formats_module.importlib.util, "find_spec", lambda _name: None)
    for format_name, package in (("imagej-roi", "roifile"), ("ome-zarr", "zarr")):
        with pytest.raises(InputError, match=rf'{package}: pip install "napari-fbrs\[export\]"'):
            export_labels(SMALL, tmp_path / "out", format_name)
    export_labels(SMALL, tmp_path / "out", "tiff")
