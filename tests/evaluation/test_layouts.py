from __future__ import annotations

import zipfile
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import scipy.io
from PIL import Image

from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.layouts import LAYOUTS, PARTS, Pictures, find_layout, open_pictures
from napari_fbrs.evaluation.objects import Sample, sample_objects, truth_of

IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
ROW = np.arange(6)


def written(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(path, pixels)


def mask(*values: int) -> np.ndarray:
    """Return a mask of the image's size whose rows all are `values`."""
    return np.tile(np.array(values, dtype=np.uint8), (4, 1))


def sbd(folder: Path, name: str, labels: np.ndarray) -> None:
    written(folder / "img" / f"{name}.png", IMAGE)
    (folder / "inst").mkdir(exist_ok=True)
    content = {"Segmentation": labels, "Boundaries": np.zeros(3), "Categories": np.array([[15]])}
    scipy.io.savemat(folder / "inst" / f"{name}.mat", {"GTinst": content})


def test_grabcut(tmp_path: Path):
    written(tmp_path / "data_GT" / "b.png", IMAGE)
    written(tmp_path / "data_GT" / "a.bmp", IMAGE)
    written(tmp_path / "boundary_GT" / "a.bmp", mask(0, 128, 255, 255, 64, 129))
    written(tmp_path / "boundary_GT" / "b.bmp", mask(0, 0, 0, 1, 0, 128))
    data = open_pictures(tmp_path)
    assert find_layout(tmp_path) == "grabcut"
    assert [data.title(i) for i in range(len(data))] == ["a", "b"]
    np.testing.assert_array_equal(data.labels(0), np.tile([0, -1, 1, 1, 0, 1], (4, 1)))
    np.testing.assert_array_equal(data.labels(1), np.tile([0, 0, 0, 1, 0, -1], (4, 1)))
    assert sample_objects(data) == [Sample(0, 1), Sample(1, 1)]
    np.testing.assert_array_equal(data.plane(0).pixels, IMAGE)


def test_berkeley_in_a_zip_with_a_folder_around_it(tmp_path: Path):
    written(tmp_path / "Berkeley" / "images" / "12003.png", IMAGE)
    written(tmp_path / "Berkeley" / "masks" / "12003.png", np.repeat(mask(0, 0, 255, 255, 0, 0)[..., None], 3, axis=2))
    with zipfile.ZipFile(tmp_path / "Berkeley.zip", "w") as archive:
        for path in (tmp_path / "Berkeley").rglob("*.png"):
            archive.write(path, path.relative_to(tmp_path))
        archive.writestr("__MACOSX/Berkeley/images/._12003.png", b"")
    for path in (tmp_path / "Berkeley", tmp_path / "Berkeley.zip"):
        data = open_pictures(path)
        assert (find_layout(path), data.name, len(data)) == ("berkeley", "Berkeley", 1)
        np.testing.assert_array_equal(data.labels(0), mask(0, 0, 1, 1, 0, 0))
    assert Pictures(tmp_path / "Berkeley", "berkeley").fingerprint == data.fingerprint


def test_davis_takes_all_objects_as_one(tmp_path: Path):
    coloured = np.zeros((4, 6, 3), np.uint8)
    coloured[:, 1, 0], coloured[:, 2, 2] = 128, 1
    for folder in ("DAVIS", "COCO_MVal"):
        written(tmp_path / folder / "img" / "bear_0.png", IMAGE)
        written(tmp_path / folder / "gt" / "bear_0.png", coloured)
    data = open_pictures(tmp_path / "DAVIS")
    np.testing.assert_array_equal(data.labels(0), mask(0, 1, 1, 0, 0, 0))
    assert find_layout(tmp_path / "DAVIS") == "davis"
    assert find_layout(tmp_path / "COCO_MVal") == "coco_mval"
    assert (LAYOUTS["davis"].zoom, LAYOUTS["coco_mval"].zoom) == (600, 400)


def test_sbd(tmp_path: Path):
    sbd(tmp_path, "2008_1", mask(0, 1, 1, 2, 0, 0))
    sbd(tmp_path, "2008_2", mask(0, 0, 0, 0, 0, 1))
    sbd(tmp_path, "not_used", mask(1, 1, 1, 1, 1, 1))
    (tmp_path / "val.txt").write_text("2008_2\n2008_1\n")
    data = open_pictures(tmp_path)
    assert find_layout(tmp_path) == "sbd"
    assert sample_objects(data) == [Sample(0, 1), Sample(1, 1), Sample(1, 2)]
    np.testing.assert_array_equal(truth_of(data.labels(1), 2), mask(0, 0, 0, 1, 0, 0))
    (tmp_path / "val.txt").write_text("2008_3\n")
    with pytest.raises(InputError, match=r"val.txt names 2008_3, which is not in img/"):
        open_pictures(tmp_path)
    (tmp_path / "val.txt").unlink()
    with pytest.raises(InputError, match=r"has no val.txt, which names the images to use"):
        open_pictures(tmp_path)


def test_a_file_that_is_not_of_sbd(tmp_path: Path):
    sbd(tmp_path, "a", ROW)
    (tmp_path / "val.txt").write_text("a")
    scipy.io.savemat(tmp_path / "inst" / "a.mat", {"other": ROW})
    with pytest.raises(InputError, match=r"inst/a.mat is no file of SBD"):
        open_pictures(tmp_path).labels(0)
    (tmp_path / "inst" / "a.mat").write_bytes(b"MATLAB 7.3")
    with pytest.raises(InputError, match=r"inst/a.mat is no file of SBD"):
        open_pictures(tmp_path).labels(0)


def test_a_folder_of_labels(tmp_path: Path):
    written(tmp_path / "images" / "one.1.png", IMAGE[..., 0])
    written(tmp_path / "images" / "without labels.png", IMAGE)
    written(tmp_path / "labels" / "one.1.tif", mask(0, 7, 7, 9, 9, 9).astype(np.int16) - 2 * mask(0, 0, 0, 0, 5, 0))
    data = open_pictures(tmp_path)
    assert [data.title(i) for i in range(len(data))] == ["one.1"]
    assert sample_objects(data, min_area=5) == [Sample(0, 7), Sample(0, 9)]
    assert data.plane(0).shape == (4, 6)


def test_labels_with_a_palette_are_not_colours(tmp_path: Path):
    written(tmp_path / "images" / "a.png", IMAGE)
    (tmp_path / "labels").mkdir()
    image = Image.fromarray(mask(0, 1, 1, 2, 2, 2), mode=None).convert("P")
    image.putdata(list(mask(0, 1, 1, 2, 2, 2).ravel()))
    image.putpalette([0, 0, 0, 200, 10, 10, 200, 10, 10])
    image.save(tmp_path / "labels" / "a.png")
    np.testing.assert_array_equal(open_pictures(tmp_path).labels(0), mask(0, 1, 1, 2, 2, 2))


@pytest.mark.parametrize("dtype", [np.float32, np.int32, bool, np.uint16])
def test_images_of_any_depth(tmp_path: Path, dtype: type):
    image = (np.arange(24).reshape(4, 6) > 11) * np.array(1, dtype)
    written(tmp_path / "images" / "a.tif", image)
    written(tmp_path / "labels" / "a.png", mask(0, 1, 1, 2, 2, 2))
    plane = open_pictures(tmp_path).plane(0)
    assert plane.pixels.max() >= plane.limits[1]


def test_a_data_set_changed_has_another_fingerprint(tmp_path: Path):
    written(tmp_path / "images" / "a.png", IMAGE)
    written(tmp_path / "labels" / "a.tif", mask(0, 1, 1, 2, 2, 2))
    before = open_pictures(tmp_path).fingerprint
    assert open_pictures(tmp_path).fingerprint == before
    written(tmp_path / "labels" / "a.tif", mask(0, 1, 1, 2, 2, 3))
    assert open_pictures(tmp_path).fingerprint != before


def test_what_is_wrong_is_said(tmp_path: Path):
    with pytest.raises(InputError, match="there is no"):
        open_pictures(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"found the folders \(none\)"):
        open_pictures(tmp_path)
    (tmp_path / "a.zip").write_text("text")
    with pytest.raises(InputError, match="neither a folder nor a zip"):
        open_pictures(tmp_path / "a.zip")
    written(tmp_path / "img" / "a.png", IMAGE)
    (tmp_path / "gt").mkdir()
    with pytest.raises(InputError, match=r"img/a.png has no mask of that name in gt/"):
        open_pictures(tmp_path)
    with pytest.raises(InputError, match=r"holds no images/NAME.jpg .* found the folders gt, img"):
        Pictures(tmp_path, "folder")
    written(tmp_path / "gt" / "a.png", mask(0, 0, 1, 1, 1, 1)[:2])
    with pytest.raises(InputError, match=r"gt/a.png has shape \(2, 6\), its image \(4, 6\)"):
        open_pictures(tmp_path).plane(0)
    (tmp_path / "gt" / "a.png").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"gt/a.png is damaged, or no image"):
        open_pictures(tmp_path).labels(0)


def test_parts_are_those_of_training(tmp_path: Path):
    folder = tmp_path / "set"
    for number in range(30):
        written(folder / "images" / f"{number}.png", IMAGE)
        written(folder / "labels" / f"{number}.png", mask(0, 1, 1, 1, 1, 1))
    titles = {part: {d.title(i) for i in range(len(d))} for part in PARTS for d in [open_pictures(folder, part=part)]}
    assert titles["validation"] | titles["training"] == titles["all"]
    assert not titles["validation"] & titles["training"]
    assert 0 < len(titles["validation"]) < 10
