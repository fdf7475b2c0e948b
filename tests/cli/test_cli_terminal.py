"""What is seen on a terminal, and on one that wants plain text; and commands to copy from it."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from synthaug.cli.following import same_data, same_run, typed
from synthaug.cli.main import app
from synthaug.cli.terminal import Terminal

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
SCRIPT = """
from synthaug.cli.main import main
for words in (["--help"], ["fit", "--help"], ["recipes", "ls"], ["recipes", "show", "nothing"]):
    try: main(words)
    except SystemExit: pass
from synthaug.cli.terminal import Terminal
terminal = Terminal()
terminal.warn("careful")
with terminal.task("training", 100, "images") as task:
    task.resize(120)
    for _ in range(6): task.advance(20, "loss 0.5")
terminal.next("synthaug generate --balance")
"""


def on_a_terminal(**environment: str) -> str:
    """What a person sees of SCRIPT in a pseudo-terminal."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL,
        env={**kept, "COLUMNS": "100", **environment},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how Linux tells that nobody writes any more
            break
        if not part:
            break
        seen += part
    os.close(ours)
    assert process.wait() == 0, seen.decode()
    return seen.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colours_and_bars():
    seen = on_a_terminal(TERM="xterm-256color")
    assert "\x1b[1m" in seen and "\x1b[?25l" in seen  # bold, and a cursor hidden for the bar
    assert "120/120" in seen and "loss 0.5" in seen and "left" in seen


@pytest.mark.parametrize(
    "environment",
    [{"TERM": "xterm-256color", "NO_COLOR": "1"}, {"TERM": "dumb"}],
    ids=["NO_COLOR", "TERM=dumb"],
)
def test_a_terminal_that_wants_plain_text_gets_no_control_code(environment: dict[str, str]):
    seen = on_a_terminal(**environment)
    assert not CONTROL.search(seen), repr(CONTROL.search(seen))
    assert "training: 120/120 images, " in seen and "note: careful" in seen
    assert "next: synthaug generate --balance\n" in seen


def test_plain_lines_have_rate_time_left_and_loss(capsys, monkeypatch):
    from synthaug.cli import terminal as module

    monkeypatch.setattr(module, "PLAIN_LINE_SECONDS", 0.0)
    with Terminal().task("training", 100, "images") as task:
        task.advance(50, "loss 0.1234")
    first, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"training: 50/100 images, \d+ images/s, about 0 s left \(loss 0\.1234\)", first
    )
    assert "done in" in last


def test_what_an_earlier_run_did_says_nothing_of_the_speed(capsys, monkeypatch):
    from synthaug.cli import terminal as module

    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with Terminal().task("training", 100, "images") as task:
        task.skip(50)
        now[0] = 100.0
        task.advance(40, "loss 0.5")
        now[0] = 125.0
        task.advance(10)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "training: 90/100 images, 24 images/min, about 25 s left (loss 0.5)"
    assert last == "training: 100/100 images, 24 images/min, done in 2 min"


def test_a_bar_measures_its_speed_without_what_an_earlier_run_did():
    from rich.progress import Progress

    from synthaug.cli.terminal import _BarTask

    now = [0.0]
    bars = Progress(disable=True, get_time=lambda: now[0])
    task = bars.add_task("training", total=100, note="")
    bar = _BarTask(bars, task)
    bar.skip(30, "before")
    bar.skip(20)
    for _ in range(4):
        now[0] += 1.0
        bar.advance(5)
    shown = bars.tasks[0]
    assert shown.completed == 70 and shown.speed == 5.0 and shown.time_remaining == 6


AWKWARD = ["my run", "it's", "a$b", "--odd", "ü", "x\\y", "a;b", '"q"']


@pytest.mark.parametrize("name", AWKWARD)
def test_the_next_command_is_quoted_for_the_shell(name: str):
    values = {
        "data.image_size": 16, "data.groups": name, "data.value_range": [0.0, 4095.0],
        "data.follow_links": True, "seed": 0, "diffusion.time_limit": "90s",
        "diffusion.steps": None,
    }  # fmt: skip
    changes = [f"data.exclude=[{name}]", "seed=1"]
    line = typed("fit", {**same_data(name, values, "mine.yaml", changes), **same_run(Path(name))})
    program, verb, *words = shlex.split(line)
    assert (program, verb) == ("synthaug", "fit")
    fit = typer.main.get_command(app).commands["fit"]
    given = fit.make_context("fit", words).params
    assert (given["dataset"], given["groups"], given["run"]) == (name, name, Path(name))
    assert (given["image_size"], given["value_range"], given["seed"]) == (16, "0:4095", 0)
    assert given["follow_links"] is True and given["time_limit"] == "90s"
    assert (given["recipe"], list(given["set_"])) == ("mine.yaml", changes)


def test_what_was_not_said_is_not_repeated():
    assert typed("evaluate", same_run(None, "auto")) == "synthaug evaluate"
    assert typed("evaluate", same_run(None, "cuda:1")) == "synthaug evaluate --device cuda:1"
    assert typed("fit", same_data("x", {}, "default", None)) == "synthaug fit --dataset x"
