"""Masks of objects on scikit-image's photographs, by fixed recipes; the results have been looked at."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage import data, filters, measure, morphology, segmentation

_WIDE = 2048  # pixels a side of a large picture


def coins_truth() -> npt.NDArray[np.int32]:
    """Return the 24 coins of `skimage.data.coins`, labelled 1 to 24 in the order of their topmost pixels.

    The recipe is that of scikit-image's guide ("Region-based segmentation"): a watershed of the Sobel gradient, from
    below 30 as background and above 150 as coins. A closing by a disc of radius 3 then takes in bright bits at the rim,
    holes are filled, and an opening by the same disc takes off specks and the corners that shadows add.

    Returns
    -------
    ndarray of int32, shape (303, 384)
    """
    image = data.coins()
    markers = np.zeros(image.shape, dtype=np.int32)
    markers[image < 30] = 1
    markers[image > 150] = 2
    coin = segmentation.watershed(filters.sobel(image), markers) == 2
    disc = morphology.disk(3)
    whole = ndimage.binary_fill_holes(ndimage.binary_closing(coin, disc))
    labels: npt.NDArray[np.int32] = ndimage.label(ndimage.binary_opening(whole, disc))[0].astype(np.int32)
    return labels


def cell_truth() -> npt.NDArray[np.int32]:
    """Return the one large cell of `skimage.data.cell` as label 1.

    The recipe: a Gaussian of 2 pixels, Otsu's threshold, holes filled, the largest part.

    Returns
    -------
    ndarray of int32, shape (660, 550)
    """
    smooth = filters.gaussian(data.cell().astype(float), sigma=2)
    parts = measure.label(ndimage.binary_fill_holes(smooth > filters.threshold_otsu(smooth)))
    largest = 1 + np.bincount(parts.ravel())[1:].argmax()
    cell: npt.NDArray[np.int32] = (parts == largest).astype(np.int32)
    return cell


def known_objects(*, few: bool = False) -> list[tuple[str, npt.NDArray[np.uint8], npt.NDArray[np.int_]]]:
    """Return objects that are known to the pixel: a name, the picture and the object's mask, for each.

    Parameters
    ----------
    few : bool, optional
        Whether one is enough.
    """
    coins, coin = data.coins(), (coins_truth() == 10).astype(int)
    objects = [("coin, 303 x 384", coins, coin)]
    if few:
        return objects
    around = [(0, _WIDE - extent) for extent in coins.shape]
    wide = np.pad(coins, around, mode="reflect"), np.pad(coin, around)
    return [*objects, ("cell, 660 x 550", data.cell(), cell_truth().astype(int)), (f"coin, {_WIDE} x {_WIDE}", *wide)]
