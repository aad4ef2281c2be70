"""Figures of a run for TensorBoard, where it is wanted and there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_fbrs.errors import InputError


class Scalars:
    """Writes numbers into event files of TensorBoard.

    Parameters
    ----------
    folder : Path or None
        Where; None writes nothing.
    samples : int
        Samples seen so far; what was written beyond them by a run that was killed is left out of TensorBoard's plots.

    Raises
    ------
    InputError
        If TensorBoard is wanted but not installed.
    """

    def __init__(self, folder: Path | None, samples: int = 0) -> None:
        # Steps from there on count as not written.
        purge = samples + 1 if samples else 0
        self._writer = None if folder is None else _writer_class()(folder, purge_step=purge)

    def write(self, samples: int, values: Mapping[str, float]) -> None:
        """Write numbers by name; a slash puts a name into a group."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, samples)
            self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


def require_tensorboard() -> None:
    """Raise an `InputError` where TensorBoard is not installed."""
    _writer_class()


def _writer_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError('--tensorboard needs TensorBoard: pip install "napari-fbrs[tensorboard]"') from error
    return SummaryWriter
