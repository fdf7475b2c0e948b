"""results.json as one page that carries its pictures and styles within itself."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from synthaug.report.facts import how_it_was_done, key_numbers, limits
from synthaug.report.figures import counts_plot, dot_plot, loss_curve
from synthaug.report.further_tables import (
    collapse_table,
    fidelity_table,
    likelihood_table,
    specialists_table,
)
from synthaug.report.pictures import Picture, png_data_uri, tile
from synthaug.report.results import Results, metric_of
from synthaug.report.schema import validate_results
from synthaug.report.tables import (
    arms_table,
    classes_table,
    contestants,
    differences_table,
    further_table,
    reasons_table,
)
from synthaug.report.words import describe_metric, describe_verdict, one_line

__all__ = ["Curve", "Picture", "render_report", "write_report"]

_PLOTTED_METRICS = ("balanced_accuracy", "rarest_recall")
_SHEET_COLUMNS = 8
_SHOWN_PIXELS = 40  # side of one image on a sheet; small images are enlarged to about this


@dataclass(frozen=True)
class Curve:
    """A training curve: `losses` [N] at `steps` [N], ascending, which count `x_label`."""

    title: str
    steps: Sequence[float]
    losses: Sequence[float]
    x_label: str = "images seen"


@dataclass(frozen=True)
class _Sheet:
    """One side of a `Picture`, ready for an `<img>`; `uri` is None when there is no image."""

    heading: str
    uri: str | None
    width: int
    height: int
    count: int


def render_report(
    results: Results,
    *,
    pictures: Sequence[Picture] = (),
    curves: Sequence[Curve] | None = None,
) -> str:
    """Render the page; the same input gives the same text, byte for byte.

    Args:
        results: parsed results.json, of the current schema version.
        pictures: real beside synthetic images, in the order to be shown, one entry per class.
        curves: training curves in the order to be shown; one without a finite loss is left out.

    Raises:
        DataError: if `results` is not what `validate_results` asks for.
        ValueError: if a picture or a curve has the wrong shape or dtype.
    """
    validate_results(results)
    environment = Environment(
        loader=PackageLoader("synthaug.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(_context(results, pictures, curves))


def write_report(
    path: str | os.PathLike[str],
    results: Results,
    *,
    pictures: Sequence[Picture] = (),
    curves: Sequence[Curve] | None = None,
) -> None:
    """Write the page as UTF-8, whole or not at all; takes and raises what `render_report` does.

    Raises:
        OSError: if the file cannot be written; a former report then stays as it was.
    """
    page = render_report(results, pictures=pictures, curves=curves)
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(page, encoding="utf-8", newline="\n")
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def _context(
    results: Results, pictures: Sequence[Picture], curves: Sequence[Curve] | None
) -> dict[str, Any]:
    plotted = [
        metric
        for metric in _PLOTTED_METRICS
        if any(metric_of(arm, metric) is not None for arm in results["arms"])
    ]
    return {
        "dataset": one_line(results["dataset"].get("name") or "images"),
        "created": str(results.get("created", "")),
        "version": str(results.get("synthaug_version", "")),
        "overall": results["verdict"]["overall"],
        "headline": describe_verdict(results["verdict"]["overall"]),
        "sentence": results["verdict"].get("sentence", ""),
        "key_numbers": key_numbers(results),
        "contestants": contestants(results),
        "notices": results.get("notices") or (),
        "counts": counts_plot(results),
        "classes": classes_table(results),
        "reasons": reasons_table(results),
        "collapse": collapse_table(results),
        "fidelity": fidelity_table(results),
        "tuning": [part["sentence"] for part in results.get("tuning") or []],
        "collapse_sentence": (results.get("collapse") or {}).get("sentence"),
        "dots": [
            (describe_metric(metric, results), dot_plot(results, metric)) for metric in plotted
        ],
        "differences": differences_table(results),
        "arms": arms_table(results),
        "further": further_table(results),
        "pictures": [
            (picture, (_sheet("real", picture.real), _sheet("synthetic", picture.synthetic)))
            for picture in pictures
        ],
        "curves": [
            (curve.title, loss_curve(curve.steps, curve.losses, x_label=curve.x_label))
            for curve in curves or ()
            if np.isfinite(np.asarray(curve.losses, dtype=np.float64)).any()
        ],
        "likelihood": likelihood_table(results),
        "fact_groups": how_it_was_done(results),
        "specialists": specialists_table(results),
        "commands": results.get("commands") or (),
        "limits": limits(results),
    }


def _sheet(heading: str, images: NDArray[np.uint8]) -> _Sheet:
    if len(images) == 0:
        return _Sheet(heading, None, 0, 0, 0)
    scale = max(1, round(_SHOWN_PIXELS / max(images.shape[2:])))
    grid = tile(images, _SHEET_COLUMNS)
    height, width = grid.shape[0] * scale, grid.shape[1] * scale
    return _Sheet(heading, png_data_uri(grid, scale), width, height, len(images))
