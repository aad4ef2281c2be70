from __future__ import annotations

from itertools import count

import pytest
from fakes import BrightNetwork, model_of

from napari_fbrs.errors import CancelledError
from napari_fbrs.inference.costs import measure_costs
from napari_fbrs.inference.settings import MODES


def test_every_mode_is_measured_on_the_same_clicks():
    network, told = BrightNetwork(), []
    measure_costs(model_of(network), lambda mode, milliseconds: told.append((mode, milliseconds)))
    assert [mode for mode, _ in told] == list(MODES)
    assert all(milliseconds > 0 for _, milliseconds in told)
    assert network.passes >= 4 * len(MODES)  # nothing comes from another mode's cache


def test_it_is_called_off():
    asked, told = count(), []
    with pytest.raises(CancelledError):
        measure_costs(model_of(BrightNetwork()), lambda *cost: told.append(cost), lambda: next(asked) > 12)
    assert 0 < len(told) < len(MODES)
