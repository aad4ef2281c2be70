"""Label files and what they say, written by others or by us."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import tifffile

from napari_fbrs.errors import InputError
from napari_fbrs.export import LabelImage, export_labels
from napari_fbrs.export.reading import read_classes, read_intensities, read_label_image


@pytest.mark.parametrize("format_name", ["tiff", "ome-tiff", "npz"])
def test_what_we_write_comes_back_with_scale_and_units(format_name, stack, tmp_path):
    data = np.where(stack.data > 65535, 0, stack.data)
    image = LabelImage(data, "s", scale=stack.scale, units=stack.units, classes={3: "cell"})
    back = read_label_image(export_labels(image, tmp_path / "s", format_name).path)
    np.testing.assert_array_equal(back.data, data)
    assert (back.name, back.axes, back.units) == ("s", image.axes, image.units)
    assert back.scale == pytest.approx(image.scale)
    assert back.classes == ({3: "cell"} if format_name == "npz" else {})


def test_what_is_said_goes_before_what_is_found(plane, tmp_path):
    path = export_labels(plane, tmp_path / "p", "tiff").path
    back = read_label_image(path, name="mine", scale=(3, 4), units=["nm"], classes={9: "spot"})
    assert (back.name, back.scale, back.units, back.classes) == ("mine", (3, 4), ("nanometer",) * 2, {9: "spot"})


def test_floating_point_labels_of_imagej(tmp_path):
    labels = np.array([[0, 70001], [2, 2]], dtype=np.float32)
    tifffile.imwrite(tmp_path / "f.tif", labels, imagej=True)
    np.testing.assert_array_equal(read_label_image(tmp_path / "f.tif").data, labels.astype(int))
    tifffile.imwrite(tmp_path / "g.tif", labels / 4)
    with pytest.raises(InputError, match="fractions"):
        read_label_image(tmp_path / "g.tif")


def test_png_and_npy(tmp_path):
    labels = np.array([[0, 300], [2, 2]], dtype=np.uint16)
    PIL.Image.fromarray(labels).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", labels)
    for name in ("a.png", "b.npy"):
        np.testing.assert_array_equal(read_label_image(tmp_path / name).data, labels)


def test_files_that_hold_no_labels(tmp_path):
    PIL.Image.new("RGB", (4, 4)).save(tmp_path / "rgb.png")
    np.savez(tmp_path / "other.npz", masks=np.ones(3))
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    np.savez(tmp_path / "whole.npz", labels=np.arange(900).reshape(30, 30))
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "flipped.npz").write_bytes(whole.replace(b"\x05\x00\x00\x00", b"\x06\x00\x00\x00"))
    labels = np.ones((4, 4), dtype=int)
    np.savez(tmp_path / "classes.npz", labels=labels, objects=np.array([1, 2]), classes=np.array(["cell"]))
    np.savez(tmp_path / "named.npz", labels=labels, objects=np.array(["one"]), classes=np.array(["cell"]))
    np.savez(tmp_path / "scale.npz", labels=labels, scale=np.array(2.0))
    np.savez(tmp_path / "sizes.npz", labels=labels, scale=np.array(["wide", "high"]))
    np.save(tmp_path / "line.npy", np.ones(3, dtype=int))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    for name, message in (
        ("rgb.png", "colours"),
        ("other.npz", "holds no array labels, but masks"),
        ("bad.npz", "damaged"),
        ("cut.npz", "damaged"),
        ("flipped.npz", "damaged"),
        *((f"{name}.npz", f"{name}.npz: what it says of") for name in ("classes", "named", "scale", "sizes")),
        ("line.npy", "rows and columns"),
        ("objects.npy", "damaged, or no NumPy file"),
        ("none.npz", "no labels at"),
    ):
        with pytest.raises(InputError, match=message):
            read_label_image(tmp_path / name)


def test_an_image_to_measure(plane, tmp_path):
    tifffile.imwrite(tmp_path / "i.tif", np.ones((24, 31), dtype=np.float32))
    assert read_intensities(plane, tmp_path / "i.tif").intensities.sum() == 24 * 31
    tifffile.imwrite(tmp_path / "j.tif", np.ones((31, 24), dtype=np.float32))
    with pytest.raises(InputError, match=r"shape \(31, 24\)"):
        read_intensities(plane, tmp_path / "j.tif")


def test_classes(tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text("\ufeffclass,object,note\ncell,3,x\n,4,\nZellkörper,12,\n", encoding="utf-8")
    assert read_classes(path) == {3: "cell", 12: "Zellkörper"}
    path.write_text("object,class\n3,cell\nx,cell\n")
    with pytest.raises(InputError, match="line 3"):
        read_classes(path)
    path.write_text("label,class\n")
    with pytest.raises(InputError, match="object,class"):
        read_classes(path)
    with pytest.raises(InputError, match="cannot read"):
        read_classes(tmp_path / "none.csv")
