"""Recipes: every number a run depends on, as frozen models, YAML files and dotted overrides.

A recipe is read once and checked whole: all its faults are told together, each with its place and,
for an unknown key, the nearest known one.
"""

import difflib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from synthaug.errors import UsageError
from synthaug.recipe.sections import (
    AblationSection,
    BalanceSection,
    DataSection,
    DiffusionSection,
    EvaluationSection,
    Recipe,
    SamplingSection,
    Section,
    SelectionSection,
)

__all__ = [
    "AblationSection",
    "BalanceSection",
    "DataSection",
    "DiffusionSection",
    "EvaluationSection",
    "Recipe",
    "SamplingSection",
    "Section",
    "SelectionSection",
    "build_recipe",
    "load_recipe",
    "recipe_folder",
    "shipped_recipes",
    "variant_recipes",
]


def recipe_folder() -> Path:
    """Where the shipped recipes lie: inside an installed package, or beside it in a checkout."""
    installed = Path(str(resources.files("synthaug"))) / "_recipes"
    return installed if installed.is_dir() else installed.parent.parent / "recipes"


def shipped_recipes() -> list[str]:
    """Names of the shipped recipes, sorted."""
    return sorted(p.stem for p in recipe_folder().glob("*.yaml"))


def load_recipe(
    name_or_file: str = "default",
    overrides: Iterable[str] = (),
    values: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe of a shipped name or of a YAML file, with `section.key=value` overrides applied.

    `values` are overrides whose value is not YAML text but the value itself; they come last.
    Raises `UsageError` telling all faults at once: unknown recipe, unreadable YAML, unknown key
    (with the nearest known one), wrong type or range.
    """
    path = Path(name_or_file)
    if path.suffix not in (".yaml", ".yml"):
        path = recipe_folder() / f"{name_or_file}.yaml"
        if name_or_file not in shipped_recipes():
            raise UsageError(
                f"unknown recipe {name_or_file!r}{_nearest(name_or_file, shipped_recipes())}",
                expected=f"one of {', '.join(shipped_recipes())}, or a .yaml file",
            )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"recipe file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe file {path} is not YAML: {error}") from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise UsageError(f"recipe file {path} holds no mapping", expected="`section: {key: value}`")
    for override in overrides:
        _apply(content, override)
    for key, value in (values or {}).items():
        _put(content, key, value, told=key)
    return build_recipe(content, source=str(name_or_file))


def build_recipe(content: dict[str, Any], *, source: str) -> Recipe:
    """Validate plain data as a recipe. Raises `UsageError` listing every fault."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        faults = [_describe(fault["loc"], fault["type"], fault["msg"]) for fault in error.errors()]
        raise UsageError(f"recipe {source}: " + " | ".join(faults)) from error


def variant_recipes(recipe: Recipe) -> dict[str, Recipe]:
    """The recipe of each variant of an ablation: the recipe itself with the variant's values.

    Raises `UsageError` if there is none, or for a variant that makes no valid recipe.
    """
    variants = recipe.ablation.variants
    if not variants:
        raise UsageError(
            f"recipe {recipe.name} compares nothing",
            expected="ablation.variants: {name: {section.key: value}}",
            remedy="try --recipe beta-ablation",
        )
    recipes = {}
    for name, values in variants.items():
        # Only what was said: a default made explicit could contradict what the variant says.
        content = recipe.model_dump(mode="json", exclude={"ablation"}, exclude_unset=True)
        for key, value in values.items():
            _put(content, key, value, told=f"{key} of variant {name!r}")
        content["name"] = f"{recipe.name}, {name}"
        recipes[name] = build_recipe(content, source=f"{recipe.name}, variant {name!r}")
    return recipes


def _apply(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"override {override!r}", expected="section.key=value")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UsageError(f"override {override!r}: the value is not YAML") from error
    _put(content, key.strip(), parsed, told=f"override {override!r}")


def _put(content: dict[str, Any], key: str, value: Any, *, told: str) -> None:
    """Set `section.key` to a value; a fault names what it was `told` by."""
    *sections, last = key.split(".")
    place = content
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise UsageError(f"{told}: {section!r} is not a section")
    place[last] = value


def _describe(location: tuple[int | str, ...], kind: str, message: str) -> str:
    place = ".".join(str(part) for part in location)
    if kind != "extra_forbidden":
        return f"{place}: {message.removeprefix('Value error, ')}"
    keys = _known_keys(location[:-1])
    return f"unknown key {place!r}{_nearest(str(location[-1]), keys)}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Recipe
    for part in location:
        model = model.model_fields[str(part)].annotation
    return list(model.model_fields)


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(known)})"
