"""What the options of the verbs stand for in a recipe, on the command line and in Python alike."""

from collections.abc import Sequence
from typing import Any

from synthaug.errors import UsageError


def data_overrides(
    *,
    image_size: int | None = None,
    groups: str | None = None,
    value_range: str | Sequence[float] | None = None,
    folds: int | None = None,
    follow_links: bool = False,
    on_bad_image: str | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """The recipe keys that options about the data stand for, without those that were not given."""
    levels = parse_range(value_range) if isinstance(value_range, str) else value_range
    values = {
        "data.image_size": image_size,
        "data.groups": groups,
        "data.value_range": None if levels is None else list(levels),
        "data.folds": folds,
        "data.follow_links": follow_links or None,
        "data.on_bad_image": on_bad_image,
        "seed": seed,
    }
    return {key: value for key, value in values.items() if value is not None}


def time_override(time_limit: str | None) -> dict[str, Any]:
    """The recipe keys of a time limit, which replaces a number of steps."""
    if time_limit is None:
        return {}
    return {"diffusion.time_limit": time_limit, "diffusion.steps": None}


def checkpoint_override(every: str | None) -> dict[str, Any]:
    """The recipe key of a time, or of a number of steps, between two checkpoints."""
    if every is None:
        return {}
    return {"diffusion.checkpoint_every": int(every) if every.isdecimal() else every}


def parse_range(text: str) -> list[float]:
    """[low, high] of "LOW:HIGH". Raises `UsageError` for anything else."""
    low, colon, high = text.partition(":")
    try:
        if colon:
            return [float(low), float(high)]
    except ValueError:
        pass
    raise UsageError(f"--value-range {text!r}", expected="LOW:HIGH, such as 0:4095")
