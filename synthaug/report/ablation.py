"""What an ablation measured, as a table and a sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

from synthaug.report.results import Estimate, estimate
from synthaug.report.tables import Cell, Column, Row, Table
from synthaug.report.words import one_line, score

REAL = "real train images"

Ablation = Mapping[str, Any]
"""The content of ablation.json."""


def ablation_table(ablation: Ablation) -> Table:
    """One row per variant in the order of the recipe, and one for the real images.

    The best of a column is strong: the lowest bound, the highest accuracy.
    """
    variants: Sequence[Mapping[str, Any]] = ablation["variants"]
    bounds = [estimate(v["bound"]) for v in variants]
    accuracies = [estimate(v["accuracy"]) for v in variants]
    lowest = min((round(b.mean, 3) for b in bounds if b), default=None)
    highest = max((round(a.mean, 3) for a in accuracies if a), default=None)
    rows = []
    for v, bound, accuracy in zip(variants, bounds, accuracies, strict=True):
        told = bound is not None and round(bound.mean, 3) == lowest
        rows.append(
            Row((
                Cell(one_line(v["name"])),
                Cell(f"{v['terminal_snr']:.1e}"),
                Cell(f"{v['prior']:.4f}"),
                Cell(score(bound), strong=told and len(variants) > 1),
                Cell(score(accuracy), strong=_is(accuracy, highest) and len(variants) > 1),
            ))
        )  # fmt: skip
    real = Cell(score(estimate(ablation["real_accuracy"])))
    rows.append(Row((Cell(REAL), Cell(""), Cell(""), Cell(""), real), "oracle"))
    columns = (
        Column("variant", numeric=False),
        Column("terminal SNR", brief="SNR at T"),
        Column("L_T, bits/dim", brief="L_T"),
        Column("bound on test images, bits/dim", brief="test bits/dim"),
        Column("classification accuracy score", brief="accuracy score"),
    )
    caption = (
        "SNR at T: signal left where sampling starts from noise; L_T: what that costs. Bits/dim: "
        "lower is better. Accuracy score: balanced accuracy on real test images of a classifier "
        f"trained on {ablation['n_synthetic']} synthetic images only, mean over "
        f"{ablation['seeds']} seeds ± half its 95 % interval; one training of the generator each."
    )
    title = ablation["question"] or "Ablation"
    return Table(one_line(title), columns, tuple(rows), caption)


def ablation_sentence(ablation: Ablation) -> str:
    """The best variant by each measure, and which ones cannot be told from it."""
    variants = {v["name"]: v for v in ablation["variants"]}
    bounds = {n: e for n, v in variants.items() if (e := estimate(v["bound"]))}
    accuracies = {n: e for n, v in variants.items() if (e := estimate(v["accuracy"]))}
    if not bounds or not accuracies:
        return "Nothing could be measured."
    lowest = min(bounds, key=lambda name: bounds[name].mean)
    highest = max(accuracies, key=lambda name: accuracies[name].mean)
    sentence = (
        f"Best bound: {lowest} ({bounds[lowest].mean:.3f} bits/dim). "
        f"Best samples: {highest} ({accuracies[highest].mean:.3f})"
    )
    alike = [n for n in variants if n in (variants[highest].get("not_worse") or ())]
    return sentence + (f"; not told apart from it: {', '.join(alike)}." if alike else ".")


def _is(value: Estimate | None, best: float | None) -> bool:
    return value is not None and round(value.mean, 3) == best
