"""Copies that are planted among synthetic images, and what real images show without copying."""

import numpy as np
from scipy.stats import hypergeom

from synthaug.stages.memorisation import memorisation_json


def test_planted_copies_are_counted_and_stand_out_of_the_null(dataset_of):
    dataset = dataset_of(30, 30)
    rng = np.random.default_rng(1)
    train, labels = dataset.train
    copies = train[labels == 1][:12] ^ 1  # a grey level off
    fresh = rng.integers(0, 256, (20, *train.shape[1:]), dtype=np.uint8)
    images = np.concatenate([fresh, copies])
    made = np.repeat([0, 1], [20, 12])
    told = memorisation_json(dataset, (images, made))
    assert told["ratio_below"] == round(1 / 3, 6)
    first, second = told["classes"]
    assert first == {
        "class_name": dataset.class_names[0],
        "n_synthetic": 20, "copies": 0, "n_real": 30, "copies_among_real": 0, "p": 1.0,
    }  # fmt: skip
    assert (second["copies"], second["copies_among_real"]) == (12, 0)
    exact = hypergeom.sf(11, 42, 12, 12)  # all twelve copies on the synthetic side
    assert second["p"] == round(float(exact), 6) < 1e-5


def test_a_class_whose_real_images_repeat_has_a_null_that_says_so(dataset_of):
    dataset = dataset_of(20, 20)
    train, labels = dataset.train
    own = np.flatnonzero(labels == 0)
    dataset.pixels[dataset.splits.train[own[10:]]] = train[own[:10]] ^ 1
    images = dataset.train[0][own[:8]] ^ 2
    (told,) = memorisation_json(dataset, (images, np.zeros(8, np.int64)))["classes"]
    assert told["copies_among_real"] == 20
    assert told["p"] == 1.0


def test_without_synthetic_images_there_is_nothing_to_tell(dataset_of):
    dataset = dataset_of(5, 5)
    assert memorisation_json(dataset, None) is None
    assert memorisation_json(dataset, (dataset.pixels[:0], dataset.labels[:0])) is None
