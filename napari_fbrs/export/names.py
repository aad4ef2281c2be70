"""Names of the files in a folder, from a pattern."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from pathlib import PurePosixPath

from napari_fbrs.errors import InputError
from napari_fbrs.export.planes import Planes

UNCLASSIFIED = "unclassified"
_NOT_IN_NAMES = '< > : " \\ | ? *'  # on one system or another
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


class FileNames:
    """Gives a name to each plane, or to each object, or to each object on each plane.

    Parameters
    ----------
    planes : Planes
        What is exported.
    suffix : str
        Of all names.
    pattern : str or None
        Text with ``{name}`` (of the label image), ``{plane}`` (as t02_z13), the name of a leading axis as in ``{z}``
        (a number), ``{object}`` (a number) and ``{class}``. Numbers are padded with zeros to the same width;
        ``{object:04d}`` says the width. A slash makes a folder: ``{class}/{object}``.
    usual : str
        The pattern where none is given.
    of_objects, of_planes : bool, optional
        Whether there is a file for each object, and for each plane.

    Raises
    ------
    InputError
        If the pattern cannot be used, or two files would have the same name.
    """

    def __init__(
        self,
        planes: Planes,
        suffix: str,
        pattern: str | None,
        usual: str,
        *,
        of_objects: bool = False,
        of_planes: bool = True,
    ) -> None:
        self._planes = planes
        self._suffix = suffix
        self._of = of_objects, of_planes
        self._fields = self._known_fields()
        self._pattern = self._checked(pattern if pattern is not None else usual)
        self._widths = {
            axis: len(str(index[-1])) for axis, index in zip(planes.image.leading, planes.indices, strict=True)
        }
        self._widths["object"] = len(str(planes.largest))
        self._check_different()

    def name(self, position: tuple[int, ...] | None = None, label: int | None = None) -> str:
        """Return the name for an object (or all) on a plane (or all), with ``/`` between folders."""
        values: dict[str, str | int] = {"name": _safe(self._planes.image.name)}
        if position is not None:
            at = dict(zip(self._planes.image.leading, position, strict=True))
            values |= at | {"plane": "_".join(f"{axis}{self._padded(axis, index)}" for axis, index in at.items())}
        if label is not None:
            values |= {"object": label, "class": _safe(self._planes.image.classes.get(label, UNCLASSIFIED))}
        text = "".join(before + self._field(field, spec, values) for before, field, spec in self._pattern)
        return text if text.lower().endswith(self._suffix) else text + self._suffix

    def _known_fields(self) -> tuple[str, ...]:
        objects, planes = self._of
        plane_fields = ("plane", *self._planes.image.leading) if planes else ()
        return ("name", *(("object", "class") if objects else ()), *plane_fields)

    def _field(self, field: str | None, spec: str, values: dict[str, str | int]) -> str:
        if field is None:
            return ""
        value = values[field]
        return format(value, spec) if spec else self._padded(field, value)

    def _padded(self, field: str, value: str | int) -> str:
        return f"{value:0{self._widths[field]}d}" if isinstance(value, int) else value

    def _checked(self, pattern: str) -> list[tuple[str, str | None, str]]:
        try:
            parts = [(before, field, spec or "") for before, field, spec, _ in string.Formatter().parse(pattern)]
        except ValueError as error:
            raise InputError(f"file names {pattern!r}: {error}") from error
        for _, field, spec in parts:
            if field is None:
                continue
            if field not in self._fields:
                known = ", ".join(f"{{{name}}}" for name in self._fields)
                raise InputError(f"file names {pattern!r}: there is no {{{field}}}, but {known}")
            if not re.fullmatch(r"(0?\d{1,2}d)?", spec) or (spec and field in ("name", "plane", "class")):
                raise InputError(f"file names {pattern!r}: numbers take widths such as {{object:04d}}, found {spec!r}")
        literal = "x".join(before for before, _, _ in parts)
        path = PurePosixPath(literal)
        bad = path.is_absolute() or ".." in path.parts or _FORBIDDEN.search(literal.replace("/", ""))
        if bad or not pattern.strip() or pattern.endswith("/"):
            raise InputError(f"file names {pattern!r} must lie in the folder, without .. and any of {_NOT_IN_NAMES}")
        return parts

    def _check_different(self) -> None:
        seen: set[str] = set()
        for name in self._all():
            if name.casefold() in seen:  # systems differ in whether case counts
                raise InputError(f"file names: two files would be called {name}; use more of "
                                 + ", ".join(f"{{{field}}}" for field in self._fields))  # fmt: skip
            seen.add(name.casefold())

    def _all(self) -> Iterable[str]:
        objects, planes = self._of
        positions = self._planes.positions
        if objects and planes:
            return (self.name(at, label) for at in positions for label in self._planes.present(at))
        if objects:
            return (self.name(label=label) for label in self._planes.objects)
        return (self.name(at) for at in positions)


def _safe(text: str) -> str:
    """Return text as a file may be called everywhere."""
    return _FORBIDDEN.sub("_", text).strip(" .") or "_"
