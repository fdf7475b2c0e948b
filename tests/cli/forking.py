"""Commands that start at once: everything is imported here, and each command is a fork of that.

Reads lines `[arguments, log]` (JSON) from stdin. Answers with the process id when the command has
started, and with its exit status when it has ended. Run as a program of its own, since a process
that has already computed with several threads must not be forked.
"""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

IMPORTED = (
    "synthaug.cli.main", "synthaug.cli.printing", "synthaug.stages.fit", "synthaug.stages.generate",
    "synthaug.stages.evaluate", "imblearn.utils", "sklearn.metrics", "scipy.fft", "scipy.stats",
    "pyarrow.parquet", "matplotlib.figure",
)  # fmt: skip
"""What the verbs need, with what they import when they come to it."""


def prepare() -> None:
    """Import what the verbs need, and make seconds of what is minutes of a user's run."""
    import torch

    torch.set_num_threads(1)
    for module in IMPORTED:
        importlib.import_module(module)
    from synthaug.stages import candidates, evaluate, sizing

    measure = sizing.measure_rate
    sizing.measure_rate = lambda call, n, *, seconds: measure(call, n, seconds=0.01)
    evaluate.train_all = one_by_one
    candidates.SAVE_SECONDS = 0.0


def one_by_one(bench: Any, jobs: Any, stop: Any) -> Iterator[tuple[Any, Any]]:
    """In this process: others would take longer to start than to train."""
    for what, seed in jobs:
        yield (what, seed), bench.train(what, seed, stop)


def run_command(arguments: list[str], log: str) -> None:
    """Become the command."""
    from synthaug.cli.main import main

    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(target, 1)
    os.dup2(target, 2)
    try:
        main(arguments)
    except SystemExit as ended:
        sys.stdout.flush()
        os._exit(int(ended.code or 0))
    finally:
        os._exit(70)


if __name__ == "__main__":
    prepare()
    print("ready", flush=True)
    for line in sys.stdin:
        arguments, log = json.loads(line)
        child = os.fork()
        if child == 0:
            run_command(arguments, log)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
