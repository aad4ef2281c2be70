from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from fakes import BrightNetwork, DiscPredictor, model_of
from skimage import data

from napari_fbrs import cli
from napari_fbrs.annotation.image_file import read_image, write_png
from napari_fbrs.annotation.recovery import Recorder, header
from napari_fbrs.annotation.session import Session
from napari_fbrs.clicks import Click
from napari_fbrs.inference.settings import MODES
from napari_fbrs.models import zoo
from napari_fbrs.models.zoo import list_models, models_folder
from napari_fbrs.samples import coins_truth
from napari_fbrs.samples.clicks import coins_clicks_path

HEADER = "object,row,column,positive"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the commands load a model that finds what is bright."""
    monkeypatch.setattr(zoo, "load_model", lambda *_: model_of(BrightNetwork()))


@pytest.fixture
def squares(folder: Path) -> Path:
    """Write an image of 40 x 60 with two bright squares, and clicks on them."""
    image = np.zeros((40, 60), dtype=np.uint8)
    image[5:15, 5:15] = image[20:35, 30:50] = 255
    write_png(folder / "image.png", image)
    written(f"{HEADER}\n4,10,10,1\n")
    return folder


def written(text: str) -> None:
    Path("clicks.csv").write_text(text)


def segment(*options: str, image: str = "image.png", out: str = "out.tif") -> int:
    return cli.main(["segment", image, "--clicks", "clicks.csv", "-o", out, "--device", "cpu", *options])


def refused(capsys: pytest.CaptureFixture[str], code: int) -> str:
    """Return the one line that bad input is answered with."""
    said = capsys.readouterr()
    assert code == 2
    assert said.err.startswith("napari-fbrs: ")
    assert said.err.count("\n") == 1
    return said.err.removeprefix("napari-fbrs: ").strip()


# segment


def test_coins_are_segmented_from_clicks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = coins_truth()
    chosen = [1, 4, 17]
    write_png(folder / "image.png", data.coins())
    clicks = ["7,44,335,1", "9,53,277,1", "9,59,257,0", "300,198,44,1"]
    written("\n".join([HEADER, *clicks]))
    assert segment(out="out.png") == 0
    labels, rgb = read_image(folder / "out.png")
    assert (labels.dtype, rgb) == (np.uint16, False)
    assert np.unique(labels).tolist() == [0, 7, 9, 300]
    for label, coin in zip((7, 9, 300), chosen, strict=True):
        ours, theirs = labels == label, truth == coin
        assert (ours & theirs).sum() >= 0.8 * (ours | theirs).sum()
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("on cpu, f-BRS-B")
    areas = [int((labels == label).sum()) for label in (7, 9, 300)]
    assert [line.rsplit(",", 1)[0] for line in out[1:4]] == [
        f"object 7: 1 click, all met, {areas[0]} pixels",
        f"object 9: 2 clicks, all met, {areas[1]} pixels",
        f"object 300: 1 click, all met, {areas[2]} pixels",
    ]
    assert all(line.endswith(" ms a click") for line in out[1:4])
    assert out[4:] == ["labels written to out.png"]


@pytest.mark.usefixtures("stand_in")
def test_a_stack_is_segmented_plane_by_plane(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = np.zeros((2, 3, 40, 60), dtype=np.uint16)
    stack[1, 2, 5:15, 5:15] = stack[0, 1, 20:35, 30:50] = stack[1, 1, 20:35, 30:50] = 900
    tifffile.imwrite("image.tif", stack, photometric="minisblack")
    written(f"{HEADER},plane\n3,10,10,1,1;2\n3,25,40,1,0;1\n5,25,40,1,1;1\n")
    assert segment(image="image.tif") == 0
    labels, _ = read_image(folder / "out.tif")
    assert labels.dtype == np.uint8
    expected = np.where(stack > 0, 3, 0)
    expected[1, 1] = np.where(stack[1, 1] > 0, 5, 0)
    np.testing.assert_array_equal(labels, expected)
    assert "object 3: 2 clicks, all met, 400 pixels" in capsys.readouterr().out


@pytest.mark.usefixtures("stand_in")
def test_colours_are_segmented(folder: Path) -> None:
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    image[5:15, 5:15] = 255
    write_png(folder / "image.png", image)
    written(f"{HEADER}\n1,10,10,1\n")
    assert segment() == 0
    np.testing.assert_array_equal(read_image(folder / "out.tif")[0], image[..., 0] > 0)


@pytest.mark.usefixtures("stand_in")
def test_a_pixel_stays_with_the_object_that_took_it_first(squares: Path) -> None:
    written(f"{HEADER}\n4,10,10,1\n2,10,10,1\n4,25,40,1\n")
    assert segment() == 0
    labels, _ = read_image(squares / "out.tif")
    assert np.unique(labels).tolist() == [0, 4]


@pytest.mark.usefixtures("stand_in")
def test_clicks_not_met_are_counted(squares: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(f"{HEADER}\n1,10,10,1\n1,10,12,0\n1,2,2,1\n")
    assert segment("--mode", "NoBRS") == 0
    assert "object 1: 3 clicks, 2 not met" in capsys.readouterr().out


@pytest.mark.usefixtures("stand_in")
def test_strokes_in_a_file_of_clicks(squares: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(f"{HEADER},stroke\n1,10,10,1,10:6-13 11:6-13\n1,12,12,1,\n2,22,40,1,22:32-48\n")
    assert segment() == 0
    labels, _ = read_image(squares / "out.tif")
    assert (labels[10:12, 6:14] == 1).all()
    assert (labels[22, 32:49] == 2).all()
    assert "object 1: 2 clicks, all met" in capsys.readouterr().out
    written(f"{HEADER},stroke\n1,10,10,1,10:6-13\n1,10,10,1,10:55-60\n")
    said = refused(capsys, segment("--overwrite"))
    assert said == "clicks.csv, line 3: the stroke 10:55-60 leaves the image of 40 x 60 pixels"


@pytest.mark.usefixtures("stand_in")
def test_contrast_limits_and_threshold_decide_the_mask(squares: Path) -> None:
    image = np.tile(np.linspace(0, 1000, 60, dtype=np.float32), (40, 1))
    tifffile.imwrite("image.tif", image)
    written(f"{HEADER}\n1,10,55,1\n")
    areas = []
    for options in ([], ["--contrast-limits", "0", "2000"], ["--threshold", "0.9"]):
        assert segment(*options, "--overwrite", image="image.tif") == 0
        areas.append(int((read_image(squares / "out.tif")[0] == 1).sum()))
    assert areas[0] > areas[2] > 0
    assert areas[1] == 0  # nothing is brighter than half of 2000


@pytest.mark.usefixtures("stand_in")
def test_a_file_is_replaced_only_when_asked(squares: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (squares / "out.tif").write_bytes(b"precious")
    assert "out.tif is there already; add --overwrite" in refused(capsys, segment())
    assert (squares / "out.tif").read_bytes() == b"precious"
    assert segment("--overwrite") == 0
    assert read_image(squares / "out.tif")[0].max() == 4
    before = (squares / "image.png").read_bytes()
    assert "is what is read" in refused(capsys, segment("--overwrite", out="image.png"))
    assert (squares / "image.png").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "clicks", "said"),
    [
        ([], "4,10,60,1", "clicks.csv, line 2: row 10, column 60 is outside the image of 40 x 60 pixels"),
        ([], "4,10,10,1\n4,-1,3,1", "clicks.csv, line 3: row -1, column 3 is outside"),
        ([], "4,ten,10,1", "clicks.csv, line 2: row must be a number"),
        (["--model", "none"], "4,10,10,1", "no model is called 'none'"),
        (["--model", "none.pth"], "4,10,10,1", "no model file at none.pth"),
        (["--mode", "magic"], "4,10,10,1", "no mode is called 'magic'; choose one of"),
        (["--device", "abacus"], "4,10,10,1", "no device is called 'abacus'"),
        (["--threshold", "1.5"], "4,10,10,1", "--threshold: must be at least 0 and below 1, found 1.5"),
        (["--threshold", "nan"], "4,10,10,1", "must be a finite number"),
        (["--contrast-limits", "5", "x"], "4,10,10,1", "must be a number, found 'x'"),
        (
            ["--contrast-limits", "5", "5"],
            "4,10,10,1",
            "contrast limits must be two finite numbers, black below white; found 5 5",
        ),
    ],
)
def test_bad_input_is_one_line(
    squares: Path, capsys: pytest.CaptureFixture[str], options: list[str], clicks: str, said: str
) -> None:
    written(f"{HEADER}\n{clicks}\n")
    assert said in refused(capsys, segment(*options))
    assert sorted(path.name for path in squares.iterdir()) == ["clicks.csv", "image.png"]


@pytest.mark.parametrize(
    ("image", "out", "said"),
    [
        ("missing.png", "out.tif", "no image at missing.png"),
        ("clicks.csv", "out.tif", "none of the formats that can be read"),
        ("broken.png", "out.tif", "broken.png is damaged or not a PNG image"),
        ("image.png", "out.jpg", "labels are written as .png, .tif, .tiff, not as out.jpg"),
        ("image.png", "missing/out.tif", "there is no folder missing"),
        ("image.png", ".", "labels are written as"),
    ],
)
def test_files_that_cannot_be_used(
    squares: Path, capsys: pytest.CaptureFixture[str], image: str, out: str, said: str
) -> None:
    (squares / "broken.png").write_bytes((squares / "image.png").read_bytes()[:60])
    assert said in refused(capsys, segment(image=image, out=out))
    assert sorted(path.name for path in squares.iterdir()) == ["broken.png", "clicks.csv", "image.png"]


@pytest.mark.parametrize(
    ("clicks", "said"),
    [
        (
            f"{HEADER}\n1,1,1,1\n",
            "line 2: an image of shape (5, 40, 60) needs 1 plane index(es), found 0; write them as 0",
        ),
        (f"{HEADER},plane\n1,1,1,1,5\n", "line 2: plane 5 is outside an image with planes 0 to 4"),
        (f"{HEADER},plane\n1,1,1,1,0;1\n", "found 2"),
    ],
)
def test_planes_must_fit_the_stack(folder: Path, capsys: pytest.CaptureFixture[str], clicks: str, said: str) -> None:
    tifffile.imwrite("image.tif", np.zeros((5, 40, 60), dtype=np.uint16))
    written(clicks)
    assert said in refused(capsys, segment(image="image.tif"))
    written(f"{HEADER},plane\n1,1,1,1,0\n")
    assert "3 dimensions; write a .tif" in refused(capsys, segment(image="image.tif", out="out.png"))
    assert sorted(path.name for path in folder.iterdir()) == ["clicks.csv", "image.tif"]


def test_labels_that_no_png_holds(squares: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(f"{HEADER}\n65536,10,10,1\n")
    assert "this one has label 65536; write a .tif" in refused(capsys, segment(out="out.png"))
    assert not (squares / "out.png").exists()


def test_colours_have_no_contrast_limits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_png(folder / "image.png", np.zeros((40, 60, 3), dtype=np.uint8))
    written(f"{HEADER}\n1,1,1,1\n")
    code = segment("--contrast-limits", "0", "100")
    assert "contrast limits are for grey images" in refused(capsys, code)


# replay


def test_a_record_is_replayed_to_the_same_labels(squares: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(f"{HEADER}\n4,10,10,1\n2,28,40,1\n2,5,50,0\n")
    options = ["--record", "image.clicks.json", "--model", "default"]
    assert segment(*options) == 0
    assert cli.main(["replay", "image.clicks.json", "-o", "again.tif", "--device", "cpu"]) == 0
    assert "2 masks, as recorded\nlabels written to again.tif\n" in capsys.readouterr().out
    first, again = (read_image(Path(name))[0] for name in ("out.tif", "again.tif"))
    assert np.unique(first).tolist() == [0, 2, 4]
    np.testing.assert_array_equal(again, first)
    text = Path("image.clicks.json").read_text()
    assert refused(capsys, segment(*options, out="other.tif")).startswith("image.clicks.json is there already")
    assert Path("image.clicks.json").read_text() == text
    assert not Path("other.tif").exists()
    replayed = cli.main(["replay", "image.clicks.json", "-o", "again.tif"])
    assert "again.tif is there already" in refused(capsys, replayed)
    write_png(squares / "image.png", np.zeros((40, 60), dtype=np.uint8))
    replayed = cli.main(["replay", "image.clicks.json", "-o", "third.tif"])
    assert "not the image of the record" in refused(capsys, replayed)
    assert not Path("third.tif").exists()


def test_what_is_no_record_is_refused(squares: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["replay", "clicks.csv", "-o", "again.tif"])
    assert "clicks.csv is no click record" in refused(capsys, code)


def test_a_record_needs_a_folder_that_is_there(squares: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no folder" in refused(capsys, segment("--record", "none/image.clicks.json"))
    assert not Path("out.tif").exists()


# demo


@pytest.fixture
def no_window(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Have no window opened; return the commands that would have."""
    commands: list[Any] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_the_demo_without_a_window_writes_what_it_says(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, no_window: list[Any]
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert cli.main(["demo", "--device", "cpu"]) == 0
    assert no_window == []
    written_to = folder / "napari-fbrs-demo"
    names = ["image.png", "labels.png", "mask.png", "overlay.png", "probability.tif"]
    assert sorted(path.name for path in written_to.iterdir()) == names
    image, labels, mask, overlay, probability = (read_image(written_to / name)[0] for name in names)
    np.testing.assert_array_equal(image, data.coins())
    assert np.unique(labels).tolist() == [0, 1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(mask, np.where(labels > 0, 255, 0))
    assert (probability.dtype, probability.shape) == (np.float32, (6, *image.shape))
    for label, of_object in enumerate(probability, 1):
        np.testing.assert_array_equal(of_object > 0.5, labels == label)
    truth = coins_truth()
    for label in range(1, 7):
        coin = truth == np.bincount(truth[labels == label]).argmax()
        assert (coin & (labels == label)).sum() >= 0.8 * (coin | (labels == label)).sum()
    enlarged = overlay.shape[0] // image.shape[0]
    assert overlay.shape == (enlarged * image.shape[0], enlarged * image.shape[1], 3)
    tinted = (np.ptp(overlay, axis=2) > 0)[::enlarged, ::enlarged]
    assert tinted[labels > 0].mean() > 0.9
    assert tinted[labels == 0].mean() < 0.02
    out = capsys.readouterr().out
    clicks = len(coins_clicks_path().read_text().splitlines()) - 1
    for said in ("on cpu, f-BRS-B", "object 6: ", f"{clicks} clicks: median ", " ms, first ", str(written_to)):
        assert said in out


@pytest.mark.usefixtures("stand_in")
def test_headless_opens_no_window_where_there_is_a_display(
    folder: Path, monkeypatch: pytest.MonkeyPatch, no_window: list[Any]
) -> None:
    monkeypatch.setenv("DISPLAY", ":99")
    assert cli.main(["demo", "--headless", "--output", "a/b"]) == 0
    assert no_window == []
    assert (folder / "a" / "b" / "overlay.png").is_file()
    assert cli.main(["demo", "--headless", "--output", "a/b"]) == 0  # its own files are replaced


def test_a_folder_with_pictures_of_its_own_is_none_for_the_demo(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "image.png").write_text("precious")
    said = refused(capsys, cli.main(["demo", "--headless", "--output", "a"]))
    assert said.startswith("a holds image.png, and not from here")
    assert [path.read_text() for path in (folder / "a").iterdir()] == ["precious"]


def test_a_demo_folder_that_is_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a").write_text("file")
    assert "a is a file; --output takes a folder" in refused(capsys, cli.main(["demo", "--headless", "--output", "a"]))
    assert (folder / "a").read_text() == "file"


@pytest.mark.parametrize("variable", ["DISPLAY", "WAYLAND_DISPLAY"])
def test_the_demo_opens_napari_in_a_process_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch, no_window: list[Any], variable: str
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv(variable, "0")
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda _: object())
    assert cli.main(["demo"]) == 0
    assert no_window == [[sys.executable, "-m", "napari_fbrs.gui.demo"]]
    assert list(folder.iterdir()) == []


def test_a_display_without_qt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda _: None)
    assert 'pip install "napari-fbrs[all]", or use demo --headless' in refused(capsys, cli.main(["demo"]))


