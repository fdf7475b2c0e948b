"""Paired differences: values, slopes and variances by other means, and what they cover."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from synthaug.evaluation.intervals import half_width, p_value
from synthaug.evaluation.metrics import confusion_matrix
from synthaug.evaluation.paired import macro_f1, mean_recall, paired_differences, precision_of

EVERY = np.ones(4, dtype=bool)
STATISTICS = {
    "recall of one": mean_recall(np.arange(4) == 1),
    "recall of two": mean_recall(np.arange(4) >= 2),
    "balanced accuracy": mean_recall(EVERY),
    "precision": precision_of(2),
    "macro F1": macro_f1,
}
N_TEST = (9, 30, 14, 7)


def drawn(seed=0, n_seeds=5, n_test=N_TEST, right=0.7):
    """(y_true [N], two arms' predictions [2, S, N]) at random, in no order."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(n_test)), n_test))
    guess = rng.integers(0, len(n_test), (2, n_seeds, len(y)))
    return y, np.where(rng.random(guess.shape) < right, y, guess)


def compare(y, arms, *statistics, n_classes=4, **options):
    return paired_differences(y, arms[0], arms[1], statistics, n_classes=n_classes, **options)


def test_means_and_values_are_those_of_scikit_learn():
    y, arms = drawn()
    found = compare(y, arms, *STATISTICS.values())

    def by_seed(metric, **options):
        scores = [[metric(y, p, zero_division=0, **options) for p in arm] for arm in arms]
        return np.subtract(*scores)

    recalls = by_seed(recall_score, average=None, labels=range(4))
    expected = [
        recalls[:, 1],
        recalls[:, 2:].mean(1),
        recalls.mean(1),
        by_seed(precision_score, average=None, labels=[2])[:, 0],
        by_seed(f1_score, average="macro"),
    ]
    for d, values in zip(found, expected, strict=True):
        np.testing.assert_allclose(d.values, values, atol=1e-12)
        assert d.mean == pytest.approx(values.mean())


@pytest.mark.parametrize("name", STATISTICS)
def test_slopes_are_derivatives_up_to_a_constant_per_true_class(name):
    """Moving a little of one image from column to column, which leaves class sizes alone."""
    y, arms = drawn(n_seeds=2)
    confusion = confusion_matrix(y, arms[0], 4).astype(float)
    slope = STATISTICS[name](confusion)[1]
    tiny = 1e-5
    for k in range(4):
        for j in range(1, 4):
            moved = confusion.copy()
            moved[:, k, 0] -= tiny
            moved[:, k, j] += tiny
            back = 2 * confusion - moved
            measured = (STATISTICS[name](moved)[0] - STATISTICS[name](back)[0]) / (2 * tiny)
            np.testing.assert_allclose(slope[:, k, j] - slope[:, k, 0], measured, atol=1e-7)


def test_the_two_variances_are_those_of_a_two_way_analysis_of_variance():
    """Of recall: seeds times images, from mean squares, with two images more that disagree."""
    y, (ours, theirs) = drawn()
    (d,) = compare(y, (ours, theirs), STATISTICS["recall of one"])
    x = ((ours == y).astype(float) - (theirs == y))[:, y == 1]  # [S, n]
    s, n = x.shape
    rows, columns, grand = x.mean(1), x.mean(0), x.mean()
    ms_seeds = n * ((rows - grand) ** 2).sum() / (s - 1)
    ms_images = s * ((columns - grand) ** 2).sum() / (n - 1)
    residual = x - rows[:, None] - columns + grand
    ms_residual = (residual**2).sum() / ((s - 1) * (n - 1))
    assert d.seed_variance == pytest.approx(ms_seeds / (s * n))
    extra = 2 * (columns**4).sum() / (columns**2).sum() / n**2
    expected = (ms_images - ms_residual) / (s * n) + extra
    assert d.image_variance == pytest.approx(max(expected, 0))
    assert d.image_variance > 0  # not vacuous
    assert d.discordant == np.count_nonzero(columns)


@pytest.mark.parametrize("name", ["balanced accuracy", "precision", "macro F1"])
def test_image_variance_is_that_of_resampled_images(name):
    """Large classes and many seeds, so that only which images were drawn matters: a bootstrap."""
    rng = np.random.default_rng(5)
    y = np.repeat(np.arange(4), (150, 300, 200, 100))
    guess = rng.integers(0, 4, (2, 1, len(y)))
    arms = np.repeat(np.where(rng.random(guess.shape) < 0.7, y, guess), 2, axis=1)
    (d,) = compare(y, arms, STATISTICS[name])
    assert d.seed_variance == 0
    again = []
    for _ in range(2000):
        i = np.concatenate([rng.choice(np.flatnonzero(y == k), (y == k).sum()) for k in range(4)])
        tables = [confusion_matrix(y[i], arm[:1, i], 4).astype(float) for arm in arms]
        again.append(np.subtract(*(STATISTICS[name](t)[0] for t in tables)).item())
    # Two pretended images and the degrees of freedom of four classes make it a little larger.
    assert 1 < d.image_variance / np.var(again) < 1.15


@pytest.mark.parametrize("name", STATISTICS)
def test_neither_the_order_of_images_nor_of_seeds_matters(name):
    y, arms = drawn(1)
    (d,) = compare(y, arms, STATISTICS[name])
    images = np.random.default_rng(0).permutation(len(y))
    (other,) = compare(y[images], arms[:, ::-1][..., images], STATISTICS[name])
    assert other.values == pytest.approx(d.values[::-1])
    for field in ("mean", "low", "high", "p", "seed_variance", "image_variance", "discordant"):
        assert getattr(other, field) == pytest.approx(getattr(d, field))


@pytest.mark.parametrize("name", ["recall of one", "balanced accuracy", "precision", "macro F1"])
def test_swapped_arms_swap_the_sign(name):
    y, arms = drawn(2)
    (d,), (other,) = compare(y, arms, STATISTICS[name]), compare(y, arms[::-1], STATISTICS[name])
    assert (other.mean, other.low, other.high) == pytest.approx((-d.mean, -d.high, -d.low))
    assert other.p == pytest.approx(d.p)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.integers(0, 10**6),
    st.integers(2, 6),
    st.lists(st.integers(1, 12), min_size=2, max_size=4),
    st.floats(0, 1),
)
def test_interval_and_p_agree_and_stay_in_bounds(seed, n_seeds, n_test, right):
    y, arms = drawn(seed, n_seeds, n_test, right)
    k = len(n_test)
    statistics = [mean_recall(np.ones(k, bool)), mean_recall(np.arange(k) == 0), macro_f1]
    for d in compare(y, arms, *statistics, precision_of(0), n_classes=k):
        if d is None:
            continue
        assert -1 <= d.low <= d.mean <= d.high <= 1
        assert 0 <= d.p <= 1
        assert (d.p < 0.05) == (d.reading != "no evidence")


