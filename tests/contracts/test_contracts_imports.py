"""The import contracts hold, and each of them catches what it is there to catch."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import synthaug

PROJECT = Path(synthaug.__file__).parent.parent
LAYERS = "cli -> stages -> recipe -> independent parts -> errors"
TERMINAL = "only cli sees typer and rich"
TORCH_FREE = "recipe, data, balance, selection, report, errors and words import no torch"
READERS = "the parts do not know the recipe"

PLANTED = [
    ("stages/fit.py", "import synthaug.cli.terminal", LAYERS),
    ("recipe/model.py", "from synthaug.stages.run_dir import RunDir", LAYERS),
    ("evaluation/arms.py", "from synthaug.diffusion.schedule import make_schedule", LAYERS),
    ("diffusion/training.py", "from synthaug.data.index import ImageIndex", LAYERS),
    ("report/render.py", "from synthaug.balance.plan import BalancePlan", LAYERS),
    ("selection/memorisation.py", "import synthaug.data.pixels", LAYERS),
    ("errors.py", "from synthaug.balance.groups import shot_groups", LAYERS),
    ("stages/progress.py", "import typer", TERMINAL),
    ("stages/progress.py", "import synthaug.api", LAYERS),
    ("api.py", "from synthaug.cli.printing import print_fit", LAYERS),
    ("api.py", "import rich", TERMINAL),
    ("data/index.py", "from rich.console import Console", TERMINAL),
    ("report/tables.py", "import torch", TORCH_FREE),
    ("balance/groups.py", "from diffusers import UNet2DModel", TORCH_FREE),
    ("selection/memorisation.py", "import torch", TORCH_FREE),
    ("recipe/section.py", "import torch.nn", TORCH_FREE),
    ("diffusion/unet.py", "from synthaug.recipe import Recipe", READERS),
    ("evaluation/arms.py", "def late():\n    from synthaug.recipe import Recipe", READERS),
]


def lint(root: Path) -> dict[str, bool]:
    """Whether each contract is kept, by its name, in the package below a folder."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=root,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    verdicts = {}
    for line in done.stdout.splitlines():
        # Imports that a contract ignores are counted behind the verdict.
        if told := re.fullmatch(r"(.+) (KEPT|BROKEN)(?: \(.+\))?", line.strip()):
            verdicts[told[1]] = told[2] == "KEPT"
    assert verdicts, done.stdout + done.stderr
    assert (done.returncode == 0) == all(verdicts.values())
    return verdicts


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's code and configuration."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copy(PROJECT / "pyproject.toml", root)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "synthaug", root / "synthaug", ignore=ignored)
    return root


def test_all_contracts_are_kept(package: Path):
    assert lint(package) == dict.fromkeys((LAYERS, TERMINAL, TORCH_FREE, READERS), True)


@pytest.mark.parametrize(("module", "line", "contract"), PLANTED)
def test_a_planted_import_breaks_its_contract(package: Path, module: str, line: str, contract: str):
    path = package / "synthaug" / module
    before = path.read_text(encoding="utf-8")
    path.write_text(f"{before}\n\n{line}\n", encoding="utf-8")
    try:
        assert lint(package)[contract] is False
    finally:
        path.write_text(before, encoding="utf-8")


def test_every_contract_has_a_planted_violation():
    assert {contract for _, _, contract in PLANTED} == {LAYERS, TERMINAL, TORCH_FREE, READERS}


def test_every_part_is_under_the_layer_contract():
    import tomllib

    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {c["id"]: c for c in settings["tool"]["importlinter"]["contracts"]}
    listed = {name.strip() for layer in contracts["layers"]["layers"] for name in layer.split("|")}
    found = {
        f"synthaug.{path.stem}"
        for path in (PROJECT / "synthaug").iterdir()
        if (path.is_dir() and (path / "__init__.py").exists()) or path.suffix == ".py"
    }
    assert listed == found - {"synthaug.__init__"}
    fronts = {"synthaug.cli", "synthaug.__main__"}
    assert set(contracts["terminal"]["source_modules"]) == listed - fronts


def loaded_after(code: str) -> set[str]:
    """Top-level names in sys.modules of a fresh interpreter that ran some code."""
    script = (
        f"import sys, json\n{code}\n"
        "print(json.dumps(sorted({n.partition('.')[0] for n in sys.modules})), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


HEAVY = {
    "torch", "diffusers", "matplotlib", "sklearn", "scipy", "datasets", "pandas", "imblearn",
    "numpy", "PIL", "pyarrow", "kornia", "jinja2", "accelerate", "tensorboard", "huggingface_hub",
}  # fmt: skip


def test_help_is_light():
    code = (
        "from synthaug.cli.main import main\n"
        "for words in (['--help'], ['fit', '--help'], ['recipes', '--help'], ['--version']):\n"
        "    try: main(words)\n"
        "    except SystemExit as stop: assert not stop.code"
    )
    assert not loaded_after(code) & HEAVY


def test_the_package_itself_loads_nothing_heavy():
    code = "import synthaug; dir(synthaug); synthaug.__version__; synthaug.SynthaugError"
    assert not loaded_after(code) & {*HEAVY, "numpy", "PIL", "pydantic", "typer", "rich", "yaml"}


@pytest.mark.parametrize(
    "modules",
    [
        "synthaug.recipe, synthaug.errors, synthaug.balance.plan, synthaug.data.writer, "
        "synthaug.selection.memorisation"
    ],
)
def test_torch_free_parts_load_no_torch(modules: str):
    assert not loaded_after(f"import {modules}") & {"torch", "diffusers", "matplotlib"}


def test_the_check_of_what_is_loaded_sees_a_heavy_import():
    assert "matplotlib" in loaded_after("import synthaug.cli.main, matplotlib") & HEAVY
