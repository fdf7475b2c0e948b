"""The folds of the train images that tuned arms are validated on, and what synthetic images have
seen of them.

Synthetic images have seen the validation images: the generator learned from all train images. A
near copy of a validation image would be worth much in validation and nothing in the test. So a
synthetic image is left out of a fold that validates

- the train image of its class that it is nearest to, if it is nearer to it than all real images
  that the fold learns from: no honest sample need be that near, though about half of all are;
- a train image that it was made from, by varying or mixing.

What is left of the bias, measured on scikit-learn's digits, 60 to 3 images a class, in balanced
accuracy over oversampling (mean and its standard error). Planted copies with noise of ten grey
levels, six draws: worth -0.006 in the test; +0.143 (0.022) in a validation that leaves none out,
+0.005 (0.006) in this one. Real images in the place of synthetic ones, eight draws: worth +0.064 in
the test; +0.077 (0.019) and +0.054 (0.011). Leaving out all that are nearest to a validation image,
however far, says +0.037 (0.014) of them. So copies are not taken for a gain, and a gain is somewhat
understated, also as the classifiers of the folds have fewer images to learn from. Not seen are
traces of validation images in samples that lie no nearer to them than real images do. They can make
a share too large: a DDPM's images of MNIST-LT, worth nothing in the test, were worth +0.012 (0.012)
in this validation (benchmarks/mnist-lt.md). The test of the arm is free of them.
"""

import json
from collections.abc import Sequence

import numpy as np

from synthaug.data.cut import component_numbers, components_of, deal, total_images
from synthaug.data.swap import MANIFEST
from synthaug.evaluation.arms import Material
from synthaug.selection.neighbours import nearest_shifted
from synthaug.stages.dataset import Dataset
from synthaug.stages.run_dir import RunDir

FOLDS = 4
"""A class keeps three quarters of its images to learn from; more folds cost as much more time."""


def validation_folds(dataset: Dataset, *, seed: int) -> np.ndarray:
    """The fold of each train image, int64 [N]; -1 for those that are always learned from.

    Folds have their share of each class, and what belongs together is in one. A component is always
    learned from if a fold would otherwise leave one of its classes nothing, or if its images occur
    under two classes.
    """
    train = dataset.splits.train
    labels = dataset.labels[train]
    hashes = [dataset.content_hashes[i] for i in train]
    together = None if dataset.together is None else dataset.together[train]
    numbers = component_numbers(hashes, together)
    parts = components_of(labels, hashes, numbers, np.arange(len(train)))
    images = total_images(parts)
    folds = np.full(len(train), -1, dtype=np.int64)
    for f, dealt in enumerate(deal(parts, FOLDS, seed=seed)):
        there = total_images(dealt)
        whole = {k for k, n in there.items() if n == images[k]}
        for part in dealt:
            if not part.torn and not whole & set(part.images):
                folds[list(part.positions)] = f
    return folds


def find_originals(material: Material, fold: np.ndarray) -> np.ndarray:
    """The position of the train image that each synthetic image may be a copy of, int64 [M].

    It is the nearest of the class, by pixels up to small shifts and a mirror; -1 if a real image of
    the class that is not of its `fold` (int64 [N], as `validation_folds` returns it) is as near to
    it. Those of its own fold do not count: they may be its near duplicates.
    """
    assert material.synthetic is not None
    images, labels = material.real
    made, made_labels = material.synthetic
    original = np.full(len(made_labels), -1, dtype=np.int64)
    for k in np.unique(made_labels):
        own, real = np.flatnonzero(made_labels == k), np.flatnonzero(labels == k)
        room = np.zeros(len(real))  # one that is never held out needs no protection
        for f in range(FOLDS):
            held_out = fold[real] == f
            if held_out.any():
                pair = images[real[held_out]], images[real[~held_out]]
                room[held_out] = nearest_shifted(*pair, 1)[1][:, 0]
        index, distance = nearest_shifted(made[own], images[real], 1)
        near = distance[:, 0] < room[index[:, 0]]
        original[own[near]] = real[index[near, 0]]
    return original


def read_sources(run: RunDir, dataset: Dataset) -> list[tuple[int, ...]]:
    """The train images that each synthetic one varies or mixes, in the order of `read_synthetic`.

    Positions among the train images; none for an image drawn from noise alone.
    """
    position = {dataset.paths[i]: n for n, i in enumerate(dataset.splits.train)}
    records = map(json.loads, (run / MANIFEST).read_text(encoding="utf-8").splitlines())
    return [
        tuple(position[p] for p in record.get("sources") or () if p in position)
        for record in records
        if record["file"].startswith("synthetic/")
    ]


def of_folds(
    fold: np.ndarray, originals: np.ndarray, sources: Sequence[tuple[int, ...]]
) -> np.ndarray:
    """Which synthetic images have seen too much of which folds, bool [FOLDS, M].

    Args:
        fold: int64 [N], of the train images, -1 for none.
        originals: int64 [M], from `find_originals`.
        sources: M times the train images that an image was made from.
    """
    belongs = np.zeros((FOLDS, len(originals)), dtype=bool)
    for m, (original, made_from) in enumerate(zip(originals.tolist(), sources, strict=True)):
        seen = fold[[i for i in (original, *made_from) if i >= 0]]
        belongs[seen[seen >= 0], m] = True
    return belongs
