"""How the joint network learned, as metrics.jsonl has it: short enough for results.json."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from synthaug.stages.run_dir import RunDir

POINTS = 200
"""More would draw the same line, and results.json is read by people too."""


def learning_json(run: RunDir, batch_size: int) -> dict[str, Any] | None:
    """`learning` of results.json; None without a joint network.

    A step that was logged twice, as after a resumed fit, counts as it was logged last.
    """
    path = run / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    train: dict[int, float] = {}
    held_out: dict[int, float] = {}
    for line in lines:
        record: Mapping[str, Any] = json.loads(line)
        kept = {"base": train, "base held out": held_out}.get(record["phase"])
        if kept is not None and record["loss"] is not None:
            kept[record["step"]] = record["loss"]
    if not train:
        return None
    return {
        "train": _curve(train, batch_size),
        "held_out": _curve(held_out, batch_size) if held_out else None,
    }


def _curve(losses: Mapping[int, float], batch_size: int) -> dict[str, list[float]]:
    """Losses by step as means over at most `POINTS` stretches of nearly equal length."""
    steps = np.array(sorted(losses))
    values = np.array([losses[step] for step in steps])
    stretches = np.array_split(np.arange(len(steps)), min(len(steps), POINTS))
    return {
        "n_img": [round(float(steps[s].mean()) * batch_size, 1) for s in stretches],
        "loss": [round(float(values[s].mean()), 6) for s in stretches],
    }
