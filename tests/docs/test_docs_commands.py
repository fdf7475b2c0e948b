"""Every command in README.md and docs/ is one the program takes, and those that can be are run."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import VERBS, check, check_fragment
from documents import ROOT, Block, Document, calls, logical_lines, pages, read
from folders import FOLDERS, animals

from synthaug.cli.main import _CommandLineError
from synthaug.errors import SynthaugError

NEEDS = {"gpu", "cluster", "network", "time"}
"""What a block may be marked with that keeps it from being run here."""
QUICK = {"README.md", "docs/tutorial.md", "docs/explanation/ddpm.md"}
"""Pages that every test run goes through; the others take their time (`make test-slow`)."""
PLACEHOLDERS = {"NAME": "default", "COMMAND": "fit", "section.key=value": "data.image_size=16"}
HISTORY = "docs/LOG.md"
"""Says what was once typed, and is left as it was."""

DOCUMENTS = [read(path) for path in pages()]
BLOCKS = [b for d in DOCUMENTS if d.name != HISTORY for b in d.blocks]
LINES = [(b, line) for b in BLOCKS if b.is_shell for line in logical_lines(b.text)]
CALLS = [(b, words) for b, line in LINES for words in calls(line)]
FRAGMENTS = [
    (d.name, code)
    for d in DOCUMENTS
    if d.name != HISTORY
    for code in dict.fromkeys(d.code)
    if code.startswith("synthaug ") or (" --" in code and code.partition(" ")[0] in VERBS)
]
RUN = [d for d in DOCUMENTS if any(b.is_shell or b.kind == "python" for b in d.blocks)]


def test_the_pages_are_found():
    assert {"README.md", "docs/architecture.md"} <= {d.name for d in DOCUMENTS}
    assert len(CALLS) >= 8 and len(FRAGMENTS) > 15 and RUN


@pytest.mark.parametrize(("block", "words"), CALLS, ids=lambda value: str(value)[:60])
def test_a_documented_command_is_one_the_program_takes(block: Block, words: list[str]):
    check(words)


@pytest.mark.parametrize(("page", "code"), FRAGMENTS)
def test_a_fragment_of_a_command_is_one_the_program_takes(page: str, code: str):
    for placeholder, value in PLACEHOLDERS.items():
        code = code.replace(placeholder, value)
    words = calls(code if code.startswith("synthaug ") else f"synthaug {code}")[0]
    check_fragment(words)


REFUSALS = (AssertionError, SynthaugError, _CommandLineError)


@pytest.mark.parametrize("words", [
    ["fit"], ["fit", "--dataset", "x", "--nope"], ["fut", "--dataset", "x"], ["show", "all"],
    ["fit", "--dataset", "x", "--set", "diffusion.loss=l1"], ["generate", "--sampler", "euler"],
    ["fit", "--dataset", "x", "--recipe", "mine"], ["evaluate", "--arms", "reel"],
    ["evaluate", "--seeds", "0"], ["generate", "--mode", "owl=copy"],
])  # fmt: skip
def test_a_wrong_command_would_be_found(words: list[str]):
    with pytest.raises(REFUSALS):
        check(words)


def test_blocks_are_marked_with_known_words():
    assert {block.needs for block in BLOCKS} <= NEEDS | {""}


def test_make_targets_exist():
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    asked = {word for _, line in LINES if line.startswith("make ") for word in _words(line)[1:]}
    assert asked and all(f"\n{target}:" in rules for target in asked), asked


def _words(line: str) -> list[str]:
    return line.partition("#")[0].split()


@pytest.fixture
def follow(
    cli: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serial: None
) -> Callable[[Document], int]:
    """Do what a page says, block by block, in a folder of its own; how many lines were run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    known = set(sys.modules)

    def run(document: Document) -> int:
        FOLDERS.get(document.name, animals)(tmp_path)
        done = 0
        for block in document.blocks:
            if block.file:
                Path(block.file).write_text(block.text, encoding="utf-8")
            elif block.kind == "python" and not block.needs:
                exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})
                done += 1
            elif block.is_shell and not block.needs:
                for line in logical_lines(block.text):
                    done += _run(line, cli)
        return done

    yield run
    for name in set(sys.modules) - known:
        origin = getattr(sys.modules[name], "__file__", None) or ""
        if origin.startswith(str(tmp_path)):
            del sys.modules[name]


def _run(line: str, cli: Callable[..., object]) -> int:
    if line.startswith("make "):
        return 0  # the targets exist; the tests run what they do
    if line.startswith("synthaug "):
        (words,) = calls(line)
        outcome = cli(*smaller(words))
        assert outcome.code == 0, f"{line}: {outcome.err}"
    else:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(["bash", "-ec", line], capture_output=True, text=True, env=env)
        assert done.returncode == 0, f"{line}: {done.stderr}"
    return 1


SMALLER = (
    ("fit", "--recipe", "smoke"), ("ablate", "--recipe", "smoke"), ("demo", "--recipe", "smoke"),
    ("evaluate", "--seeds", "1"), ("evaluate", "--arms", "real,synthaug"),
)  # fmt: skip
"""What a command gets that does not say it itself."""


def smaller(words: list[str]) -> list[str]:
    """The same command with a tiny network and few steps: what it does, not how well."""
    most = {"--time-limit": "2s", "--seeds": "2", "--steps": "4", "--n": "2"}
    small = [most.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    for verb, option, value in SMALLER:
        if words[0] == verb and option not in words:
            small += [option, value]
    return small


@pytest.mark.parametrize(
    "document",
    [pytest.param(d, id=d.name, marks=() if d.name in QUICK else pytest.mark.slow) for d in RUN],
)
def test_a_page_can_be_followed(document: Document, follow: Callable[[Document], int]):
    blocks = [b for b in document.blocks if b.is_shell or b.kind == "python"]
    ran = follow(document)
    assert ran or all(b.needs or b.file for b in blocks)


def test_every_verb_is_in_a_page():
    spoken = {words[0] for _, words in CALLS}
    assert {"inspect", "fit", "generate", "evaluate", "show"} <= spoken