def test_row_101_a_class_without_test_images_has_no_difference():
    y, arms = drawn(n_test=(9, 30, 14))
    none, balanced = compare(y, arms, mean_recall(np.arange(4) == 3), mean_recall(EVERY))
    assert none is None
    assert balanced.mean == compare(y, arms, mean_recall(EVERY[:3]), n_classes=3)[0].mean


def test_precision_that_one_seed_leaves_undefined_has_no_difference():
    y, arms = drawn()
    arms[1, 3][arms[1, 3] == 2] = 0
    assert compare(y, arms, precision_of(2)) == [None]
    assert compare(y, arms, precision_of(1))[0] is not None


def test_one_seed_gives_a_mean_and_no_more():
    y, arms = drawn(n_seeds=1)
    (d,) = compare(y, arms, mean_recall(EVERY))
    assert (d.low, d.high, d.p, d.reading) == (None, None, None, "no evidence")
    assert d.values == (d.mean,)


@pytest.mark.parametrize("n", [1, 2, 5, 20, 400])
def test_arms_that_never_differ_may_still_differ_on_other_images(n):
    """Not [0, 0]: n images without a case exclude rates above about 3/n at most (rule of three)."""
    y = np.zeros(n, dtype=int)
    same = np.zeros((2, 5, n), dtype=int)
    (d,) = compare(y, same, mean_recall(np.array([True])), n_classes=1)
    assert d.mean == 0
    assert d.p == 1
    assert d.high == -d.low == pytest.approx(min(1.96 * 2**0.5 / n, 1), rel=1e-3)
    assert d.high >= min(0.9 * (1 - 0.05 ** (1 / n)), 1)


@pytest.mark.parametrize(("m", "enough"), [(4, False), (5, False), (6, True), (8, True)])
@pytest.mark.parametrize("n", [8, 50, 1000])
def test_it_takes_six_images_that_all_point_one_way(n, m, enough):
    y = np.zeros(n, dtype=int)
    arms = np.zeros((2, 5, n), dtype=int)
    arms[1, :, :m] = 1
    (d,) = compare(y, arms, mean_recall(np.array([True, False])), n_classes=2)
    assert d.mean == pytest.approx(m / n)
    assert d.discordant == m
    assert (d.reading == "better") == enough
    assert d.p >= 2.0 ** (1 - m)


def test_a_lucky_seed_is_not_an_effect():
    """One seed in which an arm fails widens the interval, however many images there are."""
    rng = np.random.default_rng(0)
    y = np.zeros(2000, dtype=int)
    arms = (rng.random((2, 5, 2000)) < 0.1).astype(int)
    arms[1, 4] = rng.random(2000) < 0.4
    (d,) = compare(y, arms, mean_recall(np.array([True, False])), n_classes=2)
    assert d.mean == pytest.approx(0.06, abs=0.01)
    assert d.reading == "no evidence"
    assert d.high > 0.15


