"""`fit` started by torchrun: two processes, one run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthaug.diffusion.checkpoint import newest_checkpoint
from synthaug.diffusion.training_state import load_training

WAIT = 240.0
pytestmark = pytest.mark.slow
LAUNCH = (
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node",
    "2",
    "-m",
    "--",
    "synthaug",
)


def launched(*words: object) -> "subprocess.Popen[str]":
    alone = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    path = os.pathsep.join(p for p in sys.path if p)
    return subprocess.Popen(
        [sys.executable, *LAUNCH, *map(str, words)], env=os.environ | alone | {"PYTHONPATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def fit(digits: Path, run: Path, *more: object) -> "subprocess.Popen[str]":
    return launched("fit", "--dataset", digits, "--recipe", "smoke", "--run", run, *more)


def test_row_109_a_fit_of_two_processes_has_one_run_and_one_voice(digits: Path, tmp_path: Path):
    process = fit(digits, tmp_path / "run", "--per-class", "--set", "diffusion.steps=12", "--json")
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 0, err
    assert 10 <= json.loads(out)["steps"] <= 12  # the specialists share what the base leaves
    assert err.count("a picture of what it makes") == 1
    assert (
        json.loads((tmp_path / "run" / "session.json").read_text())["conditions"]["processes"] == 2
    )


@pytest.mark.parametrize("victim", [0, 1])
def test_row_75_a_signal_to_one_process_stops_both_with_the_training_saved(
    digits: Path, tmp_path: Path, victim: int
):
    run = tmp_path / "run"
    more = ("--set", "diffusion.steps=100000", "--set", "diffusion.checkpoint_every=5")
    process = fit(digits, run, *more)
    deadline = time.monotonic() + WAIT
    while newest_checkpoint(run / "base") is None and time.monotonic() < deadline:
        time.sleep(0.2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[victim]), signal.SIGTERM)
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 1  # torchrun's own code where a process failed
    assert out.count("Plan") == 1
    assert "stopped by SIGTERM" in err and "fit --resume" in err
    assert err.count("exitcode  : 143") >= 1
    assert load_training(newest_checkpoint(run / "base")).step > 5
