from __future__ import annotations

import threading

import pytest
import torch

from napari_fbrs.errors import CancelledError
from napari_fbrs.inference.interruption import Interruptible, stop_if


def test_nothing_more_is_done_once_called_off():
    called_off, numbers = threading.Event(), torch.zeros(3)

    def count() -> None:
        numbers.add_(1)
        called_off.set()
        numbers.add_(1)

    with pytest.raises(CancelledError), Interruptible(called_off.is_set):
        count()
    assert numbers.tolist() == [1, 1, 1]
    assert numbers.add_(1).tolist() == [2, 2, 2]  # as ever, from then on


def test_other_threads_go_on():
    numbers = torch.zeros(3)
    with Interruptible(lambda: True):
        thread = threading.Thread(target=numbers.add_, args=(1,))
        thread.start()
        thread.join()
    assert numbers.tolist() == [1, 1, 1]


def test_stop_if():
    stop_if(lambda: False)
    with pytest.raises(CancelledError):
        stop_if(lambda: True)
