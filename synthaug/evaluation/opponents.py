"""Against whom synthetic data must stand: every arm that may be the best without it.

Which arm is the best must be guessed from the same test set. Taking the one that looks best would
compare with its luck too; taking one beforehand may take a weak one. So every arm stays an opponent
that is not worse than the best-looking one beyond chance, and

- to be better than the best, our arm must be better than all of them, each at the full level:
  being better than all is never easier than being better than the one that is best in truth
  (an intersection-union test), so nothing is corrected;
- to be worse than the best, it is enough to be worse than one of them, at the level divided by
  their number (Bonferroni).

If our arm equals the best in truth, each of the two is said with half the level at most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from synthaug.evaluation.metrics import confusion_matrix
from synthaug.evaluation.paired import Difference, Ints, mean_recall, paired_differences


@dataclass(frozen=True)
class Contest:
    """One statistic of our arm against all opponents: the p of the `outcome` the means point to.

    `difference` is the one to the `opponent` that decides: the hardest to beat, or the one that
    beats us most clearly.
    """

    outcome: Literal["better", "worse"]
    p: float
    difference: Difference
    opponent: str


def strongest(
    y_true: Ints, predictions: Mapping[str, Ints], arms: Sequence[str], n_classes: int
) -> tuple[str, ...]:
    """The arms not worse than the best-looking one in balanced accuracy beyond chance, best first.

    `predictions` has int [S, N] for every arm; with one seed chance is unknown and all stay.
    """
    balanced = mean_recall(np.ones(n_classes, dtype=bool))
    tables = {a: confusion_matrix(y_true, predictions[a], n_classes) for a in arms}
    first, *others = sorted(arms, key=lambda a: -balanced(tables[a].astype(float))[0].mean())
    kept = [first]
    for other in others:
        (lead,) = paired_differences(
            y_true, predictions[first], predictions[other], [balanced], n_classes=n_classes
        )
        if lead is None or lead.reading != "better":
            kept.append(other)
    return tuple(kept)


def contest(differences: Mapping[str, Difference | None]) -> Contest | None:
    """Our arm against all opponents by name; None if a difference is undefined or has no p."""
    against = [
        (name, d, d.p) for name, d in differences.items() if d is not None and d.p is not None
    ]
    if not against or len(against) < len(differences):
        return None
    if all(d.mean > 0 for _, d, _ in against):
        name, hardest, p = max(against, key=lambda a: a[2])
        return Contest("better", p, hardest, name)
    name, clearest, p = min((a for a in against if a[1].mean <= 0), key=lambda a: a[2])
    return Contest("worse", min(p * len(against), 1.0), clearest, name)
