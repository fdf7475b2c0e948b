"""Nothing that can run code is ever read: no pickle, in any of its disguises."""

import ast
import tomllib
from pathlib import Path

import pytest

import synthaug

PACKAGE = Path(synthaug.__file__).parent
BANNED_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
BANNED_CALLS = {("torch", "load"), ("torch", "save"), ("yaml", "load"), ("yaml", "unsafe_load")}
BANNED_NAMES = {"eval", "exec"}
BANNED_KEYWORDS = {("allow_pickle", True), ("weights_only", False), ("trust_remote_code", True)}


def dangers(source: str) -> list[str]:
    """What in some source text could load a pickle or run foreign code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.partition(".")[0] in BANNED_MODULES]
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").partition(".")[0] in BANNED_MODULES:
                found.append(str(node.module))
            found += [a.name for a in node.names if (node.module, a.name) in BANNED_CALLS]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in BANNED_CALLS:
                found.append(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in BANNED_NAMES:
                found.append(node.func.id)
            if isinstance(node.func, ast.Attribute) and node.func.attr == "load":
                owner = node.func.value
                given = {k.arg for k in node.keywords}
                if isinstance(owner, ast.Name) and owner.id == "np" and "allow_pickle" not in given:
                    found.append("np.load without allow_pickle=False")
            for keyword in node.keywords:
                value = keyword.value
                if isinstance(value, ast.Constant) and (
                    (keyword.arg, value.value) in BANNED_KEYWORDS
                ):
                    found.append(f"{keyword.arg}={value.value}")
    return found


def test_the_package_loads_no_pickle():
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 50
    assert {str(p): d for p in files if (d := dangers(p.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import dill.settings",
        "import torch\ntorch.load('x')",
        "from torch import load",
        "f = torch.save",
        "np.load('x')",
        "np.load('x', allow_pickle=True)",
        "read('x', weights_only=False)",
        "yaml.load(text)",
        "eval('1')",
        "load_dataset('x', trust_remote_code=True)",
    ],
)
def test_a_planted_pickle_is_found(planted: str):
    assert dangers(planted)


def test_what_is_harmless_is_not_found():
    assert dangers("np.load('x', allow_pickle=False)\nyaml.safe_load('1')\nmodel.eval()") == []


def test_ruff_watches_for_pickle_too():
    text = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert {"S301", "S302"} <= set(tomllib.loads(text)["tool"]["ruff"]["lint"]["select"])
