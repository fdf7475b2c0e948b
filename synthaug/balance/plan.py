"""The balance plan: how many images each class has, should have and will get, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from synthaug.balance.caps import Cap, Caps, class_caps, most_images
from synthaug.balance.groups import imbalance_ratio, minority_classes, shot_groups
from synthaug.balance.modes import MODES, Modes, choose_mode, mode_in_use, mode_reason
from synthaug.balance.plan_file import plan_content, read_plan_file
from synthaug.balance.reasons import class_reason, plan_notices, plan_warnings
from synthaug.balance.strategy import Strategy, check_strategy, check_target, target_counts
from synthaug.errors import DataError, SynthaugError, UsageError

MOST_NEW = 1_000_000
"""Images that a plan may ask for in all: a million files are a mistake before they are a wish."""


@dataclass(frozen=True)
class BalancePlan:
    """A plan for K classes; all tuples have K entries.

    Attributes:
        class_names: the classes.
        counts: train images of each, at least 1.
        target: final number of images, real and synthetic together.
        strategy: as the user gave it. It explains the targets, and a target that is not what it
            asks for, under the cap, counts as edited.
        minority_below: a class with fewer than this times the largest count is a minority.
        mode: how images of each class are drawn, see `balance.modes`; empty means by the counts.
        cap: most synthetic images for each real one, or None; empty means none.
    """

    class_names: tuple[str, ...]
    counts: tuple[int, ...]
    target: tuple[int, ...]
    strategy: str | int | float | dict[str, int] = "auto"
    minority_below: float = 0.5
    mode: tuple[str, ...] = ()
    cap: tuple[Cap, ...] = ()

    def __post_init__(self) -> None:
        """Check the plan as a whole.

        Raises:
            DataError: when there is no class, or one is named twice, has no train images, or a
                target below its count or beyond its cap; when over `MOST_NEW` images are asked for.
            UsageError: when ``minority_below`` is not between 0 and 1.
        """
        if not 0 <= self.minority_below <= 1:
            raise UsageError(
                f"a minority class is set at below {self.minority_below} of the largest",
                expected="a share between 0 and 1",
            )
        if not self.class_names:
            raise DataError("the plan has no classes", expected="at least 1")
        if not self.cap:
            object.__setattr__(self, "cap", (None,) * len(self.counts))
        rows = zip(self.class_names, self.counts, self.target, self.cap, strict=True)
        for name, count, target, cap in rows:
            if self.class_names.count(name) > 1:
                raise DataError(f"class {name!r} is in the plan twice", remedy="remove one entry")
            if count < 1:
                raise DataError(
                    f"class {name!r} has {count} train images",
                    expected="at least 1",
                    remedy="add images of the class or remove its folder",
                )
            check_target(name, count, target)
            if target > (most := most_images(cap, count)):
                raise DataError(
                    f"class {name!r} has {count} train images and target {target}, which takes "
                    f"{target - count} new ones, beyond its cap of {cap} for each real one",
                    expected=f"a target of at most {most}",
                    remedy="lower target or raise cap",
                )
        if not self.mode:
            object.__setattr__(self, "mode", tuple(choose_mode(count) for count in self.counts))
        assert len(self.mode) == len(self.counts) and set(self.mode) <= set(MODES)
        if self.total_new > MOST_NEW:
            new, name = max(zip(self.n_new, self.class_names, strict=True))
            raise DataError(
                f"the plan asks for {self.total_new:,} new images in all, {new:,} of them of class "
                f"{name!r}",
                expected=f"at most {MOST_NEW:,}",
                remedy="lower the targets, or cap the synthetic images for each real one",
            )

    @property
    def n_new(self) -> tuple[int, ...]:
        """Images to synthesise, target - counts, 0 or more."""
        return tuple(t - n for t, n in zip(self.target, self.counts, strict=True))

    @property
    def total_new(self) -> int:
        """Images to synthesise over all classes."""
        return sum(self.n_new)

    @cached_property
    def asked(self) -> tuple[int, ...]:
        """The targets that the strategy asks for, whatever the caps."""
        return tuple(target_counts(self.strategy, self.class_names, self.counts))

    @cached_property
    def edited(self) -> tuple[bool, ...]:
        """Whether a target is another than the strategy and the cap give."""
        rows = zip(self.target, self.asked, self.counts, self.cap, strict=True)
        return tuple(t != min(asked, most_images(cap, n)) for t, asked, n, cap in rows)

    @cached_property
    def left_out(self) -> tuple[int, ...]:
        """Images that the strategy asks for and the cap of the class leaves out, 0 or more."""
        rows = zip(self.target, self.asked, self.edited, strict=True)
        return tuple(0 if edited else asked - t for t, asked, edited in rows)

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
    def mode_in_use(self) -> tuple[str, ...]:
        """What each mode comes to: a class of one image is varied where pairs were asked for."""
        return tuple(map(mode_in_use, self.counts, self.mode))

    @property
    def reason(self) -> tuple[str, ...]:
        """Why a class gets what it gets, in words with its numbers."""
        return tuple(class_reason(self, k) for k in range(len(self.counts)))

    @property
    def mode_reason(self) -> tuple[str, ...]:
        """Why a class is drawn the way it is, in words with its numbers."""
        return tuple(map(mode_reason, self.counts, self.mode))

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know about the plan as a whole."""
        return (*plan_notices(self), *self.warnings)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of the notices that ask for a decision: edits, caps, and the lack of caps."""
        return plan_warnings(self)

    @property
    def as_strategy(self) -> str | int | float | dict[str, int]:
        """What to give as strategy to get these targets again without this plan."""
        if self.asked == self.target:
            return self.strategy
        rows = zip(self.class_names, self.target, self.n_new, strict=True)
        return {name: target for name, target, new in rows if new} or 0

    def with_modes(self, modes: Modes) -> "BalancePlan":
        """The plan with the mode of every class changed (a word) or of some (a dict by name)."""
        if isinstance(modes, str):
            return replace(self, mode=(modes,) * len(self.counts))
        pairs = zip(self.class_names, self.mode, strict=True)
        return replace(self, mode=tuple(modes.get(name, old) for name, old in pairs))

    def with_caps(self, caps: Caps) -> "BalancePlan":
        """The plan with the cap of every class changed or of some, and targets to match.

        A target is what the strategy asks for, or what it was edited to, as far as the cap allows.
        Raises `UsageError` as `class_caps` does.
        """
        cap = class_caps(caps, self.class_names, others=self.cap)
        wished = [
            target if edited else asked
            for target, edited, asked in zip(self.target, self.edited, self.asked, strict=True)
        ]
        return replace(self, cap=cap, target=_capped(wished, self.counts, cap))

    def to_json(self) -> dict[str, Any]:
        """A plain dict for a person to read and edit, see `plan_file`."""
        return plan_content(self)

    @classmethod
    def from_json(cls, data: Any, train_counts: Mapping[str, int] | None = None) -> "BalancePlan":
        """Read a plan back, perhaps edited; with ``train_counts``, only if it is of that dataset.

        Raises:
            DataError: when the edit is wrong, naming the class and its numbers.
        """
        content = read_plan_file(data, train_counts)
        names = tuple(c.name for c in content.classes)
        counts = tuple(c.train_images for c in content.classes)
        target = tuple(c.target for c in content.classes)
        mode, cap = tuple(c.mode for c in content.classes), tuple(c.cap for c in content.classes)
        plan = cls(names, counts, target, "auto", content.minority_below, mode, cap)
        try:
            strategy = check_strategy(content.strategy, names, counts)
        except SynthaugError as error:
            raise DataError(
                f"the plan's own strategy cannot be: {error.found}",
                expected=error.expected,
                remedy="undo the edit; to change a class, edit its target",
            ) from error
        return replace(plan, strategy=strategy)


def plan_balance(
    class_names: Sequence[str],
    counts: Sequence[int],
    strategy: Strategy = "auto",
    *,
    minority_below: float = 0.5,
    caps: Caps = None,
) -> BalancePlan:
    """Plan how many images to synthesise for each of K classes.

    Args:
        class_names: K names.
        counts: K numbers of train images, at least 1 each; test images have no part in it.
        strategy: what `parse_strategy` reads or returns.
        minority_below: share of the largest class below which a class is a minority.
        caps: most synthetic images for each real one: of every class, or by class name.

    Raises:
        DataError: when a class has no train images, a target is below the number of train images,
            or over `MOST_NEW` images are asked for.
        UsageError: when the strategy is not known, or it or the caps name an unknown class.
    """
    names, images = tuple(class_names), tuple(int(count) for count in counts)
    # Checked before the strategy is applied, which would trip over an empty class.
    plan = BalancePlan(names, images, images, minority_below=minority_below)
    kept = check_strategy(strategy, names, images)
    cap = class_caps(caps, names)
    target = _capped(target_counts(kept, names, images), images, cap)
    return replace(plan, target=target, strategy=kept, cap=cap)


def _capped(wished: Sequence[int], counts: Sequence[int], caps: Sequence[Cap]) -> tuple[int, ...]:
    rows = zip(wished, counts, caps, strict=True)
    return tuple(int(min(wish, most_images(cap, count))) for wish, count, cap in rows)
