"""stdout is for the answer, stderr for talk, and neither surprises a script."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from synthaug import __version__
from synthaug.cli.main import give_balance_a_value
from synthaug.cli.terminal import duration

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def test_stdout_is_one_json_object_for_every_verb(smoke):
    for told in (smoke.fit, smoke.generate, smoke.evaluate):
        assert isinstance(told.json, dict)
        assert told.out.count("\n") == 1
        assert told.err


def test_demo_is_the_whole_path(cli, in_tmp: Path, serial: None):
    told = cli("demo", "--recipe", "smoke", "--out", "demo", "--json").ok()
    results = told.json
    assert told.out.count("\n") == 1
    assert results["run"] == "demo/run"
    assert len(results["arms"]) == 8
    assert Path("demo/run/report.html").is_file()
    assert sorted(p.name for p in Path("demo/digits-lt").iterdir()) == ["test", "train"]
    assert len(list(Path("demo/run/balanced/9").iterdir())) == 100
    again = cli("demo", "--recipe", "smoke", "--out", "demo")
    assert again.code == 2 and "demo is not empty" in again.fault


@pytest.mark.slow
def test_a_demo_without_a_folder_goes_under_runs(cli, in_tmp: Path, serial: None):
    told = cli("demo", "--recipe", "smoke", "--set", "evaluation.seeds=1").ok()
    for words in ("Plan", "All training regimes", "Verdict: ", "page: runs/"):
        assert words in told.out
    (home,) = Path("runs").iterdir()
    assert (home / "run" / "results.json").is_file()


def test_nothing_but_text_when_nobody_watches(cli, copied_run: Path, digits: Path, in_tmp: Path):
    told = [
        cli("fit", "--dataset", digits, "--recipe", "smoke", "--dry-run").ok(),
        cli("generate", "--balance", "--run", copied_run).ok(),
        cli("evaluate", "--run", copied_run).ok(),
        cli("fit", "--dataset", in_tmp / "nowhere"),
    ]
    for outcome in told:
        assert not CONTROL.search(outcome.out + outcome.err)
    following = [o.err.rpartition("next: ")[2].partition("\n")[0] for o in told]
    run = shlex.quote(str(copied_run))
    assert following[:3] == [
        f"synthaug fit --dataset {digits} --recipe smoke",
        f"synthaug evaluate --run {run}",
        f"synthaug show neighbours --run {run}",
    ]


def test_long_steps_report_themselves_on_stderr(smoke):
    assert re.search(r"training the DDPM: 48/48 images, \d+ images/s, done in", smoke.fit.err)
    drawn = sum(smoke.read("generate.json")["candidates"].values())
    assert drawn > 236  # more than are wanted, to choose from
    assert re.search(
        rf"sampling: {drawn}/{drawn} images, \d+ images/s, done in", smoke.generate.err
    )
    assert "training classifiers: 16/16 classifiers" in smoke.evaluate.err


def test_help_names_the_three_verbs_and_every_option(cli):
    told = cli("--help").ok()
    assert all(verb in told.out for verb in ("fit", "generate", "evaluate", "demo", "ablate"))
    for verb, options in {
        "fit": "--dataset --per-class --from-scratch --recipe --set --image-size --time-limit "
        "--run --device --seed --dry-run --json",
        "generate": "--balance --sampler --steps --cfg-scale --run --device --json",
        "evaluate": "--run --arms --classifier --seeds --oracle --likelihood --device --json",
        "demo": "--out --recipe --device --json",
        "ablate": "--recipe --dataset --out --set --device --json",
    }.items():
        told = cli(verb, "--help").ok()
        assert [o for o in options.split() if o not in told.out] == []


def test_the_version(cli):
    assert cli("--version").ok().out == f"synthaug {__version__}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["generate", "--balance"], ["generate", "--balance", ""]),
        (["generate", "--balance", "--steps", "5"], ["generate", "--balance", "", "--steps", "5"]),
        (["generate", "--balance", "auto", "--json"], ["generate", "--balance", "auto", "--json"]),
        (["generate", "--balance=30"], ["generate", "--balance=30"]),
        (["generate"], ["generate"]),
    ],
)
def test_balance_may_stand_alone(words: list[str], expected: list[str]):
    assert give_balance_a_value(words) == expected


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (100, "2 min"), (3600, "60 min"), (5520, "1 h 32 min")],
)
def test_durations_in_words(seconds: float, words: str):
    assert duration(seconds) == words


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    """The end to write into of a pipe that nobody reads any more."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    yield write_end
    os.close(write_end)


def check_unmoved(done: subprocess.CompletedProcess[str]) -> None:
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr
    assert "error:" not in done.stderr
    assert done.returncode == 0


def test_a_reader_that_has_left_stops_neither_the_work_nor_the_talk(closed_pipe: int):
    script = (
        "from synthaug.cli.terminal import Terminal\n"
        "terminal = Terminal()\n"
        "for _ in range(3): terminal.payload('plan')\n"
        "terminal.say('trained')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdout=closed_pipe, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    check_unmoved(done)
    assert done.stderr == "trained\n"


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_a_command_whose_reader_has_left_is_no_fault(
    write_folder, synthaug: Path, closed_pipe: int, options: list[str]
):
    """As in `synthaug fit --dry-run | head -1`, with a reader that is gone from the start."""
    folder = write_folder({"a": 6, "b": 4})
    done = subprocess.run(
        [synthaug, "fit", "--dataset", folder, "--recipe", "smoke", "--dry-run", *options],
        stdout=closed_pipe, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    check_unmoved(done)


def test_slow_rates_are_told_by_the_minute():
    from synthaug.cli.terminal import rate

    assert rate(350.4, "images") == "350 images/s"
    assert rate(0.05, "classifiers") == "3 classifiers/min"
