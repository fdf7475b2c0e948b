"""Trackers hear what metrics.jsonl says, write in the run folder only, and may fail."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from synthaug.errors import InterruptedRun, UsageError
from synthaug.stages import tracking
from synthaug.stages.progress import Silent
from synthaug.stages.record import log_held_out
from synthaug.stages.run_dir import RunDir
from synthaug.stages.tracking import Trackers, check_trackers, tracked


class Listener(Silent):
    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, text: str) -> None:
        self.warned.append(text)


class Recorder:
    """A tracker that keeps what it hears and fails when it is told to."""

    name = "recorder"

    def __init__(self, fault: Exception | None = None, after: int = 0) -> None:
        self.fault, self.after = fault, after
        self.heard: list[tuple[dict[str, float], int]] = []
        self.finished = 0

    def log(self, values: dict[str, float], step: int) -> None:
        if self.fault is not None and len(self.heard) >= self.after:
            raise self.fault
        self.heard.append((values, step))

    def finish(self) -> None:
        self.finished += 1


def test_numbers_are_told_under_their_phase():
    tracker = Recorder()
    trackers = Trackers([tracker], Silent())
    trackers.log({"phase": "base", "step": 10, "n_img": 80, "loss": 0.5, "skipped": 0})
    trackers.log({"phase": "base", "step": 20, "n_img": 160, "loss": None})
    assert tracker.heard == [
        ({"base/n_img": 80, "base/loss": 0.5, "base/skipped": 0}, 10),
        ({"base/n_img": 160}, 20),
    ]
    trackers.finish()
    trackers.finish()
    assert tracker.finished == 1


def test_row_105_a_tracker_that_fails_is_left_out_and_the_others_go_on():
    listener, good, bad = Listener(), Recorder(), Recorder(ConnectionError("down"), after=1)
    trackers = Trackers([bad, good], listener)
    for step in (1, 2, 3):
        trackers.log({"phase": "base", "step": step, "loss": 0.5})
    trackers.finish()
    assert [len(t.heard) for t in (bad, good)] == [1, 3]
    assert len(listener.warned) == 1
    assert "tracker recorder failed at step 2 (ConnectionError: down)" in listener.warned[0]


def test_row_105_a_training_goes_on_without_its_tracker(
    cli, write_images, tmp_path: Path, monkeypatch
):
    """The real command with a tracker whose server has gone: a notice, and all else as without."""
    tracker = Recorder(ConnectionError("the server has gone"))
    monkeypatch.setattr(tracking, "_start", lambda name, folder: tracker)
    folder, home = write_images(a=9, b=5), tmp_path / "runs"
    home.mkdir()
    fit = ("fit", "--dataset", folder, "--recipe", "smoke", "--json", "--run")
    told = cli(*fit, home / "a", "--set", "tracking.log_with=[tensorboard]").ok()
    assert "note: tracker recorder failed at step 6" in " ".join(told.err.split())
    plain = cli(*fit, home / "b").ok()
    assert told.json["steps"] == plain.json["steps"] == 6
    lines = [(home / run / "metrics.jsonl").read_text(encoding="utf-8") for run in "ab"]
    assert lines[0] == lines[1] and len(lines[0].splitlines()) == 1


def test_row_105_a_tracker_that_cannot_start_is_a_notice(tmp_path: Path, monkeypatch):
    def refuse(name: str, folder: Path) -> Any:
        raise OSError("no room")

    monkeypatch.setattr(tracking, "_start", refuse)
    listener, run = Listener(), RunDir(tmp_path)
    with tracked(run, ["tensorboard"], listener):
        log_held_out(run, 3, 0.25)
    assert "tensorboard failed to start (OSError: no room)" in listener.warned[0]
    assert json.loads((tmp_path / "metrics.jsonl").read_text(encoding="utf-8"))["loss"] == 0.25


def test_a_stop_signal_is_not_taken_for_a_fault_of_the_tracker():
    trackers = Trackers([Recorder(InterruptedRun("stopped"))], Silent())
    with pytest.raises(InterruptedRun):
        trackers.log({"phase": "base", "step": 1, "loss": 0.5})


def test_a_tracker_that_is_not_installed_is_told_before_training(cli, monkeypatch):
    real = tracking.importlib.util.find_spec
    monkeypatch.setattr(
        tracking.importlib.util, "find_spec",
        lambda name: None if name == "tensorboard" else real(name),
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"tensorboard cannot be imported.*synthaug\[tensorb"):
        check_trackers(["tensorboard"])
    check_trackers([])
    told = cli("fit", "--dataset", "nowhere", "--set", "tracking.log_with=[tensorboard]")
    assert told.code == 2 and "synthaug[tensorboard]" in told.fault
    unknown = cli("fit", "--dataset", "nowhere", "--set", "tracking.log_with=[elsewhere]")
    assert "tracking.log_with" in unknown.fault


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_hears_what_the_file_says_and_nothing_else_changes(tmp_path: Path, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(elsewhere))
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    before = dict(os.environ), torch.get_rng_state(), torch.get_num_threads()
    listener = Listener()
    with tracked(run, ["tensorboard", "tensorboard"], listener):
        for step in (2, 4):
            log_held_out(run, step, 1 / step)
    assert (dict(os.environ), torch.get_num_threads()) == (before[0], before[2])
    assert torch.equal(torch.get_rng_state(), before[1])
    assert torch.empty(0).device.type == "cpu" and not torch.distributed.is_initialized()
    assert not listener.warned and not list(elsewhere.iterdir())
    assert sorted(p.name for p in run.path.iterdir()) == ["metrics.jsonl", "trackers"]
    events = EventAccumulator(str(run / "trackers" / "tensorboard")).Reload()
    found = [(e.step, e.value) for e in events.Scalars("base held out/loss")]
    assert found == [(2, 0.5), (4, 0.25)]
    assert run.listeners == []
