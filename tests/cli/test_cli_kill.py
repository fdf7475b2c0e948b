"""SIGKILL at any moment: the obvious next command goes on, and the end is the same."""

import hashlib
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

RECIPE = (
    "--recipe", "smoke",
    "--set", "diffusion.checkpoint_every=3", "--set", "sampling.batch_size=16",
)  # fmt: skip
EVALUATE = ("evaluate", "--arms", "real,synthaug", "--seeds", "1")
KILLED = -signal.SIGKILL


class Commands:
    """`forking.py`, asked for one command at a time."""

    def __init__(self, log: Path) -> None:
        self.log = log
        program = Path(__file__).with_name("forking.py")
        self.process = subprocess.Popen(
            [sys.executable, str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self._answer() == "ready"

    def run(self, arguments: list[str], seconds: float) -> int:
        """The exit status of a command that is killed if it takes longer than so many seconds."""
        assert self.process.stdin and self.process.stdout
        self.log.write_text("")
        self.process.stdin.write(json.dumps([arguments, str(self.log)]) + "\n")
        child = int(self._answer())
        ended, _, _ = select.select([self.process.stdout], [], [], max(seconds, 0))
        if not ended:
            os.kill(child, signal.SIGKILL)
        return int(self._answer())

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _answer(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline().strip()
        assert line, "forking.py has ended"
        return line


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    started = Commands(tmp_path_factory.mktemp("logs") / "log.txt")
    yield started
    started.close()


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from synthaug.data.longtail import write_digits_long_tail

    root = write_digits_long_tail(
        tmp_path_factory.mktemp("images") / "digits", n_max=24, imbalance_ratio=4
    )
    for folder in root.rglob("[0-9]"):
        if folder.name not in "159":
            shutil.rmtree(folder)
    return root


def next_command(run: Path, dataset: Path) -> list[str] | None:
    """What anybody would type next, by what is in the run folder; None if all is done."""
    if not (run / "fit.json").exists():
        if (run / "session.json").exists():
            return ["fit", "--resume", "--run", str(run)]
        return ["fit", "--dataset", str(dataset), *RECIPE, "--per-class", "--run", str(run)]
    if not (run / "generate.json").exists():
        return ["generate", "--balance", "--run", str(run)]
    if not (run / "report.html").exists():
        return [*EVALUATE, "--run", str(run)]
    return None


def go_on(commands: Commands, run: Path, dataset: Path, seconds: float) -> bool:
    """Command after command for so many seconds, then SIGKILL: whether all was done before."""
    until = time.monotonic() + seconds
    while (arguments := next_command(run, dataset)) is not None:
        status = commands.run(arguments, until - time.monotonic())
        if status == KILLED:
            return False
        assert status == 0, f"{arguments} after a kill: {commands.log.read_text()}"
    return True


def outcome(run: Path) -> dict[str, Any]:
    """What a run came to: the bytes of its files, but for those that hold times and paths."""
    files = [p for top in ("balanced", "synthetic") for p in sorted((run / top).rglob("*.png"))]
    files.append(run / "synthaug_manifest.jsonl")
    told: dict[str, Any] = {
        p.relative_to(run).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }
    told["selection"] = pq.read_table(run / "selection.parquet").to_pydict()
    for path in sorted((run / "predictions").rglob("*.npz")):
        told[path.relative_to(run).as_posix()] = np.load(path)["logits"].tobytes()
    results = json.loads((run / "results.json").read_text())
    told["verdict"], told["comparison"] = results["verdict"], results["comparison"]
    told["counts"] = json.loads((run / "generate.json").read_text())["counts"]
    return told


@pytest.fixture(scope="module")
def undisturbed(
    commands: Commands, few_digits: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], float]:
    """The outcome of a whole run and the seconds it took."""
    run = tmp_path_factory.mktemp("whole") / "run"
    began = time.monotonic()
    assert go_on(commands, run, few_digits, 600)
    return outcome(run), time.monotonic() - began


def survive(
    kills: int, commands: Commands, dataset: Path, home: Path, whole: tuple[dict[str, Any], float]
) -> tuple[int, int]:
    """Run after run until so many kills fell: how many did, and how many runs were finished."""
    expected, seconds = whole
    moments = random.Random(6)
    fallen = finished = 0
    while fallen < kills:
        run = home / str(finished) / "run"
        run.parent.mkdir()
        before, began = fallen, time.monotonic()
        while not go_on(commands, run, dataset, moments.uniform(0, seconds)):
            fallen += 1
            if fallen == kills:
                assert go_on(commands, run, dataset, 600)
        if fallen == before:  # the machine has become faster, and moments would come too late
            seconds = min(seconds, time.monotonic() - began)
        assert outcome(run) == expected
        assert [p.name for p in run.rglob(".*") if p.name != ".lock"] == []
        finished += 1
    return fallen, finished


def test_a_killed_run_ends_like_an_undisturbed_one(
    commands: Commands, few_digits: Path, tmp_path: Path, undisturbed
):
    assert survive(3, commands, few_digits, tmp_path, undisturbed)[0] == 3


@pytest.mark.slow
def test_a_run_killed_at_a_hundred_moments_ends_like_an_undisturbed_one(
    commands: Commands, few_digits: Path, tmp_path: Path, undisturbed, capsys
):
    fallen, finished = survive(100, commands, few_digits, tmp_path, undisturbed)
    with capsys.disabled():
        print(f"\n{fallen} kills in {finished} runs, all of them equal to the undisturbed one")
    assert fallen == 100
