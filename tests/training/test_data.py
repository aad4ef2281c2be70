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
