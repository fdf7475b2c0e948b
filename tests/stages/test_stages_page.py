"""The page of a run that lacks something: it is written all the same, and says what is missing."""

import shutil
from pathlib import Path

import pytest
import torch

from synthaug.errors import DataError
from synthaug.stages import page as page_stage
from synthaug.stages.dataset import load_dataset
from synthaug.stages.page import write_page
from synthaug.stages.progress import Silent
from synthaug.stages.run_dir import RunDir
from synthaug.stages.signals import StopFlag

CPU = torch.device("cpu")


def written(path: Path, **changes) -> str:
    run = RunDir(path)
    results = run.read_json("results.json") | changes
    page = write_page(
        run, load_dataset(run), results, pictures=run, device=CPU, progress=Silent(),
        stop=StopFlag(),
    )  # fmt: skip
    return " ".join(page.read_text(encoding="utf-8").split())


def test_the_page_shows_neighbours_and_both_strips(smoke):
    text = " ".join((smoke.path / "report.html").read_text(encoding="utf-8").split())
    for words in ("Nearest train images", "Copies of train images", "Progressive generation",
                  "Interpolation between train images of class 9", "recipe.yaml lies"):  # fmt: skip
        assert words in text
    splits = smoke.read("results.json")["dataset"]["splits"]
    assert f"{splits['test']['n']:,} images, {splits['test']['sha256'][:16]}…" in text


def test_row_104_a_run_of_noise_reports_no_gain(smoke):
    results = smoke.read("results.json")
    assert results["verdict"]["overall"] == "cannot tell"
    text = (smoke.path / "report.html").read_text(encoding="utf-8")
    assert '<h1 class="open">Cannot tell whether the synthetic images help</h1>' in text
    for gain in filter(None, results["comparison"]["differences"].values()):
        assert gain["low"] <= 0 <= gain["high"]
    assert ">better<" not in text and ">no evidence<" in text


def test_without_a_network_there_are_no_strips(copied_run: Path):
    shutil.rmtree(copied_run / "base")
    text = written(copied_run, learning=None)
    assert "How an image comes about" not in text and "How the generator learned" not in text
    assert "Nearest train images" in text


def test_without_synthetic_images_the_page_says_so(copied_run: Path):
    (copied_run / "synthaug_manifest.jsonl").unlink()
    text = written(copied_run, synthetic_counts=[0] * 10, memorisation=None, fidelity=None)
    assert "This run has no synthetic images." in text
    assert "Nearest train images" not in text and "Progressive generation" in text


def test_a_synthetic_image_that_is_gone_is_named(copied_run: Path):
    gone = copied_run / "synthetic" / "9" / "000003.png"
    gone.unlink()
    text = written(copied_run)
    assert "The synthetic images are not shown" in text and gone.name in text
    assert "Progressive generation" in text


def test_what_would_take_long_on_a_cpu_is_left_to_show(copied_run: Path, monkeypatch):
    monkeypatch.setattr(page_stage, "MOST_FLOPS_ON_A_CPU", 10)
    text = written(copied_run)
    for what in ("progressive", "interpolate"):
        assert f"`synthaug show {what}` draws it" in text
    assert "How an image comes about" not in text and "Nearest train images" in text


def test_a_damaged_network_does_not_cost_the_page(copied_run: Path):
    (weights,) = (copied_run / "base").rglob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    text = written(copied_run)
    assert "`synthaug show progressive`, could not be drawn" in text
    assert "What this cannot tell" in text


def test_the_page_of_an_older_schema_is_refused(copied_run: Path):
    with pytest.raises(DataError, match="schema_version 2"):
        written(copied_run, schema_version=2)
