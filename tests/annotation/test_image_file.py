from __future__ import annotations

import itertools
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.annotation.image_file import (
    check_label_file,
    read_image,
    write_labels,
    write_mask_png,
    write_overlay_png,
    write_png,
    write_tiff,
)
from napari_fbrs.clicks import Click
from napari_fbrs.errors import InputError

Array = npt.NDArray[Any]


def noise(*shape: int, dtype: type = np.uint8, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.integer):
        return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    return rng.random(shape).astype(dtype)


def same(read: tuple[Array, bool], pixels: Array, *, rgb: bool) -> None:
    assert read[1] is rgb
    assert read[0].dtype == pixels.dtype
    np.testing.assert_array_equal(read[0], pixels)


# pictures


@pytest.mark.parametrize("suffix", [".png", ".PNG"])
@pytest.mark.parametrize(
    ("pixels", "rgb"),
    [
        (noise(7, 9), False),
        (noise(7, 9, dtype=np.uint16), False),
        (noise(7, 9, 3), True),
        (noise(7, 9, 4), True),
    ],
    ids=["grey", "grey16", "rgb", "rgba"],
)
def test_png(tmp_path: Path, pixels: Array, suffix: str, *, rgb: bool) -> None:
    write_png(tmp_path / f"a{suffix}", pixels)
    same(read_image(tmp_path / f"a{suffix}"), pixels, rgb=rgb)


def test_one_bit_png(tmp_path: Path) -> None:
    pixels = noise(7, 9) > 127
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png", bits=1)
    same(read_image(tmp_path / "a.png"), pixels, rgb=False)


def test_grey_with_alpha_becomes_rgba(tmp_path: Path) -> None:
    grey, alpha = noise(2, 7, 9)
    PIL.Image.fromarray(np.dstack((grey, alpha)), mode=None).save(tmp_path / "a.png")
    same(read_image(tmp_path / "a.png"), np.dstack((grey, grey, grey, alpha)), rgb=True)


@pytest.mark.parametrize("transparent", [None, 2])
def test_palettes_are_applied(tmp_path: Path, transparent: int | None) -> None:
    indices = noise(7, 9) % 4
    colours = noise(4, 3, seed=1)
    picture = PIL.Image.fromarray(indices).convert("P")
    picture.putdata(indices.ravel().tolist())
    picture.putpalette(colours.ravel().tolist())
    picture.save(tmp_path / "a.png", **({} if transparent is None else {"transparency": transparent}))
    expected = colours[indices]
    if transparent is not None:
        expected = np.dstack((expected, np.where(indices == transparent, 0, 255).astype(np.uint8)))
    same(read_image(tmp_path / "a.png"), expected, rgb=True)


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG"])
def test_jpeg(tmp_path: Path, name: str) -> None:
    pixels = np.full((32, 48, 3), (200, 100, 50), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / name, quality=95)
    read, rgb = read_image(tmp_path / name)
    assert rgb
    np.testing.assert_allclose(read, pixels, atol=3)
    PIL.Image.fromarray(pixels[..., 0]).save(tmp_path / name)
    assert read_image(tmp_path / name)[0].shape == (32, 48)


def test_a_jpeg_for_print_becomes_rgb(tmp_path: Path) -> None:
    PIL.Image.new("CMYK", (48, 32), (0, 0, 0, 0)).save(tmp_path / "a.jpg")
    read, rgb = read_image(tmp_path / "a.jpg")
    assert rgb
    assert read.shape == (32, 48, 3)
    assert read.min() > 250


def test_a_turned_jpeg_keeps_its_rows(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    PIL.Image.new("L", (48, 32)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg")[0].shape == (32, 48)


def test_a_jpeg_called_png_is_read(tmp_path: Path) -> None:
    PIL.Image.new("L", (48, 32)).save(tmp_path / "a.png", format="JPEG")
    assert read_image(tmp_path / "a.png")[0].shape == (32, 48)


# TIFF


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float16, np.float32, np.float64])
def test_grey_tiff(tmp_path: Path, dtype: type, compression: str | None) -> None:
    pixels = noise(7, 9, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression=compression)
    same(read_image(tmp_path / "a.tif"), pixels, rgb=False)


