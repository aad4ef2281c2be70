"""``napari-fbrs export``."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from napari_fbrs import cli
from napari_fbrs.export import FORMATS, LabelImage, export_labels


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack: LabelImage) -> Path:
    """A folder with labels, an image and classes."""
    monkeypatch.chdir(tmp_path)
    data = np.where(stack.data > 65535, 0, stack.data)
    export_labels(LabelImage(data, scale=stack.scale, units=stack.units), "labels.tif", "tiff")
    tifffile.imwrite("image.tif", np.arange(data.size, dtype=np.uint16).reshape(data.shape), imagej=True)
    Path("classes.csv").write_text("object,class\n3,cell\n9,dot\n")
    return tmp_path


def export(*arguments: str) -> int:
    return cli.main(["export", "labels.tif", *arguments])


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format(format_name, folder, capsys):
    assert export("--format", format_name, "-o", "out") == 0
    said = capsys.readouterr().out
    assert "6 objects of 6 slices written to out" in said
    assert Path(said.split()[-1]).exists()


def test_what_is_chosen(folder, capsys):
    code = export("--format", "masks", "-o", "out", "--classes", "classes.csv", "--class", "cell", "--slices", "0;1:3",
                  "--crop", "0:14,:20", "--value", "1", "--margin", "2", "--names", "{class}/{z}")  # fmt: skip
    assert code == 0
    assert "1 object of 2 slices written" in capsys.readouterr().out
    with Path("out/index.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["file"], row["object"], row["class"], row["t"], row["z"]) == ("cell/2.png", "3", "cell", "0", "2")
    with PIL.Image.open("out/cell/2.png") as picture:
        assert set(np.unique(np.asarray(picture))) == {0, 1}


def test_measurements_of_an_image(folder):
    arguments = ("--format", "csv", "-o", "out.csv", "--image", "image.tif", "--objects", "9", "--slices", "0;0")
    assert export(*arguments, "--scale", "1", "1", "3", "3", "--units", "nm") == 0
    with Path("out.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["unit"], row["area"], row["intensity_mean"]) == ("nanometer", "9", str(15 * 31 + 20))


def test_bad_input_is_one_line_and_code_2(folder, capsys):
    Path("there.csv").write_text("precious")
    for arguments, message in (
        (("--format", "csv", "-o", "there.csv"), "already"),
        (("--format", "docx", "-o", "out"), "docx"),
        (("--format", "csv", "-o", "out", "--slices", "9:12;0"), "axis t"),
        (("--format", "csv", "-o", "out", "--objects", "x"), "1, 4-9"),
        (("--format", "csv", "-o", "out", "--scale", "1"), "need 4 scale"),
        *(
            (("--format", "csv", "-o", "out", "--scale", "1", "1", size, "1"), "finite and above 0")
            for size in ("0", "-1", "nan", "inf", "wide")
        ),
    ):
        assert export(*arguments) == 2
        said = capsys.readouterr()
        assert message in said.err
        assert said.err.count("\n") == 1
    assert Path("there.csv").read_text() == "precious"
    assert export("--format", "csv", "-o", "there.csv", "--overwrite") == 0


def test_what_is_read_is_never_replaced(folder, capsys):
    before = Path("labels.tif").read_bytes()
    assert export("--format", "tiff", "-o", "labels.tif", "--objects", "3", "--overwrite") == 2
    assert "labels.tif is what is read" in capsys.readouterr().err
    assert export("--format", "csv", "-o", "classes.csv", "--classes", "classes.csv", "--overwrite") == 2
    assert Path("labels.tif").read_bytes() == before


def test_help_names_every_format(capsys):
    with pytest.raises(SystemExit):
        cli.main(["export", "--help"])
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in FORMATS)
