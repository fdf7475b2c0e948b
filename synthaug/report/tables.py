"""What a table is, and those of the arms: for the page and the terminal alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from synthaug.report.results import (
    Estimate,
    Results,
    comparison,
    estimate,
    find_arm,
    metric_of,
    n_seeds,
)
from synthaug.report.words import (
    NOT_AVAILABLE,
    averaging,
    averaging_of_differences,
    brief_arm,
    describe_arm,
    describe_metric,
    difference,
    one_line,
    reading,
    score,
    share,
)

Role = Literal["", "primary", "opponent", "control", "oracle"]

_ARM_METRICS = (
    "balanced_accuracy",
    "rarest_recall",
    "minority_recall",
    "macro_f1",
    "many_recall",
    "medium_recall",
    "few_recall",
)
_FURTHER_METRICS = ("worst_recall", "g_mean", "calibration_error")
_LOWER_IS_BETTER = ("calibration_error",)
_GAP_METRICS = ("rarest_recall", "balanced_accuracy")
_BRIEF_METRICS = {
    "balanced_accuracy": "balanced accuracy",
    "rarest_recall": "recall of {n} rarest",
    "minority_recall": "recall of minority",
}


@dataclass(frozen=True)
class Column:
    """A heading; `numeric` columns are set flush right in tabular figures.

    For a terminal of 80 columns: `brief` is a shorter heading, and a column that is not
    `essential` may be left out.
    """

    heading: str
    numeric: bool = True
    brief: str = ""
    essential: bool = True


@dataclass(frozen=True)
class Cell:
    """Text of one cell; `strong` marks the best of its column, or a reading that is decided.

    `brief` is a shorter text for narrow places, or "".
    """

    text: str
    strong: bool = False
    brief: str = ""


@dataclass(frozen=True)
class Row:
    """One cell per column; `role` says which arm of the comparison the row is, if any."""

    cells: tuple[Cell, ...]
    role: Role = ""


@dataclass(frozen=True)
class Table:
    """A table that needs no further explanation: title, columns, rows and what the numbers are."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    caption: str


def arms_table(results: Results) -> Table:
    """One row per arm in the order of the results, one column per metric that any arm has.

    The best mean of a column, at the three digits shown, is strong, unless all are alike; the
    oracle, which had images nobody else had, does not compete.
    """
    arms: Sequence[Mapping[str, Any]] = results["arms"]
    columns, cells = [Column("training regime", numeric=False)], []
    for metric in _ARM_METRICS:
        values = [metric_of(arm, metric) for arm in arms]
        if any(value is not None for value in values):
            brief = _BRIEF_METRICS.get(metric, "").format(n=len(results["dataset"]["rarest"]))
            columns.append(
                Column(describe_metric(metric, results), brief=brief, essential=bool(brief))
            )
            cells.append(_score_column(values, arms))
    for metric in _GAP_METRICS:
        gaps = [(arm.get("gap_closed") or {}).get(metric) for arm in arms]
        if any(gap is not None for gap in gaps):
            heading = f"gap closed in {describe_metric(metric, results)}"
            brief = "gap closed" if metric == _GAP_METRICS[0] else ""
            columns.append(Column(heading, brief=brief, essential=bool(brief)))
            cells.append([Cell(_gap(gap)) for gap in gaps])
    rows = tuple(
        Row(
            (Cell(describe_arm(arm), brief=brief_arm(arm)), *(column[i] for column in cells)),
            arm_role(results, arm),
        )
        for i, arm in enumerate(arms)
    )
    caption = [
        f"{averaging(results)}{' (± half its width)' if n_seeds(results) > 1 else ''}.",
        "Higher is better everywhere; the best of each column is marked.",
    ]
    if any(arm.get("oracle") for arm in arms):
        caption.append("The oracle had extra real images and does not compete.")
    if any(column.heading.startswith("gap closed") for column in columns):
        caption.append(
            "Gap closed: how far the arm came from the best arm without synthetic images (0 %) "
            "to the oracle (100 %)."
        )
    return Table("All training regimes", tuple(columns), rows, " ".join(caption))


def _gap(gap: float | None) -> str:
    """Further below than the oracle is above, the number says no more than that."""
    return "< −100 %" if gap is not None and gap < -1 else share(gap)


