"""What a stage tells while it works, without knowing who listens."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Literal, Protocol


class Task(Protocol):
    """A long step under way."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """`n` more units are done; `note` is a few words such as the current loss."""

    def skip(self, n: int, note: str = "") -> None:
        """`n` units were done in an earlier run: they count, but say nothing of the speed."""

    def resize(self, total: int) -> None:
        """The step turned out to have another number of units."""


class Progress(Protocol):
    """A listener. `say` is a line worth reading once, `warn` one that should not be missed."""

    def say(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...

    def task(self, description: str, total: int, unit: str) -> AbstractContextManager[Task]:
        """A step of `total` units, shown with rate and time left until the context closes."""


class _SilentTask:
    def advance(self, n: int = 1, note: str = "") -> None:
        del n, note

    skip = advance

    def resize(self, total: int) -> None:
        del total


class Silent:
    """A listener for library use: says nothing."""

    def say(self, text: str) -> None:
        del text

    def warn(self, text: str) -> None:
        del text

    @contextmanager
    def task(self, description: str, total: int, unit: str) -> Iterator[Task]:
        del description, total, unit
        yield _SilentTask()


@dataclass(frozen=True)
class Event:
    """One thing a stage tells: a line to read once, or how far a long step has come.

    Attributes:
        kind: "say", "warn" (should not be missed) or "step".
        text: the line, or what the step does.
        done: units done so far, of a step.
        total: units in all, of a step.
        unit: what is counted, such as "images".
        note: a few words such as the current loss.
    """

    kind: Literal["say", "warn", "step"]
    text: str
    done: int = 0
    total: int = 0
    unit: str = ""
    note: str = ""


class Told:
    """A listener that hands everything to one function, for use from Python."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell

    def say(self, text: str) -> None:
        self._tell(Event("say", text))

    def warn(self, text: str) -> None:
        self._tell(Event("warn", text))

    @contextmanager
    def task(self, description: str, total: int, unit: str) -> Iterator[Task]:
        yield _ToldTask(self._tell, Event("step", description, 0, total, unit))


class _ToldTask:
    def __init__(self, tell: Callable[[Event], None], event: Event) -> None:
        self._tell, self._event = tell, event

    def advance(self, n: int = 1, note: str = "") -> None:
        self._event = replace(self._event, done=self._event.done + n, note=note)
        self._tell(self._event)

    skip = advance

    def resize(self, total: int) -> None:
        self._event = replace(self._event, total=total)
