"""The balance plan: how many images each class has, should have and will get, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from synthaug.balance.groups import imbalance_ratio, minority_classes, shot_groups
from synthaug.balance.modes import MODES, Modes, choose_mode, mode_in_use, mode_reason
from synthaug.balance.strategy import Strategy, check_target, parse_strategy, target_counts
from synthaug.errors import DataError, UsageError

__all__ = ["BalancePlan", "parse_strategy", "plan_balance"]

# Beyond this many synthetic images for each real one, the class is mostly the generator's opinion.
_MANY_PER_REAL = 10


@dataclass(frozen=True)
class BalancePlan:
    """A plan for K classes; all tuples have K entries.

    Attributes:
        class_names: the classes.
        counts: train images of each, at least 1.
        target: final number of images, real and synthetic together.
        strategy: as the user gave it; only a record once the plan exists.
        minority_below: a class with fewer than this times the largest count is a minority.
        mode: how images of each class are drawn, see `balance.modes`; empty means by the counts.
    """

    class_names: tuple[str, ...]
    counts: tuple[int, ...]
    target: tuple[int, ...]
    strategy: str | int | dict[str, int] = "auto"
    minority_below: float = 0.5
    mode: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the plan as a whole.

        Raises:
            DataError: when there are fewer than two classes, a class is named twice, has no train
                images or has a target below its count.
            UsageError: when ``minority_below`` is not between 0 and 1.
        """
        if not 0 <= self.minority_below <= 1:
            raise UsageError(
                f"a minority class is set at below {self.minority_below} of the largest",
                expected="a share between 0 and 1",
            )
        if len(self.class_names) < 2:
            raise DataError(
                f"a plan for {len(self.class_names)} class cannot balance anything",
                expected="at least 2 classes",
            )
        for name, count, target in zip(self.class_names, self.counts, self.target, strict=True):
            if self.class_names.count(name) > 1:
                raise DataError(f"class {name!r} is in the plan twice", remedy="remove one entry")
            if count < 1:
                raise DataError(
                    f"class {name!r} has {count} train images",
                    expected="at least 1",
                    remedy="add images of the class or remove its folder",
                )
            check_target(name, count, target)
        if not self.mode:
            object.__setattr__(self, "mode", tuple(choose_mode(count) for count in self.counts))
        assert len(self.mode) == len(self.counts) and set(self.mode) <= set(MODES)

    @property
    def n_new(self) -> tuple[int, ...]:
        """Images to synthesise, target - counts, 0 or more."""
        return tuple(t - n for t, n in zip(self.target, self.counts, strict=True))

    @property
    def total_new(self) -> int:
        """Images to synthesise over all classes."""
        return sum(self.n_new)

    @property
    def group(self) -> tuple[str, ...]:
        """The words "many", "medium" or "few", by the number of train images."""
        return tuple(shot_groups(self.counts))

    @property
    def minority(self) -> tuple[bool, ...]:
        """Whether a class is a minority."""
        return tuple(bool(m) for m in minority_classes(self.counts, self.minority_below))

    @property
    def imbalance_ratio(self) -> float:
        """Largest over smallest train count."""
        return imbalance_ratio(self.counts)

    @property
    def reason(self) -> tuple[str, ...]:
        """Why a class gets what it gets, in words with its numbers."""
        return tuple(
            self._reason(count, target)
            for count, target in zip(self.counts, self.target, strict=True)
        )

    @property
    def mode_in_use(self) -> tuple[str, ...]:
        """What each mode comes to: a class of one image is varied where pairs were asked for."""
        return tuple(map(mode_in_use, self.counts, self.mode))

    @property
    def mode_reason(self) -> tuple[str, ...]:
        """Why a class is drawn the way it is, in words with its numbers."""
        return tuple(map(mode_reason, self.counts, self.mode))

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know about the plan as a whole."""
        notices = []
        if min(self.counts) == max(self.counts):
            notices.append(f"the classes are balanced already, with {self.counts[0]} images each")
        elif not self.total_new:
            notices.append("every class has its target already: nothing to synthesise")
        for name, count, new in zip(self.class_names, self.counts, self.n_new, strict=True):
            if new > _MANY_PER_REAL * count:
                notices.append(
                    f"class {name!r} would get {new} synthetic images for {count} real ones; a "
                    f"target of {count * (_MANY_PER_REAL + 1)} keeps it at {_MANY_PER_REAL} for one"
                )
        return tuple(notices)

    def to_json(self) -> dict[str, Any]:
        """A plain dict for a person to read and edit.

        ``target`` (then drop ``n_new``) and ``mode`` may be changed; the rest is explanation.
        """
        classes = zip(
            self.class_names,
            self.counts,
            self.target,
            self.n_new,
            self.group,
            self.minority,
            self.reason,
            self.mode,
            self.mode_reason,
            strict=True,
        )
        keys = (
            "name", "train_images", "target", "n_new", "group", "minority", "reason",
            "mode", "mode_reason",
        )  # fmt: skip
        return {
            "strategy": self.strategy,
            "minority_below": self.minority_below,
            "imbalance_ratio": round(self.imbalance_ratio, 3),
            "total_new": self.total_new,
            "classes": [dict(zip(keys, row, strict=True)) for row in classes],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "BalancePlan":
        """Read a plan back, perhaps edited: each class needs its name, train_images and target.

        ``n_new`` and ``mode`` may be left out; what else follows from these numbers is worked out
        again.

        Raises:
            DataError: when the edit is wrong, naming the class and its numbers.
        """
        strategy, below = data.get("strategy", "auto"), data.get("minority_below", 0.5)
        if isinstance(strategy, bool) or not isinstance(strategy, str | int | dict):
            raise DataError(f"the plan's strategy is {strategy!r}", expected="as it was written")
        if isinstance(below, bool) or not isinstance(below, int | float) or not 0 <= below <= 1:
            raise DataError(
                f"the plan's minority_below is {below!r}", expected="a number between 0 and 1"
            )
        classes = data.get("classes")
        if not isinstance(classes, list):
            raise DataError("the plan has no list of classes", remedy="write the plan again")
        rows = [_read_class(entry) for entry in classes]
        return cls(
            class_names=tuple(name for name, _, _, _ in rows),
            counts=tuple(count for _, count, _, _ in rows),
            target=tuple(target for _, _, target, _ in rows),
            strategy=strategy,
            minority_below=below,
            mode=tuple(mode for _, _, _, mode in rows),
        )

    def with_modes(self, modes: Modes) -> "BalancePlan":
        """The plan with the mode of every class changed (a word) or of some (a dict by name)."""
        if isinstance(modes, str):
            return replace(self, mode=(modes,) * len(self.counts))
        pairs = zip(self.class_names, self.mode, strict=True)
        return replace(self, mode=tuple(modes.get(name, old) for name, old in pairs))

    def _reason(self, count: int, target: int) -> str:
        group = shot_groups([count])[0]
        most = max(self.counts)
        if target > count:
            times = (
                f", {most / count:.1f} times fewer than the largest class" if count < most else ""
            )
            return f"{count} train images ({group}{times}); {target - count} new make {target}"
        if count == most:
            return f"{count} train images ({group}), the most of any class; nothing to add"
        return f"{count} train images ({group}); the strategy leaves it as it is"


def plan_balance(
    class_names: Sequence[str],
    counts: Sequence[int],
    strategy: Strategy = "auto",
    *,
    minority_below: float = 0.5,
) -> BalancePlan:
    """Plan how many images to synthesise for each of K classes.

    Args:
        class_names: K names.
        counts: K numbers of train images, at least 1 each; test images have no part in it.
        strategy: what `parse_strategy` reads or returns.
        minority_below: share of the largest class below which a class is a minority.

    Raises:
        DataError: when there are fewer than two classes, a class has no train images, or a target
            is below the number of train images.
        UsageError: when the strategy is not known or names an unknown class.
    """
    names, images = tuple(class_names), tuple(int(count) for count in counts)
    # Checked before the strategy is applied, which would trip over an empty class.
    kept = strategy if isinstance(strategy, str | int) else dict(strategy)
    BalancePlan(names, images, images, kept, minority_below)
    target = tuple(target_counts(strategy, names, images))
    return BalancePlan(names, images, target, kept, minority_below)


def _read_class(entry: Any) -> tuple[str, int, int, str]:
    """Return name, train images, target and mode of one class of an edited plan."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise DataError(f"the plan has a class without a name: {entry!r}")
    name = entry["name"]
    for key in ("train_images", "target", "n_new"):
        value = entry.get(key, 0 if key == "n_new" else None)
        if isinstance(value, bool) or not isinstance(value, int):
            raise DataError(
                f"class {name!r} has {key} {value!r} in the plan", expected="a whole number"
            )
    count, target = entry["train_images"], entry["target"]
    check_target(name, count, target)
    if entry.get("n_new", target - count) != target - count:
        raise DataError(
            f"class {name!r} has {count} train images and target {target}, which makes "
            f"{target - count} new ones, but the plan says n_new {entry['n_new']}",
            remedy="change target only and remove n_new from the edited class",
        )
    # A plan of an earlier version has no modes. A count of 0 is refused by the plan as a whole.
    mode = entry.get("mode", choose_mode(max(count, 1)))
    if mode not in MODES:
        raise DataError(
            f"class {name!r} has mode {mode!r} in the plan",
            expected=f"one of {', '.join(MODES)}",
        )
    return name, count, target, mode