def test_a_napari_that_does_not_start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, -6))
    said = refused(capsys, cli.main(["demo"]))
    assert said == "napari ended with status -6; `napari-fbrs demo --headless` needs no window"


# models and the rest


def test_models_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NAPARI_FBRS_MODELS", str(tmp_path))
    (tmp_path / "mine.safetensors").touch()
    (tmp_path / "resnet34_dh128_sbd.pth").touch()
    (tmp_path / "default.pth").touch()
    assert cli.main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = {line.split()[0]: line for line in lines if line}
    assert [entry.name for entry in list_models()] == [line.split()[0] for line in lines[1 : 1 + len(list_models())]]
    bundled = zoo.find_model("default")
    assert words["default"].split()[1:] == ["bundled", f"{bundled.stat().st_size / 1e6:.0f}", "MB", str(bundled)]
    assert words["mine"].split(maxsplit=1)[1] == f"models folder    0 MB  {tmp_path / 'mine.safetensors'}"
    assert words["resnet34_dh128_sbd"].endswith(str(tmp_path / "resnet34_dh128_sbd.pth"))
    assert "to download    126 MB  napari-fbrs models --download resnet50_dh128_sbd" in words["resnet50_dh128_sbd"]
    assert f"not listed: {tmp_path / 'default.pth'}, as another model is called default" in "\n".join(lines)
    assert str(models_folder()) in "\n".join(lines)


