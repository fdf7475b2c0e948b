"""Which arms stay opponents, and what it takes to be better or worse than the best of them."""

import numpy as np
import pytest

from synthaug.evaluation.opponents import contest, strongest
from synthaug.evaluation.paired import Difference


def difference(mean, p):
    return Difference(mean, mean - 0.1, mean + 0.1, p, (mean,) * 5, 0.001, 0.001, 10)


def test_better_than_the_best_is_better_than_all():
    found = contest({"a": difference(0.2, 0.001), "b": difference(0.1, 0.03)})
    assert (found.outcome, found.p, found.opponent) == ("better", 0.03, "b")  # not corrected
    assert found.difference.mean == 0.1


def test_worse_than_the_best_is_worse_than_one_corrected_for_their_number():
    arms = {"a": difference(0.2, 0.001), "b": difference(-0.1, 0.01), "c": difference(-0.3, 0.2)}
    found = contest(arms)
    assert (found.outcome, found.opponent) == ("worse", "b")  # the clearest, not the largest
    assert found.p == pytest.approx(0.03)


def test_a_tie_is_no_evidence():
    assert contest({"a": difference(0.0, 1.0)}).p == 1
    assert contest({"a": difference(0.0, 1.0), "b": difference(0.3, 1e-9)}).p == 1


def test_what_is_undefined_against_one_is_undefined():
    assert contest({"a": difference(0.2, 0.001), "b": None}) is None
    assert contest({"a": difference(0.2, None)}) is None  # one seed
    assert contest({}) is None


def test_arms_that_may_be_the_best_stay(world):
    """Two are equal and best; one is worse in all, one far ahead in one class only."""
    drawn = world(
        recall=((0.6, 0.6), (0.9, 0.9), (0.9, 0.9), (0.2, 0.97)), n_test=(100, 100), run=0.05
    )
    y, both = drawn.y_true, 0
    for predictions in drawn.draw(np.random.default_rng(0), 100):
        arms = dict(zip("abcd", predictions, strict=True))
        kept = strongest(y, arms, "abcd", 2)
        assert set(kept) <= {"b", "c"}
        both += len(kept) == 2
        score = {arm: (arms[arm] == y).mean() for arm in "bc"}  # classes of equal size
        assert score[kept[0]] == max(score.values())  # the best-looking first
        assert strongest(y, arms, "ac", 2) == ("c",)
        assert strongest(y, arms, "d", 2) == ("d",)
    assert both >= 95 - 3 * (0.05 * 0.95 * 100) ** 0.5


def test_with_one_seed_all_stay(world):
    drawn = world(recall=((0.6, 0.6), (0.9, 0.9)), n_test=(200, 200))
    (predictions,) = drawn.draw(np.random.default_rng(0), 1)
    arms = {"a": predictions[0, :1], "b": predictions[1, :1]}
    assert strongest(drawn.y_true, arms, "ab", 2) == ("b", "a")
