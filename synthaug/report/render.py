"""results.json as one page that carries its pictures and styles within itself."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from synthaug.report.class_tables import classes_table, reasons_table
from synthaug.report.facts import how_it_was_done, key_numbers, limits
from synthaug.report.figures import counts_plot, dot_plot, loss_curve
from synthaug.report.further_tables import collapse_table, fidelity_table, likelihood_table
from synthaug.report.making_tables import (
    memorisation_table,
    selection_table,
    specialists_table,
)
from synthaug.report.pictures import Picture, png_data_uri, tile
from synthaug.report.results import Results, metric_of
from synthaug.report.schema import validate_results
from synthaug.report.strips import Strip
from synthaug.report.tables import arms_table, contestants, differences_table, further_table
from synthaug.report.tuning_tables import tuning_tables
from synthaug.report.words import (
    describe_metric,
    describe_verdict,
    explain_brief_losses,
    one_line,
)

__all__ = ["Picture", "Show", "render_report", "write_report"]

_PLOTTED_METRICS = ("balanced_accuracy", "rarest_recall")
_SHEET_COLUMNS = 5
_SHEET_WIDTH = 236  # pixels on the page, whatever the size of the images
_SMOOTH_FROM = 20  # pixels of a side; smaller images are shown as sharp squares


@dataclass(frozen=True)
class Show:
    """What the page shows beside the results: pictures, and sentences on those it had to omit.

    `pictures` are real beside synthetic images, one entry a class; `neighbours` synthetic images
    beside the train images nearest to them; `strips` how images come about.
    """

    pictures: Sequence[Picture] = ()
    neighbours: Strip | None = None
    strips: Sequence[Strip] = ()
    omitted: Sequence[str] = ()


@dataclass(frozen=True)
class _Sheet:
    """One side of a `Picture`, ready for an `<img>`; `uri` is None when there is no image."""

    heading: str
    uri: str | None
    width: int
    count: int
    smooth: bool


def render_report(results: Results, show: Show | None = None) -> str:
    """Render the page; the same input gives the same text, byte for byte.

    Args:
        results: parsed results.json of the current schema version.
        show: the pictures, in the order to be shown; None for a page without any.

    Raises:
        DataError: if `results` is not what `validate_results` asks for.
        ValueError: if a picture has the wrong shape or dtype.
    """
    validate_results(results)
    environment = Environment(
        loader=PackageLoader("synthaug.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    return template.render(_context(results, show or Show()))


def write_report(path: str | os.PathLike[str], results: Results, show: Show | None = None) -> None:
    """Write the page as UTF-8, whole or not at all; takes and raises what `render_report` does.

    Raises:
        OSError: if the file cannot be written; a former report then stays as it was.
    """
    page = render_report(results, show)
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(page, encoding="utf-8", newline="\n")
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def _context(results: Results, show: Show) -> dict[str, Any]:
    plotted = [
        metric
        for metric in _PLOTTED_METRICS
        if any(metric_of(arm, metric) is not None for arm in results["arms"])
    ]
    overall = results["verdict"]["overall"]
    return {
        "dataset": one_line(results["dataset"]["name"] or "images"),
        "created": results["created"],
        "version": results["synthaug_version"],
        "overall": overall,
        "headline": describe_verdict(overall),
        "sentence": results["verdict"]["sentence"],
        "key_numbers": key_numbers(results),
        "contestants": contestants(results),
        "notices": results["notices"],
        "counts": _both(lambda narrow: counts_plot(results, narrow=narrow)),
        "classes": classes_table(results),
        "reasons": reasons_table(results),
        "dots": [_dots(results, metric) for metric in plotted],
        "differences": differences_table(results),
        "arms": arms_table(results),
        "brief_losses": explain_brief_losses(results),
        "further": further_table(results),
        "tuning": [part["sentence"] for part in results.get("tuning") or ()],
        "tried": tuning_tables(results),
        "pictures": [
            (picture, (_sheet("real", picture.real), _sheet("synthetic", picture.synthetic)))
            for picture in show.pictures
        ],
        "neighbours": show.neighbours,
        "strips": show.strips,
        "omitted": show.omitted,
        "any_synthetic": any(results["synthetic_counts"]),
        "memorisation": memorisation_table(results),
        "fidelity": fidelity_table(results),
        "likelihood": likelihood_table(results),
        "curve": _curve(results),
        "collapse": collapse_table(results),
        "collapse_sentence": (results["collapse"] or {}).get("sentence"),
        "fact_groups": how_it_was_done(results),
        "selection": selection_table(results),
        "specialists": specialists_table(results),
        "commands": results["commands"],
        "limits": limits(results),
    }


def _both(draw: Callable[[bool], str]) -> tuple[str, str]:
    """A drawing for a wide page and one for a phone, of which the page shows one."""
    return draw(False), draw(True)


def _dots(results: Results, metric: str) -> tuple[str, tuple[str, str]]:
    drawn = _both(lambda narrow: dot_plot(results, metric, narrow=narrow))
    return describe_metric(metric, results), drawn


def _curve(results: Results) -> tuple[str, str] | None:
    """The training curve, unless there is none or nothing in it to draw a line through."""
    learning = results["learning"]
    if learning is None or len(learning["train"]["loss"]) < 2:
        return None
    train, held_out = (
        None if curve is None else (curve["n_img"], curve["loss"])
        for curve in (learning["train"], learning["held_out"])
    )
    assert train is not None
    return _both(lambda narrow: loss_curve(train, held_out, narrow=narrow))


def _sheet(heading: str, images: NDArray[np.uint8]) -> _Sheet:
    if len(images) == 0:
        return _Sheet(heading, None, 0, 0, False)
    grid = tile(images, _SHEET_COLUMNS)
    width = round(_SHEET_WIDTH * min(len(images), _SHEET_COLUMNS) / _SHEET_COLUMNS)
    smooth = max(images.shape[2:]) >= _SMOOTH_FROM
    return _Sheet(heading, png_data_uri(grid), width, len(images), smooth)
