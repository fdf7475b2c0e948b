"""Tables of what was measured beside the comparison: likelihood, classifiers, fidelity."""

from collections.abc import Mapping
from typing import Any

from synthaug.report.results import Results, estimate
from synthaug.report.tables import Cell, Column, Row, Table, arm_role
from synthaug.report.words import (
    NOT_AVAILABLE,
    brief_arm,
    describe_arm,
    difference,
    one_line,
    reading,
)

_COLLAPSE_COLUMNS = (
    ("train_accuracy", "training accuracy"),
    ("nc1", "NC1"),
    ("cdnv", "CDNV"),
    ("classifier_equinorm", "spread of lengths (NC2)"),
    ("classifier_max_angle", "distance to widest angle (NC2)"),
    ("nc3", "NC3"),
    ("nc4", "NC4"),
    ("minority_cosine", "minority cosine"),
    ("norm_ratio", "norm ratio"),
    ("classifier_etf_distance", "distance to ETF"),
    ("classifier_seli_distance", "distance to SELI"),
)
_FIDELITY_SCORES = (  # key, heading, whether higher is better
    ("precision", "precision", True),
    ("recall", "recall", True),
    ("coverage", "coverage", True),
    ("frechet", "Fréchet distance", False),
)


def likelihood_table(results: Results) -> Table:
    """One row per class and one for all: bits/dim of train and test images, and the gap.

    No rows unless `evaluate --likelihood` measured them.
    """
    measured = results.get("likelihood") or {}
    entries = list(measured.get("classes", ()))
    if len(entries) > 1:
        entries.append({**measured["overall"], "class_name": "all classes"})
    rows = []
    for entry in entries:
        gap = estimate(entry["gap"])
        texts = [one_line(entry["class_name"]), f"{entry['n_train']} / {entry['n_test']}"]
        texts += [
            NOT_AVAILABLE if entry[s] is None else f"{entry[s]:.3f}" for s in ("train", "test")
        ]
        texts.append(difference(gap))
        found = {"better": "train fits better", "worse": "test fits better"}
        text = reading(gap) if gap is None or gap.low is not None else "too few images"
        text, apart = found.get(text, text), text in found
        rows.append(Row((*map(Cell, texts), Cell(text, strong=apart))))
    columns = (
        Column("class", numeric=False),
        Column("images, train / test", brief="n"),
        Column("train bits/dim", brief="train"),
        Column("test bits/dim", brief="test"),
        Column("gap"),
        Column("reading", numeric=False),
    )
    caption = (
        "Bits per pixel value under the generator, an upper bound: lower is better, 8 is knowing "
        "nothing. Gap: test less train, with its 95 % interval. A gap that grows with training "
        "means that the generator memorises its train images."
    )
    return Table("Likelihood of train and test images", columns, tuple(rows), caption)


def collapse_table(results: Results) -> Table:
    """One row per arm: what its last layer made of the classes; no rows if it was not measured."""
    measured = results.get("collapse") or {}
    entries: Mapping[str, Mapping[str, Any]] = measured.get("arms") or {}
    rows = []
    for arm in results["arms"]:
        entry = entries.get(arm["name"])
        if entry is not None:
            texts = [_number(entry.get(key)) for key, _ in _COLLAPSE_COLUMNS]
            name = Cell(describe_arm(arm), brief=brief_arm(arm))
            rows.append(Row((name, *map(Cell, texts)), arm_role(results, arm)))
    columns = [Column("training regime", numeric=False)]
    columns += [Column(heading) for _, heading in _COLLAPSE_COLUMNS]
    caption = (
        "Of the features and weights before the logits, on the same real training images in every "
        "arm; mean over seeds. NC1, CDNV, NC3 and the distances are 0 and NC4 is 1 at full neural "
        "collapse. Where minority classes collapse into each other their cosine rises towards 1 "
        "and the norm ratio of majority to minority moves away from 1. ETF: equal lengths and "
        "angles, the limit for balanced classes. SELI: the limit of cross-entropy for the class "
        "frequencies this arm was trained on. Below a training accuracy of 0.99 the limit is far, "
        "and the numbers are geometry only."
    )
    return Table("Neural collapse", tuple(columns), tuple(rows), caption)


def fidelity_table(results: Results) -> Table:
    """One row per class with synthetic images: scores beside those of real ones, or why not.

    No rows if it was not measured.
    """
    classes = (results.get("fidelity") or {}).get("classes") or ()
    rows = []
    n_train = dict(
        zip(results["dataset"]["class_names"], results["dataset"]["train_counts"], strict=True)
    )
    for entry in sorted(classes, key=lambda entry: n_train[entry["class_name"]]):
        counts = f"{entry['n_real']:,} / {entry['n_synthetic']:,}"
        texts, behind = [], []
        for key, heading, higher in _FIDELITY_SCORES:
            found = entry.get(key)
            if found is None:
                texts.append(NOT_AVAILABLE)
                continue
            texts.append(
                f"{found['synthetic']:.2f} ({found['real_low']:.2f}–{found['real_high']:.2f})"
            )
            if (
                found["synthetic"] < found["real_low"]
                if higher
                else (found["synthetic"] > found["real_high"])
            ):
                behind.append(heading)
        told = "all" if len(behind) == len(_FIDELITY_SCORES) else ", ".join(behind) or "none"
        said = entry["reason"] or told
        rows.append(Row(tuple(map(Cell, (one_line(entry["class_name"]), counts, *texts, said)))))
    columns = (
        Column("class", numeric=False),
        Column("images, test / synthetic"),
        *(Column(heading) for _, heading, _ in _FIDELITY_SCORES),
        Column("worse than real images in", numeric=False),
    )
    caption = (
        "Synthetic images compared with a half of the real test images of their class; in brackets "
        "the range that the other half reaches in their place. Rarest class first. Recall is the "
        "share of real images that the synthetic ones reach, precision the share of synthetic "
        "images among the real ones. Distances are in-domain, in features of a classifier trained "
        "on the real training images only: no published value compares with them. The test images "
        "are used for telling alone: nothing was chosen by these numbers. A copy of a real image "
        "scores well here too."
    )
    return Table("Synthetic beside real images", columns, tuple(rows), caption)


def _number(value: float | None) -> str:
    return NOT_AVAILABLE if value is None else f"{value:.2f}".replace("-", "−")
