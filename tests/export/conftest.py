"""Label images that are hard to write down exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hard_labels import hard_plane, hard_stack

from napari_fbrs.export import LabelImage


@pytest.fixture
def plane() -> LabelImage:
    return LabelImage(hard_plane(), name="cells", scale=(0.5, 0.25), units=("um", "um"), classes={3: "cell", 9: "dot"})


@pytest.fixture
def stack() -> LabelImage:
    return LabelImage(
        hard_stack(),
        name="series",
        scale=(10, 2, 0.5, 0.25),
        units=("s", "um", "um", "um"),
        classes={3: "cell", 9: "dot"},
    )


@pytest.fixture(scope="session")
def many() -> LabelImage:
    """70,000 objects of one pixel to six, each touching others."""
    labels = np.arange(350 * 600, dtype=np.int64).reshape(350, 600) // 3 + 1
    return LabelImage(np.repeat(labels, 2, axis=0), name="many")
