"""The run folder: one place for everything a run reads and writes, locked while in use.

session.json  recipe.yaml  dataset.json  pixels.npy  splits.json  plan.json  fit.json  generate.json
base/ckpt-*/  specialists/<class>/ckpt-*/  metrics.jsonl  grids/
candidates/  synthetic/<class>/  balanced/<class>/  synthaug_manifest.jsonl
predictions/  tuning/  fidelity/  likelihood/  results.json  report.html
"""

import errno
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from synthaug.errors import DataError, ResourceError, RunInUseError, UsageError
from synthaug.recipe import Recipe, load_recipe
from synthaug.stages.disk import require_writable
from synthaug.stages.leftovers import tidy

RUNS = Path("runs")
LOCK = ".lock"


class RunDir:
    """Names and atomic reads and writes inside one run folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listeners: list[Callable[[dict[str, Any]], None]] = []
        """Who hears every line of metrics.jsonl as it is written."""

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def write_text(self, name: str, text: str) -> Path:
        """Write a file whole: under another name first, then renamed over the old one."""
        with self._aside(name) as tmp:
            tmp.write_text(text, encoding="utf-8", newline="")
        return self.path / name

    def write_json(self, name: str, content: Any) -> Path:
        return self.write_text(name, json_text(content))

    def read_json(self, name: str) -> Any:
        """The content of a JSON file. Raises `DataError` if it is missing or not JSON."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(
                f"{self.path / name} cannot be read ({error.strerror})",
                remedy="run `synthaug fit` first",
            ) from error
        except ValueError as error:
            raise DataError(
                f"{self.path / name} is not valid JSON: {error}",
                remedy="undo the edit or run the verb that writes it again",
            ) from error

    def write_arrays(self, name: str, **arrays: np.ndarray) -> Path:
        """Write an .npz whole, as `write_text` does."""
        with self._aside(name) as tmp:
            np.savez(tmp, allow_pickle=False, **arrays)
        return self.path / name

    def write_array(self, name: str, array: np.ndarray) -> Path:
        """Write an .npy whole, as `write_text` does."""
        with self._aside(name) as tmp:
            np.save(tmp, array, allow_pickle=False)
        return self.path / name

    @contextmanager
    def _aside(self, name: str) -> Iterator[Path]:
        """A path to write to, which takes the place of `name` if all went well and else goes."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        tmp = target.with_name(f".{target.stem}.tmp-{os.getpid()}{target.suffix}")
        try:
            yield tmp
            with tmp.open("rb") as handle:
                os.fsync(handle.fileno())
            os.replace(tmp, target)
        except OSError as error:
            # numpy has no number for a disk that took only a part of an array.
            number = error.errno or errno.ENOSPC
            raise OSError(number, os.strerror(number), str(target)) from error
        finally:
            tmp.unlink(missing_ok=True)

    def read_arrays(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays of an .npz, or None if the file is missing or damaged."""
        try:
            # Opened here, since np.load leaves the file open when it is no whole zip.
            with (self.path / name).open("rb") as handle:
                with np.load(handle, allow_pickle=False) as loaded:
                    return dict(loaded)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Own the folder until the context ends; a dead owner's lock is free, and tidied up after.

        Raises `RunInUseError` at once if another process owns it.
        """
        lock = filelock.FileLock(self.path / LOCK, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise RunInUseError(
                f"run folder {self.path} is in use by another process",
                remedy="wait for it to end or name another folder with --run",
            ) from error
        except OSError as error:
            raise _unwritable(self.path, error) from error
        try:
            tidy(self.path)
            yield
        finally:
            lock.release()


def new_run(run: Path | None, dataset: str | Path, *, now: datetime | None = None) -> RunDir:
    """Create the folder of a new run: `run`, or `runs/<time>-<dataset name>`.

    Raises as `free_run`, and `ResourceError` if it cannot be created.
    """
    run = free_run(run, dataset, now=now)
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(run, error) from error
    return RunDir(run)


def free_run(run: Path | None, dataset: str | Path, *, now: datetime | None = None) -> Path:
    """Where a new run may go: `run`, or a name under `runs/` that is free. Raises as
    `check_new_run`.
    """
    if run is None:
        stamp = (now or datetime.now()).strftime("%Y%m%d-%H%M%S")
        name = re.sub(r"[^\w.-]+", "-", dataset_name(str(dataset))).strip("-.") or "dataset"
        run = RUNS / f"{stamp}-{name}"
        for n in range(2, 100):
            if not run.exists():
                break
            run = RUNS / f"{stamp}-{name}-{n}"
    check_new_run(run, dataset)
    return run


def check_new_run(run: Path, dataset: str | Path | None) -> None:
    """Refuse a folder for a new run before any work is done.

    Raises `UsageError` if it holds files, or it and the dataset lie in one another, `RunInUseError`
    if a process works in it, and `ResourceError` if it cannot be written to.
    """
    resolved = run.resolve()
    source = None if dataset is None else Path(dataset).resolve()
    if source is not None and (resolved == source or source in resolved.parents):
        raise UsageError(
            f"run folder {run} lies inside the dataset {dataset}",
            remedy="choose a --run outside it: a dataset is never written to",
        )
    if source is not None and resolved in source.parents and source.exists():
        raise UsageError(
            f"the dataset {dataset} lies inside the run folder {run}",
            remedy="choose a --run beside it: whoever removes a run would remove the dataset",
        )
    if (run / LOCK).exists():
        with RunDir(run).locked():
            pass
    if run.exists() and (not run.is_dir() or not all(map(_is_leftover, run.iterdir()))):
        raise UsageError(
            f"run folder {run} already exists and is not empty",
            remedy="choose a new --run, or go on with this one by --resume; a run is never "
            "overwritten",
        )
    require_writable(run)


def _is_leftover(path: Path) -> bool:
    """Whether a file is one that a process killed before its first write leaves behind."""
    return path.name == LOCK or (path.name.startswith(".") and ".tmp-" in path.name)


def open_run(run: Path | None) -> RunDir:
    """The run at `run`, or the newest one under runs/.

    Raises `UsageError` when there is none: nothing was fitted yet.
    """
    if run is None:
        # `demo` keeps its images beside its run, one folder deeper.
        recipes = [*RUNS.glob("*/recipe.yaml"), *RUNS.glob("*/run/recipe.yaml")]
        found = [path.parent for path in recipes]
        if not found:
            raise UsageError(
                f"no run under {RUNS}/",
                remedy="run `synthaug fit --dataset FOLDER` first, or name a run with --run",
            )
        run = max(found, key=lambda p: ((p / "recipe.yaml").stat().st_mtime_ns, p.name))
    if not (run / "recipe.yaml").is_file():
        raise UsageError(
            f"{run} is not a run folder",
            expected="one that `synthaug fit` made",
            remedy="run `synthaug fit --dataset FOLDER` first",
        )
    return RunDir(run)


def read_recipe(run: RunDir) -> Recipe:
    """The resolved recipe that `fit` left in the run folder."""
    return load_recipe(str(run / "recipe.yaml"))


def dataset_name(origin: str) -> str:
    """The last part of a folder, file or Hub id, without the endings of files."""
    if "://" in origin:
        return origin.rstrip("/").rsplit("/", 1)[-1]
    resolved = Path(origin).resolve()
    return resolved.name if resolved.is_dir() else resolved.name.split(".")[0]


def json_text(content: Any) -> str:
    """JSON as all files of a run have it."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def utc_now() -> str:
    """The time in ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _unwritable(path: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"cannot write to {path} ({error.strerror})", remedy="choose another --run folder"
    )
