"""How near to a train image may a synthetic one be? Recall by the threshold that refuses copies.

    python benchmarks/copies.py RUN EXTRA [--seeds 4]

RUN is a run of MNIST-LT after `generate`; EXTRA holds further real images of its classes. They are
the judges here, so that nothing is chosen on test images. All rows share the candidates and the
classifiers' seeds, and differ in which candidates are kept: the first ones up to the plan's number.
"""

import argparse
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from trials import spread

from synthaug.evaluation.arms import Arm, Material
from synthaug.recipe import Recipe
from synthaug.selection.choose import Thresholds, judge
from synthaug.selection.sets import Candidates
from synthaug.stages.bench import Bench, train_all
from synthaug.stages.class_files import read_class
from synthaug.stages.dataset import Dataset, load_dataset, read_extra
from synthaug.stages.planning import classifier_options
from synthaug.stages.progress import Silent
from synthaug.stages.run_dir import RunDir, read_recipe
from synthaug.stages.selecting import Chooser
from synthaug.stages.signals import StopFlag, stop_flag

THRESHOLDS = {
    "what is exactly one of them": 1e-9,
    "below 1/4": 1 / 4,
    "below 1/3": 1 / 3,
    "below 1/2": 1 / 2,
}
"""What is refused as a copy, and `selection.copy_below`; all other reasons count in each row."""
RAREST = 3


@dataclass(frozen=True)
class Row:
    """`recalls` [seeds, K] of one choice of images, and how many were kept of each class."""

    recalls: np.ndarray
    kept: Mapping[int, int]


class Trials:
    """A run, the candidates of each class with what was wanted of it, and the judging images."""

    def __init__(self, run: RunDir, extra: Path, seeds: int, stop: StopFlag) -> None:
        self.dataset: Dataset = load_dataset(run)
        self.recipe: Recipe = read_recipe(run)
        self.extra = read_extra(extra, self.dataset, self.recipe.data, Silent())
        self.seeds, self.stop = seeds, stop
        self.chooser = Chooser(run, self.dataset, self.recipe, torch.device("cpu"), Silent(), stop)
        made = run.read_json("generate.json")
        wanted = {
            k: made["counts"].get(name, 0) + made["shortfall"].get(name, 0)
            for k, name in enumerate(self.dataset.class_names)
        }
        self.wanted = {k: n for k, n in wanted.items() if n}
        self.images, self.usable = {}, {}
        for k in self.wanted:
            found = read_class(run, self.dataset, k)
            assert found is not None, "generate kept its candidates"
            self.images[k], self.usable[k] = found[1].images, found[1].unfiltered

    def accepted(self, copy_below: float) -> dict[int, np.ndarray]:
        """Of each class the positions of the candidates that no rule refuses."""
        accepted = {}
        for k, images in self.images.items():
            features, probabilities = self.chooser.selector.look(images)
            order = np.arange(len(images))
            labels = np.full(len(images), k)
            some = Candidates(images, features, labels, probabilities, order)
            found, _ = judge(some, self.chooser.real, Thresholds(copy_below=copy_below))
            refused = np.logical_or.reduce(list(found.values()))
            accepted[k] = self.usable[k][~refused[self.usable[k]]]
        return accepted

    def row(self, side: str, accepted: Mapping[int, np.ndarray]) -> Row:
        """Train the classifiers of an arm with the first accepted images of each class."""
        first = {k: positions[: self.wanted[k]] for k, positions in accepted.items()}
        images = [self.images[k][positions] for k, positions in first.items()]
        labels = [np.full(len(positions), k) for k, positions in first.items()]
        material = Material(
            real=self.dataset.train,
            n_classes=self.dataset.n_classes,
            synthetic=(np.concatenate(images), np.concatenate(labels)) if images else None,
            synthetic_share=self.recipe.evaluation.synthetic_share,
            seed=self.recipe.seed,
        )
        bench = Bench(material, self.extra, classifier_options(self.recipe), "cpu")
        jobs = [(Arm(side, "la"), seed) for seed in range(self.seeds)]
        logits = {seed: arrays["logits"] for (_, seed), arrays in train_all(bench, jobs, self.stop)}
        recalls = np.stack([self.recalls(logits[seed]) for seed in range(self.seeds)])
        return Row(recalls, {k: len(positions) for k, positions in first.items()})

    def recalls(self, logits: np.ndarray) -> np.ndarray:
        """Recall of each class, float64 [K]; nan where no image judges."""
        labels = self.extra[1]
        right = logits.argmax(1) == labels
        there = np.bincount(labels, minlength=self.dataset.n_classes)
        with np.errstate(invalid="ignore"):
            shares: np.ndarray = np.bincount(labels, right, self.dataset.n_classes) / there
        return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("extra", type=Path)
    parser.add_argument("--seeds", type=int, default=4)
    asked = parser.parse_args()
    with stop_flag() as stop:
        trials = Trials(RunDir(asked.run), asked.extra, asked.seeds, stop)
        rows = {
            "no synthetic images": trials.row("real+oversample", {}),
            "nothing": trials.row("synthaug", trials.usable),
        }
        for name, copy_below in THRESHOLDS.items():
            rows[name] = trials.row("synthaug", trials.accepted(copy_below))
    show(trials, rows)


def show(trials: Trials, rows: Mapping[str, Row]) -> None:
    counts = trials.dataset.counts(trials.dataset.splits.train)
    rarest = [int(k) for k in np.argsort(counts, kind="stable")[:RAREST]]
    print(
        f"```\npython benchmarks/copies.py RUN EXTRA --seeds {trials.seeds}\n```\n\n"
        f"{trials.dataset.name}, {os.cpu_count()} cores, {platform.machine()}, "
        f"torch {torch.__version__}, {datetime.now(UTC):%Y-%m-%d}.\n"
    )
    heads = " | ".join(f"{counts[k]} images: kept, recall" for k in rarest)
    print(f"| refused as a copy | {heads} | the {RAREST} rarest | balanced accuracy |")
    print("|---|" + "---:|" * (RAREST + 2))
    for name, row in rows.items():
        each = " | ".join(
            f"{row.kept.get(k, 0)} of {trials.wanted[k]}, {row.recalls[:, k].mean():.3f}"
            for k in rarest
        )
        rare = spread(row.recalls[:, rarest].mean(axis=1))
        print(f"| {name} | {each} | {rare} | {spread(np.nanmean(row.recalls, axis=1))} |")


if __name__ == "__main__":
    main()
