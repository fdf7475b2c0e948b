"""Trackers of a training, through accelerate: they hear what metrics.jsonl says, and may fail.

Only accelerate's trackers are used, not its `Accelerator`: the training keeps its device, seeds and
process. Whatever a tracker writes is in the run folder.
"""

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from synthaug.errors import SynthaugError, UsageError
from synthaug.stages.progress import Progress
from synthaug.stages.run_dir import RunDir

FOLDER = "trackers"


class Tracker(Protocol):
    """What is used of accelerate's `GeneralTracker`."""

    name: str

    def log(self, values: dict[str, float], step: int | None = None) -> None: ...

    def finish(self) -> None: ...


def check_trackers(names: Iterable[str]) -> None:
    """Raise `UsageError` for a tracker that is not installed, before anything is trained."""
    for name in dict.fromkeys(names):
        missing = [p for p in ("accelerate", name) if importlib.util.find_spec(p) is None]
        if missing:
            raise UsageError(
                f"tracking.log_with names {name}, and {' and '.join(missing)} cannot be imported",
                remedy=f"pip install 'synthaug[{name}]', or leave it out: metrics.jsonl is always "
                "written",
            )


class Trackers:
    """The trackers of one training. One that fails is given up with a notice; training goes on."""

    def __init__(self, trackers: Iterable[Tracker], progress: Progress) -> None:
        self._trackers, self._progress = list(trackers), progress

    def add(self, name: str, folder: Path) -> None:
        """Start one of accelerate's by its name."""
        try:
            self._trackers.append(_start(name, folder))
        except SynthaugError:  # a stop signal, which may arrive anywhere
            raise
        except Exception as error:
            self._give_up(name, "to start", error)

    def log(self, line: Mapping[str, Any]) -> None:
        """Tell a line of metrics.jsonl: its numbers, named by its phase, at its step."""
        values = {
            f"{line['phase']}/{key}": value
            for key, value in line.items()
            if key not in ("phase", "step") and isinstance(value, int | float)
        }
        for tracker in tuple(self._trackers):
            try:
                tracker.log(values, step=line["step"])
            except SynthaugError:
                raise
            except Exception as error:
                self._trackers.remove(tracker)
                self._give_up(tracker.name, f"at step {line['step']}", error)

    def finish(self) -> None:
        """Close them, also after a fault."""
        for tracker in self._trackers:
            try:
                tracker.finish()
            except Exception as error:
                self._give_up(tracker.name, "at the end", error)
        self._trackers.clear()

    def _give_up(self, name: str, when: str, error: Exception) -> None:
        self._progress.warn(
            f"tracker {name} failed {when} ({type(error).__name__}: {error}) and is left out; the "
            "training and metrics.jsonl go on"
        )


@contextmanager
def tracked(run: RunDir, names: Iterable[str], progress: Progress) -> Iterator[None]:
    """While this lasts, trackers hear all that is written to the metrics.jsonl of a run."""
    trackers = Trackers((), progress)
    for name in dict.fromkeys(names):
        trackers.add(name, run / FOLDER)
    run.listeners.append(trackers.log)
    try:
        yield
    finally:
        run.listeners.remove(trackers.log)
        trackers.finish()


def _start(name: str, folder: Path) -> Tracker:
    from accelerate.state import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    if not PartialState._shared_state:
        PartialState(cpu=True)  # accelerate's own log wants one; so made, it touches no GPU
    tracker: Any = LOGGER_TYPE_TO_CLASS[name](name, logging_dir=str(folder))
    tracker.start()
    return tracker
