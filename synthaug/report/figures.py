"""The pictures of the report: arms as dots with intervals, images per class, the training loss."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from synthaug.report.results import Results, comparison, find_arm, metric_of
from synthaug.report.svg import ACCENT, HAIRLINE, INK, MUTED, inline_svg
from synthaug.report.words import brief_arm, describe_arm, describe_metric, one_line

_WIDTH = 14.9  # inches of 72 user units: the width of the page's column
_NARROW = 5.0  # and that of a phone
_MAX_NAMED_CLASSES = 40
_CURVE_POINTS = 400
_MARKERS = {"real": "o", "synthetic": "D", "control": "s", "oracle": "^"}


def dot_plot(results: Results, metric: str, *, narrow: bool = False) -> str:
    """One row per arm: mean, interval and, faintly, each seed; a line marks the opponent.

    Arms with synthetic images are diamonds in the accent colour, the copy control is a square and
    the oracle a grey triangle. An arm for which the metric is undefined keeps an empty row.

    Returns:
        An `<svg>` element.
    """
    arms = results["arms"]
    figure, axes = _canvas(height=0.36 * len(arms) + 0.75, narrow=narrow)
    for row, arm in enumerate(arms):
        _draw_arm(axes, row, arm, metric)
    opponent = find_arm(results, comparison(results).get("opponent"))
    reference = metric_of(opponent, metric)
    if reference is not None:
        axes.axvline(reference.mean, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    names = [one_line(describe_arm(arm), 60) for arm in arms]
    shown = [one_line(brief_arm(arm), 27) for arm in arms] if narrow else names
    axes.set_yticks(range(len(arms)), shown, parse_math=False)
    axes.set_ylim(len(arms) - 0.4, -0.6)
    # A t-interval of few seeds may leave the range that a score can have.
    low, high = axes.get_xlim()
    margin = 0.02 * (min(high, 1) - max(low, 0))
    axes.set_xlim(max(low, -margin), min(high, 1 + margin))
    axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 8, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color=HAIRLINE, linewidth=1)
    axes.set_xlabel(describe_metric(metric, results), parse_math=False)
    means = [(name, metric_of(arm, metric)) for name, arm in zip(names, arms, strict=True)]
    told = "; ".join(f"{name} {value.mean:.3f}" for name, value in means if value is not None)
    return inline_svg(figure, alt=f"{describe_metric(metric, results)} of each arm: {told}")


def counts_plot(results: Results, *, narrow: bool = False) -> str:
    """Training images of each class as bars, most frequent class first, synthetic ones on top.

    Returns:
        An `<svg>` element.
    """
    data = results["dataset"]
    real = np.asarray(data["train_counts"], dtype=np.int64)
    order = np.argsort(-real, kind="stable")
    real, synthetic = real[order], np.asarray(results["synthetic_counts"], dtype=np.int64)[order]
    figure, axes = _canvas(height=2.9, narrow=narrow)
    room = 100 if not narrow else 30
    places = np.arange(real.size)
    width = min(0.72, 0.1 * real.size)  # two classes make two bars, not two walls
    axes.bar(places, real, width=width, color=MUTED, linewidth=0)
    axes.bar(places, synthetic, width=width, bottom=real, color=ACCENT, linewidth=0)
    if real.size <= (_MAX_NAMED_CLASSES if not narrow else 16):
        limit = max(18 if not narrow else 12, room // real.size)
        names = [one_line(data["class_names"][k], limit) for k in order]
        fits = real.size * max(map(len, names)) <= room
        slant: dict[str, Any] = {} if fits else {"rotation": 45, "ha": "right"}
        axes.set_xticks(places, names, parse_math=False, rotation_mode="anchor", **slant)
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{real.size} classes, most frequent first")
    axes.set_xlim(-0.6, real.size - 0.4)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="y", color=HAIRLINE, linewidth=1)
    axes.set_ylabel("training images")
    rarest = one_line(data["class_names"][order[-1]])
    alt = (
        f"training images per class: {real.sum():,} real and {synthetic.sum():,} synthetic; the "
        f"rarest class, {rarest}, has {real[-1]:,} real and {synthetic[-1]:,} synthetic"
    )
    return inline_svg(figure, alt=alt)


def loss_curve(
    train: tuple[Sequence[float], Sequence[float]],
    held_out: tuple[Sequence[float], Sequence[float]] | None = None,
    *,
    narrow: bool = False,
) -> str:
    """The training loss: every value faintly, block means as the line to follow; held-out dots.

    Args:
        train: images seen, ascending, and loss, each [N]; losses that are not finite are left out.
        held_out: the same on images kept from training, or None.

    Returns:
        An `<svg>` element.

    Raises:
        ValueError: if two lengths differ or no training loss is finite.
    """
    x, y = _finite(train)
    if y.size == 0:
        raise ValueError("no finite loss to draw")
    figure, axes = _canvas(height=2.7, narrow=narrow)
    axes.plot(*_block_means(x, y, _CURVE_POINTS), color=MUTED, linewidth=1, alpha=0.45)
    axes.plot(*_block_means(x, y, _CURVE_POINTS // 10), color=ACCENT, linewidth=2)
    lowest, highest = y.min(), y.max()
    alt = f"training loss, from {y[0]:.4g} to {y[-1]:.4g} over {x[-1]:,.0f} images seen"
    if held_out is not None and len(seen := _finite(held_out)[1]):
        axes.plot(*_finite(held_out), "o-", color=INK, linewidth=1, markersize=4)
        lowest, highest = min(lowest, seen.min()), max(highest, seen.max())
        alt += (
            f"; on held-out images from {seen[0]:.4g} to {seen[-1]:.4g}, {seen.min():.4g} at best"
        )
    if lowest > 0 and highest > 10 * lowest:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 8, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="y", color=HAIRLINE, linewidth=1)
    axes.set_xlabel("images seen", parse_math=False)
    axes.set_ylabel("loss")
    return inline_svg(figure, alt=alt)


def _finite(
    curve: tuple[Sequence[float], Sequence[float]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = (np.asarray(values, dtype=np.float64) for values in curve)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"images seen {x.shape} and losses {y.shape} must both be [N]")
    return x[np.isfinite(y)], y[np.isfinite(y)]


def _draw_arm(axes: Axes, row: int, arm: Mapping[str, Any], metric: str) -> None:
    value = metric_of(arm, metric)
    if value is None:
        return
    synthetic = bool(arm.get("synthetic"))
    color = MUTED if arm.get("oracle") else ACCENT if synthetic else INK
    kind = "oracle" if arm.get("oracle") else "control" if arm.get("control") else "real"
    marker = _MARKERS["synthetic" if synthetic and kind == "real" else kind]
    # Below the bar: seeds drawn on it would hide where the interval ends.
    below = [row + 0.24] * len(value.values)
    axes.plot(value.values, below, "o", color=color, markersize=3, alpha=0.4, markeredgewidth=0)
    if value.low is not None and value.high is not None:
        axes.plot([value.low, value.high], [row, row], color=color, linewidth=2.2, zorder=3)
    axes.plot([value.mean], [row], marker, color=color, markersize=7.5, markeredgewidth=0, zorder=4)


def _canvas(*, height: float, narrow: bool) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_NARROW if narrow else _WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=12.5, labelcolor=INK, pad=6)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=MUTED, fontsize=12.5)
    return figure, axes


def _block_means(
    x: NDArray[np.float64], y: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of x and y over at most `n` consecutive blocks of nearly equal size."""
    edges = np.linspace(0, y.size, min(n, y.size) + 1).astype(np.int64)
    sizes = np.diff(edges)
    return (
        np.add.reduceat(x, edges[:-1]) / sizes,
        np.add.reduceat(y, edges[:-1]) / sizes,
    )
