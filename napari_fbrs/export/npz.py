"""NumPy: the labels, and what is known of them, in one compressed file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fbrs.export.options import Options
from napari_fbrs.export.planes import Planes


def write(planes: Planes, path: Path, _options: Options) -> None:
    """Write arrays that `numpy.load` reads without pickling, the labels plane by plane.

    ``labels`` (..., rows, columns); ``objects``, their labels, and ``classes``, a class or nothing for each; ``axes``,
    ``scale`` and ``units``; ``origin``, where the first pixel lies in the whole image; ``indices_t``, ... for each
    leading axis. The masks of all objects are ``labels == objects[:, None, None]`` in 2D.
    """
    image = planes.image
    known: dict[str, npt.NDArray[Any]] = {
        "objects": np.array(planes.objects, dtype=np.int64),
        "classes": np.array([image.classes.get(label, "") for label in planes.objects], dtype=np.str_),
        "axes": np.array(image.axes, dtype=np.str_),
        "scale": np.array(image.scale, dtype=np.float64),
        "units": np.array(image.units, dtype=np.str_),
        "origin": np.array(planes.origin, dtype=np.int64),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in known.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        with archive.open("labels.npy", "w", force_zip64=True) as file:
            header = {"descr": planes.dtype.str, "fortran_order": False, "shape": planes.shape}
            np.lib.format.write_array_header_2_0(file, header)
            for plane in planes:
                file.write(plane.labels.astype(planes.dtype).tobytes())
