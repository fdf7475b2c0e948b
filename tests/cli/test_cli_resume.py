"""`synthaug fit --resume`: in a process of its own, with folds, and what it says."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from synthaug.diffusion.checkpoint import load_checkpoint, newest_checkpoint
from synthaug.stages import learner
from synthaug.stages.device import resolve_device

WORDS = ("--recipe", "smoke", "--set", "diffusion.steps=12", "--checkpoint-every", "4")


@pytest.fixture
def stops_after(monkeypatch: pytest.MonkeyPatch):
    """Have the fit of this process get a SIGTERM once it has taken so many steps in all."""
    train = learner.train_denoiser

    def arrange(steps: int | None) -> None:
        count = [0]

        def counted(*args, **kwargs):
            for stats in train(*args, **kwargs):
                count[0] += 1
                if count[0] == steps:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield stats

        monkeypatch.setattr(learner, "train_denoiser", counted)

    return arrange


def weights(run: Path) -> str:
    return load_checkpoint(newest_checkpoint(run / "base"), resolve_device("cpu")).sha256


@pytest.mark.slow
def test_row_67_a_new_process_goes_on_to_the_same_network(
    cli, digits: Path, in_tmp: Path, stops_after
):
    """Stopped in this process and resumed in another one, started by the words that were told."""
    stops_after(None)
    cli("fit", "--dataset", digits, *WORDS, "--run", "whole").ok()
    stops_after(7)
    stopped = cli("fit", "--dataset", digits, *WORDS, "--run", "stopped")
    assert stopped.code == 143
    told = "synthaug fit --resume --run stopped"
    assert f"the network after 7 steps is saved in stopped/base/ckpt-00000007; `{told}`" in (
        stopped.fault
    )
    import torch

    code = (
        f"import torch; torch.set_num_threads({torch.get_num_threads()})\n"
        "from synthaug.cli.main import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *told.split()[1:], "--json"],
        capture_output=True, text=True, check=False, timeout=550,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "not bit-exact" not in ended.stderr
    assert json.loads(ended.stdout)["steps"] == 12
    assert weights(Path("stopped")) == weights(Path("whole"))
    metrics = [Path(run, "metrics.jsonl").read_bytes() for run in ("whole", "stopped")]
    assert metrics[0] == metrics[1]
    again = cli("fit", "--resume", "--run", "stopped").ok()  # row 70: it is finished
    assert "nothing to resume" in again.err


def test_row_69_a_difference_is_one_readable_line(cli, digits: Path, in_tmp: Path, stops_after):
    stops_after(3)
    assert cli("fit", "--dataset", digits, *WORDS, "--run", "run").code == 143
    stops_after(None)
    words = ("fit", "--resume", "--run", "run", "--set", "diffusion.learning_rate=0.002")
    refused = cli(*words)
    assert refused.code == 2
    assert "the run began otherwise: diffusion.learning_rate: 0.001 -> 0.002" in refused.fault
    assert "--force" in refused.fault
    forced = cli(*words, "--force").ok()
    assert "0.001 -> 0.002" in " ".join(forced.err.split())
    assert "learning_rate: 0.002" in Path("run/recipe.yaml").read_text()
    cli("fit", "--resume", "--dataset", digits, "--run", "run", "--recipe", "run/recipe.yaml").ok()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--resume",), 2, "no run under runs/"),
        (("--resume", "--run", "nowhere"), 2, "nothing to resume in nowhere"),
        ((), 2, "--dataset"),
        (("--dataset", "x", "--checkpoint-every", "soon"), 2, "soon"),
    ],
)
def test_row_83_faults_of_a_resumed_fit(cli, in_tmp: Path, words, code, told):
    refused = cli("fit", *words)
    assert refused.code == code and told in refused.fault
    assert not list(in_tmp.iterdir())


@pytest.mark.slow
def test_finished_folds_are_not_trained_again(cli, write_folder, in_tmp: Path, stops_after):
    root = write_folder({"many": 20, "owl": 7})
    words = ("--dataset", root, "--folds", "3", *WORDS)
    stops_after(None)
    whole = cli("fit", *words, "--run", "whole", "--json").ok().json
    stops_after(12 + 5)
    stopped = cli("fit", *words, "--run", "run")
    assert stopped.code == 143
    assert "`synthaug fit --resume --run run` goes on with fold 2" in stopped.fault
    stamp = Path("run/folds/0/fit.json").stat().st_mtime_ns
    assert not Path("run/folds/2").exists()
    stops_after(None)
    told = cli("fit", "--resume", "--run", "run", "--json").ok()
    assert Path("run/folds/0/fit.json").stat().st_mtime_ns == stamp
    assert told.json["steps"] == whole["steps"] == 36
    for fold in range(3):
        own = Path("run/folds", str(fold)), Path("whole/folds", str(fold))
        assert weights(own[0]) == weights(own[1])
    assert "nothing to resume" in cli("fit", "--resume", "--run", "run").ok().err


@pytest.mark.slow
def test_row_69_a_dataset_that_changed_between_folds_is_refused(
    cli, write_folder, in_tmp: Path, stops_after
):
    root = write_folder({"many": 20, "owl": 7})
    stops_after(12 + 5)
    assert cli("fit", "--dataset", root, "--folds", "3", *WORDS, "--run", "run").code == 143
    stops_after(None)
    next((root / "many").iterdir()).unlink()
    refused = cli("fit", "--resume", "--run", "run")
    assert refused.code == 2 and "other files than when the run began" in refused.fault
    forced = cli("fit", "--resume", "--run", "run", "--force")
    assert forced.code == 3 and "when the first fold began" in forced.fault
