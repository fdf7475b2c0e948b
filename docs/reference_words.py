"""How the pages of the reference are written: tables, prose, and types in words."""

import inspect
import textwrap
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

MADE = "<!-- Made by docs/write_reference.py from the code: change that, then `make docs`. -->"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; pipes and line breaks in cells are taken care of."""

    def line(cells: Iterable[str]) -> str:
        told = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
        return f"| {' | '.join(told)} |"

    heads = list(heads)
    return "\n".join([line(heads), "|" + "---|" * len(heads), *map(line, rows)])


def prose(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120, break_on_hyphens=False)


def page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", MADE, *(part for part in parts if part)]) + "\n"


def clean(text: str) -> str:
    return inspect.cleandoc(text)


def first_paragraph(text: str | None) -> str:
    return " ".join(clean(text or "").partition("\n\n")[0].split())


PLAIN = {
    int: "whole number", float: "number", str: "text", bool: "true, false", Any: "anything",
    Path: "path", types.NoneType: "null",
}  # fmt: skip


def is_model(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)


def annotated(annotation: Any) -> str:
    """A type in words; a model is a link to its heading on the same page."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in PLAIN:
        return PLAIN[annotation]
    if is_model(annotation):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is Annotated:
        return ", ".join([annotated(inner[0]), *limits(inner[1:])])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(annotated(part) for part in inner))
    if origin in (tuple, list):
        listed = [annotated(part) for part in inner if part is not Ellipsis]
        several = origin is list or Ellipsis in inner
        return f"list of {listed[0]}" if several else f"[{', '.join(listed)}]"
    if origin is dict:
        return f"mapping to {annotated(inner[1])}"
    raise TypeError(f"no words for {annotation}")


def limits(metadata: Iterable[Any]) -> list[str]:
    """Least and greatest values, as in `≥ 0`, from pydantic's metadata of a field."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found: list[str] = []
    for limit in metadata:
        found += limits(getattr(limit, "metadata", ()))
        found += [f"{signs[n]} {getattr(limit, n):g}" for n in signs if _has(limit, n)]
    return found


def _has(limit: Any, name: str) -> bool:
    return isinstance(getattr(limit, name, None), int | float)
