"""The curve of results.json, from lines of metrics.jsonl as `fit` writes them."""

import json
from pathlib import Path

import numpy as np
import pytest

from synthaug.stages.learning import POINTS, learning_json
from synthaug.stages.run_dir import RunDir


def write(folder: Path, lines: list[dict]) -> RunDir:
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return RunDir(folder)


def base(step: int, loss: float | None) -> dict:
    return {"phase": "base", "step": step, "n_img": 8 * step, "loss": loss}


def test_both_curves_count_images_and_leave_out_what_is_not_finite(tmp_path: Path):
    run = write(
        tmp_path,
        [
            base(10, 0.5),
            base(20, None),
            {"phase": "base held out", "step": 20, "loss": 0.7},
            {"phase": "specialist 4", "step": 5, "n_img": 40, "loss": 9.0},
            base(30, 0.25),
        ],
    )
    assert learning_json(run, 8) == {
        "train": {"n_img": [80.0, 240.0], "loss": [0.5, 0.25]},
        "held_out": {"n_img": [160.0], "loss": [0.7]},
    }


def test_a_step_logged_again_counts_as_it_was_logged_last(tmp_path: Path):
    run = write(tmp_path, [base(10, 0.5), base(20, 0.4), base(20, 0.3), base(30, 0.2)])
    assert learning_json(run, 8)["train"]["loss"] == [0.5, 0.3, 0.2]


def test_long_curves_become_means_of_stretches(tmp_path: Path):
    losses = np.random.default_rng(0).random(1000)
    run = write(tmp_path, [base(i + 1, float(x)) for i, x in enumerate(losses)])
    curve = learning_json(run, 8)["train"]
    assert len(curve["loss"]) == len(curve["n_img"]) == POINTS
    assert curve["loss"] == pytest.approx(losses.reshape(POINTS, 5).mean(1), abs=1e-6)
    assert curve["n_img"][0] == 8 * 3


def test_without_a_joint_network_there_is_no_curve(tmp_path: Path):
    assert learning_json(RunDir(tmp_path), 8) is None
    run = write(tmp_path, [{"phase": "specialist 4", "step": 5, "n_img": 40, "loss": 9.0}])
    assert learning_json(run, 8) is None
