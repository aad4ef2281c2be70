"""What can be said about the files written, beside what they hold."""

from __future__ import annotations

from dataclasses import dataclass

from napari_fbrs.errors import InputError

VALUES = (255, 1)


@dataclass(frozen=True)
class Options:
    """How files are written; each format uses some of these.

    Parameters
    ----------
    value : int or None, optional
        What pixels of an object have in mask files, 255 or 1. None: 255 in masks, and labels in slices.
    margin : int or None, optional
        Masks are cut to the object's bounding box and so many pixels around it; None: they are as large as the image.
    names : str or None, optional
        Pattern of file names, such as ``"{name}_{plane}_{object}"``; see `FileNames`.

    Raises
    ------
    InputError
        If a value is neither 255 nor 1, or a margin is negative.
    """

    value: int | None = None
    margin: int | None = None
    names: str | None = None

    def __post_init__(self) -> None:
        if self.value not in (None, *VALUES):
            raise InputError(f"masks hold 255 or 1 on the object, found {self.value}")
        if self.margin is not None and self.margin < 0:
            raise InputError(f"a margin is a number of pixels from 0, found {self.margin}")

    @property
    def given(self) -> frozenset[str]:
        """Names of the options that are not left as they are."""
        return frozenset(name for name in ("value", "margin", "names") if getattr(self, name) is not None)