@pytest.mark.parametrize(
    ("shape", "options", "rgb"),
    [
        ((5, 7, 9), {}, False),
        ((3, 7, 9), {"photometric": "minisblack"}, False),  # three planes, not three colours
        ((2, 5, 7, 9), {"imagej": True, "metadata": {"axes": "ZCYX"}}, False),
        ((2, 5, 7, 9), {"ome": True, "metadata": {"axes": "TZYX"}}, False),
        ((7, 9, 3), {"photometric": "rgb"}, True),
        ((7, 9, 4), {"photometric": "rgb", "extrasamples": ["unassalpha"]}, True),
        ((5, 7, 9, 3), {"photometric": "rgb"}, True),
        ((5, 7, 9, 3), {"photometric": "rgb", "imagej": True}, True),
    ],
)
def test_stacks_and_colours_are_told_apart(
    tmp_path: Path, shape: tuple[int, ...], options: dict[str, Any], *, rgb: bool
) -> None:
    pixels = noise(*shape)
    tifffile.imwrite(tmp_path / "a.tiff", pixels, **options)
    same(read_image(tmp_path / "a.tiff"), pixels, rgb=rgb)


def test_colours_stored_as_planes_come_last(tmp_path: Path) -> None:
    pixels = noise(3, 7, 9)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", planarconfig="separate")
    same(read_image(tmp_path / "a.tif"), pixels.transpose(1, 2, 0), rgb=True)


def test_channels_of_a_pixel_become_planes(tmp_path: Path) -> None:
    pixels = noise(7, 9, 5)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig")
    same(read_image(tmp_path / "a.tif"), pixels.transpose(2, 0, 1), rgb=False)


def test_pages_of_other_programs_are_a_stack(tmp_path: Path) -> None:
    pixels = noise(3, 7, 9)
    first, *others = map(PIL.Image.fromarray, pixels)
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    same(read_image(tmp_path / "a.tif"), pixels, rgb=False)


def test_one_bit_tiff(tmp_path: Path) -> None:
    pixels = noise(7, 9) > 127
    PIL.Image.fromarray(pixels).save(tmp_path / "a.tif")
    same(read_image(tmp_path / "a.tif"), pixels, rgb=False)


def test_white_is_zero_is_turned_round(tmp_path: Path) -> None:
    pixels = noise(7, 9)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
    same(read_image(tmp_path / "a.tif"), 255 - pixels, rgb=False)


def test_tiff_palettes_are_applied_save_for_imagejs(tmp_path: Path) -> None:
    indices, colours = noise(7, 9), noise(3, 256, dtype=np.uint16, seed=1)
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=colours)
    same(read_image(tmp_path / "a.tif"), np.moveaxis(colours[:, indices], 0, -1), rgb=True)
    tifffile.imwrite(tmp_path / "b.tif", indices, imagej=True, photometric="palette", colormap=colours)
    same(read_image(tmp_path / "b.tif"), indices, rgb=False)


def test_grey_tiff_with_alpha_becomes_rgba(tmp_path: Path) -> None:
    grey, alpha = noise(2, 7, 9)
    pixels = np.dstack((grey, alpha))
    options: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    same(read_image(tmp_path / "a.tif"), np.dstack((grey, grey, grey, alpha)), rgb=True)


# what cannot be read


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    assert "no image at" in refusal(tmp_path / "missing.png")
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "a.bmp").write_bytes(b"BM")
    assert "none of the formats that can be read: .png" in refusal(tmp_path / "a.bmp")
    for name in ("a.png", "a.jpg", "a.tif"):
        for content in (b"", b"this is no image"):
            (tmp_path / name).write_bytes(content)
            assert f"{name} is damaged or not a {name[2:].upper()} image" in refusal(tmp_path / name)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(PIL.Image, "open", denied)
    monkeypatch.setattr(tifffile, "TiffFile", denied)
    for name in ("a.png", "a.tif"):
        (tmp_path / name).touch()
        assert f"{name}: Permission denied" in refusal(tmp_path / name)


