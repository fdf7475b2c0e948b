"""The recipes that come with the package."""

import json
import re
from importlib import resources
from pathlib import Path

from synthaug.errors import UsageError
from synthaug.recipe.faults import nearest


def recipe_folder() -> Path:
    """Where the shipped recipes lie: inside an installed package, or beside it in a checkout."""
    installed = Path(str(resources.files("synthaug"))) / "_recipes"
    return installed if installed.is_dir() else installed.parent.parent / "recipes"


def shipped_recipes() -> list[str]:
    """Names of the shipped recipes, sorted."""
    return sorted(p.stem for p in recipe_folder().glob("*.yaml"))


def recipe_file(name_or_file: str) -> Path:
    """The file of a shipped name, or the YAML file itself; whether that exists is not looked at.

    Raises `UsageError` for an unknown name, with the nearest known one.
    """
    path = Path(name_or_file)
    if path.suffix in (".yaml", ".yml"):
        return path
    if name_or_file not in shipped_recipes():
        raise UsageError(
            f"unknown recipe {name_or_file!r}{nearest(name_or_file, shipped_recipes())}",
            expected=f"one of {', '.join(shipped_recipes())}, or a .yaml file",
        )
    return recipe_folder() / f"{name_or_file}.yaml"


def copy_recipe(name_or_file: str, target: Path) -> None:
    """Write a recipe to a file of one's own, comments and all; its `name` becomes that of the file.

    Raises `UsageError` for an unknown recipe, a target that is no .yaml file or is there already,
    and a file that cannot be read or written.
    """
    source = recipe_file(name_or_file)
    if target.suffix not in (".yaml", ".yml"):
        raise UsageError(
            f"recipe file {target}", expected="a name ending in .yaml, by which --recipe knows it"
        )
    try:
        text = source.read_text(encoding="utf-8")
        named = re.sub(r"(?m)^name:.*$", f"name: {json.dumps(target.stem)}", text, count=1)
        with target.open("x", encoding="utf-8") as handle:
            handle.write(named)
    except FileExistsError as error:
        raise UsageError(
            f"{target} is there already", remedy="choose another name; no file is overwritten"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{source} cannot be copied to {target}: {reason}") from error
