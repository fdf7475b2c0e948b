"""All that is wrong with the content of a recipe, at once and in words."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from synthaug.errors import UsageError
from synthaug.recipe.model import Recipe
from synthaug.recipe.section import Contradictions


class RecipeError(UsageError):
    """Raised for a recipe with faults; `faults` has each of them as a line of its own."""

    def __init__(self, source: str, faults: Iterable[str]) -> None:
        self.faults = tuple(" ".join(fault.split()) for fault in faults)
        super().__init__(f"recipe {source}: " + " | ".join(self.faults))


def find_faults(content: Mapping[str, Any]) -> list[str]:
    """Every fault of plain data as a recipe: unknown keys with the nearest known one, wrong types
    and ranges, and values that contradict each other.

    Contradictions only show in what is valid otherwise. So what is wrong is told, taken out, and
    the rest is looked at again; what contradicts a value that was taken out is not told.
    """
    faults: list[str] = []
    removed: set[str] = set()
    while errors := _errors(_without(content, removed)):
        found: set[str] = set()
        for error in errors:
            place = tuple(str(part) for part in error["loc"])
            if place and ".".join(place[:2]) in removed:
                continue  # a value that another key brings; told before
            cause = error.get("ctx", {}).get("error")
            if not isinstance(cause, Contradictions):
                faults.append(_describe(place, error["type"], error["msg"]))
                found.add(".".join(place[:2]))
                continue
            for keys, told in cause.found:
                names = {".".join((*place, key)) for key in keys}
                if not names & removed:
                    faults.append(": ".join((*place, told)))
                found |= names
        if found <= removed:
            break
        removed |= found
    return faults


def _errors(content: Mapping[str, Any]) -> list[ErrorDetails]:
    try:
        Recipe.model_validate(content)
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


def _without(content: Mapping[str, Any], removed: set[str]) -> dict[str, Any]:
    """The content without some keys, named as `key` or `section.key`."""
    left = {}
    for name, value in content.items():
        if str(name) in removed:
            continue
        if isinstance(value, Mapping):
            value = {k: v for k, v in value.items() if f"{name}.{k}" not in removed}
        left[name] = value
    return left


def _describe(place: tuple[str, ...], kind: str, message: str) -> str:
    where = ".".join(place)
    if kind != "extra_forbidden":
        return f"{where}: {message.removeprefix('Value error, ')}"
    return f"unknown key {where!r}{nearest(place[-1], _known_keys(place[:-1]))}"


def _known_keys(place: tuple[str, ...]) -> list[str]:
    model: Any = Recipe
    for part in place:
        model = model.model_fields[part].annotation
    return list(model.model_fields)


def nearest(word: str, known: Iterable[str]) -> str:
    """In brackets, the known word that was probably meant, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(known)})"