def test_complex_numbers_are_no_image(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), np.complex64))
    assert "holds complex64" in refusal(tmp_path / "a.tif")


def test_colours_for_print_are_refused_in_tiff(tmp_path: Path) -> None:
    PIL.Image.new("CMYK", (9, 7)).save(tmp_path / "a.tif")
    assert "4 SEPARATED values a pixel; convert it to RGB" in refusal(tmp_path / "a.tif")


def test_a_compressed_tiff_is_read(tmp_path: Path) -> None:
    PIL.Image.fromarray(noise(7, 9)).save(tmp_path / "a.tif", compression="tiff_lzw")
    same(read_image(tmp_path / "a.tif"), noise(7, 9), rgb=False)


def test_a_huge_picture_is_refused_before_it_fills_memory(tmp_path: Path) -> None:
    header = bytearray((tmp_path / "a.png").read_bytes() if (tmp_path / "a.png").exists() else _png(tmp_path))
    header[16:24] = (60000).to_bytes(4, "big") * 2
    (tmp_path / "a.png").write_bytes(header)
    refusal(tmp_path / "a.png")


def _png(folder: Path) -> bytes:
    write_png(folder / "a.png", noise(8, 8))
    return (folder / "a.png").read_bytes()


def _stack(folder: Path) -> bytes:
    first, *others = map(PIL.Image.fromarray, noise(4, 16, 16))
    first.save(folder / "a.tif", save_all=True, append_images=others)
    return (folder / "a.tif").read_bytes()


