"""From what somebody names (folders, patterns, files, a table) to the images there are, and the clicks of each.

Images, clicks and labels are read from wherever the user, or a table of theirs, says they lie; results are only ever
written inside the folder they are wanted in.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from os.path import normpath
from pathlib import Path

from napari_fbrs.annotation.click_file import COLUMNS, IMAGE, header_of, images_of, read_table
from napari_fbrs.annotation.click_record import SUFFIX
from napari_fbrs.annotation.opening import is_image_path, is_zarr, stem_of
from napari_fbrs.annotation.points_file import is_points_file
from napari_fbrs.annotation.segmenting import meant_by
from napari_fbrs.batching.jobs import Job
from napari_fbrs.batching.manifest import Results
from napari_fbrs.errors import InputError

CLICKS, LABELS, OUTPUT = "clicks", "labels", "output"
NAME = "{name}"
_SIGNS = ("positive", "negative")
_LONGEST = 200  # characters of a name
_MOST = 1_000_000  # images in a table
_FORBIDDEN = re.compile(r'[<>:"\\|?*\x00-\x1f]')

Find = Callable[[Job], tuple[Path, ...]]


def find_jobs(
    inputs: Sequence[Path | str],
    clicks: Path | str | None = None,
    labels: Path | str | None = None,
    *,
    seeded: bool = False,
    output: Path | None = None,
) -> tuple[list[Job], list[Path]]:
    """Return what there is to do, and the images that have no clicks.

    Parameters
    ----------
    inputs : sequence of path
        Image files; zarr arrays; folders, of which all images are taken; patterns such as ``plates/**/*.tif``; click
        records, whose image is where they say; tables (CSV) with the columns ``image`` and, if wanted, ``clicks``,
        ``labels`` and ``output``, or click files with a column ``image``, whose paths are relative to them.
    clicks : path, optional
        Where clicks are: a folder, a path with ``{name}`` for what an image is called, a click file with a column
        ``image``, or, of a single image, a file. The folder of each image by default. Images of a pattern are looked up
        with their folders, then without.
    labels : path, optional
        Where label images for seeds are, likewise; in no folder by default.
    seeded : bool, optional
        Whether images without clicks are clicked on by `Seeds`; then no clicks are looked for unless it is said where.
    output : Path, optional
        Where results go: those that are there are no images in folders and patterns, nor clicks beside images.

    Raises
    ------
    InputError
        If there is nothing to do, a table cannot be read, two results would have the same name, or two images the same
        clicks or labels, which nobody has said to be those of both.
    """
    results = Results(output) if output is not None else None
    named = [job for given in inputs for job in _named(given, results.has if results else _never)]
    single = len(named) == 1
    look = partial(_clicks_in, written=results.wrote if results and not clicks else _never)
    find_clicks = _finder(clicks, look, single=single) if clicks or not seeded else _nothing
    find_labels = _finder(labels, _labels_in, single=single) if labels else _nothing
    jobs, without, looked_up = [], [], set[Path]()
    for job in named:
        found = job.clicks or find_clicks(job)
        mine = (job.labels,) if job.labels else find_labels(job)
        if found or seeded:
            jobs.append(Job(job.output, job.image, found, mine[0] if mine and not found else None))
            looked_up.update(set(jobs[-1].inputs) - set(job.inputs))
        elif job.image is not None:
            without.append(job.image)
    if not named:
        raise InputError(f"there are no images in {', '.join(map(str, inputs))}")
    if not jobs:
        raise InputError(
            f"none of {len(without)} images has clicks: put NAME.csv, NAME.clicks.json or the points of napari beside "
            "each, say where they are (--clicks), or let them be found (--seeds)"
        )
    _check_different(jobs)
    _check_own(jobs, looked_up)
    return jobs, without


def _named(given: Path | str, is_result: Callable[[Path], bool]) -> Iterator[Job]:
    """Yield the images that a path stands for, with what they are called and what a table says of them."""
    path = Path(given).expanduser()
    if path.is_dir() and not is_zarr(path):
        there = [image for image in sorted(path.iterdir()) if not image.name.startswith(".")]  # as a Mac's ._NAME.tif
        found = [image for image in there if is_image_path(image) and not is_result(image)]
        yield from (_job(image, image.name) for image in found)
    elif not path.exists() and glob.has_magic(str(given)):
        root, pattern = _split(path)
        matching = sorted(root / name for name in glob.iglob(pattern, root_dir=root, recursive=True))  # noqa: PTH207
        found = [image for image in matching if _is_input(image) and not is_result(image)]
        yield from (_job(image, image.relative_to(root).as_posix()) for image in found)
    elif _holds_clicks_of_images(path):
        yield from _clicked(path)
    elif path.suffix.lower() == ".csv" and IMAGE in header_of(path):
        yield from read_table(path, _rows)
    elif path.exists() and not _is_input(path):
        raise InputError(f"{path} is neither an image nor a click record, nor a table with a column {IMAGE}")
    elif not path.exists():
        raise InputError(f"there is no {path}")
    else:
        yield _job(path, path.name)


def _clicked(table: Path) -> Iterator[Job]:
    """Yield the images of a click file, called as it calls them."""
    table = table.absolute()
    for named in images_of(table):
        image = table.parent / named
        below = ".." not in image.parts and image.is_relative_to(table.parent)
        name = _checked_name(stem_of(image.relative_to(table.parent).as_posix() if below else image.name))
        yield Job(name, image, (table,))


def _is_input(path: Path) -> bool:
    return path.name.endswith(SUFFIX) or is_image_path(path)


def _job(path: Path, name: str) -> Job:
    output = _checked_name(stem_of(name))
    path = path.absolute()
    return Job(output, None, (path,)) if path.name.endswith(SUFFIX) else Job(output, path)


def _split(pattern: Path) -> tuple[Path, str]:
    """Return the folder that all paths of a pattern are in, and the rest; a folder called with brackets is none."""
    root, parts = Path(), list(pattern.parts)
    while len(parts) > 1 and NAME not in parts[0] and (not glob.has_magic(parts[0]) or (root / parts[0]).exists()):
        root /= parts.pop(0)
    return root, "/".join(parts)


# a table


def _rows(header: Sequence[str], rows: Iterable[tuple[int, Mapping[str, str]]], path: Path) -> list[Job]:
    unknown = sorted({*header} - {IMAGE, CLICKS, LABELS, OUTPUT})
    if unknown or len(set(header)) < len(header):
        raise InputError(
            f"{path.name}, line 1: a table of images has the columns {IMAGE}, {CLICKS}, {LABELS} and {OUTPUT}, each at "
            f"most once; found {', '.join(header)}"
        )
    jobs = []
    for line, cells in rows:
        try:
            jobs.append(_row(cells, path.absolute().parent))
        except (InputError, ValueError) as error:
            raise InputError(f"{path.name}, line {line}: {error}") from error
        if len(jobs) > _MOST:
            raise InputError(f"{path.name} names more than {_MOST} images")
    return jobs


def _row(cells: Mapping[str, str], folder: Path) -> Job:
    paths = {key: [folder / part.strip() for part in cells.get(key, "").split(";") if part.strip()]
             for key in (IMAGE, CLICKS, LABELS)}  # fmt: skip
    if len(paths[IMAGE]) != 1 or not paths[IMAGE][0].name or len(paths[LABELS]) > 1:
        raise InputError(f"a row needs one {IMAGE}, and has at most one image of {LABELS}")
    image = paths[IMAGE][0]
    output = _checked_name(cells.get(OUTPUT) or stem_of(image.name))
    return Job(output, image, tuple(paths[CLICKS]), paths[LABELS][0] if paths[LABELS] else None)


def _checked_name(name: str) -> str:
    """Return what results are called if they lie in their folder then, wherever it is."""
    parts = name.split("/")
    bad = any(not part.strip(" .") or part.startswith(".") or len(part) > _LONGEST for part in parts)
    if bad or _FORBIDDEN.search(name):
        raise InputError(f"results cannot be called {name[:_LONGEST]!r}: give them another name ({OUTPUT})")
    return name


def _check_different(jobs: Sequence[Job]) -> None:
    seen: dict[str, Job] = {}
    for job in jobs:
        other = seen.setdefault(job.output.casefold(), job)  # systems differ in whether case counts
        if other is not job:
            both = " and ".join(str(path) for path in (other.inputs[0], job.inputs[0]))
            raise InputError(
                f"{both} would both be written as {job.output}: name their results in a table (column {OUTPUT}), or do "
                "them in two folders"
            )


def _check_own(jobs: Sequence[Job], looked_up: Collection[Path]) -> None:
    """Raise `InputError` where files that were looked up would be those of two images."""
    users: dict[Path, list[Job]] = {path: [] for path in looked_up}
    for job in jobs:
        for path in ({*job.inputs} - {job.image}) & users.keys():
            users[path].append(job)
    for path, sharing in users.items():
        for group in _meant(path, sharing) if len({job.image for job in sharing}) > 1 else ():
            one, *others = {job.image: job for job in group}.values()
            if others:
                raise InputError(
                    f"{one.inputs[0]} and {others[0].inputs[0]} would both be clicked on as {path} says: put what each "
                    f"one has into folders, as {one.output} and {others[0].output}, or name it in a table (columns "
                    f"{IMAGE}, {CLICKS}, {LABELS})"
                )


def _meant(path: Path, jobs: Sequence[Job]) -> Iterator[Sequence[Job]]:
    """Yield the jobs that clicks in a file are for: all of them, or of a table of several images those of each."""
    cells = images_of(path) if _holds_clicks_of_images(path) else []
    if len(cells) < 2:  # whose clicks are then taken as they are
        yield jobs
        return
    called: dict[str, list[Job]] = {}
    for job in jobs:
        for name in {job.output, normpath(str(job.image))}:
            called.setdefault(name, []).append(job)
    for cell in cells:
        group = [job for name in meant_by(path, cell) for job in called.get(name, ())]
        if group:
            yield group


# where clicks and labels are


def _never(_path: Path) -> bool:
    return False


def _nothing(_job: Job) -> tuple[Path, ...]:
    return ()


def _finder(where: Path | str | None, look: Callable[[Path, str], tuple[Path, ...]], *, single: bool) -> Find:
    """Return what finds the clicks, or the labels, of an image."""
    if where is None:
        return lambda job: look(job.image.parent, stem_of(job.image.name)) if job.image is not None else ()
    path = Path(where).expanduser().absolute()
    if NAME in str(where):
        root, pattern = _split(path)
        return lambda job: _first(job, lambda name: _matching(root, pattern.replace(NAME, glob.escape(name))))
    if path.is_dir() and not is_zarr(path):
        return lambda job: _first(job, lambda name: look(path, name))
    if not path.exists():
        raise InputError(f"there is no {path}")
    if _holds_clicks_of_images(path):
        named = {meant for cell in images_of(path) for meant in meant_by(path, cell)}
        return lambda job: () if named.isdisjoint({job.output, normpath(str(job.image))}) else (path,)
    if not single:
        raise InputError(
            f"{path} is one file, the images are several: name a folder, write {NAME} for their names, or give the "
            f"clicks a column {IMAGE}"
        )
    return lambda _: (path,)


def _first(job: Job, look: Callable[[str], tuple[Path, ...]]) -> tuple[Path, ...]:
    """Return what is found for an image where it lies in its folders, else by its name alone."""
    return look(job.output) or look(job.name)


def _matching(root: Path, pattern: str) -> tuple[Path, ...]:
    found = [root / name for name in glob.iglob(pattern, root_dir=root)]  # noqa: PTH207
    return tuple(sorted(found, key=lambda path: (path.stem.lower().endswith(_SIGNS[1]), path.name)))


def _clicks_in(folder: Path, name: str, written: Callable[[Path], bool]) -> tuple[Path, ...]:
    """Return the files with the clicks of an image: a record, a click file, or points of one sign or both."""
    record = folder / f"{name}{SUFFIX}"
    if record.is_file() and not written(record):
        return (record,)
    for path in (folder / f"{name}.clicks.csv", folder / f"{name}.csv"):
        if path.is_file() and _holds_clicks(path):
            return (path,)
    signed = [folder / f"{name}{between}{sign}.csv" for sign in _SIGNS for between in (" ", "_", "-")]
    points = [path for path in (*signed, folder / f"{name}_points.csv") if path.is_file() and is_points_file(path)]
    return tuple(points)


def _holds_clicks_of_images(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and {*COLUMNS, IMAGE} <= set(header_of(path))


def _holds_clicks(path: Path) -> bool:
    return is_points_file(path) or set(COLUMNS) <= set(header_of(path))


def _labels_in(folder: Path, name: str) -> tuple[Path, ...]:
    found = [path for path in sorted(folder.glob(f"{glob.escape(name)}.*")) if is_image_path(path)]
    return tuple(path for path in found if stem_of(path.name) == name.rsplit("/", 1)[-1])[:1]
