"""SynthAugSampler in a cross-validated pipeline: it never sees an image of the fold that tests.

    python examples/sampler_in_a_pipeline.py [recipe] [steps]

On digits that scikit-learn brings, with few threes and fewer fives. The network is trained anew
for every fold; a few hundred steps take minutes, and fewer show no more than how it is done.
"""

import sys

import numpy as np
from imblearn.pipeline import make_pipeline
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from synthaug import SynthAugSampler

COUNTS = {8: 60, 3: 30, 5: 15}


def main(recipe: str = "default", steps: int = 300) -> None:
    digits = load_digits()
    kept = [np.flatnonzero(digits.target == k)[:n] for k, n in COUNTS.items()]
    X, y = digits.data[np.concatenate(kept)], digits.target[np.concatenate(kept)]
    classifier = LogisticRegression(max_iter=2000)
    sampler = SynthAugSampler(image_shape=(8, 8), recipe=recipe, steps=steps, random_state=0)
    for name, model in (
        ("as they are", classifier),
        ("with SynthAugSampler", make_pipeline(sampler, classifier)),
    ):
        scores = cross_val_score(model, X, y, cv=2, scoring="balanced_accuracy")
        print(f"{name}: balanced accuracy {scores.mean():.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
