"""The comparison of the synthaug arm with the arms without synthetic images, and the verdict."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from synthaug.balance.plan import BalancePlan
from synthaug.evaluation.arms import Arm
from synthaug.evaluation.metrics import GROUPS, rarest_classes
from synthaug.evaluation.paired import accuracy, macro_f1, mean_recall, paired_differences
from synthaug.evaluation.prices import Price
from synthaug.evaluation.verdict import Judgement, judge
from synthaug.report.words import describe_arm, with_minus_signs
from synthaug.stages.arm_scores import HEADLINE, METRICS, Scored, arm_facts, as_json

PRIMARY_PREFERENCE = ("la", "ce")


def find_primary(scored: Mapping[Arm, Scored]) -> Scored | None:
    """The synthaug arm that is compared: named beforehand, not the one that happened to win."""
    for loss in PRIMARY_PREFERENCE:
        found = scored.get(Arm("synthaug", loss))
        if found:
            return found
    return None


def find_opponent(scored: Mapping[Arm, Scored]) -> Scored | None:
    """The best arm without synthetic data; the oracle has data the user does not.

    The controls count: they are real images only, so whoever could do as well with copies does not
    need the synthetic ones.
    """
    return max(
        (s for arm, s in scored.items() if is_opponent(arm)),
        key=lambda s: float(s.metric(HEADLINE).mean()),
        default=None,
    )


def is_opponent(arm: Arm) -> bool:
    """Whether synthaug has to be better than this arm."""
    return not (arm.synthetic or arm.oracle)


def compare(
    y_true: np.ndarray, scored: Mapping[Arm, Scored], plan: BalancePlan
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """`comparison` and `verdict` of results.json; the one is None without two sides to compare.

    The differences are those to the arm that looks best. The verdict is about all arms that may be
    the best (`opponents.py`), so each of its numbers names the opponent that decides.
    """
    primary, opponent = find_primary(scored), find_opponent(scored)
    if primary is None or opponent is None:
        missing = "synthetic data" if primary is None else "only real data"
        sentence = f"No arm with {missing} was run, so there is no comparison."
        return None, {"overall": "cannot tell", "sentence": sentence}
    k = len(plan.class_names)
    minority = np.array(plan.minority)
    chosen = {
        HEADLINE: np.ones(k, dtype=bool),
        "rarest_recall": rarest_classes(np.array(plan.counts)),
        "minority_recall": minority,
        **{f"{group}_recall": np.array(plan.group) == group for group in GROUPS},
    }
    statistics = {name: mean_recall(mask) for name, mask in chosen.items()}
    statistics |= {"macro_f1": macro_f1, "accuracy": accuracy}
    one = np.eye(k, dtype=bool)
    found = paired_differences(
        y_true,
        primary.predicted,
        opponent.predicted,
        [*(statistics[m] for m in METRICS), *(mean_recall(one[c]) for c in range(k))],
        n_classes=k,
    )
    comparison = {
        "primary": primary.arm.name,
        "opponent": opponent.arm.name,
        "differences": {m: as_json(d) for m, d in zip(METRICS, found[: len(METRICS)], strict=True)},
        "recall_differences": [as_json(d) for d in found[len(METRICS) :]],
    }
    words = {_quoted(arm): s for arm, s in scored.items()}
    judged = judge(
        y_true,
        {name: s.predicted for name, s in words.items()},
        ours=_quoted(primary.arm),
        opponents=[name for name, s in words.items() if is_opponent(s.arm)],
        class_names=plan.class_names,
        minority=minority,
    )
    names = {name: s.arm.name for name, s in words.items()}
    return comparison, _verdict_json(judged, names, plan.class_names)


def _quoted(arm: Arm) -> str:
    """An arm as sentences call it: in quotes, for its words have commas."""
    return f"“{describe_arm(arm_facts(arm))}”"


def _verdict_json(
    judged: Judgement, names: Mapping[str, str], class_names: tuple[str, ...]
) -> dict[str, Any]:
    """The judgement with arms by their `names` instead of their words."""
    reason = with_minus_signs(judged.reason)
    return {
        "overall": judged.advice,
        "sentence": f"{reason[:1].upper()}{reason[1:]}.",
        "opponents": [names[words] for words in judged.opponents],
        "differences": {
            "minority_recall": as_json(judged.minority_recall),
            "balanced_accuracy": as_json(judged.balanced_accuracy),
            "macro_f1": as_json(judged.macro_f1),
        },
        "prices": [_price_json(price, class_names) for price in judged.prices],
        "per_class": [
            {
                "class_name": verdict.class_name,
                "n_test": verdict.n_test,
                "advice": verdict.advice,
                "reason": with_minus_signs(verdict.reason),
                "opponent": names[verdict.opponent] if verdict.opponent else None,
                "recall": as_json(verdict.recall),
                "p": None if verdict.p is None else round(verdict.p, 6),
                "detectable": None if verdict.detectable is None else round(verdict.detectable, 4),
                "prices": [_price_json(price, class_names) for price in verdict.prices],
            }
            for verdict in judged.classes
        ],
    }


def _price_json(price: Price, class_names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "class_name": class_names[price.k],
        "metric": price.metric,
        "difference": as_json(price.difference),
    }
