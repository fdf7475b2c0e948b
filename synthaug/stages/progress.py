"""What a stage tells while it works, without knowing who listens."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """A long step under way."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """`n` more units are done; `note` is a few words such as the current loss."""

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
