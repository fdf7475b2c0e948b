"""From a name or a file, overrides and values to a checked recipe."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from synthaug.errors import UsageError
from synthaug.recipe.faults import RecipeError, find_faults
from synthaug.recipe.model import Recipe
from synthaug.recipe.reading import read_mapping
from synthaug.recipe.shipped import recipe_file


def load_recipe(
    name_or_file: str = "default",
    overrides: Iterable[str] = (),
    values: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe of a shipped name or of a YAML file, with `section.key=value` overrides applied.

    `values` are overrides whose value is not YAML text but the value itself; they come last.
    Raises `UsageError` for an unknown recipe or unreadable YAML, and `RecipeError` telling all else
    that is wrong at once: keys given twice or unknown (with the nearest known one), a wrong type or
    range, values that contradict each other, overrides that are none.
    """
    content, faults = read_mapping(recipe_file(name_or_file))
    for override in overrides:
        faults += _apply(content, override)
    for key, value in (values or {}).items():
        faults += _put(content, key, value, told=key)
    faults += find_faults(content)
    if faults:
        raise RecipeError(str(name_or_file), faults)
    return Recipe.model_validate(content)


def build_recipe(content: dict[str, Any], *, source: str) -> Recipe:
    """Validate plain data as a recipe. Raises `RecipeError` listing every fault."""
    if faults := find_faults(content):
        raise RecipeError(source, faults)
    return Recipe.model_validate(content)


def variant_recipes(recipe: Recipe) -> dict[str, Recipe]:
    """The recipe of each variant of an ablation: the recipe itself with the variant's values.

    Raises `UsageError` if there is none, and `RecipeError` with the faults of all variants.
    """
    variants = recipe.ablation.variants
    if not variants:
        raise UsageError(
            f"recipe {recipe.name} compares nothing",
            expected="ablation.variants: {name: {section.key: value}}",
            remedy="try --recipe beta-ablation",
        )
    recipes, faults = {}, []
    for name, values in variants.items():
        # Only what was said: a default made explicit could contradict what the variant says.
        content = recipe.model_dump(mode="json", exclude={"ablation"}, exclude_unset=True)
        own = []
        for key, value in values.items():
            own += _put(content, key, value, told=key)
        content["name"] = f"{recipe.name}, {name}"
        own += find_faults(content)
        if own:
            faults += [f"variant {name!r}: {fault}" for fault in own]
        else:
            recipes[name] = Recipe.model_validate(content)
    if faults:
        raise RecipeError(recipe.name, faults)
    return recipes


def _apply(content: dict[str, Any], override: str) -> list[str]:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        return [f"override {override!r}; expected section.key=value"]
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        return [f"override {override!r}: the value is not YAML"]
    return _put(content, key.strip(), parsed, told=f"override {override!r}")


def _put(content: dict[str, Any], key: str, value: Any, *, told: str) -> list[str]:
    """Set `section.key` to a value; what hinders that, `told` by its name."""
    *sections, last = key.split(".")
    place = content
    for section in sections:
        inner = place.get(section)
        if inner is None:  # a section that is empty in the file, too
            inner = place[section] = {}
        if not isinstance(inner, dict):
            return [f"{told}: {section!r} is not a section"]
        place = inner
    place[last] = value
    return []


def check_recipe(name_or_file: str, overrides: Iterable[str] = ()) -> list[str]:
    """All that is wrong with a recipe, its variants included, a line each; [] of a good one."""
    try:
        recipe = load_recipe(name_or_file, overrides)
        if recipe.ablation.variants:
            variant_recipes(recipe)
    except RecipeError as error:
        return list(error.faults)
    except UsageError as error:
        return [str(error)]
    return []
