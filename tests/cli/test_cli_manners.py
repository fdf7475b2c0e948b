"""Rows 107 and 108: a pipe that closes, a reader that is no terminal, a script that reads JSON."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
VERBS = ("inspect", "fit", "generate", "evaluate", "show", "demo", "ablate", "push")


@pytest.fixture
def words(copied_run: Path, digits: Path) -> Callable[[str], list[str]]:
    """What to type for a verb to do its work, in little time."""
    fit = ["fit", "--dataset", str(digits), "--recipe", "smoke", "--dry-run"]
    on_run = ["--run", str(copied_run)]

    def of(verb: str) -> list[str]:
        return {
            "inspect": ["inspect", "--dataset", str(digits)],
            "fit": fit,
            "generate": ["generate", *on_run],
            "evaluate": ["evaluate", *on_run],
            "show": ["show", "forward", *on_run],
        }[verb]

    return of


@pytest.fixture
def main_with(monkeypatch: pytest.MonkeyPatch, quick_rates: None) -> Iterator[Callable[..., int]]:
    """Run the command in this process with stdout going into a pipe that nobody reads any more."""
    from synthaug.cli.main import main

    read_end, write_end = os.pipe()
    os.close(read_end)
    stream = os.fdopen(write_end, "w", encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)

    def call(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        stream.flush()  # as Python does at its end, where a failure would be told
        return int(ended.value.code or 0)

    yield call
    stream.close()


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("verb", ["inspect", "fit", "generate", "evaluate", "show"])
def test_row_107_a_closed_stdout_is_no_fault(
    verb: str, as_json: bool, words, main_with, capfd: pytest.CaptureFixture[str]
):
    assert main_with(*words(verb), *(["--json"] if as_json else [])) == 0
    told = capfd.readouterr().err
    assert "Traceback" not in told and "BrokenPipe" not in told and "error:" not in told


@pytest.mark.parametrize("words", [["--help"], ["fit", "--help"], ["--version"]], ids=" ".join)
def test_row_107_help_into_a_closed_pipe(words: list[str], main_with):
    assert main_with(*words) == 0


@pytest.mark.parametrize("verb", ["inspect", "show"])
def test_row_107_nothing_but_text_when_nobody_watches(verb: str, words, cli):
    told = cli(*words(verb)).ok()
    assert not CONTROL.search(told.out + told.err)


def test_row_107_a_name_does_not_steer_the_terminal(cli, write_folder):
    folder = write_folder({"\x1b[31mred": 4, "bell\x07 \x9b2J": 4})
    told = cli("inspect", "--dataset", folder)
    assert "\\x1b[31mred" in told.out and "\\x07 \\x9b2J" in told.out
    assert not CONTROL.search(told.out + told.err)


@pytest.mark.parametrize("verb", VERBS)
def test_row_108_a_fault_is_json_too(verb: str, cli, in_tmp: Path, digits: Path):
    (in_tmp / "full").mkdir()
    (in_tmp / "full" / "file").touch()
    asked, code = {
        "inspect": (["--dataset", "nowhere"], 3),
        "fit": (["--dataset", str(digits), "--set", "diffusion.bach_size=3"], 2),
        "generate": (["--run", "nowhere"], 2),
        "evaluate": (["--run", "nowhere"], 2),
        "show": (["sunsets"], 2),
        "demo": (["--out", "full"], 2),
        "ablate": (["--recipe", "smoke"], 2),
        "push": ([], 2),
    }[verb]
    refused = cli(verb, *asked, "--json")
    assert refused.code == code
    assert refused.out.count("\n") == 1
    error = refused.json["error"]
    assert set(error) == {"found", "expected", "remedy", "exit_code"}
    assert error["exit_code"] == code
    assert error["found"] and error["found"] in refused.fault


def test_row_108_every_verb_has_the_option(cli):
    from synthaug.cli.main import app

    assert {c.callback.__name__ for c in app.registered_commands} == set(VERBS)
    assert all("--json" in cli(verb, "--help").ok().out for verb in VERBS)
    (recipes,) = app.registered_groups
    for command in recipes.typer_instance.registered_commands:
        name = command.name or command.callback.__name__
        assert "--json" in cli("recipes", name, "--help").ok().out


@pytest.mark.parametrize(
    "words", [["fit", "--frobnicate"], ["paint"], ["evaluate", "--seeds", "0"]]
)
def test_row_108_what_cannot_be_parsed_is_json_too(words: list[str], capsys):
    from synthaug.cli.main import main

    with pytest.raises(SystemExit) as ended:
        main([*words, "--json"])
    told = capsys.readouterr()
    assert ended.value.code == 2
    error = json.loads(told.out)["error"]
    assert error["exit_code"] == 2 and error["found"] in " ".join(told.err.split())


def test_row_108_debug_keeps_the_traceback_and_the_json(in_tmp: Path, capsys):
    from synthaug.cli.main import main
    from synthaug.errors import UsageError

    with pytest.raises(UsageError) as ended:  # which Python tells with its traceback
        main(["generate", "--run", "nowhere", "--json", "--debug"])
    assert json.loads(capsys.readouterr().out) == ended.value.to_json()


@pytest.mark.parametrize("kind", ["python", "numpy", "torch"])
def test_row_60_too_little_memory_is_told_as_such(kind: str, cli, monkeypatch: pytest.MonkeyPatch):
    import numpy as np
    import torch

    from synthaug.stages import inspect as stage

    def take(*args: object) -> None:
        if kind == "python":
            bytearray(2**62)
        elif kind == "numpy":
            np.ones(2**50)
        else:
            torch.ones(2**50)

    monkeypatch.setattr(stage, "inspect", take)
    refused = cli("inspect", "--dataset", "anything", "--json")
    assert refused.code == 4 and refused.json["error"]["exit_code"] == 4
    assert "out of memory" in refused.fault and "smaller" in refused.fault


def test_row_60_other_errors_are_not_taken_for_a_lack_of_memory(cli, monkeypatch):
    from synthaug.stages import inspect as stage

    def fail(*args: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(stage, "inspect", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        cli("inspect", "--dataset", "anything")


class Greedy:
    """A trainer that takes more than there is, in its own process."""

    device = "cpu"

    def train(self, what: object, seed: int, /, stop: object = None) -> dict:
        import numpy as np

        return {"all": np.ones(2**50)}


def test_row_60_too_little_memory_in_a_worker_is_told_as_such():
    from synthaug.errors import is_out_of_memory
    from synthaug.stages.bench import train_all
    from synthaug.stages.signals import StopFlag

    with pytest.raises(MemoryError) as caught:
        list(train_all(Greedy(), [("real", 0)], StopFlag()))
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize("verb", ["fit", "generate", "evaluate", "show", "demo", "ablate"])
def test_row_66_a_device_that_is_not_there_is_never_replaced(
    verb: str, cli, copied_run: Path, digits: Path, in_tmp: Path, hash_of
):
    before = hash_of(copied_run)
    words = {
        "fit": ["--dataset", digits, "--recipe", "smoke", "--run", "new"],
        "generate": ["--run", copied_run],
        "evaluate": ["--run", copied_run],
        "show": ["forward", "--run", copied_run],
        "demo": ["--out", "new"],
        "ablate": ["--out", "new"],
    }[verb]
    refused = cli(verb, *words, "--device", "cuda:99")
    assert refused.code == 2
    assert "'cuda:99'" in refused.fault and "--device cpu" in refused.fault
    assert hash_of(copied_run) == before and not Path("new").exists()


def test_row_66_several_processes_are_refused_not_run_side_by_side(
    cli, digits: Path, in_tmp: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORLD_SIZE", "4")
    folded = ["fit", "--dataset", digits, "--run", "new", "--folds", "2"]
    for verb in (folded, ["demo", "--out", "new"]):
        refused = cli(*verb)
        assert refused.code == 2
        assert "4 processes" in refused.fault and "torchrun" in refused.fault
        assert not Path("new").exists()


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, ["2 processes", "RANK, MASTER_ADDR, MASTER_PORT", "torchrun"]),
        (
            {"RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"},
            ["--device cuda:0", "a GPU of its own"],
        ),
    ],
)
def test_row_109_a_team_that_cannot_be_is_refused_before_it_waits(
    cli, digits: Path, in_tmp: Path, monkeypatch: pytest.MonkeyPatch, told: dict, words: list[str]
):
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"WORLD_SIZE": "2", **told}.items():
        monkeypatch.setenv(name, value)
    refused = cli("fit", "--dataset", digits, "--run", "new", "--device", "cuda:0")
    assert refused.code == 2
    assert [word for word in words if word not in refused.fault] == []
    assert not Path("new").exists()
