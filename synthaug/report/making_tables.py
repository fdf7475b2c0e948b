"""Tables of how the images were made: specialists, what selection refused, likely copies."""

from collections.abc import Mapping
from typing import Any

from synthaug.report.results import Results
from synthaug.report.tables import Cell, Column, Row, Table
from synthaug.report.words import NOT_AVAILABLE, one_line, share

_COPY_REASON = "copy of a train image"
_LEVEL = 0.05


def specialists_table(results: Results) -> Table:
    """One row per class that got a generator of its own, kept or not; no rows if there was none."""
    rows = []
    for entry in (results.get("fit") or {}).get("specialists") or ():
        losses = [entry.get("base_loss"), entry.get("specialist_loss")]
        texts = [one_line(entry["class_name"]), "yes" if entry["kept"] else "no"]
        texts += [NOT_AVAILABLE if loss is None else f"{loss:.4f}" for loss in losses]
        rows.append(Row(tuple(map(Cell, (*texts, entry.get("reason") or "")))))
    columns = (
        Column("class", numeric=False),
        Column("kept", numeric=False),
        Column("loss, shared generator"),
        Column("loss, specialist"),
        Column("reason", numeric=False),
    )
    caption = "Denoising loss on held-out images of the class; a specialist is kept if it is lower."
    return Table("Specialised generators", columns, tuple(rows), caption)


def selection_table(results: Results) -> Table:
    """One row per class that was drawn: how, how many were kept, and why the others were not.

    No rows before `generate`.
    """
    generated: Mapping[str, Any] = results.get("generate") or {}
    drawn: Mapping[str, int] = generated.get("candidates") or {}
    by_class = generated.get("rejected_by_class") or {}
    modes, shortfall = generated.get("modes") or {}, generated.get("shortfall") or {}
    reasons = list(generated.get("rejected") or {})
    kept = dict(zip(results["dataset"]["class_names"], results["synthetic_counts"], strict=True))
    rows = []
    for name, n in drawn.items():
        mode = (modes.get(name) or {}).get("mode") or NOT_AVAILABLE
        counts = [n, kept[name], shortfall.get(name, 0)]
        counts += [by_class.get(name, {}).get(reason, 0) for reason in reasons]
        rows.append(Row((Cell(one_line(name)), Cell(mode), *(Cell(f"{c:,}") for c in counts))))
    columns = (
        Column("class", numeric=False),
        Column("drawn by", numeric=False),
        Column("candidates"),
        Column("kept"),
        Column("short of the plan"),
        *(Column(reason) for reason in reasons),
    )
    caption = (
        "sample: from pure noise; variation: from a real train image at partial noise; "
        "interpolate: from two of them. Candidates that are neither kept nor refused for a reason "
        "were not needed."
    )
    return Table("Candidates, and why they were refused", columns, tuple(rows), caption)


def memorisation_table(results: Results) -> Table:
    """One row per class, the rarest first: likely copies among its synthetic and real images.

    No rows without synthetic images.
    """
    measured: Mapping[str, Any] = results.get("memorisation") or {}
    generated: Mapping[str, Any] = results.get("generate") or {}
    refused = generated.get("rejected_by_class") or {}
    rows = []
    data = results["dataset"]
    n_train = dict(zip(data["class_names"], data["train_counts"], strict=True))
    classes = measured.get("classes") or ()
    for entry in sorted(classes, key=lambda entry: n_train[entry["class_name"]]):
        name = entry["class_name"]
        cells = [Cell(one_line(name)), _part(entry["copies"], entry["n_synthetic"])]
        cells.append(_part(entry["copies_among_real"], entry["n_real"]))
        cells.append(Cell(f"{refused.get(name, {}).get(_COPY_REASON, 0):,}"))
        rows.append(Row((*cells, _reading(entry["p"]))))
    columns = (
        Column("class", numeric=False),
        Column("likely copies among synthetic images"),
        Column("the same among real images"),
        Column("refused as copies before"),
        Column("reading", numeric=False),
    )
    caption = (
        "An image counts as a likely copy where its nearest train image is less than a third as "
        "far away as the second nearest. That alone means little: real images that resemble each "
        "other do the same. So the real train images of the class, each against all others, are "
        "the null: more copies than among them are what is suspicious (one-sided Fisher test, "
        "5 %, not corrected for the number of classes)."
    )
    return Table("Copies of train images", columns, tuple(rows), caption)


def _part(n: int, of: int) -> Cell:
    return Cell(f"{n:,} of {of:,} ({share(n / of)})" if of else NOT_AVAILABLE)


def _reading(p: float | None) -> Cell:
    if p is None:
        return Cell(NOT_AVAILABLE)
    return Cell("more than among real", strong=True) if p < _LEVEL else Cell("no more than real")
