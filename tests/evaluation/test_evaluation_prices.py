"""Who pays for recall: the classes that lose it, found in planted trades."""

import numpy as np

from synthaug.evaluation.prices import find_prices, paid_for

N = 200
Y = np.repeat(np.arange(4), N)


def seeds(*changes, base=0.1, seed=0):
    """Five seeds right but for a tenth; `changes` (class, called, how many) come on top."""
    rng = np.random.default_rng(seed)
    each = []
    for _ in range(5):
        wrong = rng.random(len(Y)) < base
        predicted = np.where(wrong, (Y + 1) % 4, Y)
        for k, called, n in changes:
            images = np.flatnonzero((Y == k) & (predicted == k))[: n + int(rng.integers(0, 3))]
            predicted[images] = called
        each.append(predicted)
    return np.stack(each)


def test_a_threshold_moved_towards_one_class_is_paid_by_those_it_takes_from():
    """Class 3 takes 40 images of class 0 and 25 of class 1."""
    theirs, ours = seeds(seed=1), seeds((0, 3, 40), (1, 3, 25), seed=1)
    prices = find_prices(Y, ours, theirs, n_classes=4)
    paid = paid_for(3, prices)
    assert [(p.k, p.metric) for p in paid] == [(3, "precision"), (0, "recall"), (1, "recall")]
    lost = {(p.k, p.metric): p.difference.mean for p in paid}
    assert abs(lost[0, "recall"] + 41 / N) < 0.02
    assert abs(lost[1, "recall"] + 26 / N) < 0.02
    assert all(p.difference.reading == "worse" for p in prices)
    assert 38 < paid[1].moved[3] < 44
    assert -44 < paid[1].moved[0] < -38
    # Next to nothing moved to class 2, so nobody pays for it; no recall pays for itself.
    assert paid_for(2, prices) == ()
    assert all(p.metric == "precision" for p in paid_for(0, prices))


def test_gains_are_no_prices():
    theirs, ours = seeds((0, 3, 40), seed=2), seeds(seed=2)
    assert find_prices(Y, ours, theirs, n_classes=4) == ()


def test_equal_arms_pay_in_at_most_five_percent():
    found = [bool(find_prices(Y, seeds(seed=i), seeds(seed=900 + i), n_classes=4))
             for i in range(150)]  # fmt: skip
    assert np.mean(found) <= 0.05 + 3 * (0.05 * 0.95 / 150) ** 0.5


def test_row_101_untested_classes_and_undefined_precision_are_left_out():
    tested = Y < 2
    y = Y[tested]
    theirs, ours = seeds(seed=1)[:, tested], seeds((0, 1, 60), seed=1)[:, tested]
    ours[0][ours[0] == 3] = 0
    prices = find_prices(y, ours, theirs, n_classes=4)
    assert {(p.k, p.metric) for p in prices} == {(0, "recall"), (1, "precision")}
