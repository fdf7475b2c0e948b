"""What can be shown at all: bounds by hand, and the promise of 80 % kept in simulation."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from synthaug.evaluation.detectable import smallest_detectable, smallest_difference
from synthaug.evaluation.paired import mean_recall, paired_differences


def sign_test(n):
    """Two-sided p of n images that all point the same way."""
    return stats.binomtest(n, n, 0.5).pvalue


@pytest.mark.parametrize("n_test", [0, 1, 5])
def test_fewer_than_six_images_show_nothing(n_test):
    assert smallest_difference(n_test) is None
    assert smallest_detectable(n_test, 5, seed_variance=0, image_variance=0) is None


def test_six_images_that_all_agree_are_the_first_that_a_sign_test_believes():
    assert sign_test(5) > 0.05 > sign_test(6)
    assert smallest_difference(6) == 1
    assert smallest_difference(40) == pytest.approx(0.15)


def test_a_light_module():
    """`inspect` imports it before anything is trained."""
    code = (
        "import sys, synthaug.evaluation.detectable as d; d.smallest_difference(9);"
        "print([m for m in ('scipy', 'sklearn', 'torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def known(n_test=200, n_seeds=5, a=1e-4, b=2e-4, **changed):
    return smallest_detectable(n_test, n_seeds, seed_variance=a, image_variance=b, **changed)


def test_it_shrinks_with_images_seeds_and_agreement():
    at = known()
    assert at < known(n_test=100)
    assert at < known(n_seeds=3)
    assert at < known(a=4e-4)
    assert at < known(b=8e-4)
    assert at < known(level=0.005) < known(level=0.005, power=0.95)


def test_never_less_than_a_sign_test_needs():
    """The difference with which 6 of n images disagree, all one way, 4 times in 5."""
    for n_test in (6, 10, 50, 1000):
        at = known(n_test, a=0, b=0)
        assert stats.binom.sf(5, n_test, at) >= 0.8 - 1e-3
        assert n_test == 6 or at > smallest_difference(n_test)
    at = known(50, a=0, b=0, level=0.05 / 10)  # 2 / 2^9 is below it, 2 / 2^8 is not
    assert stats.binom.sf(8, 50, at) >= 0.8 - 1e-3
    assert smallest_detectable(8, 5, seed_variance=0, image_variance=0, level=0.05 / 10) is None


def test_large_test_sets_with_many_seeds_are_the_textbook_case():
    """(z of the level + z of the power) standard errors."""
    at = known(10**6, 400, a=1e-4, b=3e-4)
    assert at == pytest.approx((1.960 + 0.842) * 0.02, rel=0.01)


@pytest.mark.parametrize(("n_test", "base"), [(60, 0.2), (200, 0.3)])
def test_twice_the_smallest_detectable_difference_is_found(world, n_test, base):
    """The size is what a comparison of equal arms says, the middle of 40 such."""
    rng = np.random.default_rng(3)
    recall = [mean_recall(np.array([True, False]))]

    def compare(ours, repetitions):
        equal_or_not = world(recall=((ours, 0.9), (base, 0.9)), n_test=(n_test, 20))
        for p in equal_or_not.draw(rng, repetitions):
            yield paired_differences(equal_or_not.y_true, p[0], p[1], recall, n_classes=2)[0]

    sizes = [
        smallest_detectable(
            n_test, 5, seed_variance=d.seed_variance, image_variance=d.image_variance
        )
        for d in compare(base, 40)
    ]
    size = float(np.median(sizes))
    assert np.mean([d.reading == "better" for d in compare(base + 2 * size, 200)]) >= 0.8
    once = np.mean([d.reading == "better" for d in compare(base + size, 200)])
    assert once >= 0.8 - 3 * (0.8 * 0.2 / 200) ** 0.5
