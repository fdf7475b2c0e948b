"""Whether to use the synthetic images: one verdict for each class and one for all.

Every verdict is against the best arm without synthetic images (`opponents.py`). Where synthetic
data changes nothing, it gets a verdict other than "cannot tell" in at most 5 % of comparisons: in
any class, by Holm's correction for the number of classes, and overall, by the same correction for
its two questions. One set of synthetic images is judged; another training of the generator may do
better or worse.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synthaug.evaluation.detectable import MIN_TEST_IMAGES, smallest_detectable
from synthaug.evaluation.intervals import holm
from synthaug.evaluation.opponents import Contest, contest, strongest
from synthaug.evaluation.paired import (
    Difference,
    Ints,
    macro_f1,
    mean_recall,
    paired_differences,
)
from synthaug.evaluation.prices import Price, find_prices, paid_for
from synthaug.words import number_of

Advice = Literal["use", "do not use", "cannot tell"]
LEVEL = 0.05


@dataclass(frozen=True)
class ClassVerdict:
    """One class: `advice`, and the `reason` in words and numbers.

    `recall` is the difference to `opponent`, the one that decides; `p` that of the comparison with
    all opponents, corrected for the number of classes. `detectable` is the smallest difference in
    recall that would have been found (80 % power), None if none. `prices` are what a gain in recall
    cost: precision of the class, and recall of classes whose images it now takes.
    """

    class_name: str
    n_test: int
    advice: Advice
    reason: str
    opponent: str | None = None
    recall: Difference | None = None
    p: float | None = None
    detectable: float | None = None
    prices: tuple[Price, ...] = ()

    @property
    def sentence(self) -> str:
        """`advice` and `reason` in one."""
        return f"{self.advice}: {self.reason}"


@dataclass(frozen=True)
class Judgement:
    """The verdict overall and for each of K classes.

    `opponents` are the arms that may be the best, the best-looking first. `minority_recall`,
    `balanced_accuracy` and `macro_f1` are differences to the one that decides in each; None if
    undefined. `prices` are all losses against the best-looking one.
    """

    advice: Advice
    reason: str
    opponents: tuple[str, ...]
    classes: tuple[ClassVerdict, ...]
    minority_recall: Difference | None = None
    balanced_accuracy: Difference | None = None
    macro_f1: Difference | None = None
    prices: tuple[Price, ...] = ()

    @property
    def sentence(self) -> str:
        """`advice` and `reason` in one."""
        return f"{self.advice}: {self.reason}"


def judge(
    y_true: Ints,
    predictions: Mapping[str, Ints],
    *,
    ours: str,
    opponents: Sequence[str],
    class_names: Sequence[str],
    minority: NDArray[np.bool_],
) -> Judgement:
    """Judge the arm `ours`, which has synthetic images, against `opponents`, which have none.

    Args:
        y_true: classes of the N test images, int [N].
        predictions: by arm, predicted classes int [S, N], the same seeds in the same order.
        ours, opponents: keys of `predictions`; the sentences call the arms so.
        class_names: of the K classes.
        minority: bool [K], the classes that synthetic images are meant to help.

    `use` overall asks for better recall of the minority classes with balanced accuracy and macro F1
    that are not worse; `do not use` for one of recall and balanced accuracy that is worse and none
    that is better. A gain on one side and a loss on the other is a trade, not a verdict.
    """
    k = len(class_names)
    n_test = [int(n) for n in np.bincount(y_true, minlength=k)]
    silent = ""
    if not opponents:
        silent = "there is no arm without synthetic images to compare with"
    elif len(predictions[ours]) < 2:
        silent = "one seed says nothing about other seeds; `--seeds 5` runs five"
    if silent:
        classes = (
            ClassVerdict(name, n, "cannot tell", _too_few(n) or silent)
            for name, n in zip(class_names, n_test, strict=True)
        )
        return Judgement("cannot tell", silent, tuple(opponents), tuple(classes))
    rivals = strongest(y_true, predictions, opponents, k)
    one = np.eye(k, dtype=bool)
    asked = [c for c in range(k) if n_test[c] >= MIN_TEST_IMAGES]
    statistics = [mean_recall(minority), mean_recall(np.ones(k, dtype=bool)), macro_f1]
    statistics += [mean_recall(one[c]) for c in asked]
    table = [
        paired_differences(y_true, predictions[ours], predictions[rival], statistics, n_classes=k)
        for rival in rivals
    ]
    contests = [contest(dict(zip(rivals, row, strict=True))) for row in zip(*table, strict=True)]
    prices = find_prices(y_true, predictions[ours], predictions[rivals[0]], n_classes=k)
    verdicts = [
        ClassVerdict(name, n, "cannot tell", _too_few(n))
        for name, n in zip(class_names, n_test, strict=True)
    ]
    recalls = [c for c in contests[3:] if c is not None]
    for c, found, p in zip(asked, recalls, holm([c.p for c in recalls]), strict=True):
        tries = len(asked), len(rivals)
        verdicts[c] = _of_class(class_names, c, n_test[c], found, float(p), tries, prices)
    of_minority = sum(n for n, chosen in zip(n_test, minority, strict=True) if chosen)
    advice, reason = _overall(contests[:3], of_minority)
    if prices:
        reason += f"; {'paid for with' if advice == 'use' else 'lost'} {_told(prices, class_names)}"
    rare, balanced, f1 = (None if c is None else c.difference for c in contests[:3])
    return Judgement(advice, reason, rivals, tuple(verdicts), rare, balanced, f1, prices)


def _of_class(
    class_names: Sequence[str],
    k: int,
    n_test: int,
    found: Contest,
    p: float,
    tries: tuple[int, int],
    prices: tuple[Price, ...],
) -> ClassVerdict:
    """`p` is corrected for the number of classes; `tries` are the classes and the opponents."""
    d = found.difference
    detectable = smallest_detectable(
        n_test,
        len(d.values),
        seed_variance=d.seed_variance,
        image_variance=d.image_variance,
        level=LEVEL / tries[0],
    )
    advice: Advice = "cannot tell"
    paid: tuple[Price, ...] = ()
    reason = f"recall {in_numbers(d)} against {found.opponent}"
    if p < LEVEL:
        advice = "use" if found.outcome == "better" else "do not use"
    elif d.reading != "no evidence":
        reason += f", which chance also gives among {_counted(*tries)}"
    else:
        enough = f"{detectable:.3f} or more" if detectable else "no difference, however large"
        reason += f"; {n_test:,} test images and {len(d.values)} seeds would show {enough}"
    if advice == "use" and (paid := paid_for(k, prices)):
        reason += f"; paid for with {_told(paid, class_names)}"
    name, opponent = class_names[k], found.opponent
    return ClassVerdict(name, n_test, advice, reason, opponent, d, p, detectable, paid)


def _overall(contests: Sequence[Contest | None], n_test: int) -> tuple[Advice, str]:
    """Advice and reason from minority recall, balanced accuracy and macro F1.

    `n_test` counts the test images of the minority classes.
    """
    minority, balanced, f1 = contests
    if minority is None or balanced is None or f1 is None:
        return "cannot tell", "no minority class has test images"
    if n_test < MIN_TEST_IMAGES:
        return "cannot tell", f"{_too_few(n_test)} of the minority classes"
    reason = (
        f"recall of the minority classes {in_numbers(minority.difference)} against "
        f"{minority.opponent}, balanced accuracy {in_numbers(balanced.difference)} against "
        f"{balanced.opponent}"
    )
    p = holm([minority.p, balanced.p])
    rare = minority.outcome if p[0] < LEVEL else ""
    whole = balanced.outcome if p[1] < LEVEL else ""
    # Losses that only hold a "use" back need no correction: they cannot bring one about.
    costs = [c for c in (balanced, f1) if c.outcome == "worse" and c.p < LEVEL]
    if f1 in costs:
        reason += f", macro F1 {in_numbers(f1.difference)} against {f1.opponent}"
    if rare == "better" and not costs:
        return "use", reason
    if rare == "better" or (rare == "worse" and whole == "better"):
        return "cannot tell", f"a trade, not a gain; {reason}"
    if "worse" in (rare, whole):
        return "do not use", reason
    return "cannot tell", f"no evidence of a gain; {reason}"


def in_numbers(d: Difference) -> str:
    """The mean and its interval."""
    interval = "" if d.low is None else f" [{d.low:+.3f}, {d.high:+.3f}]"
    return f"{d.mean:+.3f}{interval}"


def _told(prices: Sequence[Price], class_names: Sequence[str]) -> str:
    told = [f"{p.metric} of “{class_names[p.k]}” {in_numbers(p.difference)}" for p in prices[:3]]
    more = f" and {len(prices) - 3} more" if len(prices) > 3 else ""
    return ", ".join(told) + more


def _counted(n_classes: int, n_opponents: int) -> str:
    opponents = f" and {n_opponents} opponents" if n_opponents > 1 else ""
    return f"{n_classes} classes{opponents}"


def _too_few(n: int) -> str:
    """Why a class of n test images has no verdict; "" if it may have one."""
    if n >= MIN_TEST_IMAGES:
        return ""
    return f"only {number_of(n, 'test image')}" if n else "no test images"
