"""The trainings of tuning: a trial without one fold of the train images, validated on that fold."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from synthaug.evaluation.arms import Arm, Material
from synthaug.evaluation.options import ClassifierOptions
from synthaug.evaluation.tuning import OURS, Trial
from synthaug.stages.bench import Bench, train_all
from synthaug.stages.progress import Progress
from synthaug.stages.run_dir import RunDir
from synthaug.stages.signals import StopFlag
from synthaug.stages.tuning_folds import FOLDS

Work = tuple[tuple[Trial, int], int]
"""A trial on a fold, and a seed."""


@dataclass(frozen=True)
class TuningBench:
    """Trains trials without one fold of the train images, and validates them on it.

    `fold` int64 [N] is the fold of each train image, -1 for those that are always learned from;
    `kept` bool [FOLDS, M] says which synthetic images may be learned from when a fold validates.
    """

    material: Material
    fold: np.ndarray
    kept: np.ndarray
    options: ClassifierOptions
    device: str

    def train(
        self, what: tuple[Trial, int], seed: int, /, stop: StopFlag | None = None
    ) -> dict[str, np.ndarray]:
        """`predicted` int64 [V] for the validation images of the fold, and `seconds`."""
        trial, fold = what
        images, labels = self.material.real
        held_out = self.fold == fold
        synthetic = self.material.synthetic
        if synthetic is not None:
            synthetic = synthetic[0][self.kept[fold]], synthetic[1][self.kept[fold]]
        material = replace(
            self.material,
            real=(images[~held_out], labels[~held_out]),
            synthetic=synthetic,
            extra=None,
            unfiltered=None,
            tuned={OURS: trial},
        )
        bench = Bench(material, (images[held_out], labels[held_out]), self.options, self.device)
        arrays = bench.train(Arm(OURS, "la"), seed, stop)
        return {"predicted": arrays["logits"].argmax(1), "seconds": arrays["seconds"]}


class Trainings:
    """The trainings of tuning: those kept in `tuning/`, and those still to be done."""

    def __init__(self, run: RunDir, bench: TuningBench, fingerprint: str) -> None:
        self._run, self._bench = run, bench
        self._real = [fingerprint, bench.device, _digest(*bench.material.real, bench.fold)]
        assert bench.material.synthetic is not None
        self._synthetic = _digest(*bench.material.synthetic, bench.kept)
        self._found: dict[Work, dict[str, np.ndarray]] = {}

    def do(
        self,
        trials: Sequence[Trial],
        seeds: int,
        words: str,
        progress: Progress,
        stop: StopFlag,
    ) -> None:
        """Have the trials trained on every fold with the seeds 0 to `seeds` - 1.

        `words` are what the progress calls it.
        """
        wanted = [
            ((trial, fold), seed)
            for seed in range(seeds)
            for trial in dict.fromkeys(trials)
            for fold in self._folds
        ]
        for work in wanted:
            kept = self._run.read_arrays(_file(work))
            if kept is not None and str(kept["key"]) == self._key(work):
                self._found[work] = kept
        missing = [work for work in wanted if work not in self._found]
        with progress.task(words, len(wanted), "classifiers") as task:
            task.skip(len(wanted) - len(missing))
            for work, arrays in train_all(self._bench, missing, stop):
                self._run.write_arrays(_file(work), key=np.array(self._key(work)), **arrays)
                self._found[work] = arrays
                task.advance(1, work[0][0].words)

    def predicted(self, trial: Trial, seeds: int) -> np.ndarray:
        """Classes int64 [S, N] of the train images, each by a training without it; -1 for none."""
        fold = self._bench.fold
        predicted = np.full((seeds, len(fold)), -1, dtype=np.int64)
        for seed in range(seeds):
            for f in self._folds:
                predicted[seed, fold == f] = self._found[(trial, f), seed]["predicted"]
        return predicted

    def seconds(self, trials: Mapping[Trial, np.ndarray]) -> float:
        """Of the trainings of some trials, one after the other."""
        return float(sum(a["seconds"] for ((t, _), _), a in self._found.items() if t in trials))

    @property
    def _folds(self) -> list[int]:
        return [f for f in range(FOLDS) if (self._bench.fold == f).any()]

    def _key(self, work: Work) -> str:
        (trial, fold), seed = work
        options = asdict(replace(self._bench.options, tau=trial.tau))
        made = self._synthetic if trial.share else ""
        return json.dumps([asdict(trial), fold, seed, options, *self._real, made])


def _file(work: Work) -> str:
    (trial, fold), seed = work
    return f"tuning/{trial.name}/fold-{fold}-seed-{seed}.npz"


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
