"""`demo`: the main job on real images that ship with scikit-learn, nothing downloaded."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from synthaug.data.longtail import write_digits_long_tail
from synthaug.errors import UsageError
from synthaug.recipe import Recipe
from synthaug.stages.device import resolve_device
from synthaug.stages.disk import require_writable
from synthaug.stages.evaluate import EvaluateRequest, evaluate
from synthaug.stages.fit import FitRequest, fit
from synthaug.stages.generate import GenerateRequest, generate
from synthaug.stages.progress import Progress, Silent
from synthaug.stages.run_dir import RUNS
from synthaug.stages.signals import stop_flag

FOLDER = "digits-lt"


def demo(
    recipe: Recipe,
    home: Path | None = None,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    on_plan: Callable[[dict[str, Any]], None] = lambda plan: None,
) -> dict[str, Any]:
    """Long-tailed digits under `home`, then fit, generate and evaluate; returns the results.

    Without `home` a new folder under runs/ is taken. Raises `UsageError` if `home` is not empty.
    """
    progress = progress or Silent()
    home = home or RUNS / f"{datetime.now():%Y%m%d-%H%M%S}-demo"
    if home.exists() and any(home.iterdir()):
        raise UsageError(f"{home} is not empty", remedy="choose another --out")
    require_writable(home)
    resolve_device(device)
    run = home / "run"
    kept = f"what is finished is kept in {run}; go on there with `synthaug generate --run {run}`"
    with stop_flag(kept) as stop:
        dataset = write_digits_long_tail(home / FOLDER, seed=recipe.seed)
        progress.say(f"the images, as a user would have them: {dataset}")
        fit(FitRequest(dataset, recipe, run=run, device=device), progress, on_plan)
        stop.check()
        for notice in generate(GenerateRequest(run=run, device=device), progress)["notices"]:
            progress.warn(notice)
        return evaluate(EvaluateRequest(run=run, device=device), progress)
