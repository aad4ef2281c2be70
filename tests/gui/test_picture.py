"""Channels and layers as one image: where its pixels lie, and what of it is shown."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels, Points

from napari_fbrs.annotation.image import PlaneIndex
from napari_fbrs.errors import InputError
from napari_fbrs.gui.layers import check_labels, new_labels, new_points
from napari_fbrs.gui.picture import Picture, alike
from napari_fbrs.inference.plane import Crop

TRANSFORMS = [
    {},
    {"scale": (3, 2, 0.5, 4), "translate": (1, -5, 7, 20)},
    {"scale": (1, 2, -1, 1), "rotate": 30},
    {"shear": (0, 0, 0, 0, 0.3, 0.2), "scale": (1, 3, 2, 1)},
    {"affine": np.array([[1, 0, 0, 0, 2], [0, 2, 0, 0, 3], [0, 0, 0, 1, 4], [0, 0, -1, 0, 5], [0, 0, 0, 0, 1.0]])},
]


def layer(shape=(3, 4, 20, 30), **options) -> Image:
    return Image(np.arange(np.prod(shape), dtype=np.uint16).reshape(shape), **options)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("axis", [0, 1])
def test_what_lies_on_it_is_there_on_every_channel(transform, axis):
    image = layer(**transform)
    picture = Picture(image, axis, (1,))
    labels, points = new_labels(picture), new_points(picture, positive=True)
    assert labels.data.shape == picture.shape == tuple(1 if i == axis else n for i, n in enumerate((3, 4, 20, 30)))
    for pixel in ([2, 3, 10, 11], [0, 0, 19, 0], [1, 2, 0, 29]):
        world = image.data_to_world(pixel)
        expected = [0 if i == axis else at for i, at in enumerate(pixel)]
        for there in (labels, points, picture):
            at = np.array(there.world_to_data(world))
            np.testing.assert_array_equal(np.rint(at), expected)
            assert abs(at[axis]) < 0.5
            np.testing.assert_allclose(np.delete(at, axis), np.delete(pixel, axis), atol=1e-6)
    np.testing.assert_allclose(picture.data_to_world([1, 0, 5, 6]), labels.data_to_world([1, 0, 5, 6]), atol=1e-6)


def test_without_channels_it_is_the_layer():
    image = layer(scale=(1, 2, 3, 4), translate=(4, 3, 2, 1), rotate=20)
    labels = new_labels(Picture(image))
    for name in ("scale", "translate", "rotate", "shear"):
        np.testing.assert_allclose(getattr(labels, name), getattr(image, name))
    assert Picture(image).image().data is image.data


def test_the_contrast_limits_displayed_decide():
    image = layer(contrast_limits=(5, 50))
    assert Picture(image, 1, (0,)).limits() == (5, 50)
    assert Picture(image, 1, (0, 3)).limits() == (5, 50, 5, 50)
    other = Image(image.data, contrast_limits=(7, 70))
    assert Picture(image, others=(other,)).limits() == (5, 50, 7, 70)
    assert Picture(Image(np.zeros((5, 6, 3), np.uint8), rgb=True)).limits() is None


def test_layers_are_colours_of_one_image():
    red, green = (
        layer((20, 30), contrast_limits=(0, 600)),
        Image(np.full((20, 30), 3, np.uint8), contrast_limits=(0, 6)),
    )
    picture = Picture(red, others=(green,))
    plane = picture.image().plane(PlaneIndex((), (0, 1)), picture.limits())
    shown = plane.read(Crop.whole((20, 30)), (20, 30))
    np.testing.assert_allclose(shown[0], red.data / 600, atol=1e-6)
    assert (shown[1] == 0.5).all()
    assert not shown[2].any()
    assert picture.grey() is red.data


def test_layers_that_do_not_lie_on_each_other_are_refused():
    image = layer((20, 30))
    for other in (layer((20, 31)), layer((20, 30), scale=(2, 1)), layer((20, 30), translate=(0, 1))):
        assert not alike(image, other)
        with pytest.raises(InputError, match="do not lie on each other"):
            Picture(image, others=(other,))
    with pytest.raises(InputError, match="twice"):
        Picture(image, others=(image,))
    with pytest.raises(InputError, match="colours of their own"):
        Picture(image, others=(Image(np.zeros((20, 30, 3), np.uint8), rgb=True),))


def test_labels_with_all_channels_do_not_fit():
    picture = Picture(layer(), 1, (0,))
    with pytest.raises(InputError, match="without its channels"):
        check_labels(Labels(np.zeros((3, 4, 20, 30), int)), picture)
    assert isinstance(new_points(picture, positive=False), Points)
