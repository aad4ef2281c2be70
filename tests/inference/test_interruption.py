from __future__ import annotations

import threading

import pytest
import torch

from napari_fbrs.errors import CancelledError
from napari_fbrs.inference.interruption import Interruptible, stop_if


@pytest.fixture
def layers() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(1, 1, 1))


def test_no_convolution_is_begun_once_called_off(layers: torch.nn.Sequential):
    called_off, done = threading.Event(), []
    for layer in layers:
        layer.register_forward_hook(lambda layer, *_: done.append(layer))
    layers[1].register_forward_hook(lambda *_: called_off.set())
    with pytest.raises(CancelledError), Interruptible(called_off.is_set):
        layers(torch.zeros(1, 1, 4, 4))
    assert done == [*layers[:2]]
    layers(torch.zeros(1, 1, 4, 4))  # as ever, from then on
    assert done[2:] == [*layers]


def test_states_of_torch_end_as_ever(layers: torch.nn.Sequential):
    """What ends them is a function of torch's, too, and so would be stopped if every one were."""
    with (
        pytest.raises(CancelledError),
        Interruptible(lambda: True),
        torch.no_grad(),
        torch.autocast("cpu", torch.bfloat16),
    ):
        layers(torch.zeros(1, 1, 4, 4))
    assert torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")


def test_other_threads_go_on(layers: torch.nn.Sequential):
    results = []
    with Interruptible(lambda: True):
        thread = threading.Thread(target=lambda: results.append(layers(torch.zeros(1, 1, 4, 4))))
        thread.start()
        thread.join()
    assert results[0].shape == (1, 1, 4, 4)


def test_stop_if():
    stop_if(lambda: False)
    with pytest.raises(CancelledError):
        stop_if(lambda: True)
