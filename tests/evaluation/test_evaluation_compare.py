"""Intervals against scipy, and how often luck gets a reading."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from synthaug.evaluation.compare import Estimate, estimate, gap_closed, paired_difference

numbers = st.lists(st.floats(-1, 1), min_size=2, max_size=10)


@settings(deadline=None)
@given(numbers, st.sampled_from([0.8, 0.95]))
def test_interval_equals_scipy(values, confidence):
    values = np.array(values)
    e = estimate(values, confidence)
    assert e.mean == pytest.approx(values.mean(), abs=1e-12)
    assert e.values == tuple(values)
    spread = stats.sem(values)
    if spread == 0:
        assert e.low == e.high == e.mean
    else:
        expected = stats.t.interval(confidence, len(values) - 1, values.mean(), spread)
        assert (e.low, e.high) == pytest.approx(expected, abs=1e-12)


def test_paired_difference_equals_scipy():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(0.6, 0.1, 7), rng.normal(0.5, 0.1, 7)
    e = paired_difference(ours, theirs)
    interval = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (e.low, e.high) == pytest.approx((interval.low, interval.high))
    assert e.mean == pytest.approx(ours.mean() - theirs.mean())


def test_pairing_takes_shared_luck_out():
    """Seeds move both arms by 0.1, their difference by 0.01: the interval is that of the latter."""
    rng = np.random.default_rng(1)
    luck = rng.normal(0, 0.1, 8)
    theirs, ours = 0.5 + luck, 0.53 + luck + rng.normal(0, 0.01, 8)
    paired = paired_difference(ours, theirs)
    unpaired = paired_difference(ours, rng.permutation(theirs))
    assert paired.high - paired.low < (unpaired.high - unpaired.low) / 4
    assert (paired.reading, unpaired.reading) == ("better", "no evidence")


def test_one_seed_has_no_interval():
    e = estimate(np.array([0.3]))
    assert (e.mean, e.low, e.high, e.reading) == (0.3, None, None, "no evidence")


@pytest.mark.parametrize("values", [[], [0.1, np.nan, 0.2], [np.nan]])
def test_undefined_values_give_no_estimate(values):
    assert estimate(np.array(values)) is None


@pytest.mark.parametrize(
    ("low", "high", "reading"),
    [
        (0.01, 0.2, "better"),
        (-0.2, -0.01, "worse"),
        (-0.1, 0.1, "no evidence"),
        (0.0, 0.2, "no evidence"),
        (-0.2, 0.0, "no evidence"),
        (None, None, "no evidence"),
    ],
)
def test_reading_asks_the_interval(low, high, reading):
    assert Estimate(0.05, low, high, ()).reading == reading


def simulated(effect, n=1000, seeds=5):
    """`n` paired comparisons: shared luck of 0.05, own noise of 0.02, a true `effect`."""
    rng = np.random.default_rng(2)
    for _ in range(n):
        luck = rng.normal(0.6, 0.05, seeds)
        yield paired_difference(
            luck + effect + rng.normal(0, 0.02, seeds), luck + rng.normal(0, 0.02, seeds)
        )


def test_equal_arms_are_called_different_in_five_percent():
    """1,000 A/A comparisons of 5 seeds: 5 % decided, within three standard errors (2.1 %)."""
    decided = np.mean([e.reading != "no evidence" for e in simulated(0.0)])
    assert decided <= 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5
    assert decided >= 0.05 - 3 * (0.05 * 0.95 / 1000) ** 0.5


def test_a_real_effect_is_seen():
    readings = [e.reading for e in simulated(0.1, n=200)]
    assert np.mean([r == "better" for r in readings]) > 0.95
    assert "worse" not in readings


@pytest.mark.parametrize(
    ("arm", "reference", "oracle", "share"),
    [(0.6, 0.5, 0.7, 0.5), (0.7, 0.5, 0.7, 1.0), (0.4, 0.5, 0.7, -0.5), (0.8, 0.5, 0.7, 1.5)],
)
def test_gap_closed(arm, reference, oracle, share):
    assert gap_closed(arm, reference, oracle) == pytest.approx(share)


@pytest.mark.parametrize("oracle", [0.5, 0.5005, 0.4])
def test_no_gap_no_share(oracle):
    assert gap_closed(0.6, 0.5, oracle) is None