def test_a_model_is_downloaded(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def download(name: str, progress: Callable[[int, int | None], None]) -> Path:
        for done in (10, 10_000_000, 10_000_001, 20_000_000):
            progress(done, 20_000_000)
        return Path("models") / f"{name}.pth"

    monkeypatch.setattr(zoo, "download", download)
    assert cli.main(["models", "--download", "resnet34_dh128_sbd"]) == 0
    said = capsys.readouterr()
    assert said.out == f"resnet34_dh128_sbd: {Path('models/resnet34_dh128_sbd.pth')}\n"
    assert said.err == "".join(f"\rresnet34_dh128_sbd: {done} MB of 20 MB" for done in (0, 10, 20)) + "\n"


def test_models_that_are_not_downloaded(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert "default is bundled" in refused(capsys, cli.main(["models", "--download", "default"]))
    assert "no published model is called 'unet'" in refused(capsys, cli.main(["models", "--download", "unet"]))

    def interrupted(_: str, progress: Callable[[int, int | None], None]) -> Path:
        progress(5, None)
        raise KeyboardInterrupt

    monkeypatch.setattr(zoo, "download", interrupted)
    assert cli.main(["models", "--download", "resnet34_dh128_sbd"]) == 130
    assert capsys.readouterr().err == "\rresnet34_dh128_sbd: 0 MB\n"


def test_training_is_wired_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", "--help"])
    assert stopped.value.code == 0
    assert "run_folder" in capsys.readouterr().out
    assert "--source takes" in refused(capsys, cli.main(["train", str(tmp_path / "run"), "--source", "a=b"]))


def test_evaluation_is_wired_in(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["evaluate", "--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert all(word in said for word in (*MODES, "random-walker", "grabcut", "boundary_GT/", "examples:"))
    assert "there is no set.zip" in refused(capsys, cli.main(["evaluate", "set.zip"]))


def test_help_names_every_command_and_mode(capsys: pytest.CaptureFixture[str]) -> None:
    said = {}
    for command in ([], ["segment"], ["demo"], ["models"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main([*command, "--help"])
        assert stopped.value.code == 0
        said[" ".join(command)] = capsys.readouterr().out
    assert all(
        word in said[""] for word in ("segment", "demo", "models", "evaluate", "train", "examples:", "--version")
    )
    assert all(mode in said["segment"] for mode in MODES)
    assert HEADER in said["segment"]
    assert "examples:" in said["segment"]


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith("napari-fbrs 0.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND; see napari-fbrs --help"),
        (["segmnt"], "invalid choice: 'segmnt'"),
        (["segment"], "required: IMAGE, --clicks, -o/--output; see napari-fbrs segment --help"),
        (["models", "--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_a_wrong_command_line(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert said in refused(capsys, cli.main(arguments))


def test_an_interrupted_command_leaves_nothing(
    squares: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(zoo, "load_model", interrupted)
    assert segment() == 130
    assert capsys.readouterr().err == ""
    assert sorted(path.name for path in squares.iterdir()) == ["clicks.csv", "image.png"]


def test_errors_of_the_system_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def denied() -> None:
        raise PermissionError(13, "Permission denied", "models")

    monkeypatch.setattr(zoo, "list_models", denied)
    assert "Permission denied: 'models'" in refused(capsys, cli.main(["models"]))


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
def test_a_reader_that_leaves_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert cli.main(["models"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["oö.tif", "line\udce4.tif"])
def test_names_that_the_terminal_cannot_show(squares: Path, stand_in: None, monkeypatch: Any, name: str) -> None:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert segment(out=name) == 0
    assert (squares / name).is_file()
    assert segment(out=name) == 2  # it is there
    written_as = name.encode("ascii", "backslashreplace")
    assert b"labels written to " + written_as in out.buffer.getvalue()
    err.flush()
    assert written_as + b" is there already" in err.buffer.getvalue()


def test_the_parser_needs_neither_torch_nor_napari() -> None:
    script = (
        "import sys, types; package = types.ModuleType('napari_fbrs'); package.__path__ = [sys.argv[1]];"
        "sys.modules['napari_fbrs'] = package; from napari_fbrs.cli import build_parser; build_parser().format_help();"
        "sys.exit(any(name in sys.modules for name in ('torch', 'napari', 'skimage', 'numpy')))"
    )
    package = str(Path(cli.__file__).parent)
    assert subprocess.run([sys.executable, "-c", script, package], check=False).returncode == 0


def test_the_device_is_named(squares: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("a GPU is there")
    assert segment("--device", "cuda") == 2
    assert "device 'cuda' is not available" in capsys.readouterr().err
    assert not (squares / "out.tif").exists()


def test_journals_are_listed_and_removed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NAPARI_FBRS_JOURNALS", str(tmp_path))
    names = []
    for name in ("cells", "nuclei"):
        session = Session(np.zeros((20, 30), np.uint8), DiscPredictor())
        recorder = Recorder(session, tmp_path, header(session.image, name=name), pytest.fail)
        session.click(Click(5, 6))
        recorder.stop(discard=False)
        names.append(recorder.journal.path.stem)
    (tmp_path / "other.journal").write_text("something else")
    assert cli.main(["journals"]) == 0
    said = capsys.readouterr().out
    assert str(tmp_path) in said
    for name, image in zip(names, ("cells", "nuclei"), strict=True):
        (line,) = [line for line in said.splitlines() if line.startswith(name)]
        assert "1 object, 1 click" in line
        assert line.endswith(image)
    assert "no journal" in next(line for line in said.splitlines() if line.startswith("other"))
    assert cli.main(["journals", "--remove", "nothing"]) == 2
    assert "no journal is called 'nothing'" in capsys.readouterr().err
    assert cli.main(["journals", "--remove", names[0]]) == 0
    assert not (tmp_path / f"{names[0]}.journal").exists()
    assert cli.main(["journals", "--remove", "all"]) == 0
    assert [path.stem for path in tmp_path.glob("*.journal")] == ["other"]  # no journal: not ours
    assert cli.main(["journals", "--remove", "other"]) == 0
    assert list(tmp_path.glob("*.journal")) == []


def test_a_journal_that_cannot_be_removed_stops_no_other(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NAPARI_FBRS_JOURNALS", str(tmp_path))
    for number, name in enumerate(("first", "held", "last")):
        path = tmp_path / f"{name}.journal"
        path.write_text('{"format": "napari-fbrs journal", "version": 1}\n')
        os.utime(path, (number, number))
    unlink = Path.unlink

    def denied(path: Path, missing_ok: bool = False) -> None:
        if path.stem == "held":
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", denied)
        assert cli.main(["journals", "--remove", "all"]) == 2
        said = capsys.readouterr().out.splitlines()
        assert said[0] == "last: removed"
        assert said[1].startswith("held: left, ")
        assert said[1].endswith("cannot be removed: see that its folder may be written to")
        assert said[2] == "first: removed"
        assert "cannot be removed" in refused(capsys, cli.main(["journals", "--remove", "held"]))
    assert [path.name for path in tmp_path.glob("*.journal")] == ["held.journal"]
    (tmp_path / "held.journal").unlink()
    (tmp_path / "folder.journal").mkdir()
    assert cli.main(["journals", "--remove", "all"]) == 2
    assert "folder: left, " in capsys.readouterr().out
