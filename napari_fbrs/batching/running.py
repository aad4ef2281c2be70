"""A batch: what there is to do is found, what has been done is left out, the rest is done and taken over."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from napari_fbrs.annotation.click_record import SUFFIX
from napari_fbrs.annotation.segmenting import black_and_white
from napari_fbrs.batching.cluster import LOCAL, check_installed, in_cluster
from napari_fbrs.batching.inputs import find_jobs
from napari_fbrs.batching.jobs import Job, Outcome, Settings
from napari_fbrs.batching.manifest import DONE, FAILED, Manifest, content_hash, is_unchanged
from napari_fbrs.batching.seeds import Seeds
from napari_fbrs.batching.work import Begin
from napari_fbrs.errors import FBRSError, InputError
from napari_fbrs.export.formats import find_format
from napari_fbrs.export.options import Options
from napari_fbrs.export.writing import check_may_write, check_options
from napari_fbrs.inference.settings import DEFAULT_MODE, check_mode
from napari_fbrs.models import zoo
from napari_fbrs.models.checkpoint import fingerprint
from napari_fbrs.processes import in_processes, torch_threads

STAGING = ".partial"  # in the folder of results: what is not finished; ours to remove
_ATTEMPTS = 2  # at an image whose process dies

Progress = Callable[[int, int, str | None], None]  # done, of how many, what went wrong with the last


@dataclass
class Batch:
    """What came of a batch.

    Parameters
    ----------
    folder : Path
        Where results are.
    done : list of str
        What was done now, by the names of the results.
    failed : dict of str to str
        What failed, and why.
    unchanged : list of str
        What had been done before.
    without_clicks : list of Path
        Images that nobody has clicked on.
    outputs : dict of str to list of Path
        The files or folders of all that is done, now or before.
    """

    folder: Path
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unchanged: list[str] = field(default_factory=list)
    without_clicks: list[Path] = field(default_factory=list)
    outputs: dict[str, list[Path]] = field(default_factory=dict)

    def report(self) -> list[str]:
        """Return in words what came of it."""
        lines = [f"{name} failed: {why}" for name, why in self.failed.items()]
        counts = [(self.done, "done"), (self.unchanged, "done before"), (self.failed, "failed"),
                  (self.without_clicks, "without clicks")]  # fmt: skip
        said = ", ".join(f"{len(which)} {what}" for which, what in counts if which)
        return [*lines, f"images: {said or 'none'}; results in {self.folder}"]


def batch(
    inputs: Path | str | Sequence[Path | str],
    output: Path | str,
    *,
    clicks: Path | str | None = None,
    seeds: str | None = None,
    labels: Path | str | None = None,
    diameter: float | None = None,
    dark: bool = False,
    format: str = "tiff",
    value: int | None = None,
    margin: int | None = None,
    names: str | None = None,
    records: bool = False,
    overwrite: bool = False,
    threshold: float = 0.5,
    contrast_limits: tuple[float, float] | None = None,
    model: str | Path = "default",
    mode: str = DEFAULT_MODE,
    device: str = "auto",
    anyway: bool = False,
    jobs: int = 1,
    threads: int = 1,
    scheduler: str | None = None,
    apart: bool = False,
    progress: Progress = lambda *_: None,
) -> Batch:
    """Segment the objects of many images; what is done already is not done again.

    Parameters
    ----------
    inputs : path or sequence of path
        Images (PNG, JPEG, TIFF, zarr), folders of them, patterns such as ``plates/**/*.tif``, click records, or tables
        (CSV) with the columns ``image`` and, if wanted, ``clicks``, ``labels``, ``output``.
    output : path
        Folder for the results and ``manifest.jsonl``, which says what was done; made if it is not there.
    clicks : path, optional
        Where clicks are (click files, points saved from napari, click records): a folder, a path with ``{name}`` for
        what an image is called, or, of a single image, a file. The folder of each image by default.
    seeds : {"centroids", "maxima", "distance"}, optional
        Click on what can be guessed at in images without clicks; see `Seeds`.
    labels : path, optional
        Where the label images for centroids are, as for `clicks`.
    diameter : float, optional
        Of objects in pixels, for seeds from maxima and distance.
    dark : bool, optional
        Whether objects are darker than what is around them, for seeds.
    format : str, optional
        Of the results; a key of `napari_fbrs.export.FORMATS`.
    value, margin, names : optional
        See `napari_fbrs.export.Options`.
    records : bool, optional
        Write a click record of each image, too.
    overwrite : bool, optional
        Replace what is in the folder though it was made with other settings, by somebody else, or changed since.
    threshold, contrast_limits, model, mode, device : optional
        See `segment`; masks of click records are computed by what they name.
    anyway : bool, optional
        See `replay`.
    jobs : int, optional
        How many processes; 1: this one. In a script more than one need ``if __name__ == "__main__":``.
    threads : int, optional
        Of each on a CPU; the last bits of a prediction depend on it.
    scheduler : str, optional
        Address of a dask scheduler whose workers see the same files; ``"local"`` for a cluster of `jobs` workers here.
    apart : bool, optional
        Use a process of its own where there is only one, too: then an image that takes all memory is one that failed.
    progress : callable, optional
        Told how many images are done, of how many, and what went wrong with the last one (None: nothing).

    Returns
    -------
    Batch
        What was done, what failed, and where results are. A failing image does not stop the others.

    Raises
    ------
    InputError
        If nothing can be done as asked.
    ModelFileError
        If there is no such model.

    Examples
    --------
    >>> from napari_fbrs import batch
    >>> batch("images", "masks", clicks="clicks/{name}.csv", jobs=2).report()  # doctest: +SKIP
    ['images: 24 done; results in masks']
    """
    settings = _settings(
        seeds=Seeds(seeds, diameter, dark=dark) if seeds is not None else None,
        options=Options(value, margin, names),
        model=str(model),
        mode=mode,
        device=device,
        threshold=threshold,
        contrast_limits=contrast_limits,
        format=format,
        records=records,
        anyway=anyway,
    )
    if jobs < 1 or threads < 1:
        raise InputError(f"jobs and threads are numbers from 1, found {jobs} and {threads}")
    if scheduler is not None:
        check_installed()
    if scheduler in (None, LOCAL):
        zoo.choose_device(device)
    given = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    folder = Path(output).expanduser()
    found, without = find_jobs(given, clicks, labels, seeded=settings.seeds is not None, output=folder)
    running = Running(folder, settings, overwrite=overwrite)
    running.batch.without_clicks = without
    running.run(found, _Engine(jobs, threads, scheduler, apart), progress)
    return running.batch


def _settings(**given: Any) -> Settings:
    """Return the settings of a batch, where they can be used."""
    threshold, limits = given["threshold"], given["contrast_limits"]
    if not 0 <= threshold < 1:
        raise InputError(f"the threshold must be at least 0 and below 1, found {threshold}")
    if limits is not None:
        black_and_white(limits)
    check_mode(given["mode"])
    format_ = find_format(given["format"])
    format_.check_usable()
    check_options(format_, given["options"])
    path = zoo.find_model(given["model"])
    model = given["model"] if given["model"] in {entry.name for entry in zoo.list_models()} else str(path.absolute())
    return Settings(**given | {"model": model}, sha256=fingerprint(path), version=metadata.version("napari-fbrs"))


@dataclass(frozen=True)
class _Engine:
    """Where work is done."""

    jobs: int
    threads: int
    scheduler: str | None
    apart: bool

    def run(self, begin: Begin, tasks: Sequence[Job]) -> Generator[tuple[Job, Outcome | Exception], None, None]:
        """Do tasks, and yield what came of each."""
        if self.scheduler is not None:
            yield from in_cluster(self.scheduler, begin, tasks, jobs=self.jobs, threads=self.threads)
        elif self.apart or (self.jobs > 1 and len(tasks) > 1):
            yield from in_processes(begin, tasks, jobs=self.jobs, threads=self.threads, attempts=_ATTEMPTS)
        else:
            work = begin()
            with torch_threads(self.threads):
                for task in tasks:
                    yield task, work(task)


class Running:
    """A batch that is being done: this process alone writes into the folder of results.

    Workers write into a staging folder in it. For what is whole its place is cleared, then it is put down in the
    manifest, then moved there. So whatever is killed at whatever moment, what lies in its place is whole, and what the
    manifest's last line is about; and what is missing is done again.

    Parameters
    ----------
    folder : Path
        Where results go.
    settings : Settings
        How images are done.
    overwrite : bool
        Whether anything in the way is replaced.
    """

    def __init__(self, folder: Path, settings: Settings, *, overwrite: bool) -> None:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; results go into a folder")
        self.batch = Batch(folder)
        self._folder = folder.absolute()
        self._settings, self._overwrite = settings, overwrite
        self._format = find_format(settings.format)
        self._manifest: Manifest
        self._read: set[Path] = set()

    def run(self, jobs: Sequence[Job], engine: _Engine, progress: Progress) -> None:
        """Do what has not been done."""
        self._read = {path.resolve() for job in jobs for path in job.inputs}
        with self._staging() as staging:
            manifest = self._manifest = Manifest(self._folder, self._settings.decisive(), anew=self._overwrite)
            left = [job for job in jobs if not self._is_done(job)]
            if not left:
                return
            with manifest.open(), closing(self._finished(left, engine, staging)) as finished:
                for count, name in enumerate(finished, start=1):
                    why = self.batch.failed.get(name)
                    progress(count, len(left), why and f"{name}: {why}")

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        """Make the folder in which workers write, and make sure that no other batch does so."""
        staging, lock = self._folder / STAGING, FileLock(self._folder / f"{STAGING}.lock")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"another batch is writing to {self._folder}: wait for it, or choose another folder"
            ) from error
        except OSError as error:
            raise InputError(f"cannot write to {self._folder}: {error.strerror or error}") from error
        try:
            shutil.rmtree(staging, ignore_errors=True)  # of a batch that was killed
            staging.mkdir()
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)

    def _finished(self, jobs: Sequence[Job], engine: _Engine, staging: Path) -> Generator[str, None, None]:
        """Do jobs, and yield what each is called when it is done or has failed."""
        possible = [job for job in jobs if self._may_write(job)]
        yield from list(self.batch.failed)
        with closing(engine.run(Begin(self._settings, staging), possible)) as finished:
            for job, result in finished:
                self._take(job, Outcome(error=_reason(result)) if isinstance(result, Exception) else result)
                yield job.output

    def _is_done(self, job: Job) -> bool:
        """Return whether a job has been done, from what is there now, and its results are there."""
        entry = self._manifest[job.output]
        if entry is None or not self._manifest.is_done(job.output):
            return False
        inputs, outputs = entry["inputs"], [self._folder / name for name in self._names(job)]
        named = {self._manifest.relative(path) for path in job.inputs} <= set(inputs)
        same = named and all(is_unchanged(self._folder / name, then) for name, then in inputs.items())
        if same and all(path.exists() for path in outputs):
            self.batch.unchanged.append(job.output)
            self.batch.outputs[job.output] = [self.batch.folder / name for name in self._names(job)]
            return True
        return False

    def _names(self, job: Job) -> list[str]:
        """Return what the results of a job are called."""
        suffix = self._format.suffixes[0] if self._format.suffixes else ""
        return [f"{job.output}{suffix}"] + [f"{job.output}{SUFFIX}"] * self._settings.records

    def _may_write(self, job: Job) -> bool:
        """Return whether a job's results may be put where they belong; if not, it has failed."""
        try:
            for name in self._names(job):
                self._check_target(job, name)
        except InputError as error:
            self._fail(job, Outcome(error=str(error)))
            return False
        return True

    def _check_target(self, job: Job, name: str) -> None:
        """Raise `InputError` where something that is not ours lies where a result belongs."""
        target = self._folder / name
        if target.resolve() in self._read:
            raise InputError(f"{target} is what is read: choose another folder for the results")
        if not target.exists() or self._is_ours(job, name):
            return
        target_format = find_format("npz") if name.endswith(SUFFIX) else self._format
        check_may_write(target, target_format, overwrite=self._overwrite)

    def _is_ours(self, job: Job, name: str) -> bool:
        """Return whether what is there is what the manifest says was written, unchanged."""
        then = ((self._manifest[job.output] or {}).get("outputs") or {}).get(name)
        return then is not None and then.get("sha256") == content_hash(self._folder / name)

    def _take(self, job: Job, outcome: Outcome) -> None:
        """Put what a worker has written where it belongs, and take down what became of the job."""
        if outcome.error is not None:
            self._fail(job, outcome)
            return
        try:
            for name in outcome.staged:
                self._check_target(job, name)
            for name in outcome.staged:
                self._clear(outcome.folder, name)
            self._note(job, outcome, DONE)
            for name in outcome.staged:
                self._move(outcome.folder, name)
        except (InputError, OSError) as error:
            self._fail(job, Outcome(error=str(error), inputs=outcome.inputs))
            return
        self.batch.done.append(job.output)
        self.batch.outputs[job.output] = [self.batch.folder / name for name in outcome.staged]

    def _clear(self, attempt: str, name: str) -> None:
        """Take what is to be replaced from its place; left there, it would count as what is about to be noted."""
        target = self._folder / name
        if target.exists():
            target.replace(self._folder / STAGING / attempt / f"{target.name}.old")

    def _move(self, attempt: str, name: str) -> None:
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (self._folder / STAGING / attempt / target.name).replace(target)

    def _fail(self, job: Job, outcome: Outcome) -> None:
        self.batch.failed[job.output] = outcome.error or ""
        self._note(job, outcome, FAILED)

    def _note(self, job: Job, outcome: Outcome, status: str) -> None:
        before = self._manifest[job.output] or {}
        outputs: Mapping[str, Any] = {name: {"sha256": sha256} for name, sha256 in outcome.staged.items()}
        entry = {
            "output": job.output,
            "status": status,
            "inputs": {self._manifest.relative(Path(path)): then for path, then in outcome.inputs.items()},
            "outputs": outputs or before.get("outputs", {}),  # a failure leaves what was written before
            **outcome.facts,
        }
        reasons = {"error": outcome.error, "traceback": outcome.traceback}
        self._manifest.add(entry | {key: text for key, text in reasons.items() if text})


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, FBRSError) else f"{type(error).__name__}: {error}"
