"""What a run tells: lines in a log file, one line that is written over where somebody looks at a terminal."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_FORMAT = "%(asctime)s %(message)s"
_TIME_OF_DAY = "%H:%M:%S"  # on a terminal, whose lines are short
_OURS = "napari_fbrs.training"


class OneLine(logging.StreamHandler[TextIO]):
    """Writes records marked as progress over one another, and all others above them."""

    _shown = 0  # characters of the progress that the cursor stands behind

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        text, progress = self.format(record), getattr(record, "progress", False)
        if progress:
            text = text[: shutil.get_terminal_size().columns - 1]  # a line that wraps cannot be written over
        self.stream.write(f"\r{text:<{self._shown}}" + ("" if progress else "\n"))
        self._shown = len(text) if progress else 0
        self.flush()

    def finish(self) -> None:
        """Leave the progress where it is, and let what comes start on a new line."""
        if self._shown:
            self.stream.write("\n")
            self.flush()
        self._shown = 0


@contextmanager
def told_on(stream: TextIO) -> Iterator[None]:
    """Write what training logs to a stream: on a terminal, progress after each step."""
    seen = stream.isatty()
    handler = OneLine(stream) if seen else logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(_FORMAT, _TIME_OF_DAY if seen else None))
    logger = logging.getLogger(_OURS)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if seen else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        if isinstance(handler, OneLine):
            handler.finish()
