"""Tuned arms: what is tried on either side, and what is chosen from validation images.

Each side has as many trials as the other, of its own knobs. For `real-tuned` these are the strength
of logit adjustment and of oversampling; for `synthaug-tuned` also how much of a class's images is
synthetic, where nothing is always a candidate.

The choice is noisy: a class of four train images has four validation images at most. Three things
are done about it:

- every train image is validated once, by cross-validation, and all of them are scored as one set,
  so that a rare class is judged by all images it has and not by the one or two of a single cut;
- two trials are compared image by image and seed by seed, with the standard error of the mean
  difference of their recalls (`lead`);
- among trials within one standard error of the best one, the one with the least synthetic images
  is chosen. Breiman et al. (1984), *Classification and Regression Trees*, prune by this rule. Of
  many equal candidates the best-looking one owes its place to luck, and most of ours have synthetic
  images, so without it tuning would nearly always recommend them.

The rule has no say in `real-tuned`, whose trials have no synthetic images: there the best one wins.
So if it costs a side accuracy, it is ours and never the opponent.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

OURS, OPPONENT = "synthaug-tuned", "real-tuned"
AMOUNTS = ("double", "all")
"""Per class, `double`: at most as many synthetic images as real ones; `all`: the balanced set."""


@dataclass(frozen=True)
class Trial:
    """One configuration of an arm; the loss is logit adjustment, which is cross-entropy at tau 0.

    `share` is `Material.synthetic_share`; `tau` the strength of logit adjustment; `power` says how
    far draws are from natural (0) to class-balanced (1): a class of n images is drawn in proportion
    to n^(1 - power); `amount` is one of `AMOUNTS` and bounds the synthetic images of a class.
    """

    share: float
    tau: float
    power: float
    amount: str = "all"

    @property
    def name(self) -> str:
        """For files: no two trials have the same."""
        return f"share-{self.share:g}-{self.amount}-tau-{self.tau:g}-power-{self.power:g}"

    @property
    def words(self) -> str:
        """The trial in a few words."""
        most = " of at most as many as real ones" if self.amount == "double" else ""
        synthetic = f"synthetic share {self.share:g}{most}" if self.share else "no synthetic images"
        return f"{synthetic}, logit adjustment {self.tau:g}, oversampling {self.power:g}"

    @property
    def dose(self) -> tuple[float, int]:
        """How much synthetic data there is, to compare trials by."""
        return self.share, AMOUNTS.index(self.amount) if self.share else 0


TRIALS: dict[str, tuple[Trial, ...]] = {
    OPPONENT: tuple(Trial(0, tau, power) for power in (0, 0.5, 1) for tau in (0, 0.5, 1, 1.5)),
    OURS: (
        # The simple remedies at full strength, so that tuning can say "no synthetic images".
        *(Trial(0, tau, power) for tau, power in ((1, 0), (0, 1), (1, 1))),
        *(Trial(share, tau, 1) for share in (0.25, 0.5, 1) for tau in (0, 1)),
        *(Trial(1, tau, 1, "double") for tau in (0, 1)),
        Trial(0.5, 1, 0),
    ),
}
"""What is tried, by the name of the arm."""
ROUNDS = ((12, 1), (4, 3))
"""Successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943), the same for both sides: so
many trials, trained with so many seeds in all. Every training has all its steps: rare classes are
learned last, and trials that are cut short would be ranked by something else."""


@dataclass(frozen=True)
class Scored:
    """What validation told of one trial; NaN where undefined.

    `balanced_accuracy` and `rare_recall` are over `seeds` seeds. `behind` is the lead in balanced
    accuracy that the best trial has, `standard_error` that of this difference; None for a trial
    that dropped out before the last round.
    """

    trial: Trial
    balanced_accuracy: float
    rare_recall: float
    seeds: int
    behind: float | None = None
    standard_error: float | None = None


@dataclass(frozen=True)
class Choice:
    """The trial that was `chosen`, the `best` scored one, why, and all trials with their scores."""

    chosen: Trial
    best: Trial
    reason: str
    table: tuple[Scored, ...]


def scores(right: np.ndarray, labels: np.ndarray, rare: np.ndarray) -> tuple[float, float]:
    """(balanced accuracy, mean recall of the rare classes) on V validation images.

    Args:
        right: bool [S, V], whether the classifier of a seed was right.
        labels: int64 [V].
        rare: bool [K].

    A class without validation images does not count; NaN if none is left.
    """
    each = right.mean(axis=0)
    present = np.unique(labels)
    recall = np.array([each[labels == k].mean() for k in present])
    of_rare = recall[rare[present]]
    return (
        float(recall.mean()) if len(recall) else float("nan"),
        float(of_rare.mean()) if len(of_rare) else float("nan"),
    )


def lead(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """(difference in balanced accuracy, its standard error) of two trials, image by image.

    Args:
        first: bool [S, V].
        second: bool [S, V], the same seeds in the same order.
        labels: int64 [V].

    The error is that over validation images, class by class, of differences averaged over seeds.
    In each class two images are added, of which the trials differ on one, half for each: what
    Agresti and Min (2005) add to paired proportions. Without it a class of three images on which
    both trials agree would pass for a class on which they agree for certain.
    """
    d = first.mean(axis=0) - second.mean(axis=0)
    means, variances = [], []
    for k in np.unique(labels):
        own = d[labels == k]
        n = len(own) + 2
        means.append(own.mean())
        variances.append((((own**2).sum() + 1) / n - (own.sum() / n) ** 2) / n)
    return float(np.mean(means)), float(np.sqrt(np.sum(variances)) / len(means))


def survivors(
    outcomes: Mapping[Trial, np.ndarray], labels: np.ndarray, rare: np.ndarray, keep: int
) -> tuple[Trial, ...]:
    """The `keep` best trials of `outcomes` (bool [S, V] each), in their order.

    Ties in balanced accuracy go to the better recall of the rare classes, then to the earlier one.
    The best trial without synthetic images always stays: the last word needs it.
    """
    ranked = _ranked(outcomes, labels, rare)
    kept = ranked[:keep]
    without = next((trial for trial in ranked if not trial.share), None)
    if without is not None and without not in kept:
        kept[-1] = without
    return tuple(trial for trial in outcomes if trial in kept)


def choose(outcomes: Mapping[Trial, np.ndarray], labels: np.ndarray, rare: np.ndarray) -> Choice:
    """Choose among the trials with the most seeds, by the rule of one standard error.

    Args:
        outcomes: bool [S, V] of each trial; seeds in the same order, a trial may have fewer.
        labels: int64 [V], V at least 1.
        rare: bool [K].
    """
    most = max(len(right) for right in outcomes.values())
    finalists = {t: right for t, right in outcomes.items() if len(right) == most}
    ranked = _ranked(finalists, labels, rare)
    best = ranked[0]
    leads = {t: lead(finalists[best], right, labels) for t, right in finalists.items()}
    as_good = [t for t in ranked if t == best or leads[t][0] <= leads[t][1]]
    chosen = min(as_good, key=lambda trial: trial.dose)  # the first of equal dose is the best
    table = tuple(
        Scored(t, *scores(right, labels, rare), len(right), *leads.get(t, (None, None)))
        for t, right in outcomes.items()
    )
    reason = "best on validation images"
    if chosen != best:
        behind, error = leads[chosen]
        reason = (
            f"{behind:.3f} behind the best, within one standard error ({error:.3f}), with less "
            "synthetic data"
        )
    return Choice(chosen, best, reason, table)


def _ranked(
    outcomes: Mapping[Trial, np.ndarray], labels: np.ndarray, rare: np.ndarray
) -> list[Trial]:
    """The best first; `sorted` keeps the order of equals."""

    def worth(trial: Trial) -> tuple[float, ...]:
        balanced, of_rare = scores(outcomes[trial], labels, rare)
        return -round(balanced, 9), -round(float(np.nan_to_num(of_rare)), 9)

    return sorted(outcomes, key=worth)
