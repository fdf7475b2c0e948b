"""Durations as people write them."""

import re

from synthaug.errors import UsageError

UNITS = {"s": 1, "m": 60, "h": 3600}


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `10m` or `1.5h`. Raises `UsageError` for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    if not match or float(match[1]) == 0:
        raise UsageError(f"duration {text!r}", expected="a number such as 90s, 10m or 1.5h")
    return float(match[1]) * UNITS[match[2] or "s"]