def further_table(results: Results) -> Table:
    """One row per arm: worst class, G-mean, calibration and training; no rows in older results."""
    arms: Sequence[Mapping[str, Any]] = results["arms"]
    columns = [
        _score_column([metric_of(arm, metric) for arm in arms], arms, metric in _LOWER_IS_BETTER)
        for metric in _FURTHER_METRICS
    ]
    rows = []
    for i, arm in enumerate(arms):
        if any(metric in arm["metrics"] for metric in _FURTHER_METRICS):
            name = Cell(describe_arm(arm), brief=brief_arm(arm))
            worst = Cell(one_line(arm.get("worst_class") or NOT_AVAILABLE, 24))
            train = Cell(mean_of(Estimate(arm["train_accuracy"], None, None, ())))
            rows.append(Row((name, worst, *(c[i] for c in columns), train), arm_role(results, arm)))
    headings = (
        Column("training regime", numeric=False),
        Column("worst class", numeric=False),
        *(Column(describe_metric(metric, results)) for metric in _FURTHER_METRICS),
        Column("training accuracy"),
    )
    caption = (
        f"{averaging(results)}. The worst class is that of the lowest mean recall; the recall "
        "beside it is that of each seed's own worst class. G-mean: geometric mean of the recalls. "
        "Calibration error: mean distance between the probability of a label and how often it is "
        "right; lower is better. Training accuracy: on the real training images."
    )
    return Table("Further numbers", headings, tuple(rows), caption)


def differences_table(results: Results) -> Table:
    """One row per metric: synthaug, its opponent, and the paired difference with a reading.

    A metric that is undefined for both arms (an empty group) has no row.
    """
    compared, rows = comparison(results), []
    primary = find_arm(results, compared.get("primary"))
    opponent = find_arm(results, compared.get("opponent"))
    for metric in results["metrics"] if compared else ():
        gain = estimate((compared.get("differences") or {}).get(metric))
        ours, theirs = metric_of(primary, metric), metric_of(opponent, metric)
        if gain is ours is theirs is None:
            continue
        texts = (describe_metric(metric, results), score(ours), score(theirs), difference(gain))
        rows.append(Row((*map(Cell, texts), reading_cell(gain))))
    columns = (
        Column("metric", numeric=False),
        Column("synthaug", essential=False),
        Column("opponent", essential=False),
        Column("difference"),
        Column("reading", numeric=False),
    )
    caption = f"{contestants(results)} {averaging_of_differences(results)}. {how_to_read(results)}"
    return Table("synthaug against its strongest opponent", columns, tuple(rows), caption)


def contestants(results: Results) -> str:
    """One sentence that names the two arms compared; "" without a comparison."""
    compared = comparison(results)
    primary = find_arm(results, compared.get("primary"))
    opponent = find_arm(results, compared.get("opponent"))
    if primary is None or opponent is None:
        return ""
    ours, theirs = describe_arm(primary), describe_arm(opponent)
    return f"“{ours}” against the best arm without synthetic images, “{theirs}”."


def arm_role(results: Results, arm: Mapping[str, Any]) -> Role:
    """Which part the arm plays in the comparison; "" for any other arm."""
    compared = comparison(results)
    if arm.get("oracle"):
        return "oracle"
    if arm["name"] == compared.get("primary"):
        return "primary"
    if arm["name"] == compared.get("opponent"):
        return "opponent"
    return "control" if arm.get("control") else ""


def _score_column(
    values: Sequence[Estimate | None], arms: Sequence[Mapping[str, Any]], lowest: bool = False
) -> list[Cell]:
    means = [
        round(value.mean, 3)
        for value, arm in zip(values, arms, strict=True)
        if value is not None and not arm.get("oracle")
    ]
    best = (min if lowest else max)(means) if len(set(means)) > 1 else None
    return [
        Cell(score(v), v is not None and not arm.get("oracle") and round(v.mean, 3) == best)
        for v, arm in zip(values, arms, strict=True)
    ]


def reading_cell(gain: Estimate | None) -> Cell:
    """What the interval of a difference says."""
    text = reading(gain)
    return Cell(text, strong=text in ("better", "worse"))


def mean_of(value: Estimate | None) -> str:
    """A score without its interval."""
    return NOT_AVAILABLE if value is None else f"{value.mean:.3f}"


def how_to_read(results: Results) -> str:
    """When a difference counts as one."""
    if n_seeds(results) == 1:
        return "One seed cannot tell a gain from luck, so there is no reading."
    return "“Better” or “worse” only where the interval of the difference excludes zero."
