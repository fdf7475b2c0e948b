"""`inspect`: what a dataset holds, what is wrong with it, and what it could prove."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from synthaug import __version__
from synthaug.balance.groups import imbalance_ratio
from synthaug.balance.plan import BalancePlan, plan_balance
from synthaug.data.folds import suggest_folds
from synthaug.data.splits import Splits
from synthaug.errors import SynthaugError
from synthaug.evaluation.detectable import MIN_TEST_IMAGES, smallest_difference
from synthaug.recipe import Recipe
from synthaug.stages.dataset import split_reading
from synthaug.stages.findings import Finding, dataset_findings
from synthaug.stages.progress import Progress, Silent
from synthaug.stages.reading import Reading, read_images, refuse_synthetic
from synthaug.stages.signals import NOTHING_WRITTEN, READING_GRACE_SECONDS, stop_flag

LARGEST_SIZE = 32
"""As `fit` on a CPU would choose it."""
COMMON_SIZES = 5


@dataclass(frozen=True)
class InspectRequest:
    """What the user asked of `inspect`."""

    dataset: str
    recipe: Recipe


def inspect(request: InspectRequest, progress: Progress | None = None) -> dict[str, Any]:
    """Read a dataset as `fit` would and tell what a person should know before training on it.

    Nothing is written. `refused` lists why training would not start; it is empty where it would.
    Raises `DataError` when the dataset cannot even be read.
    """
    with stop_flag(NOTHING_WRITTEN, grace=READING_GRACE_SECONDS):
        return _inspect(request, progress or Silent())


def _inspect(request: InspectRequest, progress: Progress) -> dict[str, Any]:
    recipe = request.recipe
    reading = read_images(request.dataset, recipe.data, largest=LARGEST_SIZE, progress=progress)
    findings = dataset_findings(reading)
    splits, plan = None, None
    try:
        refuse_synthetic(reading)
    except SynthaugError as error:
        findings.append(Finding("synthetic", "refused", 1, error.found, error.remedy))
    try:
        splits = split_reading(reading, recipe.data, recipe.seed)
        plan = _plan(reading, splits, recipe)
    except SynthaugError as error:
        findings.append(Finding("unusable", "refused", 1, error.found, error.remedy))
    findings += _split_findings(reading, splits, plan, recipe)
    order = {"refused": 0, "warning": 1, "note": 2}
    findings.sort(key=lambda finding: order[finding.severity])
    counts = Counter(reading.index.class_names[k] for k in reading.labels)
    return {
        "synthaug_version": __version__,
        "dataset": reading.name,
        "origin": reading.index.origin,
        "fingerprint": reading.index.fingerprint,
        "n_files": len(reading.index.paths),
        "n_images": len(reading.labels),
        "image_size": reading.image_size,
        "channels": reading.channels,
        "imbalance_ratio": round(plan.imbalance_ratio if plan else _ratio(counts), 3),
        "sizes": _sizes(reading),
        "levels": [reading.decoded.lowest_level, reading.decoded.highest_level],
        "modes": dict(Counter(mode for mode in reading.headers.modes if mode).most_common()),
        "split": _split_words(reading, recipe),
        "classes": _classes(reading, splits, plan),
        "findings": [{**asdict(f), "examples": list(f.examples)} for f in findings],
        "broken": [asdict(bad) for bad in reading.decoded.bad],
        "refused": [_sentence(f) for f in findings if f.severity == "refused"],
    }


def _plan(reading: Reading, splits: Splits, recipe: Recipe) -> BalancePlan:
    names = reading.index.class_names
    counts = np.bincount(reading.labels[splits.train], minlength=len(names))
    section = recipe.balance
    return plan_balance(
        names, counts.tolist(), section.strategy, minority_below=section.minority_below,
        caps=section.cap,
    )  # fmt: skip


def _classes(
    reading: Reading, splits: Splits | None, plan: BalancePlan | None
) -> list[dict[str, Any]]:
    """What each class has and could prove; without a split, only its images."""
    names, labels = reading.index.class_names, reading.labels
    files = np.bincount(reading.index.labels, minlength=len(names))
    readable = np.bincount(labels, minlength=len(names))
    entries: list[dict[str, Any]] = []
    for k, name in enumerate(names):
        entry: dict[str, Any] = {"name": name, "files": int(files[k]), "images": int(readable[k])}
        if splits is not None:
            sides = {side: getattr(splits, side) for side in ("train", "val", "test")}
            entry |= {side: int((labels[at] == k).sum()) for side, at in sides.items()}
            smallest = smallest_difference(entry["test"])
            entry["smallest_difference"] = None if smallest is None else round(smallest, 4)
        if plan is not None:
            entry |= {
                "group": plan.group[k], "minority": plan.minority[k], "target": plan.target[k],
                "n_new": plan.n_new[k], "reason": plan.reason[k],
                "mode": plan.mode[k], "mode_reason": plan.mode_reason[k],
            }  # fmt: skip
        entries.append(entry)
    return entries


def _split_findings(
    reading: Reading, splits: Splits | None, plan: BalancePlan | None, recipe: Recipe
) -> list[Finding]:
    """Findings about what the split can teach and prove."""
    if splits is None:
        return []
    names, labels = reading.index.class_names, reading.labels
    tested = np.bincount(labels[splits.test], minlength=len(names))
    mute = [name for name, n in zip(names, tested, strict=True) if smallest_difference(n) is None]
    # Near duplicates on two sides are a finding of their own; of groups only the notice tells.
    told_before = splits.crossings and not any(reading.groups)
    notices = [n for n in splits.notices if not (told_before and "belong together with" in n)]
    found = [Finding("split", "note", 1, notice) for notice in notices]
    if mute:
        found.append(
            Finding(
                "too_few_tested",
                "warning",
                len(mute),
                f"{len(mute)} of {len(names)} classes have too few test images to show any "
                f"difference (6 at least): {_some(mute)}",
                _advice_on_testing(reading, tested, recipe),
            )
        )
    if plan is not None:
        varied = [n for n, mode in zip(names, plan.mode, strict=True) if mode == "variation"]
        if varied:
            found.append(
                Finding(
                    "too_few_learned",
                    "warning",
                    len(varied),
                    f"{len(varied)} of {len(names)} classes have too few train images to be drawn "
                    f"from noise, so their images are varied: {_some(varied)}",
                    "expect little new in them; more real images of these classes are worth most",
                )
            )
        found += [Finding("plan", "note", 1, notice) for notice in plan.notices]
    return found


def _advice_on_testing(reading: Reading, tested: np.ndarray, recipe: Recipe) -> str:
    if recipe.data.folds:
        return "more images of these classes are the only remedy"
    folds = None
    could = np.bincount(reading.labels, minlength=len(tested))
    if any(smallest_difference(n) for n in could[tested < MIN_TEST_IMAGES]):
        folds = suggest_folds(
            reading.labels, reading.decoded.content_hashes, reading.declared,
            together=reading.together, test_fraction=recipe.data.test_fraction, seed=recipe.seed,
        )  # fmt: skip
    if folds is None:
        return "add test images of these classes, or look at the average over classes only"
    return f"--folds {folds} tests every image once, in {folds} trainings of a share of the time"


def _split_words(reading: Reading, recipe: Recipe) -> str:
    if recipe.data.folds:
        return f"in {recipe.data.folds} folds"
    declared = [split for split in ("train", "val", "test") if split in reading.declared]
    return f"declared: {', '.join(declared)}" if declared else "to be cut"


def _sizes(reading: Reading) -> dict[str, Any]:
    headers = reading.headers
    known = headers.widths > 0
    shapes = Counter(
        zip(headers.widths[known].tolist(), headers.heights[known].tolist(), strict=True)
    )
    short = np.minimum(headers.widths[known], headers.heights[known])
    return {
        "distinct": len(shapes),
        "most_common": [
            {"width": w, "height": h, "images": n} for (w, h), n in shapes.most_common(COMMON_SIZES)
        ],
        "short_side": [int(short.min()), int(np.median(short)), int(short.max())],
    }


def _ratio(counts: Counter[str]) -> float:
    return imbalance_ratio(list(counts.values()))


def _some(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _sentence(finding: Finding) -> str:
    examples = f" ({'; '.join(finding.examples[:2])})" if finding.examples else ""
    return f"{finding.text}{examples}" + (f"; {finding.remedy}" if finding.remedy else "")
