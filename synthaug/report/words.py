"""The words and number formats a reader meets: arms, metrics, differences and their readings."""

import re
from collections.abc import Mapping
from typing import Any

from synthaug.report.results import Estimate, Results, n_seeds

NOT_AVAILABLE = "n/a"

_DATA_WORDS = {
    "real": "real images",
    "real+oversample": "real + oversampling",
    "classical": "real + classical augmentation",
    "mixup": "real + mixup",
    "cutmix": "real + CutMix",
    "smote": "real + SMOTE in pixels",
    "smote-features": "real + SMOTE in features",
    "copy-control": "copy control: real images duplicated",
    "noise-control": "noise control: noisy duplicates",
    "synthaug": "synthaug",
    "synthaug-unfiltered": "synthaug before selection",
    "synthaug-weighted": "synthaug with a smaller loss",
    "synthaug-finetune": "synthaug, real images last",
    "real-tuned": "real images, tuned",
    "synthaug-tuned": "synthaug, tuned",
    "oracle": "oracle: extra real images",
}
_LOSS_WORDS = {
    "ce": "cross-entropy",
    "cb": "class-balanced loss",
    "la": "logit adjustment",
    "ldam": "LDAM-DRW",
    "focal": "focal loss",
}
_METRIC_WORDS = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "minority_recall": "recall of minority classes",
    "many_recall": "recall of classes with > 100 images",
    "medium_recall": "recall of classes with 20–100 images",
    "few_recall": "recall of classes with < 20 images",
    "g_mean": "G-mean",
    "worst_recall": "recall of the worst class",
    "calibration_error": "calibration error",
}
_BRIEF_DATA = {
    "real": "real",
    "classical": "real + augmentation",
    "smote": "real + SMOTE",
    "smote-features": "real + SMOTE, feat.",
    "copy-control": "copy control",
    "noise-control": "noise control",
    "synthaug-unfiltered": "synthaug, all drawn",
    "synthaug-weighted": "synthaug, weighted",
    "synthaug-finetune": "synthaug, real last",
    "oracle": "oracle",
}
_BRIEF_LOSS = {"ce": "CE", "cb": "CB", "la": "LA", "ldam": "LDAM", "focal": "focal"}
_VERDICT_WORDS = {
    "use": "Use the synthetic images",
    "do not use": "Do not use the synthetic images",
    "cannot tell": "Cannot tell whether the synthetic images help",
}


def describe_arm(arm: Mapping[str, Any]) -> str:
    """An arm in words, such as "real + oversampling, logit adjustment".

    Unknown data or loss names stand for themselves; an arm that has neither goes by its name.
    """
    return _in_words(arm, _DATA_WORDS, _LOSS_WORDS)


def brief_arm(arm: Mapping[str, Any]) -> str:
    """An arm in few words, such as "real + oversampling, LA"; for narrow tables."""
    return _in_words(arm, _DATA_WORDS | _BRIEF_DATA, _BRIEF_LOSS)


def explain_brief_losses(results: Results) -> str:
    """What the short names of the losses in use mean: "CE: cross-entropy, LA: …"."""
    used = {arm.get("loss") for arm in results["arms"]}
    told = [f"{_BRIEF_LOSS[loss]}: {_LOSS_WORDS[loss]}" for loss in _BRIEF_LOSS if loss in used]
    return ", ".join(told)


def _in_words(
    arm: Mapping[str, Any], data_words: Mapping[str, str], loss_words: Mapping[str, str]
) -> str:
    data, loss = arm.get("data"), arm.get("loss")
    words = [
        data_words.get(data, str(data)) if data else "",
        loss_words.get(loss, str(loss)) if loss else "",
    ]
    return ", ".join(word for word in words if word) or str(arm.get("name", NOT_AVAILABLE))


def describe_metric(metric: str, results: Results) -> str:
    """A metric in words; an unknown one is its name without underscores."""
    if metric == "rarest_recall":
        n = len(results["dataset"].get("rarest", ()))
        return {0: "recall of the rarest", 1: "recall of the rarest class"}.get(
            n, f"recall of the {n} rarest"
        )
    return _METRIC_WORDS.get(metric, metric.replace("_", " "))


def describe_verdict(overall: str) -> str:
    """The overall verdict as a headline."""
    return _VERDICT_WORDS.get(overall, overall)


def score(value: Estimate | None) -> str:
    """A score as "0.969 ± 0.002" (half width of its interval), "0.969" without one, or "n/a"."""
    if value is None:
        return NOT_AVAILABLE
    half = value.half_width
    return f"{value.mean:.3f}" if half is None else f"{value.mean:.3f} ± {half:.3f}"


def signed(value: float) -> str:
    """A difference with its sign, "+0.009" or "−0.009".

    A difference that rounds to zero keeps its sign, so that an interval that just excludes zero is
    not shown as one that touches it.
    """
    return "0.000" if value == 0 else f"{value:+.3f}".replace("-", "−")


def interval(value: Estimate) -> str:
    """The interval of a difference, "[+0.003, +0.015]", or "" without one."""
    if value.low is None or value.high is None:
        return ""
    return f"[{signed(value.low)}, {signed(value.high)}]"


def difference(value: Estimate | None) -> str:
    """A difference with its interval: "+0.009 [+0.003, +0.015]", "+0.009" or "n/a"."""
    if value is None:
        return NOT_AVAILABLE
    return f"{signed(value.mean)} {interval(value)}".rstrip()


def reading(value: Estimate | None) -> str:
    """What an interval says: "better", "worse", or "no evidence" when it contains zero."""
    if value is None:
        return NOT_AVAILABLE
    if value.low is None or value.high is None:
        return "one seed: no interval"
    if value.low > 0:
        return "better"
    return "worse" if value.high < 0 else "no evidence"


def share(value: float | None) -> str:
    """A share as a percentage, "40 %" or "−5 %"."""
    return NOT_AVAILABLE if value is None else f"{value:.0%}".replace("%", " %").replace("-", "−")


def averaging(results: Results) -> str:
    """How the numbers were averaged, as the start of a caption sentence."""
    n = n_seeds(results)
    if n == 1:
        return "One seed, so no interval can be given"
    return f"Mean over {n} paired seeds with its 95 % t-interval"


def averaging_of_differences(results: Results) -> str:
    """The same of differences, whose intervals count the luck of the test images too."""
    n = n_seeds(results)
    if n == 1:
        return averaging(results)
    return f"Mean over {n} paired seeds; the 95 % interval counts the luck of seeds and test images"


def with_minus_signs(text: str) -> str:
    """Decimal numbers of a sentence with the minus sign that the tables have for a hyphen."""
    return re.sub(r"(?<![\w.])-(?=\d\.\d\d)", "−", text)


def one_line(text: object, limit: int | None = None) -> str:
    """Text on one line, cut to `limit` characters with an ellipsis."""
    line = " ".join(str(text).split())
    return line if limit is None or len(line) <= limit else line[: limit - 1] + "…"


def value_in_words(value: object) -> str:
    """A free protocol value for a reader: lists joined, yes/no, thousands separated."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(value_in_words(v) for v in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {value_in_words(v)}" for k, v in value.items())
    return NOT_AVAILABLE if value is None else str(value)
