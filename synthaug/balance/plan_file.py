"""plan.json: how a plan is written for a person to edit, and what a wrong edit is told.

``target``, ``cap`` and ``mode`` of a class may be changed between two verbs. Everything else is
explanation, worked out again whenever the plan is read and written.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthaug.balance.assignments import did_you_mean
from synthaug.balance.caps import CAP_EXPECTED, Cap, is_cap
from synthaug.balance.modes import MODES, choose_mode
from synthaug.balance.strategy import check_target
from synthaug.errors import DataError

if TYPE_CHECKING:
    from synthaug.balance.plan import BalancePlan

EDITABLE = ("target", "cap", "mode")
_EDIT = f"undo the edit; only {', '.join(EDITABLE)} of a class may be changed"
_TOP_KEYS = (
    "strategy", "minority_below", "imbalance_ratio", "total_new", "left_out_by_caps", "classes",
)  # fmt: skip
_CLASS_KEYS = (
    "name", "train_images", "target", "cap", "mode", "n_new", "planned", "group", "minority",
    "reason", "mode_reason",
)  # fmt: skip


@dataclass(frozen=True)
class PlannedClass:
    """What a plan's file decides for one class."""

    name: str
    train_images: int
    target: int
    cap: Cap
    mode: str


@dataclass(frozen=True)
class PlanFile:
    """The content of a plan's file without its explanations."""

    classes: tuple[PlannedClass, ...]
    strategy: Any
    minority_below: float


def plan_content(plan: "BalancePlan") -> dict[str, Any]:
    """A plan as a plain dict, what may be edited before what explains it."""
    columns = (
        plan.class_names, plan.counts, plan.target, plan.cap, plan.mode, plan.n_new, plan.target,
        plan.group, plan.minority, plan.reason, plan.mode_reason,
    )  # fmt: skip
    rows = [dict(zip(_CLASS_KEYS, row, strict=True)) for row in zip(*columns, strict=True)]
    top = (
        plan.strategy, plan.minority_below, round(plan.imbalance_ratio, 3), plan.total_new,
        sum(plan.left_out), rows,
    )  # fmt: skip
    return dict(zip(_TOP_KEYS, top, strict=True))


