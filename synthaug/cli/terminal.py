"""The one place that knows rich: what goes to stdout, what to stderr, and how it looks.

Payload (plans, tables, JSON) goes to stdout; talk (progress, notices, errors) to stderr. With
`--json`, stdout is exactly one JSON object and the tables are not printed.
"""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Literal

from rich.console import Console
from rich.markup import escape as escape_markup
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as RichTask
from rich.table import Table as RichTable
from rich.text import Text

from synthaug.errors import SynthaugError
from synthaug.report.tables import Table
from synthaug.stages.progress import Task

PLAIN_LINE_SECONDS = 15.0
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
ROLE_STYLES = {"primary": "bold cyan", "opponent": "bold", "oracle": "dim", "control": "", "": ""}


def visible(text: str) -> str:
    """Text whose control characters are spelt out: a class name must not steer the terminal."""
    return CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def escape(text: str) -> str:
    """Text from elsewhere, to be shown as it is."""
    return escape_markup(visible(text))


class RateColumn(ProgressColumn):
    """Units per second since the task began."""

    def render(self, task: RichTask) -> Text:
        speed = task.finished_speed or task.speed
        return Text(rate(speed, task.fields["unit"]) if speed else "", style="dim")


def discard(stream: IO[str]) -> None:
    """Send whatever is still written to a stream nowhere: the reader of its pipe has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Console(Console):
    """Shows text as it is, and goes on without a word when the reader of a pipe has left."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, emoji=False)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        discard(self.file)


class Terminal:
    """Output of one command. It is also the `Progress` that stages report to."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.out = _Console()
        self.err = _Console(stderr=True)

    def say(self, text: str) -> None:
        self.err.print(escape(text))

    def next(self, command: str) -> None:
        """The command to type next, in one line to copy."""
        self.err.print(f"next: {escape(command)}", soft_wrap=True)

    def warn(self, text: str) -> None:
        self.err.print(f"[yellow]note:[/] {escape(text)}")

    def error(self, text: str) -> None:
        # One line, whatever the width: a script or a person greps for it.
        self.err.print(f"[bold red]error:[/] {escape(text)}", soft_wrap=True)

    def fault(self, error: SynthaugError) -> None:
        """Say that the command ends for lack of something; with `--json` on stdout too."""
        self.json(error.to_json())
        self.error(str(error))

    def payload(self, text: str) -> None:
        if not self.as_json:
            self.out.print(escape(text))

    def verbatim(self, text: str) -> None:
        """Payload that another program may read: no line is broken, whatever the width."""
        if not self.as_json:
            self.out.print(escape(text), soft_wrap=True)

    def table(self, table: Table, *, caption: str | None = None) -> None:
        """Print the essential columns of a table, with its caption or another one below."""
        if self.as_json:
            return
        drawn = RichTable(
            title=escape(table.title), title_justify="left", title_style="bold", header_style="dim",
            caption=escape(table.caption if caption is None else caption),
            caption_justify="left", box=None, pad_edge=False,
        )  # fmt: skip
        shown = [i for i, column in enumerate(table.columns) if column.essential]
        for i in shown:
            column = table.columns[i]
            side: Literal["left", "right"] = "right" if column.numeric else "left"
            heading = escape(column.brief or column.heading)
            drawn.add_column(heading, justify=side, no_wrap=i == 0)
        for row in table.rows:
            cells = [row.cells[i] for i in shown]
            styles = ["bold green" if cell.strong else "" for cell in cells]
            texts = [visible(cell.brief or cell.text) for cell in cells]
            drawn.add_row(*map(Text, texts, styles), style=ROLE_STYLES[row.role])
        self.out.print()
        self.out.print(drawn)

    def json(self, content: Any) -> None:
        """The one JSON object of `--json`."""
        if self.as_json:
            sys.stdout.write(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")
            sys.stdout.flush()  # if nobody reads it any more, this is where that is no fault

    @contextmanager
    def task(self, description: str, total: int, unit: str) -> Iterator[Task]:
        """A bar with rate and time left on a terminal, a line now and then elsewhere."""
        if not self.err.is_terminal or self.err.is_dumb_terminal:
            plain = _PlainTask(self.err, description, total, unit)
            yield plain
            plain.close()
            return
        columns = (
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            RateColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
        )  # fmt: skip
        with Progress(*columns, console=self.err) as bars:
            task = bars.add_task(escape(description), total=total, unit=unit, note="")
            yield _BarTask(bars, task)


class _BarTask:
    def __init__(self, bars: Progress, task: Any) -> None:
        self._bars, self._task = bars, task

    def advance(self, n: int = 1, note: str = "") -> None:
        self._bars.update(self._task, advance=n, note=escape(note))

    def skip(self, n: int, note: str = "") -> None:
        done = self._bars.tasks[self._bars.task_ids.index(self._task)].completed
        self._bars.reset(self._task, completed=int(done) + n, note=escape(note))

    def resize(self, total: int) -> None:
        self._bars.update(self._task, total=total)


class _PlainTask:
    """A line when the step starts, at most one every few seconds, and one when it is done."""

    def __init__(self, console: Console, description: str, total: int, unit: str) -> None:
        self._console, self._description = console, description
        self._total, self._unit = total, unit
        self._done, self._before, self._note = 0, 0, ""
        self._started = self._told = time.monotonic()

    def advance(self, n: int = 1, note: str = "") -> None:
        self._done += n
        self._note = note or self._note
        now = time.monotonic()
        if now - self._told >= PLAIN_LINE_SECONDS and self._done < self._total:
            self._told = now
            elapsed = now - self._started
            left = elapsed / max(self._done - self._before, 1) * (self._total - self._done)
            self._print(f"{self._rate(elapsed)}, about {duration(left)} left", self._note)

    def skip(self, n: int, note: str = "") -> None:
        self._before += n
        self.advance(n, note)

    def resize(self, total: int) -> None:
        self._total = total

    def close(self) -> None:
        elapsed = time.monotonic() - self._started
        self._print(f"{self._rate(elapsed)}, done in {duration(elapsed)}", "")

    def _rate(self, elapsed: float) -> str:
        return rate((self._done - self._before) / max(elapsed, 1e-9), self._unit)

    def _print(self, facts: str, note: str) -> None:
        tail = f" ({note})" if note else ""
        line = f"{self._description}: {self._done}/{self._total} {self._unit}, {facts}{tail}"
        self._console.print(escape(line), soft_wrap=True)


def rate(per_second: float, unit: str) -> str:
    """Units per second, or per minute where that would round to next to nothing."""
    if per_second < 2:
        return f"{per_second * 60:.0f} {unit}/min"
    return f"{per_second:.0f} {unit}/s"


def duration(seconds: float) -> str:
    """Seconds in words: 45 s, 12 min, 1 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
