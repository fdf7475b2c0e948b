"""The distribution behind p-values and intervals, and Holm's correction, against exact answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from synthaug.evaluation.intervals import half_width, holm, p_value

SEEDS = [2, 3, 5, 10, 40]
x = np.array([0.1, 0.5, 1.0, 2.0, 4.0, 8.0])


@pytest.mark.parametrize("n_seeds", SEEDS)
def test_only_seeds_vary_is_student_s_t(n_seeds):
    expected = 2 * stats.t.sf(x / 0.3, n_seeds - 1)
    np.testing.assert_allclose(p_value(-x, 0.09, 0.0, n_seeds), expected, rtol=1e-4, atol=1e-13)
    half = half_width(0.09, 0.0, n_seeds, 0.99)
    assert half == pytest.approx(0.3 * stats.t.isf(0.005, n_seeds - 1), rel=1e-4)


@pytest.mark.parametrize("n_seeds", SEEDS)
def test_only_images_vary_is_the_normal(n_seeds):
    np.testing.assert_allclose(p_value(x, 0.0, 4.0, n_seeds), 2 * stats.norm.sf(x / 2), rtol=1e-9)
    assert half_width(0.0, 4.0, n_seeds) == pytest.approx(2 * 1.959964, rel=1e-6)


@pytest.mark.parametrize("n_seeds", [3, 5])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_both_is_the_sum_of_the_two(n_seeds, share):
    """P(|sqrt(a) t + sqrt(b) z| > x), by integration over z."""
    a, b = share, 1 - share
    for at in (0.5, 2.0, 5.0):

        def beyond(z, at=at):
            tail = stats.t.sf((at - b**0.5 * z) / a**0.5, n_seeds - 1)
            return 2 * tail * stats.norm.pdf(z)

        expected = integrate.quad(beyond, -9, 9)[0]  # fmt: skip
        assert p_value(at, a, b, n_seeds) == pytest.approx(expected, rel=1e-4)


variances = st.floats(0, 10).map(lambda v: v if v > 1e-6 else 0.0)


@settings(deadline=None, derandomize=True)
@given(variances, variances, st.sampled_from(SEEDS), st.sampled_from([0.5, 0.95, 0.9999]))
def test_the_interval_ends_where_p_says(a, b, n_seeds, confidence):
    half = float(half_width(a, b, n_seeds, confidence))
    if a == b == 0:
        assert half == 0
    else:
        assert p_value(half, a, b, n_seeds) == pytest.approx(1 - confidence, rel=1e-6)
        assert p_value(half * 1.01, a, b, n_seeds) < p_value(half, a, b, n_seeds)


def test_arrays_are_taken_element_by_element():
    a, b = np.array([0.0, 1.0, 2.0]), np.array([1.0, 0.0, 3.0])
    each = [half_width(i, j, 4) for i, j in zip(a, b, strict=True)]
    np.testing.assert_allclose(half_width(a, b, 4), each, rtol=1e-9)
    each = [p_value(1.5, i, j, 4) for i, j in zip(a, b, strict=True)]
    np.testing.assert_allclose(p_value(1.5, a, b, 4), each, rtol=1e-9)
    assert p_value(np.zeros((2, 3)), a, b, 4).shape == (2, 3)


def test_without_any_variance():
    assert p_value(np.array([0.0, 0.1]), 0.0, 0.0, 5).tolist() == [1.0, 0.0]
    assert half_width(0.0, 0.0, 5) == 0


@pytest.mark.parametrize("call", [lambda: p_value(1, 1, 1, 1), lambda: half_width(1, 1, 1)])
def test_one_seed_has_no_distribution(call):
    with pytest.raises(ValueError, match="at least 2"):
        call()


def closed_bonferroni(p, alpha):
    """Rejected by the closed test whose intersections are tested by Bonferroni: what Holm is."""
    m = len(p)
    sets = [[i for i in range(m) if bits >> i & 1] for bits in range(1, 2**m)]
    return [all(min(p[j] for j in s) * len(s) < alpha for s in sets if i in s) for i in range(m)]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=6), st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_is_the_closed_bonferroni_test(p, alpha):
    assert (holm(p) < alpha).tolist() == closed_bonferroni(p, alpha)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert len(holm([])) == 0


def test_what_is_no_test_is_not_counted():
    np.testing.assert_allclose(holm([0.02, np.nan, 0.03]), [0.04, np.nan, 0.04])
