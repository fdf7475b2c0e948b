"""The page about the Python names, from the source of what `synthaug.__all__` lists."""

import ast
import inspect
import textwrap
from typing import Any

from reference_words import clean, page, prose

import synthaug


def api_page() -> str:
    """Every public name with its signature and docstring."""
    parts = [
        prose(
            "`import synthaug` loads nothing heavy; the names below come with their libraries when "
            "they are first used. What the user can mend is raised as a `SynthaugError`, see "
            "[exit codes](exit-codes.md)."
        )
    ]
    for name in synthaug.__all__:
        value = getattr(synthaug, name)
        if callable(value):
            parts += [f"## {name}", f"```text\n{signature(value)}\n```"]
            parts.append(f"```text\n{clean(value.__doc__ or '')}\n```")
            parts += methods(value)
    return page("Python", *parts)


def signature(value: Any) -> str:
    """A call as the source has it, one parameter a line; of a dataclass its fields."""
    node = source_of(value)
    if isinstance(node, ast.FunctionDef):
        return written(node, f"synthaug.{node.name}")
    own = [part for part in node.body if isinstance(part, ast.FunctionDef)]
    start = next((part for part in own if part.name == "__init__"), None)
    if start is not None:
        return written(start, f"synthaug.{node.name}")
    fields = [ast.unparse(part) for part in node.body if isinstance(part, ast.AnnAssign)]
    return "\n".join([f"class synthaug.{node.name}", *(f"    {field}" for field in fields)])


def methods(value: Any) -> list[str]:
    """Public methods of a class that is no record of fields."""
    node = source_of(value)
    if not isinstance(node, ast.ClassDef):
        return []
    told = []
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
            doc = clean(ast.get_docstring(part) or "")
            told.append(f"```text\n.{written(part, part.name)}\n\n{doc}\n```")
    return told


def source_of(value: Any) -> ast.FunctionDef | ast.ClassDef:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(value))).body
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    return node


def written(node: ast.FunctionDef, called: str) -> str:
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args]
    named = [a for a in named if a.arg != "self"]
    defaults: list[ast.expr | None] = [None] * (len(named) - len(arguments.defaults))
    lines = [one(a, d) for a, d in zip(named, [*defaults, *arguments.defaults], strict=True)]
    if arguments.kwonlyargs:
        lines.append("*")
        keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        lines += [one(a, d) for a, d in keywords]
    back = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    told = ", ".join(lines)
    if len(told) > 80:
        told = "\n    " + ",\n    ".join(lines) + ",\n"
    return f"{called}({told}){back}"


def one(argument: ast.arg, default: ast.expr | None) -> str:
    told = ast.unparse(argument)
    return told if default is None else f"{told} = {ast.unparse(default)}"
