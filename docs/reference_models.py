"""Pages about data: the keys of a recipe and the fields of results.json."""

import json
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from reference_words import annotated, first_paragraph, is_model, limits, page, prose, table

from synthaug.recipe import Recipe, load_recipe, shipped_recipes
from synthaug.report.schema import SCHEMA_VERSION, ResultsFile


def recipe_page() -> str:
    """Every key of a recipe with its type, default and description."""
    shipped = [(f"`{name}`", load_recipe(name).description) for name in shipped_recipes()]
    parts = [
        prose(
            "A recipe is a YAML file; every key is optional. `--recipe` names a shipped one or a "
            "file, and `--set section.key=value` changes a key. All faults of a recipe are told at "
            "once. The run folder keeps the resolved recipe as `recipe.yaml`."
        ),
        "## Shipped recipes",
        table(("name", "what"), shipped),
    ]
    plain = {n: f for n, f in Recipe.model_fields.items() if not is_model(f.annotation)}
    parts += ["## Top level", keys_table(plain)]
    for name, field in Recipe.model_fields.items():
        if is_model(field.annotation):
            parts += [f"## {name}", keys_table(field.annotation.model_fields, f"{name}.")]
    return page("Recipe", *parts)


def keys_table(fields: dict[str, FieldInfo], prefix: str = "") -> str:
    rows = (
        (f"`{prefix}{name}`", type_of(field), as_yaml(field.default), field.description or "")
        for name, field in fields.items()
    )
    return table(("key", "type", "default", "what"), rows)


def as_yaml(value: Any) -> str:
    """A default as one would type it."""
    if value == "":
        return ""
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`".replace('"', "")


def type_of(field: FieldInfo) -> str:
    """What a key may be, with its limits."""
    return ", ".join([annotated(field.annotation), *limits(field.metadata)])


def results_page() -> str:
    """Every field of results.json, a section a part, in the order in which they are met."""
    parts = [
        prose(
            f"What `evaluate` writes, schema version {SCHEMA_VERSION}. The version is raised by "
            "every change that is not a new part. A [JSON Schema](../results.schema.json) of the "
            "same is beside these pages. Every number of `report.html` is in this file. [K] is a "
            "list with an entry for each class, in the order of `dataset.class_names`."
        )
    ]
    for model in parts_of(ResultsFile):
        rows = (
            (f"`{name}`", type_of(field), field.description or "")
            for name, field in model.model_fields.items()
        )
        parts += [f"## {model.__name__}", first_paragraph(model.__doc__)]
        parts.append(table(("field", "type", "what"), rows))
    return page("results.json", *parts)


def parts_of(root: type[BaseModel]) -> list[type[BaseModel]]:
    """The model and all that its fields are made of, each once."""

    def inside(annotation: Any) -> Iterator[type[BaseModel]]:
        if is_model(annotation):
            yield annotation
        for part in get_args(annotation):
            yield from inside(part)

    found = [root]
    for model in found:  # grows while it is gone through
        for field in model.model_fields.values():
            found += [m for m in inside(field.annotation) if m not in found]
    return found
