"""SMOTE: between neighbours of a class, whatever its size."""

import numpy as np
import pytest

from synthaug.evaluation.smote import smote

LABELS = np.repeat([0, 1, 2, 3], [30, 4, 2, 1])
X = np.random.default_rng(0).normal(10 * LABELS[:, None], size=(37, 3)).astype(np.float32)


def test_as_many_as_asked_for_and_none_elsewhere():
    points, labels = smote(X, LABELS, np.array([0, 5, 7, 3]), seed=0)
    assert points.dtype == np.float32 and labels.dtype == np.int64
    assert points.shape == (15, 3)
    assert np.bincount(labels).tolist() == [0, 5, 7, 3]


def test_every_point_lies_on_a_line_between_two_of_its_class():
    points, labels = smote(X, LABELS, np.array([10, 10, 10, 0]), seed=0)
    for point, label in zip(points, labels, strict=True):
        own = X[label == LABELS].astype(float)
        between = []
        for i, start in enumerate(own):
            for end in np.delete(own, i, axis=0):
                step = end - start
                t = np.clip((point - start) @ step / (step @ step), 0, 1)
                between.append(np.linalg.norm(start + t * step - point))
        assert min(between) < 1e-5


def test_only_near_neighbours_are_joined():
    """Six points here, six far away: five neighbours never reach across."""
    x = np.r_[np.zeros((6, 1)), np.full((6, 1), 100.0)] + np.linspace(0, 1, 12)[:, None]
    points, _ = smote(x.astype(np.float32), np.zeros(12, int), np.array([200]), seed=0)
    assert ((points < 2) | (points > 99)).all()


def test_a_class_of_one_is_copied_and_a_class_of_none_gets_nothing():
    points, labels = smote(X, LABELS, np.array([0, 0, 0, 4, 6]), seed=0)
    np.testing.assert_array_equal(points, np.repeat(X[-1:], 4, axis=0))
    assert labels.tolist() == [3] * 4


def test_whole_numbers_stay_whole():
    x = (10 * X).round().clip(0, 255).astype(np.uint8)
    points, _ = smote(x, LABELS, np.array([0, 0, 9, 2]), seed=0)
    exact, _ = smote(x.astype(np.float32), LABELS, np.array([0, 0, 9, 2]), seed=0)
    assert points.dtype == np.uint8
    np.testing.assert_array_equal(points, exact.round())


def test_nothing_asked_for():
    points, labels = smote(X, LABELS, np.zeros(4, int), seed=0)
    assert points.shape == (0, 3) and labels.shape == (0,)


def test_a_function_of_the_seed_and_of_the_class_alone():
    wanted = np.array([4, 6, 0, 0])
    first, again = (smote(X, LABELS, wanted, seed=1)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, smote(X, LABELS, wanted, seed=2)[0])
    only = smote(X, LABELS, np.array([0, 6, 0, 0]), seed=1)[0]
    np.testing.assert_array_equal(first[4:], only)


def test_classes_draw_numbers_of_their_own():
    x = np.concatenate([X[:30], X[:30] + 100])
    points, _ = smote(x, np.repeat([0, 1], 30), np.array([9, 9]), seed=0)
    assert np.abs(points[9:] - 100 - points[:9]).max() > 0.1


@pytest.mark.parametrize("n", [2, 3, 5, 6, 20])
def test_any_class_size_is_possible(n):
    points, _ = smote(X[:n], np.zeros(n, int), np.array([9]), seed=0)
    assert len(points) == 9
