"""What do intervals cover that shall count the luck of seeds and of test images? Simulated arms.

    python benchmarks/coverage.py [--repetitions 500] [--seed 0]

Arms whose true difference is known (simulated.py) are compared again and again with new seeds and
new test images. Tables: methods for the recall of one class; our method for other metrics; how
often `judge` advises something where nothing differs; whether what it calls detectable is detected.
No training, no data, no graphics card: a few minutes on one core.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats
from simulated import World

from synthaug.evaluation.detectable import smallest_detectable
from synthaug.evaluation.paired import (
    Difference,
    Statistic,
    macro_f1,
    mean_recall,
    paired_differences,
    precision_of,
)
from synthaug.evaluation.verdict import judge

Floats = NDArray[np.float64]
RESAMPLES = 499
SEEDS = (3, 5)
IMAGES = (5, 10, 20, 50, 200, 1000)
CASES: dict[str, tuple[float, float, float, float]] = {
    "equal, alike": (0.8, 0.8, 0.0, 0.0),
    "equal, seeds differ": (0.8, 0.8, 0.2, 0.4),
    "equal, images differ": (0.6, 0.6, 1.0, 0.1),
    "0.85 against 0.75": (0.85, 0.75, 0.7, 0.1),
    "0.98 against 0.90": (0.98, 0.90, 0.7, 0.1),
    "0.70 against 0.30": (0.70, 0.30, 0.7, 0.3),
}
"""Recall of the two arms, and the spreads of `taste` and `run`."""
FIRST = mean_recall(np.arange(2) == 0)


def simulated(world: World, repetitions: int, rng: np.random.Generator) -> Iterator[NDArray]:
    """Predictions [A, S, N], in batches of bounded memory."""
    for start in range(0, repetitions, 50):
        yield from world.draw(rng, min(50, repetitions - start))


# Methods: differences d [S, n] of one class to the ends of an interval ----------------------------


class Parts:
    """Mean squares of a two-way layout, as variances of the mean; weights [B, S] and [B, n]."""

    def __init__(self, d: Floats, seeds: Floats | None = None, images: Floats | None = None):
        s, n = d.shape
        seeds = np.ones((1, s)) if seeds is None else seeds
        images = np.ones((1, n)) if images is None else images
        self.rows, self.columns = images @ d.T / n, seeds @ d / s  # [B, S], [B, n]
        self.mean = (self.rows * seeds).sum(1) / s
        rows = n * (seeds * (self.rows - self.mean[:, None]) ** 2).sum(1)
        columns = s * (images * (self.columns - self.mean[:, None]) ** 2).sum(1)
        total = ((seeds @ d**2) * images).sum(1) - s * n * self.mean**2
        noise = np.maximum(total - rows - columns, 0)
        self.seeds, self.images = rows / (s - 1) / (s * n), columns / (n - 1) / (s * n)
        self.noise = noise / ((s - 1) * (n - 1)) / (s * n)

    @property
    def variance(self) -> Floats:
        return self.seeds + np.maximum(self.images - self.noise, 0)


class Resampled:
    """The two-level bootstrap of d [S, n]: seeds and images drawn anew, each with replacement."""

    def __init__(self, n_seeds: int, n_images: int, rng: np.random.Generator) -> None:
        self.seeds = rng.multinomial(n_seeds, [1 / n_seeds] * n_seeds, RESAMPLES).astype(float)
        self.images = rng.multinomial(n_images, [1 / n_images] * n_images, RESAMPLES).astype(float)

    def percentile(self, d: Floats) -> tuple[float, float]:
        low, high = np.quantile(Parts(d, self.seeds, self.images).mean, [0.025, 0.975])
        return low, high

    def bca(self, d: Floats) -> tuple[float, float]:
        """Efron (1987), with the influence of seeds and of images in one acceleration."""
        means, once = Parts(d, self.seeds, self.images).mean, Parts(d)
        below = (means < once.mean).mean() + (means == once.mean).mean() / 2
        z0 = special.ndtri(np.clip(below, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
        influence = np.concatenate(
            [(once.rows[0] - once.mean) / d.shape[0], (once.columns[0] - once.mean) / d.shape[1]]
        )
        squares = (influence**2).sum()
        a = (influence**3).sum() / (6 * squares**1.5) if squares > 0 else 0.0
        z = z0 + special.ndtri([0.025, 0.975])
        low, high = np.quantile(means, special.ndtr(z0 + z / (1 - a * z)))
        return low, high

    def studentised(self, d: Floats) -> tuple[float, float]:
        again, once = Parts(d, self.seeds, self.images), Parts(d)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.nan_to_num((again.mean - once.mean) / np.sqrt(again.variance), nan=0.0)
        low, high = np.quantile(t, [0.025, 0.975], method="inverted_cdf")
        if once.variance[0] == 0:
            return once.mean[0], once.mean[0]
        ends = once.mean[0] - np.sqrt(once.variance[0]) * np.array([high, low])
        return max(ends[0], -1.0), min(ends[1], 1.0)


def t_interval(mean: float, variance: float, freedom: float) -> tuple[float, float]:
    half = stats.t.ppf(0.975, freedom) * variance**0.5 if variance > 0 else 0.0
    return mean - half, mean + half


def over_seeds(d: Floats) -> tuple[float, float]:
    parts = Parts(d)
    return t_interval(parts.mean[0], parts.seeds[0], len(d) - 1)


def pigeonhole(d: Floats) -> tuple[float, float]:
    """Both parts in full, which is what a two-level bootstrap estimates (Owen 2007)."""
    parts = Parts(d)
    return satterthwaite(parts.mean[0], parts.seeds[0], parts.images[0], d)


def satterthwaite(mean: float, a: float, b: float, d: Floats) -> tuple[float, float]:
    s, n = d.shape
    if a + b == 0:
        return mean, mean
    return t_interval(mean, a + b, (a + b) ** 2 / (a**2 / (s - 1) + b**2 / (n - 1)))


def table_of_methods(repetitions: int, rng: np.random.Generator) -> None:
    names = (
        "seeds only, t", "percentile", "BCa", "studentised", "pigeonhole, t", "ours, Satterthwaite",
        "**ours**",
    )  # fmt: skip
    print(
        "Coverage of 95 % intervals for the difference in recall of one class, in %: lowest to "
        "highest over the cases below. In brackets the median half length, a mean over cases.\n"
    )
    print(f"| seeds | test images | {' | '.join(names)} |")
    print("|---:|---:|" + "---:|" * len(names))
    for n_seeds in SEEDS:
        for n in IMAGES:
            covered = np.zeros((len(CASES), len(names)))
            length = np.zeros_like(covered)
            again = Resampled(n_seeds, n, rng)
            for i, (ours, theirs, taste, run) in enumerate(CASES.values()):
                world = World(((ours, 0.9), (theirs, 0.9)), (n, 1), n_seeds, taste=taste, run=run)
                ends = np.array([
                    intervals(p, world, again) for p in simulated(world, repetitions, rng)
                ])  # [R, methods, 2]  # fmt: skip
                truth, tiny = ours - theirs, 1e-12
                inside = (ends[..., 0] <= truth + tiny) & (truth - tiny <= ends[..., 1])
                covered[i] = inside.mean(0)
                length[i] = np.median(np.ptp(ends, axis=-1) / 2, axis=0)
            cells = [
                f"{100 * c.min():.0f} – {100 * c.max():.0f} ({h.mean():.2f})"
                for c, h in zip(covered.T, length.T, strict=True)
            ]
            print(f"| {n_seeds} | {n:,} | {' | '.join(cells)} |", flush=True)


def intervals(predictions: NDArray, world: World, again: Resampled) -> list[tuple[float, float]]:
    y = world.y_true
    ours, theirs = predictions
    d = ((ours == y).astype(float) - (theirs == y))[:, y == 0]
    (found,) = paired_differences(y, ours, theirs, [FIRST], n_classes=2)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    return [
        over_seeds(d), again.percentile(d), again.bca(d), again.studentised(d), pigeonhole(d),
        satterthwaite(found.mean, found.seed_variance, found.image_variance, d),
        (found.low, found.high),
    ]  # fmt: skip


# Our method ---------------------------------------------------------------------------------------


def table_of_metrics(repetitions: int, rng: np.random.Generator) -> None:
    k = 4
    every = np.arange(k)
    metrics: dict[str, Statistic] = {
        "recall": mean_recall(every == 0),
        "precision": precision_of(0),
        "balanced accuracy": mean_recall(every >= 0),
        "macro F1": macro_f1,
    }
    print(
        "Coverage of our intervals in %, four classes of which the first has the test images of "
        "the row and the others 50, 100 and 200: lowest to highest over the cases.\n"
    )
    print(f"| seeds | test images | {' | '.join(metrics)} |")
    print("|---:|---:|" + "---:|" * len(metrics))
    for n_seeds in SEEDS:
        for n in (6, *IMAGES[1:-1]):
            covered = []
            for ours, theirs, taste, run in CASES.values():
                rest = (0.9, 0.8, 0.85)
                world = World(
                    ((ours, *rest), (theirs, *rest)), (n, 50, 100, 200), n_seeds,
                    taste=taste, run=run,
                )  # fmt: skip
                expected = world.expected(rng)
                truth = [(s(expected[0])[0] - s(expected[1])[0]).mean() for s in metrics.values()]
                covered.append(coverage(world, list(metrics.values()), truth, repetitions, rng))
            ranges = [f"{100 * min(c):.0f} – {100 * max(c):.0f}" for c in np.transpose(covered)]
            print(f"| {n_seeds} | {n:,} | {' | '.join(ranges)} |", flush=True)


def coverage(
    world: World,
    metrics: list[Statistic],
    truth: Iterable[float],
    repetitions: int,
    rng: np.random.Generator,
) -> Floats:
    told = [
        paired_differences(world.y_true, p[0], p[1], metrics, n_classes=world.n_classes)
        for p in simulated(world, repetitions, rng)
    ]

    def covers(d: Difference | None, value: float) -> float:
        return np.nan if d is None or d.low is None else d.low <= value <= (d.high or 0)

    return np.nanmean([[covers(d, v) for d, v in zip(row, truth, strict=True)] for row in told], 0)


def table_of_verdicts(repetitions: int, rng: np.random.Generator) -> None:
    print(
        "Advice where all arms are equal, in % of repetitions: `use`, `do not use` overall, and to "
        "any of four classes of 200, 60, 25 and 7 test images.\n"
    )
    print("| seeds | opponents | case | overall | any class |")
    print("|---:|---:|---|---:|---:|")
    names, recall = ("a", "b", "c", "d"), (0.9, 0.8, 0.7, 0.6)
    for n_seeds in SEEDS:
        for n_opponents in (1, 4):
            for case in list(CASES)[:3]:
                _, _, taste, run = CASES[case]
                world = World(
                    (recall,) * (1 + n_opponents), (200, 60, 25, 7), n_seeds, taste=taste, run=run
                )
                judgements = [
                    judge(
                        world.y_true, {str(i): x for i, x in enumerate(p)}, ours="0",
                        opponents=[str(i + 1) for i in range(n_opponents)], class_names=names,
                        minority=np.arange(4) >= 2,
                    )
                    for p in simulated(world, repetitions, rng)
                ]  # fmt: skip
                overall = [j.advice for j in judgements]
                by_class = [[c.advice for c in j.classes] for j in judgements]
                cells = [
                    " / ".join(
                        f"{100 * np.mean([word in advice for advice in said]):.1f}"
                        for word in ("use", "do not use")
                    )
                    for said in ([[advice] for advice in overall], by_class)
                ]
                print(f"| {n_seeds} | {n_opponents} | {case} | {' | '.join(cells)} |", flush=True)


def table_of_sizes(repetitions: int, rng: np.random.Generator) -> None:
    print(
        "The smallest detectable difference in recall from 0.3, at 5 % and at 5 % for ten classes: "
        "the median of what 50 comparisons of equal arms say, and how often that difference and "
        "twice it are found, in %.\n"
    )
    print("| seeds | test images | level | detectable | found | twice it found |")
    print("|---:|---:|---:|---:|---:|---:|")
    for n_seeds in (*SEEDS, 10):
        for n in IMAGES[2:]:
            for level in (0.05, 0.005):
                row = sizes(n_seeds, n, level, repetitions, rng)
                print(f"| {n_seeds} | {n:,} | {level:g} | {' | '.join(row)} |", flush=True)


def sizes(
    n_seeds: int, n: int, level: float, repetitions: int, rng: np.random.Generator
) -> tuple[str, str, str]:
    def compared(recall: float, repetitions: int) -> list[Difference]:
        world = World(((recall, 0.9), (0.3, 0.9)), (n, 20), n_seeds)
        found = [
            paired_differences(world.y_true, p[0], p[1], [FIRST], n_classes=2)[0]
            for p in simulated(world, repetitions, rng)
        ]
        return [d for d in found if d is not None]

    told = [
        smallest_detectable(
            n, n_seeds, seed_variance=d.seed_variance, image_variance=d.image_variance, level=level
        )
        for d in compared(0.3, 50)
    ]
    size = float(np.median([np.inf if t is None else t for t in told]))
    shares = []
    for planted in (size, 2 * size):
        if 0.3 + planted > 0.99:
            shares.append("")
            continue
        found = [d.p is not None and d.p < level and d.mean > 0
                 for d in compared(0.3 + planted, repetitions)]  # fmt: skip
        shares.append(f"{100 * np.mean(found):.0f}")
    return f"{size:.3f}" if np.isfinite(size) else "none", shares[0], shares[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    started = time.perf_counter()
    tables: dict[str, Callable[[int, np.random.Generator], None]] = {
        "Methods": table_of_methods,
        "Other metrics": table_of_metrics,
        "Verdicts on nothing": table_of_verdicts,
        "What is detectable": table_of_sizes,
    }
    print(
        f"```\npython benchmarks/coverage.py --repetitions {asked.repetitions} --seed {asked.seed}"
        f"\n```\n\n{os.cpu_count()} cores, {platform.machine()}, numpy {np.__version__}, "
        f"{datetime.now(UTC):%Y-%m-%d}; {RESAMPLES} resamples."
    )
    for i, (title, table) in enumerate(tables.items()):
        print(f"\n## {title}\n")
        table(asked.repetitions, np.random.default_rng([asked.seed, i]))
    print(f"\n{(time.perf_counter() - started) / 60:.0f} minutes.")


if __name__ == "__main__":
    main()
