"""Annotates an image with the bundled model, keeps a journal, and kills itself. Usage: killed.py FOLDER JOURNALS."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np

from napari_fbrs import Click, Predictor, Session, load_model
from napari_fbrs.annotation.recovery import Recorder, header


def main(folder: Path, journals: Path) -> None:
    """Click on two objects, save what is shown, and die."""
    image = np.load(folder / "image.npy")
    session = Session(image, Predictor(load_model(device="cpu")))
    recorder = Recorder(session, journals, header(session.image, name="cells"), print)
    session.click(Click(20, 20))
    session.next_object()
    session.click(Click(60, 70))
    session.click(Click(50, 75, positive=False))
    recorder.note()
    recorder.journal.flush()
    np.save(folder / "shown.npy", session.labels.read((slice(None),) * 2))
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
