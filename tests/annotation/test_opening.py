"""Images by their path, zarr arrays among them."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.annotation.image_file import write_png
from napari_fbrs.annotation.opening import is_image_path, open_image
from napari_fbrs.errors import InputError
from napari_fbrs.export.reading import known_of_image

STACK = np.arange(3 * 8 * 9, dtype=np.uint16).reshape(3, 8, 9)


def group(path: Path, inside: str = "0", **more: object) -> Path:
    """Write an OME-Zarr image of version 0.4."""
    folder = zarr.open_group(str(path), mode="w", zarr_format=2)
    folder.create_array("0", data=STACK, chunks=(1, 4, 4))
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    scale = [{"type": "scale", "scale": [2.0, 0.5, 0.5]}]
    datasets = [{"path": inside, "coordinateTransformations": scale}]
    folder.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets, **more}]
    return path


def test_files_are_read(tmp_path):
    write_png(tmp_path / "a.png", np.zeros((4, 5, 3), np.uint8))
    image = open_image(tmp_path / "a.png")
    assert (image.shape, image.rgb) == ((4, 5), True)
    assert is_image_path(tmp_path / "a.png")
    assert not is_image_path(tmp_path)
    with pytest.raises(InputError, match="no image at"):
        open_image(str(tmp_path / "b.png"))


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_array_is_read_plane_by_plane(tmp_path, version):
    zarr.create_array(str(tmp_path / "a.zarr"), data=STACK, chunks=(1, 8, 9), zarr_format=version)
    other_planes = ("0.0.0", "2.0.0") if version == 2 else ("c/0/0/0", "c/2/0/0")
    for chunk in other_planes:
        (tmp_path / "a.zarr" / chunk).read_bytes()
        (tmp_path / "a.zarr" / chunk).write_bytes(b"damaged")
    image = open_image(tmp_path / "a.zarr")
    plane = image.plane(PlaneIndex((1,)).resolved(3), (0, 255))
    assert (image.shape, plane.shape) == ((3, 8, 9), (8, 9))
    np.testing.assert_array_equal(image.data[1], STACK[1])


def test_the_finest_level_of_an_ome_zarr_image(tmp_path):
    path = group(tmp_path / "image.ome.zarr")
    np.testing.assert_array_equal(open_image(path).data[:], STACK)
    known = known_of_image(path, 3)
    assert (known["axes"], known["scale"], known["units"]) == (list("zyx"), [2.0, 0.5, 0.5], ["micrometer"] * 3)
    assert known_of_image(path, 2) == {}


def test_the_levels_of_an_ome_zarr_image(tmp_path):
    path = group(tmp_path / "image.ome.zarr")
    folder = zarr.open_group(str(path), mode="r+")
    folder.create_array("1", data=STACK[:, ::2, ::2])
    multiscale = dict(folder.attrs["multiscales"][0])
    multiscale["datasets"] = [*multiscale["datasets"], {"path": "1"}]
    folder.attrs["multiscales"] = [multiscale]
    image = open_image(path)
    np.testing.assert_array_equal(image.data[:], STACK)
    assert [level.shape for level in image.coarser] == [(3, 4, 5)]
    multiscale["datasets"][1] = {"path": "2"}
    folder.attrs["multiscales"] = [multiscale]
    assert open_image(path).coarser == ()  # half copied: what is there can be worked with
    folder.create_array("2", data=STACK[:, ::4, ::4])
    zarr.consolidate_metadata(str(path))
    assert [level.shape for level in open_image(path).coarser] == [(3, 2, 3)]
    shutil.rmtree(path / "2")  # of which what was consolidated still tells
    assert open_image(path).coarser == ()
    multiscale["datasets"] = multiscale["datasets"][::-1]
    folder.attrs["multiscales"] = [multiscale]
    with pytest.raises(InputError, match=r"image\.ome\.zarr is no zarr array that can be read"):
        open_image(path)


@pytest.mark.parametrize("colours", [False, True])
def test_of_a_tiff_with_levels_the_finest_is_read(tmp_path, colours):
    """As napari does, so that what is done in the window and without it is the same."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 96, 3) if colours else (64, 96)).astype(np.uint8)
    told = {"photometric": "rgb" if colours else "minisblack"}
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels, subifds=2, **told)
        for n in (2, 4):
            file.write(pixels[::n, ::n], subfiletype=1, **told)
    image = open_image(tmp_path / "a.tif")
    assert (image.shape, image.rgb, image.coarser) == ((64, 96), colours, ())
    np.testing.assert_array_equal(image.data, pixels)


@pytest.mark.parametrize("inside", ["../other.zarr", "/etc", "a/../../b"])
def test_no_path_is_followed_out_of_the_folder(tmp_path, inside):
    zarr.create_array(str(tmp_path / "other.zarr"), data=STACK)
    with pytest.raises(InputError, match="names an array outside its folder"):
        open_image(group(tmp_path / "image.zarr", inside))


class Touch:
    """Pickled, it touches a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "codecs",
    [
        {"filters": [{"id": "pickle"}]},
        {"compressor": {"id": "pickle"}},
        {"filters": [{"id": "delta", "dtype": "<u2"}, {"id": "pickle"}]},
    ],
)
def test_code_in_a_file_is_not_run(tmp_path, codecs):
    path = tmp_path / "a.zarr"
    zarr.create_array(str(path), data=STACK, chunks=(3, 8, 9), zarr_format=2, compressors=None)
    about = json.loads((path / ".zarray").read_text())
    (path / ".zarray").write_text(json.dumps(about | codecs))
    (path / "0.0.0").write_bytes(pickle.dumps(Touch(tmp_path / "run")))
    with pytest.raises(InputError, match=r"pickle"):
        open_image(path).plane(PlaneIndex((1,)).resolved(3))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", '{"zarr_format": 3, "node_type": "array"}', '{"zarr_format": 3, "node_type": "group"}', "\x00"],
)
def test_what_is_no_image(tmp_path, content):
    folder = tmp_path / "a.zarr"
    folder.mkdir()
    (folder / "zarr.json").write_text(content)
    with pytest.raises(InputError, match=r"a\.zarr"):
        open_image(folder)


def test_a_huge_array_takes_no_memory(tmp_path):
    zarr.create_array(str(tmp_path / "a.zarr"), shape=(10**6, 10**6, 10**6), chunks=(1, 512, 512), dtype="uint8")
    assert open_image(tmp_path / "a.zarr").shape == (10**6,) * 3
    zarr.create_array(str(tmp_path / "words.zarr"), shape=(4,), dtype="float32")
    with pytest.raises(InputError, match="holds no image"):
        open_image(tmp_path / "words.zarr")