def test_pairing_takes_hard_images_out():
    """Both arms fail on the same images, so a small difference is seen."""
    rng = np.random.default_rng(1)
    y = np.zeros(400, dtype=int)
    ours = np.repeat((rng.random(400) < 0.4).astype(int)[None], 5, axis=0)
    theirs = ours.copy()
    theirs[:, np.flatnonzero(ours[0] == 0)[:12]] = 1
    recall = mean_recall(np.array([True, False]))
    (paired,) = compare(y, (ours, theirs), recall, n_classes=2)
    (unpaired,) = compare(y, (ours, theirs[:, rng.permutation(400)]), recall, n_classes=2)
    assert paired.high - paired.low < (unpaired.high - unpaired.low) / 3
    assert (paired.reading, unpaired.reading) == ("better", "no evidence")


# Calibration ------------------------------------------------------------------------------------

RECALL, BALANCED = mean_recall(np.arange(3) == 0), mean_recall(np.arange(3) >= 0)
JUDGED = {"recall": RECALL, "balanced": BALANCED, "precision": precision_of(0), "F1": macro_f1}


def truths(true_world, rng):
    ours, theirs = true_world.expected(rng)
    return np.array([(s(ours)[0] - s(theirs)[0]).mean() for s in JUDGED.values()])


def rates(true_world, repetitions, rng):
    """How often each statistic's interval misses the truth, and how often p is below 0.05, 0.01."""
    truth, y = truths(true_world, rng), true_world.y_true
    missed, low, lower = np.zeros((3, len(truth)))
    for start in range(0, repetitions, 100):
        for arms in true_world.draw(rng, min(100, repetitions - start)):
            for i, d in enumerate(compare(y, arms, *JUDGED.values(), n_classes=3)):
                missed[i] += not d.low <= truth[i] <= d.high
                low[i] += d.p < 0.05
                lower[i] += d.p < 0.01
    return missed / repetitions, low / repetitions, lower / repetitions


def above(rate, repetitions):
    """A rate and three standard errors of its estimate."""
    return rate + 3 * (rate * (1 - rate) / repetitions) ** 0.5


WORLDS = {
    "equal arms, alike": {"recall": ((0.8, 0.7, 0.9),) * 2, "taste": 0.0, "run": 0.0},
    "equal arms, seeds differ": {"recall": ((0.8, 0.7, 0.9),) * 2, "taste": 0.0, "run": 0.4},
    "equal arms, images differ": {"recall": ((0.8, 0.7, 0.9),) * 2, "taste": 1.0},
    "an effect": {"recall": ((0.85, 0.7, 0.85), (0.7, 0.75, 0.9))},
}


def check_coverage(make, name, n_test, n_seeds, repetitions):
    """95 % are covered, two less allowed for approximation; more where images are few."""
    rng = np.random.default_rng(11)
    missed, low, lower = rates(
        make(n_test=n_test, n_seeds=n_seeds, **WORLDS[name]), repetitions, rng
    )
    assert (missed <= above(0.07, repetitions)).all(), missed
    assert (missed >= 0.005).any()  # the intervals are not simply endless
    if name.startswith("equal"):
        assert (low <= above(0.05, repetitions)).all(), low
        assert (lower <= above(0.01, repetitions)).all(), lower
    return missed


@pytest.mark.parametrize("name", WORLDS)
def test_intervals_cover_the_truth_and_equal_arms_are_equal(world, name):
    missed = check_coverage(world, name, (40, 80, 120), 5, 600)
    assert (missed >= 0.03 - 3 * (0.03 * 0.97 / 600) ** 0.5).all(), missed  # nor too wide


@pytest.mark.slow
@pytest.mark.parametrize("n_seeds", [3, 5])
@pytest.mark.parametrize("n_test", [(6, 20, 30), (20, 40, 60), (60, 200, 400), (1000, 200, 50)])
@pytest.mark.parametrize("name", WORLDS)
def test_coverage_in_every_corner(world, name, n_test, n_seeds):
    check_coverage(world, name, n_test, n_seeds, 2000)


@pytest.mark.slow
def test_the_benchmark_prints_its_four_tables():
    script = Path(__file__).parents[2] / "benchmarks/coverage.py"
    command = [sys.executable, str(script), "--repetitions", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if re.match(r"\| \d+ \|", line)]
    assert len(rows) == 12 + 10 + 12 + 24


def test_seeds_alone_or_images_alone_do_not_cover(world):
    """The alternatives to counting both, at the variances that `Difference` tells."""
    equal = world(recall=((0.8, 0.7, 0.9),) * 2, n_test=(200, 40, 40), taste=1.0, run=0.2)
    rng = np.random.default_rng(12)
    missed = np.zeros(3)
    for arms in equal.draw(rng, 300):
        (d,) = compare(equal.y_true, arms, RECALL, n_classes=3)
        a, b = d.seed_variance, d.image_variance
        missed += [abs(d.mean) > half_width(a, 0, 5), abs(d.mean) > half_width(0, b, 5), d.p < 0.05]
        assert p_value(d.mean, a, b, 5) == pytest.approx(d.p, rel=1e-6)
    seeds, images, both = missed / 300
    assert both <= above(0.05, 300)
    assert min(seeds, images) > above(0.05, 300)
