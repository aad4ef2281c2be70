"""Which objects, classes, slices and pixels are exported, and how people write that down."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from napari_fbrs.errors import InputError

_LARGEST_RANGE = 10_000_000


@dataclass(frozen=True)
class Selection:
    """What is exported of a label image; everything by default.

    Parameters
    ----------
    objects : collection of int, optional
        Labels.
    classes : collection of str, optional
        Objects of these classes.
    planes : sequence of slice, optional
        Which indices along each leading axis.
    rows, columns : slice, optional
        Part of every plane.
    """

    objects: Collection[int] | None = None
    classes: Collection[str] | None = None
    planes: Sequence[slice] | None = None
    rows: slice | None = None
    columns: slice | None = None


def parse_objects(text: str) -> frozenset[int] | None:
    """Return the labels that a text such as ``"1, 4-9"`` names; None, for all of them, where it is empty.

    Raises
    ------
    InputError
        If it names no labels.
    """
    if not text.strip():
        return None
    labels: set[int] = set()
    for part in re.split(r"[,;\s]+", re.sub(r"\s*-\s*", "-", text.strip(" ,;"))):
        match = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last or last - first > _LARGEST_RANGE:
            raise InputError(f"objects are written as numbers from 1 and ranges, such as 1, 4-9; found {text!r}")
        labels.update(range(first, last + 1))
    return frozenset(labels)


def parse_slices(text: str) -> tuple[slice, ...] | None:
    """Return the indices that a text such as ``"3:10"`` names; None, for all of them, where it is empty.

    Parameters
    ----------
    text : str
        For each leading axis an index, ``first:end`` (the end does not belong to it) or ``:``, joined by semicolons:
        ``"0;3:10"`` is, in a series of stacks, the planes 3 to 9 of the first stack.

    Raises
    ------
    InputError
        If it is written otherwise.
    """
    return tuple(_slice(part, text) for part in text.split(";")) if text.strip() else None


def parse_crop(text: str) -> tuple[slice, slice]:
    """Return rows and columns that a text such as ``"100:200,0:50"`` names; the ends do not belong to them.

    Raises
    ------
    InputError
        If it is written otherwise.
    """
    parts = text.split(",")
    if len(parts) != 2:
        raise InputError(f"a crop is written as rows,columns, such as 100:200,0:50; found {text!r}")
    return _slice(parts[0], text), _slice(parts[1], text)


def _slice(part: str, text: str) -> slice:
    match = re.fullmatch(r"\s*(?:(\d{1,9})|(\d{1,9})?\s*:\s*(\d{1,9})?)\s*", part, re.ASCII)
    if match is None:
        raise InputError(f"indices are written as 3, 3:10 or :, counted from 0; found {text!r}")
    if match[1] is not None:
        return slice(int(match[1]), int(match[1]) + 1)
    first, end = (None if at is None else int(at) for at in match.group(2, 3))
    if end is not None and end <= (first or 0):
        raise InputError(f"{part.strip()} holds nothing: the end comes after the beginning, and does not belong to it")
    return slice(first, end)
