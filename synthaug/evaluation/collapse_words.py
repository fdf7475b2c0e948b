"""Whether the minority classes collapsed less than before, in words and numbers."""

import math

import numpy as np

from synthaug.evaluation.collapse import NeuralCollapse
from synthaug.evaluation.geometry import Bools, minority_geometry

TOLERANCE = 0.1
"""Twice the standard deviation, over pairs of seeds, of the difference between two small networks
trained alike (digits of scikit-learn, 5 classes of 150 and 5 of 5 images, 6 seeds): 0.05 for the
log norm ratio and the distance to the ETF, 0.03 for the cosine."""
TERMINAL = 0.99
"""Train accuracy from which the geometry can be read as neural collapse."""


def describe_collapse(
    before: NeuralCollapse,
    after: NeuralCollapse,
    minority: Bools,
    *,
    tolerance: float = TOLERANCE,
) -> str:
    """One or two sentences on the minority classes of two classifiers, `minority` bool [K].

    Three signs are compared: the mean cosine between minority classifier vectors (less is better),
    the logarithm of the norm ratio of majority to minority (nearer 0 is better) and the distance of
    all classifier vectors to the simplex ETF (less is better; it can contradict the first two but
    decides nothing alone). A sign that moved by no more than `tolerance` has not moved, and one
    that is undefined on either side is left out. A second sentence warns where the train accuracy,
    overall or of the minority classes, is below 0.99.

    Raises:
        ValueError: if the classes of the three differ in number.
    """
    minority = np.asarray(minority, dtype=bool)
    if not len(before.train_recall) == len(after.train_recall) == len(minority):
        raise ValueError("before, after and minority differ in their number of classes")
    moves, words = _signs(before, after, minority)
    if not moves:
        return (
            "Whether the minority classes collapsed less cannot be told: it takes 3 or more "
            "classes, some of them minority classes."
        )
    better = [move < -tolerance for move in moves]
    worse = [move > tolerance for move in moves]
    if any(better) and any(worse):
        head = "The signs of minority collapse moved in different directions"
    elif any(better[:-1]):
        head = "The minority classes collapsed less"
    elif any(worse[:-1]):
        head = "The minority classes collapsed more"
    else:
        head = "No clear change in the collapse of the minority classes"
    sentence = f"{head}: {_listed(words)}."
    return " ".join([sentence, *_warning(before, after, minority)])


def _signs(
    before: NeuralCollapse, after: NeuralCollapse, minority: Bools
) -> tuple[list[float], list[str]]:
    """How much worse each defined sign became, that of all classes last, and the sign in words."""
    if before.classifier is None or after.classifier is None or len(minority) < 3:
        return [], []
    a = minority_geometry(before.classifier, minority)
    b = minority_geometry(after.classifier, minority)
    moves, words = [], []
    if a.cosine is not None and b.cosine is not None:
        moves.append(b.cosine - a.cosine)
        apart = -1.0 / (len(minority) - 1)
        words.append(
            f"the mean cosine between their classifier vectors was {a.cosine:+.2f} and is "
            f"{b.cosine:+.2f} ({apart:+.2f} in the simplex ETF)"
        )
    if a.norm_ratio is not None and b.norm_ratio is not None:
        moves.append(abs(math.log(b.norm_ratio)) - abs(math.log(a.norm_ratio)))
        words.append(
            f"the norm ratio of majority to minority was {a.norm_ratio:.2f} and is "
            f"{b.norm_ratio:.2f}"
        )
    if moves:  # the distance is of all classes: alone it says nothing of the minority
        moves.append(after.classifier.etf_distance - before.classifier.etf_distance)
        words.append(
            "the distance of all classifier vectors to the ETF was "
            f"{before.classifier.etf_distance:.2f} and is {after.classifier.etf_distance:.2f}"
        )
    return moves, words


def _warning(before: NeuralCollapse, after: NeuralCollapse, minority: Bools) -> list[str]:
    """What stays open where a classifier was not trained to the end, else nothing."""
    found = []
    for name, measured in (("before", before), ("after", after)):
        few = measured.train_recall[minority]
        few = few[~np.isnan(few)]
        if measured.train_accuracy < TERMINAL:
            found.append(f"{measured.train_accuracy:.3f} {name}")
        elif len(few) and few.mean() < TERMINAL:
            found.append(f"{few.mean():.3f} {name} for the minority classes")
    if not found:
        return []
    return [
        f"Warning: train accuracy is {_listed(found)}, below {TERMINAL:g}: the terminal phase was "
        "not reached, and these numbers may still move."
    ]


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
