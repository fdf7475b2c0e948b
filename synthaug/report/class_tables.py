"""The numbers of each class as tables, for the page and the terminal alike."""

from synthaug.report.results import Results, class_entry, comparison, find_arm, n_seeds
from synthaug.report.tables import (
    Cell,
    Column,
    Row,
    Table,
    contestants,
    how_to_read,
    mean_of,
    reading_cell,
)
from synthaug.report.words import (
    NOT_AVAILABLE,
    averaging_of_differences,
    interval,
    one_line,
    signed,
)

_ABOUT_VERDICTS = (
    "The verdict is against every arm that may be the best without synthetic images, and corrected "
    "for the number of classes: an interval that just excludes zero is not enough."
)


def classes_table(results: Results) -> Table:
    """One row per class, the rarest in training first: counts, recalls, difference, verdict.

    Results without a verdict per class get the reading of the interval in its place, unless a class
    is tested on fewer than two images.
    """
    data, compared = results["dataset"], comparison(results)
    primary = find_arm(results, compared.get("primary"))
    opponent = find_arm(results, compared.get("opponent"))
    verdicts = results["verdict"].get("per_class") or ()
    columns = [
        Column("class", numeric=False),
        Column("train images", brief="train"),
        Column("synthetic images", brief="synth."),
        Column("test images", essential=False),
        Column("recall without", brief="without"),
        Column("recall with", brief="with"),
        Column("difference", brief="diff."),
        *([Column("95 % interval")] if n_seeds(results) > 1 else []),
        Column("verdict" if verdicts else "reading", numeric=False),
    ]
    rows = []
    for k in _rarest_first(results):
        gain = class_entry(compared, "recall_differences", k)
        counts = (data["train_counts"][k], results["synthetic_counts"][k], data["test_counts"][k])
        texts = [one_line(data["class_names"][k]), *(f"{count:,}" for count in counts)]
        texts += [mean_of(class_entry(arm, "recall", k)) for arm in (opponent, primary)]
        texts.append(signed(gain.mean) if gain else NOT_AVAILABLE)
        if n_seeds(results) > 1:
            texts.append((interval(gain) if gain else "") or NOT_AVAILABLE)
        if verdicts:
            last = _advice(verdicts[k]["advice"])
        else:
            last = reading_cell(gain) if counts[2] > 1 else Cell("too few test images")
        rows.append(Row((*map(Cell, texts), last)))
    caption = (
        f"{contestants(results)} Rarest class first. Recall: share of the class’s test images that "
        f"are recognised, without and with synthetic images. {averaging_of_differences(results)}. "
        f"{about_verdicts(results) if verdicts else how_to_read(results)}"
    )
    return Table("Class by class", tuple(columns), tuple(rows), caption.strip())


def reasons_table(results: Results) -> Table:
    """One row per class with its verdict, why, and precisions; no rows without verdicts."""
    data, verdicts = results["dataset"], results["verdict"].get("per_class") or ()
    compared = comparison(results)
    arms = [find_arm(results, compared.get(side)) for side in ("opponent", "primary")]
    rows = []
    for k in _rarest_first(results) if verdicts else ():
        verdict = verdicts[k]
        least = verdict.get("detectable")
        texts = [mean_of(class_entry(arm, "precision", k)) for arm in arms]
        texts.append(NOT_AVAILABLE if least is None else f"{least:.3f}")
        name = Cell(one_line(data["class_names"][k]))
        cells = (name, _advice(verdict["advice"]), Cell(verdict["reason"]), *map(Cell, texts))
        rows.append(Row(cells))
    columns = (
        Column("class", numeric=False),
        Column("verdict", numeric=False),
        Column("why", numeric=False),
        Column("precision without"),
        Column("precision with"),
        Column("smallest difference it would find"),
    )
    caption = (
        "The opponent named is the one that decides: the hardest to beat where all are beaten, "
        "else the one that beats synthaug most clearly. Precision: share of the images given this "
        "label that belong to the class. n/a: not measured, as for a class without test images or "
        "one that is never predicted."
    )
    return Table("Why, class by class", columns, tuple(rows), caption)


def about_verdicts(results: Results) -> str:
    """How the verdicts of the classes came about, in one sentence."""
    return _ABOUT_VERDICTS if n_seeds(results) > 1 else how_to_read(results)


def _rarest_first(results: Results) -> list[int]:
    counts = results["dataset"]["train_counts"]
    return sorted(range(len(counts)), key=lambda k: counts[k])


def _advice(advice: str) -> Cell:
    return Cell(advice, strong=advice != "cannot tell")
