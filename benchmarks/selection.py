"""What does selection refuse? Good and bad images at every filter, on scikit-learn's digits.

    python benchmarks/selection.py

Good images are real ones that nobody has seen. Bad ones are of another class, noise, blends of two
classes and blurred ones; copies are of train images. Seeds change which class is rare.
"""

import os
import platform
import time
import warnings
from copy import copy
from dataclasses import asdict, replace

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from synthaug.data.longtail import long_tail_counts
from synthaug.selection.choose import COPY, REASONS, Thresholds, judge, study
from synthaug.selection.scores import class_limits
from synthaug.selection.sets import Candidates, ImageSet

SEEDS = 5
N_MAX, IMBALANCE_RATIO = 100, 20
FEW = 20
PER_CLASS = 100
FILTERS = REASONS[1:-1]
ALL_CAUGHT = ("copy", "copy, moved 1 pixel", "copy, mirrored", "copy, 10 % darker")
"""Kinds left out of the second table."""
VARIED = (
    *(Thresholds(copy_rate=v) for v in (0.005, 0.01, 0.05)),
    *(Thresholds(duplicate_below=v) for v in (0.15, 0.5)),
    *(Thresholds(widen=v) for v in (1.0, 3.0, 4.0)),
    *(Thresholds(third_above=v) for v in (0.4, 0.6, 0.8)),
    *(Thresholds(entropy_above=v) for v in (0.6, 0.7, 0.8, 0.9)),
)


