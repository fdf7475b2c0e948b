"""Nothing that can run code is ever read: no pickle, in any of its disguises."""

import ast
import tomllib
from pathlib import Path

import pytest

import synthaug

PACKAGE = Path(synthaug.__file__).parent
ROOT = PACKAGE.parent
BANNED_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
BANNED_NAMES = {
    "torch.load", "torch.save", "torch.jit.load", "torch.hub.load", "torch.package",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.full_load_all", "yaml.unsafe_load",
    "yaml.unsafe_load_all", "yaml.Loader", "yaml.FullLoader", "yaml.UnsafeLoader",
    "pandas.read_pickle", "eval", "exec",
}  # fmt: skip
BANNED_KEYWORDS = {
    ("allow_pickle", True), ("weights_only", False), ("trust_remote_code", True),
    ("use_safetensors", False),
}  # fmt: skip
IMPORTERS = {"__import__", "importlib.import_module"}
USUAL = {"np": "numpy", "pd": "pandas"}
"""What a name stands for where the source does not say."""


def dangers(source: str) -> list[str]:
    """What in some source text could load a pickle or run foreign code."""
    tree = ast.parse(source)
    names, found = dict(USUAL), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.partition(".")[0] in BANNED_MODULES]
            names |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found += [module] if module.partition(".")[0] in BANNED_MODULES else []
            found += [a.name for a in node.names if f"{module}.{a.name}" in BANNED_NAMES]
            names |= {a.asname or a.name: f"{module}.{a.name}" for a in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and _dotted(node, names) in BANNED_NAMES:
            found.append(_dotted(node, names))
        elif isinstance(node, ast.Call):
            found += _dangers_of_call(node, _dotted(node.func, names))
    return found


def _dangers_of_call(call: ast.Call, name: str) -> list[str]:
    found = []
    keywords = {
        k.arg: k.value.value if isinstance(k.value, ast.Constant) else None for k in call.keywords
    }
    first = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
    if name == "numpy.load" and keywords.get("allow_pickle") is not False:
        found.append("numpy.load without allow_pickle=False")
    if name in IMPORTERS and str(first).partition(".")[0] in BANNED_MODULES:
        found.append(f"{name}({first})")
    if name == "getattr" and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
        owner = _dotted(call.args[0], USUAL)
        if f"{owner}.{call.args[1].value}" in BANNED_NAMES | {"numpy.load"}:
            found.append(f"getattr of {owner}")
    weights = name.endswith(".from_pretrained") and not name.endswith("Scheduler.from_pretrained")
    if weights and keywords.get("use_safetensors") is not True:
        found.append("from_pretrained without use_safetensors=True")
    return found + [f"{k}={v}" for k, v in keywords.items() if (k, v) in BANNED_KEYWORDS]


def _dotted(node: ast.AST, names: dict[str, str]) -> str:
    """The name of `a.b.c`, with what was imported under another name under its own."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, names)}.{node.attr}"
    return "?"


def sources() -> list[Path]:
    return sorted(p for top in ("synthaug", "examples", "benchmarks") for p in _below(ROOT / top))


def _below(folder: Path) -> list[Path]:
    return list(folder.rglob("*.py"))


def test_the_package_loads_no_pickle():
    files = sources()
    assert len(_below(PACKAGE)) > 100 and len(files) > len(_below(PACKAGE))
    assert {str(p): d for p in files if (d := dangers(p.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import dill.settings",
        "__import__('pickle')",
        "import importlib\nimportlib.import_module('joblib.numpy_pickle')",
        "import torch\ntorch.load('x')",
        "import torch as t\nt.load('x')",
        "from torch import load",
        "from torch import load as harmless",
        "import torch\ngetattr(torch, 'load')('x')",
        "import torch\ntorch.jit.load('x')",
        "f = torch.save",
        "np.load('x')",
        "import numpy\nnumpy.load('x')",
        "import numpy as n\nn.load('x')",
        "from numpy import load\nload('x')",
        "np.load('x', allow_pickle=True)",
        "np.load('x', allow_pickle=as_asked)",
        "import pandas\npandas.read_pickle('x')",
        "read('x', weights_only=False)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "from yaml import FullLoader",
        "eval('1')",
        "load_dataset('x', trust_remote_code=True)",
        "UNet2DModel.from_pretrained(folder)",
        "UNet2DModel.from_pretrained(folder, use_safetensors=False)",
    ],
)
def test_a_planted_pickle_is_found(planted: str):
    assert dangers(planted)


@pytest.mark.parametrize(
    "harmless",
    [
        "np.load('x', allow_pickle=False)",
        "yaml.safe_load('1')",
        "model.eval()",
        "model.load('x')",
        "UNet2DModel.from_pretrained(folder, use_safetensors=True)",
        "DDPMScheduler.from_pretrained(folder)",
    ],
)
def test_what_is_harmless_is_not_found(harmless: str):
    assert dangers(harmless) == []


def test_ruff_watches_for_pickle_too():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert {"S301", "S302"} <= set(tomllib.loads(text)["tool"]["ruff"]["lint"]["select"])
