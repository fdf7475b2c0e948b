"""Runs of the real commands side by side, for the tables of this folder.

A trial is one `fit`, one `generate --balance 300` and one `evaluate`. Its length is given in
minutes of this machine: the speed is measured beforehand by `fit --dry-run` on a free machine, and
minutes times speed are the images it is trained on, whatever else happens meanwhile. Trials run
two at a time with one thread each, and a finished one is not run again.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

TARGET = 300
SIDE_BY_SIDE = 2


@dataclass(frozen=True)
class Trial:
    """What to run: `fit` options, `minutes` of training, a seed of the generator, and the arms."""

    name: str
    minutes: float
    fit: tuple[str, ...] = ()
    generate: tuple[str, ...] = ()
    """Options of `generate`; without any, every class is drawn from pure noise."""
    arms: str = "synthaug/la"
    classifier_seeds: int = 3
    seed: int = 0
    fitted: str = ""
    """The name of another trial whose networks are used instead of training some."""


class Lab:
    """Where trials of one dataset are kept: `out`/<trial name> is its run folder."""

    def __init__(self, dataset: Path, out: Path, recipe: str = "mnist-lt-cpu") -> None:
        self.dataset, self.out, self.recipe = dataset, out, recipe
        out.mkdir(parents=True, exist_ok=True)

    def run(self, trials: Sequence[Trial]) -> None:
        """Run what is not finished; speeds first, one after the other."""
        missing = [t for t in trials if not (self.out / t.name / "results.json").is_file()]
        steps = {t.name: self._steps(t) for t in missing if not t.fitted}
        first = [t for t in missing if not t.fitted]
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            list(pool.map(lambda t: self._run(t, steps[t.name]), first))
            list(pool.map(lambda t: self._run(t, None), [t for t in missing if t.fitted]))

    def results(self, trial: Trial) -> dict[str, Any]:
        return self._read(trial, "results.json")

    def fit(self, trial: Trial) -> dict[str, Any]:
        return self._read(trial, "fit.json")

    def metric(self, trial: Trial, metric: str, arm: str = "synthaug/la") -> list[float]:
        """One value for each seed of the classifier."""
        found = next(a for a in self.results(trial)["arms"] if a["name"] == arm)
        values: list[float] = found["metrics"][metric]["values"]
        return values

    def _read(self, trial: Trial, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.out / trial.name / name).read_text())
        return content

    def _steps(self, trial: Trial) -> int:
        """Optimiser steps in the trial's minutes, by the speed of the whole machine."""
        cache = self.out / "rates.json"
        rates = json.loads(cache.read_text()) if cache.is_file() else {}
        key = " ".join(trial.fit)
        if key not in rates:
            plan = self._call(["fit", *self._fit(trial), "--dry-run", "--json"], threads=None)
            rates[key] = json.loads(plan)["plan"]["train_images_per_second"]
            cache.write_text(json.dumps(rates, indent=2))
        return max(int(trial.minutes * 60 * rates[key] / 64), 1)

    def _fit(self, trial: Trial) -> list[str]:
        return ["--dataset", str(self.dataset), "--recipe", self.recipe, *trial.fit]

    def _run(self, trial: Trial, steps: int | None) -> None:
        run = self.out / trial.name
        if steps is not None and not (run / "fit.json").is_file():
            shutil.rmtree(run, ignore_errors=True)
            options = ["--set", f"diffusion.steps={steps}", "--seed", str(trial.seed)]
            self._call(["fit", *self._fit(trial), *options, "--run", str(run)], threads=1)
        elif steps is None and not run.is_dir():
            kept = ("base", "specialists", "*.json", "recipe.yaml", "pixels.npy")
            run.mkdir()
            for pattern in kept:
                for path in (self.out / trial.fitted).glob(pattern):
                    if path.name not in ("generate.json", "results.json"):
                        copy = shutil.copytree if path.is_dir() else shutil.copy
                        copy(path, run / path.name)
        drawn = trial.generate or ("--mode", "sample")
        balance = ["generate", "--balance", str(TARGET), *drawn]
        self._call([*balance, "--run", str(run)], threads=1)
        judged = ["--arms", trial.arms, "--seeds", str(trial.classifier_seeds)]
        self._call(["evaluate", *judged, "--run", str(run)], threads=1)

    def _call(self, words: Sequence[str], *, threads: int | None) -> str:
        print("synthaug " + " ".join(words), file=sys.stderr, flush=True)
        environment = {**os.environ, "GOMP_SPINCOUNT": "20000"}
        if threads is not None:
            environment["OMP_NUM_THREADS"] = str(threads)
        command = [str(Path(sys.executable).with_name("synthaug")), *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"synthaug {' '.join(words)} failed:\n{done.stderr}")
        return done.stdout


def heading(lab: Lab, script: str) -> str:
    """The command of a table, and the machine, date and versions it was made with."""
    return (
        f"```\npython benchmarks/{script} DATASET OUT\n```\n\n{lab.dataset.name}, recipe "
        f"{lab.recipe}, {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, "
        f"{datetime.now(UTC):%Y-%m-%d}; rare classes filled up to {TARGET} images.\n"
    )


def spread(values: Iterable[float]) -> str:
    """Mean and standard deviation of some values."""
    numbers = torch.tensor(list(values), dtype=torch.float64)
    if len(numbers) < 2:
        return f"{float(numbers.mean()):.3f}"
    return f"{float(numbers.mean()):.3f} ± {float(numbers.std()):.3f}"