@pytest.mark.parametrize("kind", ["pages", "shaped", "compressed", "png", "jpg"])
def test_what_was_cut_off_is_never_read_as_whole(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.tif" if kind not in ("png", "jpg") else f"a.{kind}")
    if kind == "pages":
        content = _stack(tmp_path)
    elif kind in ("png", "jpg"):
        PIL.Image.fromarray(noise(16, 16)).save(path)
        content = path.read_bytes()
    else:
        tifffile.imwrite(path, noise(5, 16, 16), compression="zlib" if kind == "compressed" else None)
        content = path.read_bytes()
    whole = read_image(path)[0]
    for length in {0, 1, 8, 9, *range(10, len(content), max(1, len(content) // 40))}:
        path.write_bytes(content[:length])
        try:
            read, _ = read_image(path)
        except InputError:
            continue
        np.testing.assert_array_equal(read, whole, err_msg=f"{length} of {len(content)} bytes")


@given(data=st.data())
@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg"])
def test_changed_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("images") / name
    if name == "a.tif":
        tifffile.imwrite(path, noise(2, 8, 8), compression="zlib")
    else:
        PIL.Image.fromarray(noise(8, 8)).save(path)
    content = bytearray(path.read_bytes())
    places = st.one_of(st.integers(0, min(len(content), 300) - 1), st.integers(0, len(content) - 1))
    for at, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)):
        content[at] = value
    path.write_bytes(content)
    with suppress(InputError):
        assert read_image(path)[0].ndim >= 2


# labels


@pytest.mark.parametrize(
    ("largest", "stored"), [(0, np.uint8), (255, np.uint8), (256, np.uint16), (65535, np.uint16), (65536, np.uint32)]
)
@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_labels_are_stored_small_and_exact(tmp_path: Path, suffix: str, largest: int, stored: type) -> None:
    labels = np.zeros((7, 9), dtype=np.int32)
    labels[2, 3] = largest
    path = tmp_path / f"labels{suffix}"
    if suffix == ".png" and largest > 65535:
        with pytest.raises(InputError, match=r"labels up to 65535, this one has label 65536; write a \.tif"):
            write_labels(path, labels)
        assert list(tmp_path.iterdir()) == []
        return
    write_labels(path, labels)
    same(read_image(path), labels.astype(stored), rgb=False)


@pytest.mark.parametrize("shape", [(3, 7, 9), (4, 7, 9), (2, 3, 7, 9), (5, 7, 3), (5, 7, 4)])
def test_stacks_of_labels_come_back_as_stacks(tmp_path: Path, shape: tuple[int, ...]) -> None:
    labels = noise(*shape).astype(np.int32)
    write_labels(tmp_path / "labels.tif", labels)
    same(read_image(tmp_path / "labels.tif"), labels.astype(np.uint8), rgb=False)
    with pytest.raises(InputError, match="this one has"):
        write_labels(tmp_path / "labels.png", labels)


def test_labels_that_cannot_be_written(tmp_path: Path) -> None:
    labels = np.ones((4, 4), dtype=np.int32)
    with pytest.raises(InputError, match=r"written as \.png, \.tif, \.tiff, not as labels\.jpg"):
        write_labels(tmp_path / "labels.jpg", labels)
    with pytest.raises(InputError, match="there is no folder"):
        write_labels(tmp_path / "missing" / "labels.tif", labels)
    with pytest.raises(InputError, match="is a folder"):
        check_label_file(_folder(tmp_path / "folder.tif"), 2, 1)
    for wrong in (-labels, labels.astype(float)):
        with pytest.raises(InputError, match="whole numbers from 0"):
            write_labels(tmp_path / "labels.tif", wrong)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.tif"]


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write_labels(tmp_path / name, np.ones((4, 4), dtype=np.int32))
    before = (tmp_path / name).read_bytes()

    def full(file: Path, *_: object, **__: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", full)
    monkeypatch.setattr(PIL.Image.Image, "save", lambda _, file, **__: full(file))
    with pytest.raises(InputError, match="No space left on device"):
        write_labels(tmp_path / name, np.zeros((4, 4), dtype=np.int32))
    assert (tmp_path / name).read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_probabilities_keep_their_values(tmp_path: Path) -> None:
    probability = noise(3, 7, 9, dtype=np.float32)
    write_tiff(tmp_path / "p.tif", probability)
    same(read_image(tmp_path / "p.tif"), probability, rgb=False)


def test_masks_are_black_and_white(tmp_path: Path) -> None:
    mask = noise(7, 9) > 127
    write_mask_png(tmp_path / "m.png", mask)
    same(read_image(tmp_path / "m.png"), np.where(mask, 255, 0).astype(np.uint8), rgb=False)


# overlay


@pytest.mark.parametrize("colours", [(), (3,), (4,)])
def test_an_overlay_shows_objects_and_clicks(tmp_path: Path, colours: tuple[int, ...]) -> None:
    image = np.full((90, 60, *colours), 100, dtype=np.uint8)
    if colours == (4,):
        image[..., 3] = 255
    labels = np.zeros((90, 60), dtype=np.uint16)
    labels[20:50, 20:50] = 1
    labels[60:80, 20:50] = 2
    clicks = [Click(35, 35), Click(85, 10, positive=False)]
    write_overlay_png(tmp_path / "o.png", image, labels, clicks)
    overlay, rgb = read_image(tmp_path / "o.png")
    assert rgb
    assert overlay.shape == (900, 600, 3)  # enlarged ten times
    seen = [tuple(overlay[10 * row + 5, 10 * column + 5].tolist()) for row, column in [(5, 5), (25, 25), (65, 25)]]
    assert seen[0] == (100, 100, 100)
    assert all(a != b for a, b in itertools.pairwise(sorted(seen)))
    assert tuple(overlay[355, 355]) == (0x2E, 0xCC, 0x71)
    assert tuple(overlay[855, 105]) == (0xFF, 0x38, 0x60)


def test_an_overlay_uses_the_contrast_limits(tmp_path: Path) -> None:
    image = np.tile(np.linspace(1000, 2000, 1000, dtype=np.float32), (10, 1))
    write_overlay_png(tmp_path / "o.png", image, np.zeros(image.shape, int), limits=(1000, 1500))
    row = read_image(tmp_path / "o.png")[0][5, :, 0].astype(int)
    assert row[0] == 0
    assert row[250] == pytest.approx(127, abs=1)
    assert (row[500:] == 255).all()


def test_labels_of_another_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not fit"):
        write_overlay_png(tmp_path / "o.png", noise(7, 9), np.zeros((9, 7), int))
