"""Labels that are hard to write down exactly, and a way to fill outlines again."""

from __future__ import annotations

import numpy as np
import shapely


def hard_plane() -> np.ndarray:
    """Return objects that touch, with holes, islands, pixels touching at corners, and one of a single pixel."""
    labels = np.zeros((24, 31), dtype=np.int32)
    labels[1:12, 2:14] = 3
    labels[3:6, 4:8] = 0  # a hole ...
    labels[4, 5] = 3  # with an island in it
    labels[7, 7] = labels[8, 8] = 0  # two holes touching at a corner
    labels[1:12, 14:18] = 7  # touches 3
    labels[15, 20] = 9  # one pixel
    labels[0, 0] = labels[23, 30] = 12  # islands in the image's corners
    labels[14:18, 2:6] = 14
    labels[15:17, 3:5] = 0
    labels[14, 2] = 0
    labels[13, 1] = labels[18, 6] = 14  # touch the ring at corners only
    labels[20, 0:31] = 65535  # from one side of the image to the other
    labels[0:24, 25] = 70001  # from top to bottom
    return labels


def hard_stack() -> np.ndarray:
    """Return (T, Z, Y, X) labels: objects that come, go and move, an empty plane, a label of 31 bits."""
    stack = np.zeros((2, 3, 24, 31), dtype=np.int32)
    stack[0, 0] = hard_plane()
    stack[0, 2, :, ::-1] = hard_plane()
    stack[1, 1, 5:9, 5:9] = 2**31 - 1
    stack[1, 2] = np.roll(hard_plane(), 3, axis=1)
    return stack


def filled(geometry: shapely.Geometry, shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels whose centres lie in a geometry of x and y."""
    rows, columns = np.indices(shape) + 0.5
    return shapely.contains_xy(geometry, columns.ravel(), rows.ravel()).reshape(shape)