def parse_plan(text: str) -> Any:
    """The content of a plan's file. Raises `DataError` with line and column where it is no JSON."""
    try:
        return json.loads(text, object_pairs_hook=_without_twins)
    except json.JSONDecodeError as error:
        raise DataError(
            f"line {error.lineno}, column {error.colno} is not valid JSON: {error.msg}",
            remedy="mend it there, or undo the edit",
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, deep nesting
        raise DataError(f"it is not valid JSON: {error}", remedy="undo the edit") from error


def read_plan_file(data: Any, train_counts: Mapping[str, int] | None = None) -> PlanFile:
    """Check the content of a plan's file, perhaps edited, and keep what decides.

    Args:
        data: what `parse_plan` returns.
        train_counts: the dataset's train images by class. If given, the plan must be of this
            dataset, and its classes are returned in this order.

    Raises:
        DataError: for a wrong edit, naming the class, what was found and what was expected.
    """
    if not isinstance(data, Mapping):
        raise DataError("the plan is no JSON object", remedy="undo the edit")
    _refuse_unknown_keys(data, _TOP_KEYS, "the plan")
    below = data.get("minority_below", 0.5)
    if isinstance(below, bool) or not isinstance(below, int | float) or not 0 <= below <= 1:
        raise DataError(
            f"the plan's minority_below is {below!r}", expected="a number between 0 and 1"
        )
    entries = data.get("classes")
    if not isinstance(entries, list) or not entries:
        raise DataError("the plan has no list of classes", remedy="undo the edit")
    names = [_name(entry) for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"class {name!r} is in the plan twice", remedy="remove one entry")
    by_name = dict(zip(names, entries, strict=True))
    if train_counts is not None:
        _compare_classes(names, train_counts)
        by_name = {name: by_name[name] for name in train_counts}
    classes = tuple(
        _read_class(name, entry, None if train_counts is None else train_counts[name])
        for name, entry in by_name.items()
    )
    return PlanFile(classes, data.get("strategy", "auto"), below)


def _read_class(name: str, entry: Mapping[str, Any], train_images: int | None) -> PlannedClass:
    _refuse_unknown_keys(entry, _CLASS_KEYS, f"class {name!r}")
    count, target = (_whole(name, entry, key) for key in ("train_images", "target"))
    if train_images is not None and count != train_images:
        raise DataError(
            f"class {name!r} has train_images {count} in the plan",
            expected=f"the dataset's {train_images}",
            remedy=_EDIT,
        )
    if target >= 0:
        check_target(name, count, target)
    else:
        raise DataError(
            f"class {name!r} has the negative target {target}", expected=f"{count} or more"
        )
    _check_n_new(name, entry, count, target)
    cap = entry.get("cap")
    if not is_cap(cap):
        raise DataError(f"class {name!r} has cap {cap!r}", expected=f"{CAP_EXPECTED}, or null")
    # A plan of an earlier version has no modes. A count of 0 is refused by the plan as a whole.
    mode = entry.get("mode", choose_mode(max(count, 1)))
    if mode not in MODES:
        near = did_you_mean(mode, MODES) if isinstance(mode, str) else ""
        raise DataError(
            f"class {name!r} has mode {mode!r} in the plan",
            expected=f"one of {', '.join(MODES)}",
            remedy=near,
        )
    return PlannedClass(name, count, target, cap, mode)


def _check_n_new(name: str, entry: Mapping[str, Any], count: int, target: int) -> None:
    """Refuse an edited ``n_new``, but not one that an edited ``target`` has left behind.

    ``planned`` is the target as it was written, and tells the two apart.
    """
    n_new = _whole(name, entry, "n_new", target - count)
    planned = _whole(name, entry, "planned", target)
    left_behind = planned != target and n_new == planned - count
    if n_new == target - count or left_behind:
        return
    instead = f": {count + n_new} gives {n_new} new images" if n_new >= 0 else ""
    raise DataError(
        f"class {name!r} has n_new {n_new}, but {count} train images and target {target} make "
        f"{target - count} new ones",
        expected="n_new as it was written: it follows from target",
        remedy=f"undo it and edit target instead{instead}",
    )


def _compare_classes(names: Sequence[str], train_counts: Mapping[str, int]) -> None:
    """Refuse a plan that is not of these classes."""
    for name in names:
        if name not in train_counts:
            raise DataError(
                f"the plan has class {name!r}, which the dataset does not have",
                expected=f"the classes {', '.join(train_counts)}",
                remedy=did_you_mean(name, list(train_counts)) or "remove the entry",
            )
    for name, count in train_counts.items():
        if name not in names:
            raise DataError(
                f"class {name!r} is missing from the plan, which has {len(names)} classes",
                expected=f"the dataset's {len(train_counts)}",
                remedy=f"put its entry back: train_images {count}, target {count} or more",
            )


def _name(entry: Any) -> str:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise DataError(f"the plan has a class without a name: {entry!r}", remedy="undo the edit")
    name: str = entry["name"]
    return name


def _whole(name: str, entry: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = entry.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise DataError(
            f"class {name!r} has {key} {value!r} in the plan", expected="a whole number"
        )
    return value


def _refuse_unknown_keys(content: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in content:
        if key not in known:
            raise DataError(
                f"{where} has the unknown key {key!r}",
                expected=f"only {', '.join(known)}",
                remedy=did_you_mean(key, known) or "remove it",
            )


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, whose reader would quietly take the last of two equal keys."""
    content = dict(pairs)
    for key in content:
        values = [value for name, value in pairs if name == key]
        if len(values) > 1:
            of = f" of class {content['name']!r}" if "name" in content and key != "name" else ""
            plain = not any(isinstance(value, dict | list) for value in values)
            told = f", with {' and '.join(map(str, values))}" if plain else ""
            raise DataError(
                f"the key {key!r}{of} stands there twice{told}", remedy="keep one of them"
            )
    return content
