"""YAML as a recipe is written in it: a mapping, and no key twice."""

from pathlib import Path
from typing import Any

import yaml

from synthaug.errors import UsageError


class _Loader(yaml.SafeLoader):
    """Plain data only; remembers keys that are given twice, of which YAML would keep the last."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.repeated: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in lines:
                    told = (
                        f"key {key.value!r} is given twice, in lines {lines[key.value]} and {line}"
                    )
                    self.repeated.append(told)
                lines[key.value] = line
        return super().construct_mapping(node, deep)


def read_mapping(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The content of a recipe file, {} of an empty one, and what is said of keys given twice.

    Raises `UsageError` for a file that cannot be read, is not YAML or holds no mapping.
    """
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        content = loader.get_single_data()
    except OSError as error:
        raise UsageError(f"recipe file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe file {path} is not YAML: {error}") from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise UsageError(f"recipe file {path} holds no mapping", expected="`section: {key: value}`")
    return content, loader.repeated
