from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_fbrs.models.windows import gather

STARTS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=5)


@given(STARTS, st.integers(1, 3), st.integers(1, 2))
def test_windows_are_cut_out(starts: list[tuple[int, int, int]], rows: int, columns: int):
    x = torch.arange(2 * 3 * 6 * 7).reshape(2, 3, 6, 7).float()
    windows = gather(x, np.array(starts), (rows, columns))
    for window, (half, row, column) in zip(windows, starts, strict=True):
        assert torch.equal(window, x[half, :, row : row + rows, column : column + columns])
