from __future__ import annotations

import dataclasses
import zipfile
import zlib
from pathlib import Path

import imageio.v3
import numpy as np
import pytest

from napari_fbrs.errors import InputError
from napari_fbrs.evaluation.datasets import LabelledImage, Source, as_rgb, is_validation
from napari_fbrs.evaluation.layouts import Pictures
from napari_fbrs.inference.plane import Crop, make_plane
from napari_fbrs.training.batches import open_mixture
from napari_fbrs.training.config import SourceSpec
from napari_fbrs.training.data import Mixture
from napari_fbrs.training.validation import validation_sets

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def test_the_split_is_that_of_the_data():
    names = [f"{i:04}" for i in range(2000)]
    kept = [name for name in names if is_validation("ecssd", name)]
    assert kept == [name for name in names if zlib.crc32(f"ecssd{name}".encode()) % 10 == 0]
    assert 0.08 < len(kept) / len(names) < 0.12


def test_training_and_validation_share_no_image(discs: Path):
    training, validation = Source(discs), Source(discs, validation=True)
    assert len(training) + len(validation) == 20
    assert len(validation) >= 1
    assert not {one.image.tobytes() for one in training} & {one.image.tobytes() for one in validation}


def test_what_is_kept_back_is_so_whatever_way_it_is_looked_at(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = tmp_path / "cells"
    other.symlink_to(discs)
    monkeypatch.chdir(discs)
    trained = [one.image.tobytes() for one in Source(discs)]
    for path in (other, Path()):
        assert [one.image.tobytes() for one in Source(path)] == trained
        kept = Pictures(path, "folder", "validation")
        assert not {Source(path, validation=True)[i].image.tobytes() for i in range(len(kept))} & set(trained)
        assert kept.name == SourceSpec(str(path)).name == discs.resolve().name


def test_a_zip_is_read_as_its_folder(discs: Path, tmp_path: Path):
    path = tmp_path / "discs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(discs.glob("*/*")):
            archive.write(file, file.relative_to(discs).as_posix())
    zipped, folder = Source(path), Source(discs)
    assert (zipped.name, len(zipped)) == (folder.name, len(folder))
    np.testing.assert_array_equal(zipped[3].labels, folder[3].labels)
    np.testing.assert_array_equal(zipped[3].image, folder[3].image)


def test_memory_is_bounded(discs: Path):
    source = Source(discs, max_bytes=100_000)
    pictures = [source[i] for i in range(len(source))]
    assert source[len(source) - 1] is pictures[-1]
    assert source[0] is not pictures[0]
    assert source._held <= 100_000


def test_sixteen_bit_labels_and_images(tmp_path: Path):
    for part, value in (("images", 4000), ("labels", 700)):
        (tmp_path / part).mkdir()
        array = np.zeros((8, 9), np.uint16)
        array[2:5, 2:5] = value
        imageio.v3.imwrite(tmp_path / part / "b.tif", array)
    picture = Source(tmp_path, validation=is_validation(tmp_path.name, "b"))[0]
    assert picture.image.shape == (8, 9, 3)
    assert picture.image.max() == 255
    assert picture.pick_object(np.random.default_rng(0), 4) == 700
    assert picture.boxes[699] == (slice(2, 5), slice(2, 5))


def written(folder: Path, image: np.ndarray, labels: np.ndarray, suffix: str = ".tif") -> Source:
    """Return a source of one image and its labels."""
    for part, content in (("images", image), ("labels", labels)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        imageio.v3.imwrite(folder / part / f"b{suffix}", content, extension=suffix.lower())
    return Source(folder, validation=is_validation(folder.name, "b"))


RAMP = np.tile(np.arange(0, 255, 5, dtype=np.uint8), (20, 1))
SQUARE = np.zeros(RAMP.shape, np.uint8)
SQUARE[4:12, 8:30] = 1
OTHER_NUMBERS = {
    "share": RAMP / np.float32(250),
    "signed": RAMP.astype(np.int16) * 100 - 5000,
    "wide": RAMP.astype(np.uint32) * 100_000,
    "16 bits": RAMP.astype(np.uint16) + 1000,
}


@pytest.mark.parametrize("name", OTHER_NUMBERS)
def test_images_are_as_dark_and_bright_as_a_predictor_sees_them(tmp_path: Path, name: str):
    picture = written(tmp_path, OTHER_NUMBERS[name], SQUARE)[0]
    expected = (make_plane(OTHER_NUMBERS[name]).read(Crop.whole(RAMP.shape), RAMP.shape) * 255).round()
    np.testing.assert_array_equal(picture.image, expected.transpose(1, 2, 0))
    assert (picture.image.min(), picture.image.max(), len(np.unique(picture.image))) == (0, 255, RAMP.shape[1])


def test_images_of_yes_and_no_and_of_what_is_no_number(tmp_path: Path):
    assert np.unique(written(tmp_path / "a", RAMP > 100, SQUARE > 0)[0].image).tolist() == [0, 255]
    gaps = RAMP.astype(np.float32)
    gaps[0, :3] = np.nan, np.inf, -np.inf
    image = written(tmp_path / "b", gaps, SQUARE)[0].image
    assert image[0, :3, 0].tolist() == [0, 255, 0]
    assert image[1, -1, 0] == 255
    assert not written(tmp_path / "c", np.full(RAMP.shape, np.nan, np.float32), SQUARE)[0].image.any()


def test_colours_are_shown_over_the_range_of_their_numbers():
    colours = np.full((2, 3, 3), 0.5, np.float32)
    assert np.unique(as_rgb(colours)).tolist() == [128]
    assert np.unique(as_rgb((colours * 20_000).astype(np.uint16))).tolist() == [39]


def test_what_is_no_image_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"images/b\.tif cannot be used: an image must hold numbers"):
        written(tmp_path, RAMP.astype(np.complex64), SQUARE)[0]


WRONG_LABELS = [(SQUARE * np.float32(1.5), "whole numbers, found float32"), (-SQUARE.astype(np.int16), "found -1")]


@pytest.mark.parametrize(("labels", "said"), WRONG_LABELS, ids=["fractions", "negative"])
def test_labels_that_cannot_be_used(tmp_path: Path, labels: np.ndarray, said: str):
    with pytest.raises(InputError, match=rf"labels/b\.tif must hold .*{said}"):
        written(tmp_path, RAMP, labels)[0]


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64, np.int64])
def test_labels_may_be_as_large_as_they_like(tmp_path: Path, dtype: type):
    labels = SQUARE.astype(dtype) * np.iinfo(dtype).max
    labels[15:, :3] = 2_000_000_000
    picture = written(tmp_path / "a", RAMP, labels)[0]
    assert picture.areas.tolist() == [0, 15, SQUARE.sum()]
    assert picture.boxes[1] == (slice(4, 12), slice(8, 30))
    everywhere = written(tmp_path / "b", RAMP, SQUARE.astype(dtype) + 2_000_000_000)[0]
    assert everywhere.areas.tolist() == [0, (SQUARE == 0).sum(), SQUARE.sum()]


@pytest.mark.parametrize("suffix", [".TIF", ".PNG"])
def test_names_may_be_in_capitals(tmp_path: Path, suffix: str):
    np.testing.assert_array_equal(written(tmp_path, RAMP, SQUARE, suffix)[0].labels, SQUARE)


def test_small_objects_are_picked_only_where_there_are_no_others():
    labels = np.zeros((20, 20), np.int32)
    labels[0, :3] = 1
    labels[5, :2] = 2
    image = np.zeros((20, 20, 3), np.uint8)
    assert LabelledImage(image, labels).pick_object(np.random.default_rng(0), 24) == 1
    labels[10:16, 10:16] = 3
    assert {LabelledImage(image, labels).pick_object(np.random.default_rng(s), 24) for s in range(9)} == {3}
    assert LabelledImage(image, labels * 0).pick_object(np.random.default_rng(0), 24) is None


def test_rgb():
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    np.testing.assert_array_equal(as_rgb(grey), np.stack([grey] * 3, axis=2))
    assert as_rgb(np.zeros((2, 3, 4), np.uint8)).shape == (2, 3, 3)
    assert as_rgb(np.zeros((2, 3, 2), np.uint8)).shape == (2, 3, 3)
    for shape in ((3,), (2, 3, 3, 2)):
        with pytest.raises(InputError, match="a plane must be"):
            as_rgb(np.zeros(shape, np.uint8))


def test_weights_decide_how_often(discs: Path):
    first, second = Source(discs), Source(discs, validation=True)
    mixture, rng = Mixture([first, second], [3, 1]), np.random.default_rng(0)
    seconds = {id(second[i]) for i in range(len(second))}
    share = np.mean([id(mixture.pick(rng)) in seconds for _ in range(500)])
    assert 0.2 < share < 0.3


def test_what_cannot_be_used(discs: Path, tmp_path: Path):
    with pytest.raises(InputError, match="neither a folder nor a zip"):
        Source(tmp_path / "absent.zip")
    with pytest.raises(InputError, match="holds no images"):
        Source(tmp_path)
    with pytest.raises(InputError, match="weights above 0"):
        Mixture([Source(discs)], [0])


def test_labels_must_fit_the_image(tmp_path: Path):
    for part, shape in (("images", (8, 9)), ("labels", (8, 8))):
        (tmp_path / part).mkdir()
        imageio.v3.imwrite(tmp_path / part / "b.png", np.ones(shape, np.uint8))
    with pytest.raises(InputError, match="has shape"):
        Source(tmp_path, validation=is_validation(tmp_path.name, "b"))[0]


@pytest.mark.skipif(not (DATA / "ecssd.zip").is_file(), reason="the training data are not here")
def test_the_shared_sets_split_as_described():
    source, kept = Source(DATA / "ecssd.zip"), Source(DATA / "ecssd.zip", validation=True)
    assert len(source) + len(kept) == 962
    assert 0.06 < len(kept) / 962 < 0.14


def test_scenes_are_a_source_like_others(discs: Path, config):
    config = dataclasses.replace(config, sources=(SourceSpec(str(discs)), SourceSpec("scenes")))
    mixture = open_mixture(config)
    drawn = [mixture.pick(np.random.default_rng(seed)) for seed in range(12)]
    computed = [one for one in drawn if one.image.shape[0] != 64]
    assert 1 < len(computed) < 12
    assert all(one.labels.any() for one in computed)
    assert [one.name for one in validation_sets(config)] == ["discs"]
