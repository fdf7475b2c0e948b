"""The reference is what the code says today, and a run folder holds what the reference lists."""

import importlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from commands import VERBS, find_command
from documents import ROOT

import synthaug
from synthaug import errors
from synthaug.recipe import Recipe, shipped_recipes
from synthaug.report.schema import ResultsFile
from synthaug.stages.run_files import RUN_FILES, find

FOLDER = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def writer() -> Iterator[ModuleType]:
    """docs/write_reference.py, which is no part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        yield importlib.import_module("write_reference")


@pytest.mark.parametrize("columns", ["40", "200"])
def test_the_reference_is_current(writer: ModuleType, columns: str, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert {path.name for path in FOLDER.glob("*.md")} == set(writer.PAGES)
    for name, write in writer.PAGES.items():
        kept = (FOLDER / name).read_text(encoding="utf-8")
        assert kept == write(), f"{name} is not current: run `make docs`"


def test_every_option_is_in_the_reference(writer: ModuleType):
    text = writer.cli_page()
    words = [words for words, _ in writer.commands()]
    assert {command.split()[1] for command in words} == VERBS
    for command in words:
        section = text.partition(f"## {command}\n")[2].partition("\n## ")[0]
        options = [o for p in find_command(command.split()[1:])[0].params for o in p.opts]
        assert options and all(f"`{o}`" in section for o in options if o.startswith("-")), command


def test_every_key_and_recipe_is_in_the_reference(writer: ModuleType):
    text = writer.recipe_page()
    for name, content in Recipe().model_dump().items():
        keys = [f"{name}.{key}" for key in content] if isinstance(content, dict) else [name]
        assert all(f"| `{key}` |" in text for key in keys)
    assert all(f"| `{name}` |" in text for name in shipped_recipes())


def test_every_key_is_described():
    for name, section in Recipe.model_fields.items():
        inside = getattr(section.annotation, "model_fields", {name: section})
        assert all(field.description for field in inside.values()), name


def test_every_python_name_and_field_of_the_results_is_in_the_reference(writer: ModuleType):
    text = writer.api_page()
    names = [n for n in synthaug.__all__ if not n.startswith("__")]
    assert {"fit", "generate", "evaluate"} <= set(names)
    assert all(f"## {name}\n" in text for name in names)
    text = writer.results_page()
    assert all(f"| `{name}` |" in text for name in ResultsFile.model_fields)


def test_every_exit_code_is_in_the_reference(writer: ModuleType):
    text = writer.exit_codes_page()
    raised = [e("x") for e in vars(errors).values()
              if isinstance(e, type) and issubclass(e, errors.SynthaugError)]  # fmt: skip
    raised.append(errors.InterruptedRun("x", signum=signal.SIGTERM))
    told = {(error.exit_code, type(error).__name__) for error in raised}
    assert {2, 3, 4, 5, 6, 130, 143} <= {code for code, _ in told}
    for code, name in told - {(1, "SynthaugError")}:
        assert any(f"| {code} |" in line and f"`{name}`" in line for line in text.splitlines())


def files_of(run: Path) -> list[str]:
    return [p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()]


def test_a_finished_run_has_no_file_that_is_not_listed(smoke):
    files = files_of(smoke.path)
    assert len(files) > 50
    assert [name for name in files if find(name) is None] == []


def test_what_every_run_has_is_there(smoke):
    """The other way about: a pattern that fits nothing would never be missed."""
    rare = {"specialists/*/ckpt-*/**", "specialists/*/unfinished/ckpt-*/**",
            "specialists/*/verdict.json", "measured.json", "tuning/**", "likelihood/*.npz",
            "pictures/*.png", "trackers/**", "folds/*/**", "fidelity/features.npz"}  # fmt: skip
    files = files_of(smoke.path)
    for entry in RUN_FILES:
        if entry.pattern not in rare:
            assert any(entry.matches(name) for name in files), entry.pattern


@pytest.mark.slow
def test_what_only_some_runs_have_is_listed_too(cli, copied_run: Path):
    cli("evaluate", "--run", copied_run, "--likelihood").ok()
    cli("show", "forward", "--run", copied_run, "--n", "1").ok()
    files = files_of(copied_run)
    assert any(name.startswith("likelihood/") for name in files)
    assert any(name.startswith("pictures/") for name in files)
    assert [name for name in files if find(name) is None] == []


def test_a_stranger_is_noticed():
    assert find("balanced/cat/real-000001.png") and find("base/ckpt-00000006/unet/config.json")
    for name in ("notes.txt", "balanced/cat/deep/real-1.png", "report.html.bak", "base/x.json"):
        assert find(name) is None


def test_the_lists_are_json(smoke):
    """Formats are told by suffix; what is called JSON is."""
    for entry in RUN_FILES:
        if entry.format == "JSON" and (smoke.path / entry.pattern).is_file():
            json.loads((smoke.path / entry.pattern).read_text(encoding="utf-8"))
