"""What a fit began with: session.json, written before anything else in its run folder.

It is all that a resumed fit takes as given, so that no speed is measured and no size chosen anew.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError

from synthaug import __version__
from synthaug.balance.plan import BalancePlan
from synthaug.errors import DataError
from synthaug.recipe import Recipe
from synthaug.stages.device import describe_device, n_processes
from synthaug.stages.planning import FitPlan
from synthaug.stages.run_dir import RunDir

FILE = "session.json"
FORMAT = 1
FREE_KEYS = ("diffusion.checkpoint_every", "diffusion.keep_checkpoints")
"""Recipe keys that change no result."""


@dataclass
class FitRecord:
    """The record of one fit.

    `dataset` is where the images came from, an absolute path or a Hub id. `configs` are the hashes
    of what the run depends on: one, and one more each time it was forced to go on with another
    recipe or version. `seconds` were spent in training so far, `step_seconds` of them in optimiser
    steps. `plan` holds the numbers of the `FitPlan`, without the balance.
    """

    dataset: str
    fingerprint: str
    recipe: dict[str, Any]
    per_class: bool
    from_scratch: bool
    test: bool
    device: str
    conditions: dict[str, Any]
    plan: dict[str, Any]
    synthaug_version: str = __version__
    configs: list[str] = field(default_factory=list)
    seconds: float = 0.0
    step_seconds: float = 0.0
    format: int = FORMAT

    def __post_init__(self) -> None:
        if not self.configs:
            self.configs = [self.config]

    @property
    def config(self) -> str:
        """SHA-256 (hex) of dataset, recipe and version: where it is equal, so are the results."""
        told = [self.fingerprint, dict(_flat(self.recipe)), self.per_class, self.from_scratch]
        text = json.dumps([*told, self.synthaug_version], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def write(self, run: RunDir) -> None:
        run.write_json(FILE, dataclasses.asdict(self))


def read_record(run: RunDir) -> FitRecord:
    """The record of a run. Raises `DataError` if it is missing, damaged or of another format."""
    content = run.read_json(FILE)
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise DataError(
            f"{run / FILE} has format {found}",
            expected=f"format {FORMAT}",
            remedy="use the synthaug version that wrote it",
        )
    try:
        return TypeAdapter(FitRecord).validate_python(content)
    except ValidationError as error:
        raise DataError(
            f"{run / FILE} is damaged: {error.error_count()} of its entries make no sense",
            remedy="restore it from a copy or start a new run",
        ) from error


def conditions(device: torch.device) -> dict[str, Any]:
    """What besides the recipe decides the last bits of a result."""
    return {
        "device": describe_device(device),  # with its threads, where it is the CPU
        "torch": str(torch.__version__),
        "processes": n_processes(),
    }


def plan_numbers(plan: FitPlan) -> dict[str, Any]:
    """A plan as JSON, without its balance, which follows from the dataset and the recipe."""
    kinds = _plan_kinds()
    return {
        name: kind.dump_python(getattr(plan, name), mode="json") for name, kind in kinds.items()
    }


def restore_plan(record: FitRecord, balance: BalancePlan, run: RunDir) -> FitPlan:
    """The plan that a fit began with. Raises `DataError` where the record does not hold one."""
    try:
        kinds = _plan_kinds().items()
        numbers = {name: kind.validate_python(record.plan[name]) for name, kind in kinds}
    except (KeyError, ValidationError) as error:
        raise DataError(
            f"{run / FILE} does not hold the plan of a fit", remedy="start a new run"
        ) from error
    return FitPlan(balance=balance, **numbers)


def _plan_kinds() -> dict[str, TypeAdapter[Any]]:
    """How each number of a plan is written and read."""
    hints = get_type_hints(FitPlan)
    names = (f.name for f in dataclasses.fields(FitPlan) if f.name != "balance")
    return {name: TypeAdapter(hints[name]) for name in names}


def recipe_changes(before: dict[str, Any], after: Recipe) -> dict[str, str]:
    """Every key whose value is another now, with both values in words."""
    old, new = dict(_flat(before)), dict(_flat(after.model_dump(mode="json")))
    # A key that the recorded recipe does not know yet has had its default.
    default = dict(_flat(Recipe().model_dump(mode="json")))
    return {
        key: f"{_word(was)} -> {_word(new.get(key))}"
        for key in sorted(old.keys() | new.keys())
        if (was := old.get(key, default.get(key))) != new.get(key)
    }


def _flat(content: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """(section.key, value) of a recipe, without the keys that change no result."""
    for key, value in content.items():
        name = f"{place}{key}"
        if isinstance(value, dict) and not place:
            yield from _flat(value, f"{name}.")
        elif name not in FREE_KEYS:
            yield name, value


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def absolute_origin(dataset: str | Path) -> str:
    """A dataset's place in words that mean the same from every working folder."""
    return str(dataset) if "://" in str(dataset) else str(Path(dataset).resolve())
