"""The tuned arms: trials are judged by cross-validation of the train images, then one is chosen.

No test image takes part. The chosen trial is then an arm like any other: it is trained on all train
images and tested once. What keeps synthetic images from being flattered is told in `tuning_folds`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from synthaug.errors import DataError
from synthaug.evaluation.arms import Arm
from synthaug.evaluation.metrics import rarest_classes
from synthaug.evaluation.tuning import (
    OPPONENT,
    OURS,
    ROUNDS,
    TRIALS,
    Choice,
    Scored,
    Trial,
    choose,
    survivors,
)
from synthaug.stages.bench import Bench
from synthaug.stages.dataset import Dataset
from synthaug.stages.progress import Progress
from synthaug.stages.run_dir import RunDir
from synthaug.stages.signals import StopFlag
from synthaug.stages.tuning_bench import Trainings, TuningBench
from synthaug.stages.tuning_folds import (
    FOLDS,
    find_originals,
    of_folds,
    read_sources,
    validation_folds,
)

CHOICE = "tuning/choice.json"


def with_tuned(
    run: RunDir,
    bench: Bench,
    dataset: Dataset,
    arms: Sequence[Arm],
    progress: Progress,
    stop: StopFlag,
) -> Bench:
    """The bench with what was chosen for the tuned arms, if there are any among `arms`."""
    if not any(arm.tuned for arm in arms):
        return bench
    choices = tune(run, bench, dataset, progress, stop)
    tuned = {side: choice.chosen for side, choice in choices.items()}
    return replace(bench, material=replace(bench.material, tuned=tuned))


def most_trainings() -> int:
    """Trainings of `tune` at most: those where no trial of a later round is of both sides."""
    n, before = 0, 0
    for keep, seeds in ROUNDS:
        tried = keep * len(TRIALS) if before else len({t for own in TRIALS.values() for t in own})
        n, before = n + tried * (seeds - before) * FOLDS, seeds
    return n


def read_tuning(runs: Sequence[RunDir], arms: Sequence[Arm]) -> dict[str, Any]:
    """`{"tuning": [...]}` for results.json, an entry for each run; empty without tuned arms."""
    if not any(arm.tuned for arm in arms):
        return {}
    return {"tuning": [run.read_json(CHOICE) for run in runs]}


def tune(
    run: RunDir, bench: Bench, dataset: Dataset, progress: Progress, stop: StopFlag
) -> dict[str, Choice]:
    """Judge all trials of both sides and choose one of each; `CHOICE` in the run folder tells how.

    Finished trainings are kept in `tuning/` and not done again. The test images of the bench are
    not touched. Raises `DataError` if no train image can be held out, `InterruptedRun` on a stop.
    """
    material = bench.material
    labels = material.real[1]
    assert material.synthetic is not None and len(labels) == len(dataset.splits.train)
    fold = validation_folds(dataset, seed=material.seed)
    kept = ~of_folds(fold, find_originals(material, fold), read_sources(run, dataset))
    workbench = TuningBench(material, fold, kept, bench.options, bench.device)
    validated = np.flatnonzero(fold >= 0)
    if not len(validated):
        raise DataError(
            "no train image can be held out to tune on: the images of each class belong together",
            remedy="leave the tuned arms out, or give finer groups",
        )
    rare = rarest_classes(np.bincount(labels, minlength=material.n_classes))
    trainings = Trainings(run, workbench, dataset.fingerprint)
    alive: Mapping[str, tuple[Trial, ...]] = TRIALS
    outcomes: dict[str, dict[Trial, np.ndarray]] = {side: {} for side in TRIALS}
    done: dict[str, int] = dict.fromkeys(TRIALS, 0)
    before = 0
    for n, (keep, seeds) in enumerate(ROUNDS, start=1):
        if before:
            alive = {
                side: survivors(outcomes[side], labels[validated], rare, keep) for side in TRIALS
            }
        # A trial that both sides try is trained once, and counts for both.
        words = f"tuning, round {n} of {len(ROUNDS)}"
        trainings.do([t for own in alive.values() for t in own], seeds, words, progress, stop)
        for side, own in alive.items():
            done[side] += len(own) * (seeds - before) * FOLDS
            for trial in own:
                predicted = trainings.predicted(trial, seeds)[:, validated]
                outcomes[side][trial] = predicted == labels[validated]
        before = seeds
    choices = {side: choose(own, labels[validated], rare) for side, own in outcomes.items()}
    assert len(set(done.values())) == 1, "the sides were not tuned alike"
    section = {
        "folds": FOLDS,
        "trials_per_side": len(TRIALS[OURS]),
        "trainings_per_side": done[OURS],
        "n_validated": len(validated),
        "classes_not_validated": [
            name for k, name in enumerate(dataset.class_names) if not (labels[validated] == k).any()
        ],
        "n_synthetic": kept.shape[1],
        "n_synthetic_by_fold": kept.sum(axis=1).tolist(),
        "sides": {
            side: _described(choice, trainings.seconds(outcomes[side]))
            for side, choice in choices.items()
        },
        "sentence": sentence(choices),
    }
    run.write_json(CHOICE, section)
    progress.say(section["sentence"])
    return choices


def sentence(choices: Mapping[str, Choice]) -> str:
    """What was chosen, in words."""
    ours, opponent = choices[OURS], choices[OPPONENT]
    return (
        f"Tuning tried {len(ours.table)} configurations a side on images held out of train. For "
        f"synthaug it chose {ours.chosen.words}: {ours.reason}. "
        f"Its opponent got {opponent.chosen.words}."
    )


def _described(choice: Choice, seconds: float) -> dict[str, Any]:
    return {
        "chosen": asdict(choice.chosen),
        "words": choice.chosen.words,
        "reason": choice.reason,
        "best": choice.best.words,
        "seconds": round(seconds, 1),
        "trials": [_row(scored, choice) for scored in choice.table],
    }


def _row(scored: Scored, choice: Choice) -> dict[str, Any]:
    numbers = ("balanced_accuracy", "rare_recall", "behind", "standard_error")
    values = {name: getattr(scored, name) for name in numbers}
    return {
        **asdict(scored.trial),
        "words": scored.trial.words,
        "seeds": scored.seeds,
        **{n: None if v is None or np.isnan(v) else round(v, 6) for n, v in values.items()},
        "chosen": scored.trial == choice.chosen,
    }
