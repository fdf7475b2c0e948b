"""The folds of the train images that tuned arms are validated on, and what synthetic images have
seen of them.

Synthetic images have seen the validation images: the generator learned from all train images. A
near copy of a validation image would be worth much in validation and nothing in the test. So a
synthetic image belongs to the fold of its nearest train image of the class, and to those of its
sources if it was made by varying or mixing train images; it is left out where that fold validates.
As the folds divide the train images, each of them costs a class as large a part of its synthetic
images as of its real ones, and the mix of the two stays what it is in the final training.

What is left of the bias. For synthetic data: what the generator's weights took over from validation
images into samples that lie nearer to others. Against it: an honest sample that happens to fall
near a validation image is left out as a copy would be, and classifiers of the folds have fewer
images to learn from. The first can make a share too large; the test of the arm is free of it.
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


def nearest_of_class(material: Material) -> np.ndarray:
    """The position of the train image of its class that each synthetic image is nearest to.

    int64 [M]; by pixels, up to small shifts and a mirror, as copies are looked for.
    """
    assert material.synthetic is not None
    images, labels = material.real
    made, made_labels = material.synthetic
    nearest = np.full(len(made_labels), -1, dtype=np.int64)
    for k in np.unique(made_labels):
        own, real = np.flatnonzero(made_labels == k), np.flatnonzero(labels == k)
        nearest[own] = real[nearest_shifted(made[own], images[real], 1)[0][:, 0]]
    return nearest


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
    fold: np.ndarray, nearest: np.ndarray, sources: Sequence[tuple[int, ...]]
) -> np.ndarray:
    """Which synthetic images belong to which folds, bool [FOLDS, M].

    Args:
        fold: int64 [N], of the train images, -1 for none.
        nearest: int64 [M], the nearest train image.
        sources: M times the train images that an image was made from.
    """
    belongs = np.zeros((FOLDS, len(nearest)), dtype=bool)
    for m, (near, made_from) in enumerate(zip(nearest.tolist(), sources, strict=True)):
        folds = fold[[near, *made_from]]
        belongs[folds[folds >= 0], m] = True
    return belongs
