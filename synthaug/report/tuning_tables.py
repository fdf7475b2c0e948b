"""What the tuned arms tried on validation images, and how it went."""

from collections.abc import Mapping
from typing import Any

from synthaug.report.results import Results
from synthaug.report.tables import Cell, Column, Row, Table
from synthaug.report.words import NOT_AVAILABLE, describe_arm, describe_metric, one_line


def tuning_tables(results: Results) -> list[Table]:
    """One table for each tuned side, of every fold if there are several; none without tuning.

    A row is a configuration: those with the most seeds first, and among these the best first.
    """
    parts = results.get("tuning") or ()
    return [
        _table(results, part, side, f", fold {n}" if len(parts) > 1 else "")
        for n, part in enumerate(parts, start=1)
        for side in part["sides"]
    ]


def _table(results: Results, part: Mapping[str, Any], side: str, of_fold: str) -> Table:
    told = part["sides"][side]
    ranked = sorted(told["trials"], key=lambda t: (-t["seeds"], -(t["balanced_accuracy"] or 0)))
    rows = []
    for trial in ranked:
        words = one_line(trial["words"])
        numbers = [trial[key] for key in ("balanced_accuracy", "rare_recall")]
        numbers += [trial[key] for key in ("behind", "standard_error")]
        texts = [str(trial["seeds"])]
        texts += [NOT_AVAILABLE if x is None else f"{x:.3f}" for x in numbers]
        outcome = "chosen" if trial["chosen"] else "best" if trial["words"] == told["best"] else ""
        if trial["behind"] is None:
            outcome = "dropped out"
        rows.append(
            Row((Cell(words), *map(Cell, texts), Cell(outcome, strong=outcome == "chosen")))
        )
    columns = (
        Column("configuration", numeric=False),
        Column("seeds"),
        Column("balanced accuracy"),
        Column(describe_metric("rarest_recall", results)),
        Column("behind the best"),
        Column("standard error of that"),
        Column("outcome", numeric=False),
    )
    caption = (
        f"Scores on {part['n_validated']:,} train images, each validated once in {part['folds']} "
        "folds by classifiers that had not seen it; no test image took part. Both sides tried "
        f"{part['trials_per_side']} configurations with {part['trainings_per_side']} trainings; "
        "those that looked best after the first seed got more. Within one standard error of the "
        "best, the configuration with the least synthetic data is chosen. Logit adjustment: its "
        "tau; oversampling: 0 natural draws, 1 class-balanced."
    )
    if any(trial["share"] for trial in ranked):
        caption += (
            " The generator has learned from these images too, so their scores flatter synthetic "
            "images; those of the test do not."
        )
    return Table(
        f"Tried for “{describe_arm({'data': side})}”{of_fold}", columns, tuple(rows), caption
    )
