from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from skimage import data, measure

import napari_fbrs
from napari_fbrs.errors import InputError
from napari_fbrs.samples import (
    NUCLEI_SCALE,
    cell_truth,
    coins,
    coins_clicks,
    coins_truth,
    generate_nuclei,
    nuclei_stack,
    tissue,
)


def test_coins_and_tissue_are_layers() -> None:
    [(image, options, kind)] = coins()
    assert (image.shape, image.dtype, options, kind) == ((303, 384), np.uint8, {"name": "coins"}, "image")
    [(image, options, kind)] = tissue()
    assert (image.shape, image.dtype, options["rgb"], kind) == ((512, 512, 3), np.uint8, True, "image")


def test_the_stack_and_its_truth_lie_on_one_another() -> None:
    (image, image_options, image_kind), (labels, labels_options, labels_kind) = nuclei_stack()
    assert (image_kind, labels_kind) == ("image", "labels")
    assert image_options["scale"] == labels_options["scale"] == NUCLEI_SCALE == (2, 0.5, 0.5)
    assert image.shape == labels.shape == (24, 192, 192)
    assert (image.dtype, labels.dtype) == (np.uint16, np.int32)
    assert not labels_options["visible"]


def test_samples_need_no_napari() -> None:
    script = (
        "import sys, types; package = types.ModuleType('napari_fbrs'); package.__path__ = [sys.argv[1]];"
        "sys.modules['napari_fbrs'] = package; from napari_fbrs.samples import coins, tissue, nuclei_stack;"
        "sys.exit(any(name in sys.modules for name in ('napari', 'qtpy', 'magicgui', 'torch')))"
    )
    package = str(Path(napari_fbrs.__file__).parent)
    assert subprocess.run([sys.executable, "-c", script, package], check=False).returncode == 0


@pytest.fixture(scope="module")
def nuclei() -> tuple[np.ndarray, np.ndarray]:
    return generate_nuclei((12, 96, 96), count=16, seed=3)


def test_a_seed_gives_one_stack(nuclei: tuple[np.ndarray, np.ndarray]) -> None:
    for again, first in zip(generate_nuclei((12, 96, 96), count=16, seed=3), nuclei, strict=True):
        np.testing.assert_array_equal(again, first)
    assert (generate_nuclei((12, 96, 96), count=16, seed=4)[1] != nuclei[1]).any()


def test_every_nucleus_is_one_object_and_some_touch(nuclei: tuple[np.ndarray, np.ndarray]) -> None:
    labels = nuclei[1]
    assert np.unique(labels).tolist() == list(range(17))
    assert all(ndimage.label(labels == label)[1] == 1 for label in range(1, 17))
    touching = sum(
        np.count_nonzero((a != b) & (a > 0) & (b > 0))
        for a, b in ((labels[:, 1:], labels[:, :-1]), (labels[:, :, 1:], labels[:, :, :-1]))
    )
    assert touching > 20


def test_nuclei_are_brighter_than_what_is_around_them(nuclei: tuple[np.ndarray, np.ndarray]) -> None:
    image, labels = nuclei
    around = ndimage.median(image, labels, 0)
    inside = ndimage.median(image, labels, range(1, 17))
    assert (inside > around + 10).all()
    assert inside.max() > 1.5 * inside.min()  # unevenly lit and stained
    assert image[labels == 0].std() > 4  # noise


def test_blur_is_wider_along_the_axis_of_light(nuclei: tuple[np.ndarray, np.ndarray]) -> None:
    image, labels = nuclei[0].astype(float) - 100, nuclei[1]
    beside, above = np.zeros(labels.shape, bool), np.zeros(labels.shape, bool)
    beside[:, :, 4:] = labels[:, :, :-4] > 0  # 2 um along a row
    above[1:] = labels[:-1] > 0  # 2 um up
    off = ndimage.distance_transform_edt(labels == 0, sampling=NUCLEI_SCALE) > 1.9
    assert image[above & ~beside & off].mean() > image[beside & ~above & off].mean()


def test_nuclei_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="of 50 nuclei fit into a stack of"):
        generate_nuclei((6, 40, 40), count=50)
    for shape, count in (((6, 40, 40), 0), ((0, 40, 40), 1), ((40, 40), 1)):
        with pytest.raises(InputError, match="three positive numbers"):
            generate_nuclei(shape, count)  # type: ignore[arg-type]


def test_every_coin_is_one_whole_object() -> None:
    truth = coins_truth()
    assert truth.shape == data.coins().shape
    parts = measure.regionprops(truth)
    assert len(parts) == 24
    for part in parts:
        assert part.area > 1000
        assert part.solidity > 0.96
        assert 0.8 < part.area_bbox**0.5 / part.equivalent_diameter_area < 1.25
        assert part.euler_number == 1  # no holes
    rows = sorted(part.centroid[0] for part in parts)
    assert np.ptp(np.reshape(rows, (4, 6)), axis=1).max() < 15  # four rows of six


def test_the_cell_is_one_round_object() -> None:
    [part] = measure.regionprops(cell_truth())
    assert 11000 < part.area < 12500
    assert part.eccentricity < 0.3
    assert part.solidity > 0.98


def test_recorded_clicks_lie_on_and_off_their_coins() -> None:
    clicks, truth = coins_clicks(), coins_truth()
    assert 4 <= len(clicks) <= 6
    assert all(1 <= len(of_object) <= 3 for of_object in clicks.values())
    assert sum(not click.positive for of_object in clicks.values() for click in of_object) >= 2
    coins_clicked = [truth[of_object[0].pixel] for of_object in clicks.values()]
    assert 0 not in coins_clicked
    assert len(set(coins_clicked)) == len(clicks)
    for coin, of_object in zip(coins_clicked, clicks.values(), strict=True):
        assert all(bool(truth[click.pixel] == coin) is click.positive for click in of_object)
