"""The figure of an ablation: the schedules, and how good each turned out to be."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthaug.report.ablation import Ablation
from synthaug.report.results import Estimate, estimate
from synthaug.report.words import one_line

INK, MUTED, HAIRLINE = "#1c2024", "#626a73", "#e3e5e4"
"""The colours of the page, for a picture that stands alone."""
_COLOURS = ("#0b6e69", "#c2571a", "#3b5aa8", "#a03a86", "#8c7a1d", "#1c2024")
_LEAST = -12
"""log10 SNR below which a curve says nothing more: it is noise to any precision in use."""


def ablation_figure(ablation: Ablation) -> Figure:
    """log10 SNR over t of every variant; beside it bound and accuracy, in the same colours."""
    variants = ablation["variants"]
    n = len(variants)
    colours: Sequence[Any] = _COLOURS
    if n > len(colours):
        colours = [*matplotlib.colormaps["viridis"](np.linspace(0, 0.88, n))]
    colours = colours[:n]
    figure = Figure(figsize=(13.5, max(4.2, 0.5 * n + 1.6)), layout="constrained", dpi=110)
    curves, bounds, scores = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    for axes in (curves, bounds, scores):
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=11, labelcolor=INK)
        axes.grid(color=HAIRLINE, linewidth=1)
        axes.set_axisbelow(True)
        axes.xaxis.label.set(color=MUTED, fontsize=11)
    for v, colour in zip(variants, colours, strict=True):
        share = np.linspace(0, 1, len(v["log10_snr"]))
        curves.plot(share, v["log10_snr"], color=colour, linewidth=2.2)
    low, high = curves.get_ylim()
    curves.set_ylim(max(low, _LEAST), high)
    curves.set_xlabel("t / T")
    curves.set_title("log10 SNR of the schedule", loc="left", fontsize=12, color=INK)
    names = [one_line(v["name"], 30) for v in variants]
    for axes, key, title in (
        (bounds, "bound", "test bits/dim, lower is better"),
        (scores, "accuracy", "accuracy score, higher is better"),
    ):
        values = [estimate(v[key]) for v in variants]
        for row, (value, colour) in enumerate(zip(values, colours, strict=True)):
            _dot(axes, row, value, colour)
        axes.set_ylim(n - 0.4, -0.6)
        axes.set_yticks(range(n), names if axes is bounds else [""] * n, parse_math=False)
        axes.set_title(title, loc="left", fontsize=12, color=INK)
    for label, colour in zip(bounds.get_yticklabels(), colours, strict=True):
        label.set(color=colour, fontweight="bold")
    real = estimate(ablation["real_accuracy"])
    if real is not None:
        scores.axvline(real.mean, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        scores.set_xlabel(f"dashed: real images, {real.mean:.3f}")
    return figure


def write_ablation_figure(path: Path, ablation: Ablation) -> None:
    """Write the figure as a PNG; no metadata, so that the same numbers give the same file."""
    ablation_figure(ablation).savefig(path, metadata={"Software": None}, facecolor="white")


def _dot(axes: Axes, row: int, value: Estimate | None, colour: Any) -> None:
    if value is None:
        return
    if value.low is not None and value.high is not None:
        axes.plot([value.low, value.high], [row, row], color=colour, linewidth=2.4)
    axes.plot([value.mean], [row], "o", color=colour, markersize=8)
