"""A balance plan in words: why a class gets what it gets, and what to know of the whole."""

from typing import TYPE_CHECKING

from synthaug.balance.groups import shot_groups

if TYPE_CHECKING:
    from synthaug.balance.plan import BalancePlan

# Beyond this many synthetic images for each real one, the class is mostly the generator's opinion.
MANY_PER_REAL = 10


def class_reason(plan: "BalancePlan", k: int) -> str:
    """Why class k gets its images, with the numbers."""
    count, target, asked, most = plan.counts[k], plan.target[k], plan.asked[k], max(plan.counts)
    group, new = shot_groups([count])[0], target - count
    by_the_strategy = f"(the strategy asks for {asked})"
    cap = f"the cap of {plan.cap[k]} for each real one"
    if new:
        times = f", {most / count:.1f} times fewer than the largest class" if count < most else ""
        made = f"{count} train images ({group}{times}); {new} new make {target}"
        if plan.edited[k]:
            return f"{made}, as edited {by_the_strategy}"
        return f"{made}, by {cap} {by_the_strategy}" if plan.left_out[k] else made
    if plan.edited[k]:
        why = f"; nothing to add, as edited {by_the_strategy}"
    elif plan.left_out[k]:
        why = f"; {cap} leaves it as it is {by_the_strategy}"
    elif len(plan.counts) == 1:
        why = ", the only class; nothing to balance it against"
    elif count == most:
        why = ", the most of any class; nothing to add"
    else:
        why = "; the strategy leaves it as it is"
    return f"{count} train images ({group}){why}"


def plan_notices(plan: "BalancePlan") -> tuple[str, ...]:
    """Why a plan asks for no images, or for some where there is nothing to balance."""
    if len(plan.counts) == 1:
        name = plan.class_names[0]
        return (
            f"the dataset has a single class, {name!r}: there is nothing to balance it against and "
            "nothing that `evaluate` could compare; images of it are drawn by `generate --balance` "
            "with a number",
        )
    if min(plan.counts) == max(plan.counts):
        return (f"the classes are balanced already, with {plan.counts[0]} images each",)
    if not plan.total_new and not any(plan.left_out):
        return ("every class has its target already: nothing to synthesise",)
    return ()


def plan_warnings(plan: "BalancePlan") -> tuple[str, ...]:
    """Edited targets, images that caps leave out, and classes that a cap would be wise for."""
    warnings = []
    edited = [k for k, edited in enumerate(plan.edited) if edited]
    if edited:
        k = edited[0]
        told = "" if isinstance(plan.strategy, dict) else f" {plan.strategy!r}"
        warnings.append(
            f"the plan was edited: class {plan.class_names[k]!r}{_and_others(edited)} has target "
            f"{plan.target[k]}, where the strategy{told} asks for {plan.asked[k]}"
        )
    short = [k for k, left_out in enumerate(plan.left_out) if left_out]
    if short:
        k = max(short, key=lambda k: plan.left_out[k])
        total = sum(plan.left_out)
        warnings.append(
            f"caps leave out {total} of the {total + plan.total_new} images to synthesise, most "
            f"of class {plan.class_names[k]!r}: {plan.n_new[k]} new, {plan.left_out[k]} left out"
        )
    beyond = [
        k
        for k, (count, new, cap) in enumerate(zip(plan.counts, plan.n_new, plan.cap, strict=True))
        if cap is None and new > MANY_PER_REAL * count
    ]
    if beyond:
        k = max(beyond, key=lambda k: plan.n_new[k] / plan.counts[k])
        real = f"{plan.counts[k]} real one{'s' if plan.counts[k] > 1 else ''}"
        warnings.append(
            f"class {plan.class_names[k]!r}{_and_others(beyond)} would get {plan.n_new[k]} "
            f"synthetic images for {real}; `generate --cap {MANY_PER_REAL}` keeps every class at "
            f"{MANY_PER_REAL} for one"
        )
    return tuple(warnings)


def _and_others(classes: list[int]) -> str:
    others = len(classes) - 1
    return f" (and {others} other{'s' if others > 1 else ''})" if others else ""
