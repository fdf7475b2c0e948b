"""What `inspect` found, as tables and lines for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from synthaug.report.tables import Cell, Column, Row, Table

BAR_WIDTH = 16
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_MARKS = {"refused": "✗", "warning": "!", "note": "·"}


def bar(count: int, largest: int, width: int = BAR_WIDTH) -> str:
    """A bar of blocks, in eighths of a character; never empty for a count above 0."""
    if not count or not largest:
        return ""
    eighths = max(round(count / largest * width * 8), 1)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def inspection_table(inspection: Mapping[str, Any]) -> Table:
    """One row a class: its train images as a bar, and what its test images could show.

    Without a split (training would be refused) it is only the number of images.
    """
    classes: Sequence[Mapping[str, Any]] = inspection["classes"]
    split = all("train" in entry for entry in classes)
    count = "train" if split else "images"
    largest = max((entry[count] for entry in classes), default=0)
    columns = [Column("class", numeric=False), Column(count), Column("", numeric=False)]
    columns += [Column("group", numeric=False)] if "group" in classes[0] else []
    if split:
        columns += [Column("test"), Column("can show"), Column("drawn", numeric=False)]
    rows = []
    for entry in classes:
        cells = [Cell(entry["name"]), Cell(str(entry[count])), Cell(bar(entry[count], largest))]
        cells += [Cell(entry["group"])] if "group" in entry else []
        if split:
            cells += [Cell(str(entry["test"])), Cell(_difference(entry["smallest_difference"]))]
            cells += [Cell(_drawn(entry))]
        rows.append(Row(tuple(cells), "primary" if entry.get("minority") else ""))
    caption = f"Imbalance ratio {inspection['imbalance_ratio']:.4g}."
    if split:
        caption += (
            " many: over 100 train images, medium: 20 to 100, few: under 20. can show: the least "
            "difference in recall that the class's test images could show at all, if every image "
            "that differs spoke for the same side (two-sided sign test, 5 %)."
        )
    return Table("Classes", tuple(columns), tuple(rows), caption)


def heading(inspection: Mapping[str, Any]) -> str:
    """The dataset in one sentence."""
    n, files = inspection["n_images"], inspection["n_files"]
    of = f" of {files}" if files != n else ""
    sizes = inspection["sizes"]
    common = ", ".join(
        f"{s['width']}x{s['height']} ({s['images']})" for s in sizes["most_common"][:3]
    )
    more = f" and {sizes['distinct'] - 3} more sizes" if sizes["distinct"] > 3 else ""
    modes = ", ".join(f"{mode} ({n})" for mode, n in inspection["modes"].items())
    side = inspection["image_size"]
    colour = "grey" if inspection["channels"] == 1 else "colour"
    return (
        f"{inspection['dataset']}: {n}{of} images in {len(inspection['classes'])} classes, split "
        f"{inspection['split']}; sizes {common}{more}; modes {modes}; used at {side}x{side} "
        f"{colour}"
    )


def finding_lines(finding: Mapping[str, Any], most: int = 3) -> list[str]:
    """A finding as lines: what it is, a few examples, what to do."""
    lines = [f"{_MARKS[finding['severity']]} {finding['text']}"]
    lines += [f"    {example}" for example in finding["examples"][:most]]
    left = len(finding["examples"]) - most
    if left > 0:
        lines.append("    and more, see --json")
    if finding["remedy"]:
        lines.append(f"    to do: {finding['remedy']}")
    return lines


def _difference(smallest: float | None) -> str:
    return "nothing" if smallest is None else f"{100 * smallest:.3g} points"


def _drawn(entry: Mapping[str, Any]) -> str:
    if not entry.get("n_new"):
        return "—"
    return f"{entry['n_new']} by {entry['mode']}"
