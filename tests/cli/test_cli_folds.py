"""k-fold: every image is tested once, by what never saw it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SMALL = ("--recipe", "smoke", "--set", "diffusion.steps=8", "--set", "evaluation.steps=6")


def load_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fitted(cli, tmp_path_factory):
    """A folder with a class of 7 images, fitted in 3 folds; (run folder, what fit said)."""
    top = tmp_path_factory.mktemp("folds")
    for k, (name, n) in enumerate({"many": 20, "owl": 7}.items()):
        (top / "images" / name).mkdir(parents=True)
        for i in range(n):
            levels = np.random.default_rng([k, i]).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(levels).save(top / "images" / name / f"{i:02}.png")
    run = top / "run"
    words = ("--dataset", top / "images", *SMALL, "--folds", "3", "--run", run, "--json")
    return run, cli("fit", *words).ok()


@pytest.fixture
def folded(fitted, tmp_path):
    """A copy of it that a test may change."""
    run, outcome = fitted
    return Path(shutil.copytree(run, tmp_path / "run")), outcome


def test_every_image_is_tested_once(cli, folded, serial):
    run, fitted = folded
    assert fitted.json["folds"] == 3 and fitted.json["steps"] == 3 * 8
    splits = [load_json(run / "folds" / str(i) / "splits.json") for i in range(3)]
    tested = sorted(position for split in splits for position in split["test"])
    assert tested == list(range(27))
    for split in splits:
        assert not set(split["test"]) & set(split["train"])
    made = cli("generate", "--balance", "--run", run, "--json").ok().json
    each = [load_json(run / "folds" / str(i) / "generate.json") for i in range(3)]
    assert made["n"] == sum(e["n"] for e in each) > 0 and made["folds"] == 3
    arms = ("--arms", "real,synthaug", "--seeds", "2")
    results = cli("evaluate", *arms, "--run", run, "--json").ok().json
    assert results["dataset"]["test_counts"] == [20, 7]
    # The pooled recall is that of all predictions, not the mean of the folds' recalls.
    hits = np.zeros(2)
    for i in range(3):
        kept = run / "folds" / str(i) / "predictions" / "real-ce" / "seed-0.npz"
        with np.load(kept) as arrays:
            right = arrays["logits"].argmax(1) == arrays["y_true"]
            hits += [right[arrays["y_true"] == k].sum() for k in range(2)]
    (real,) = [arm for arm in results["arms"] if arm["name"] == "real/ce"]
    told = [recall["values"][0] for recall in real["recall"]]
    np.testing.assert_allclose(told, hits / [20, 7], atol=1e-6)
    assert (run / "report.html").is_file()


def test_a_picture_and_the_likelihood_are_of_one_fold(cli, folded):
    run, _ = folded
    for words in (("show", "forward"), ("evaluate", "--likelihood")):
        refused = cli(*words, "--run", run)
        assert refused.code == 2 and "--run" in refused.fault and "folds/0" in refused.fault


def test_an_unfinished_fold_is_named(cli, folded):
    run, _ = folded
    (run / "folds" / "1" / "fit.json").unlink()
    refused = cli("generate", "--balance", "--run", run)
    assert refused.code == 3 and "fold 2 of 3" in refused.fault


def test_too_many_folds_are_refused_with_a_number_that_works(cli, write_folder, tmp_path):
    root = write_folder({"many": 20, "owl": 3})
    refused = cli("fit", "--dataset", root, *SMALL, "--folds", "2", "--run", tmp_path / "run")
    assert refused.code == 3 and "'owl'" in refused.fault and "folds" in refused.fault
    assert not (tmp_path / "run").exists()


def test_the_dry_run_tells_the_time_of_all(cli, write_folder, in_tmp):
    root = write_folder({"many": 20, "owl": 7})
    outcome = cli("fit", "--dataset", root, *SMALL, "--folds", "3", "--dry-run").ok()
    assert "first of 3 folds" in outcome.out
    assert not (in_tmp / "runs").exists()


def test_folds_beside_a_declared_test_split_are_refused(cli, digits, tmp_path):
    refused = cli("fit", "--dataset", digits, *SMALL, "--folds", "3", "--run", tmp_path / "run")
    assert refused.code == 2 and "test" in refused.fault