class Bench:
    """A long-tailed split of the digits and a classifier that has learned from its train part."""

    def __init__(self, seed: int) -> None:
        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
        self.rng = np.random.default_rng(seed)
        train, rest = [], []
        self.counts = np.empty(10, dtype=np.int64)
        sizes = long_tail_counts(N_MAX, 10, IMBALANCE_RATIO)
        for k, size in zip(self.rng.permutation(10), sizes, strict=True):
            order = self.rng.permutation(np.flatnonzero(digits.target == k))
            self.counts[k] = size
            train.append(order[:size])
            rest.append(order[size : size + PER_CLASS])
        self.x, self.y = images[np.concatenate(train)], digits.target[np.concatenate(train)]
        self.unseen, self.truth = images[np.concatenate(rest)], digits.target[np.concatenate(rest)]
        balanced = np.concatenate(
            [np.resize(np.flatnonzero(self.y == k), N_MAX) for k in range(10)]
        )
        self.classifier = MLPClassifier((64,), alpha=1.0, max_iter=150, random_state=seed)
        with warnings.catch_warnings(action="ignore"):  # it need not converge
            self.classifier.fit(flat(self.x[balanced]), self.y[balanced])
        self.accuracy = self.classifier.score(flat(self.unseen), self.truth)
        self.train = ImageSet(self.x, self.features(self.x), self.y)
        self.real = study(self.train, 10)
        self.kinds = {kind: self.candidates(*made) for kind, made in self.make().items()}

    def features(self, images: np.ndarray) -> np.ndarray:
        """Hidden layer after ReLU."""
        weights, bias = self.classifier.coefs_[0], self.classifier.intercepts_[0]
        return np.maximum(flat(images) @ weights + bias, 0)

    def candidates(self, images: np.ndarray, labels: np.ndarray) -> Candidates:
        probabilities = self.classifier.predict_proba(flat(images))
        seeds = np.arange(len(images))
        return Candidates(images, self.features(images), labels, probabilities, seeds)

    def with_limits(self, thresholds: Thresholds) -> "Bench":
        """The same with the limits that other thresholds ask for."""
        other = copy(self)
        rate, widen = thresholds.limit_rate, thresholds.widen
        limits = class_limits(self.real.distinct, 10, rate=rate, widen=widen)
        other.real = replace(self.real, limits=limits)
        return other

    def make(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """(images, labels they claim) of each kind."""
        x, y, rng = self.unseen, self.truth, self.rng
        few = self.counts[y] < FEW
        wrong = (y + rng.integers(1, 10, len(y))) % 10
        near = self.real.limits.confusers[wrong, y]
        other = rng.permutation(len(x))
        apart = y != y[other]
        mean = (x.astype(float) + x[other]) / 2
        noise = rng.integers(0, 256, x.shape, dtype=np.uint8)
        twice = np.concatenate([x, grey(x + rng.normal(0, 5, x.shape))])
        t, label = self.x, self.y
        return {
            "real, 20 to 100": (x[~few], y[~few]),
            "real, 5 to 19": (x[few], y[few]),
            "usual confuser's image": (x[near], wrong[near]),
            "other class's image": (x[~near], wrong[~near]),
            "uniform noise": (noise, y),
            "blend of two classes": (grey(mean[apart]), y[apart]),
            "blurred": (blurred(x), y),
            "each image twice": (twice, np.concatenate([y, y])),
            "copy": (t, label),
            "copy, moved 1 pixel": (moved(t), label),
            "copy, mirrored": (t[..., ::-1], label),
            "copy, noise of 5 %": (grey(t + rng.normal(0, 0.05 * 255, t.shape)), label),
            "copy, noise of 10 %": (grey(t + rng.normal(0, 0.1 * 255, t.shape)), label),
            "copy, 10 % darker": (grey(0.9 * t), label),
        }


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255


def grey(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def blurred(images: np.ndarray) -> np.ndarray:
    """Means of 3x3 pixels."""
    wide = np.pad(images.astype(float), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = images.shape[2:]
    parts = [wide[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return grey(np.mean(parts, axis=0))


def moved(images: np.ndarray) -> np.ndarray:
    """Each one pixel in another of eight directions, black coming in."""
    wide = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = images.shape[2:]
    steps = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    result = np.empty_like(images)
    for n, image in enumerate(wide):
        i, j = steps[n % 8]
        result[n] = image[:, i : i + height, j : j + width]
    return result


def shares(bench: Bench, thresholds: Thresholds) -> dict[str, list[float]]:
    """Of each kind the share that each of the filters refuses, and any of them."""
    result = {}
    for kind, candidates in bench.kinds.items():
        found = judge(candidates, bench.real, thresholds)[0]
        columns = [found[name] for name in FILTERS]
        result[kind] = [float(c.mean()) for c in (*columns, np.any(columns, axis=0))]
    return result


def table(head: list[str], rows: list[tuple[str, list[float]]]) -> None:
    print(f"\n| {' | '.join(head)} |\n|---|" + "---:|" * (len(head) - 1))
    for name, values in rows:
        print(f"| {name} | " + " | ".join(f"{100 * v:.1f}" for v in values) + " |")


def main() -> None:
    started = time.perf_counter()
    benches = [Bench(seed) for seed in range(SEEDS)]
    found = {t: [shares(b.with_limits(t), t) for b in benches] for t in (Thresholds(), *VARIED)}
    passed: dict[int, list[float]] = {}
    for bench in benches:
        for kind in ("real, 20 to 100", "real, 5 to 19"):
            labels = bench.kinds[kind].labels
            copied = judge(bench.kinds[kind], bench.real)[0][COPY]
            for k in np.unique(labels):
                passed.setdefault(int(bench.counts[k]), []).append(1 - copied[labels == k].mean())
    accuracy = np.mean([bench.accuracy for bench in benches])
    print(
        "# What does selection refuse?\n\n```\npython benchmarks/selection.py\n```\n\n"
        f"scikit-learn's digits, {N_MAX} to {N_MAX // IMBALANCE_RATIO} train images a class, "
        f"{SEEDS} seeds; features of a scikit-learn MLP of 64 hidden units that learned from these "
        f"with rare classes repeated ({100 * accuracy:.1f} % of unseen images right). "
        f"{platform.machine()}, {os.cpu_count()} cores, {time.perf_counter() - started:.0f} s, "
        f"{time.strftime('%Y-%m-%d')}.\n\n"
        "Share refused, in percent, by each filter for itself and by any. Real images are unseen "
        "ones, by the train images of their class; the less of them is refused, the better."
    )
    kinds = list(benches[0].kinds)
    mean = {
        t: {kind: np.mean([r[kind] for r in f], axis=0) for kind in kinds} for t, f in found.items()
    }
    table(["images", *FILTERS, "any"], [(kind, mean[Thresholds()][kind]) for kind in kinds])
    print("\nReal images that pass as no copies, by the train images of their class:")
    sizes = sorted(passed, reverse=True)
    table(["train images", *map(str, sizes)], [("pass", [np.mean(passed[n]) for n in sizes])])
    print("\nThe same by any filter, with one threshold changed at a time:")
    shown = [kind for kind in kinds if kind not in ALL_CAUGHT]
    named = [("default", Thresholds()), *zip(map(changed, VARIED), VARIED, strict=True)]
    table(["threshold", *shown], [(n, [mean[t][kind][-1] for kind in shown]) for n, t in named])


def changed(thresholds: Thresholds) -> str:
    values, defaults = asdict(thresholds), asdict(Thresholds())
    return ", ".join(f"{k} {v}" for k, v in values.items() if v != defaults[k])


if __name__ == "__main__":
    main()
