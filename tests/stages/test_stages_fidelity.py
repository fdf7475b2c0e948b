"""Which images are compared, and what is told of a class that has too few."""

import numpy as np

from synthaug.stages.fidelity import MOST, choose_images, measure_fidelity


def test_images_are_chosen_of_classes_that_have_enough_on_both_sides():
    test = np.repeat([0, 1, 2, 3], [60, 59, 2000, 60])
    made = np.repeat([0, 1, 2, 3], [30, 500, 500, 29])
    theirs, ours = choose_images(test, made, 4)
    assert np.bincount(test[theirs], minlength=4).tolist() == [60, 0, 2 * MOST, 0]
    assert np.bincount(made[ours], minlength=4).tolist() == [30, 0, MOST, 0]
    assert all(len(p) == 0 for p in choose_images(test[:59], made, 4))


def test_far_images_are_told_from_near_ones_and_small_classes_get_a_reason():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 80)
    real = rng.normal(size=(160, 4)).astype("f4")
    made_labels = np.repeat([0, 1], 40)
    made = rng.normal(size=(80, 4)).astype("f4")
    made[made_labels == 1] += 9
    told = measure_fidelity(
        (real, labels), (made, made_labels), [80, 80, 7, 90], [40, 40, 50, 0], "abcd", seed=0
    )
    near, far, few = told["classes"]
    assert [c["class_name"] for c in told["classes"]] == ["a", "b", "c"]
    assert near["recall"]["real_low"] <= near["recall"]["synthetic"]
    assert far["recall"]["synthetic"] == far["precision"]["synthetic"] == 0
    assert far["frechet"]["synthetic"] > 10 * near["frechet"]["synthetic"]
    assert few["recall"] is None and few["reason"].startswith("7 real images")
    assert told["features"] == "real/ce, seed 0"
