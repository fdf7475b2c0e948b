"""Disk space: the plan never says too little, and a verb without room does nothing."""

import os
from pathlib import Path

import numpy as np
import pytest

from synthaug.balance.plan import plan_balance
from synthaug.data.writer import Provenance, write_balanced
from synthaug.errors import ResourceError
from synthaug.recipe import load_recipe
from synthaug.stages import disk
from synthaug.stages.balance import read_plan
from synthaug.stages.dataset import load_dataset
from synthaug.stages.disk import DiskNeed, free_bytes, in_words, require_room, require_writable
from synthaug.stages.run_dir import RunDir


def used(folder: Path) -> int:
    """Bytes that the files below a folder take, in whole blocks."""
    return sum(p.stat().st_blocks * 512 for p in folder.rglob("*") if p.is_file())


def test_row_87_what_each_verb_wrote_is_within_what_the_plan_said(smoke):
    run, recipe = RunDir(smoke.path), load_recipe(str(smoke.path / "recipe.yaml"))
    dataset = load_dataset(run)
    said = disk.generate_bytes(read_plan(run, dataset), dataset.pixels.shape[1:], recipe)
    wrote = sum(used(run / name) for name in ("candidates", "synthetic", "balanced"))
    assert wrote < said < 6 * wrote
    parameters, n = smoke.fit.json["parameters"], len(dataset.labels)
    assert used(run / "base") < disk.fit_bytes(dataset.pixels.nbytes, n, parameters, 0)
    n_jobs = len(list((run / "predictions").rglob("*.npz")))
    said = disk.evaluate_bytes(n_jobs, len(dataset.splits.test), dataset.n_classes)
    assert used(run / "predictions") < said


@pytest.mark.parametrize("side", [8, 16, 33])
def test_row_87_pictures_that_do_not_compress_are_within_it_too(tmp_path: Path, side: int):
    """The worst case for PNG, and for a record: long names and many scores."""
    rng = np.random.default_rng(0)
    real, made = (rng.integers(0, 256, (n, 3, side, side), dtype=np.uint8) for n in (5, 20))
    long = [Provenance("synthetic", sources=("x" * 100, "y" * 100), checkpoint="f" * 64)] * 20
    write_balanced(
        tmp_path, ["class " * 10], real, np.zeros(5, int), ["z" * 100] * 5, made,
        np.zeros(20, int), long,
    )  # fmt: skip
    plan = plan_balance(["class"], [5], 25)
    said = disk.generate_bytes(plan, real.shape[1:], load_recipe("smoke"), 4096)
    assert used(tmp_path) <= said


def test_row_87_more_of_anything_needs_more():
    recipe = load_recipe("smoke")

    def need(target: int, side: int) -> int:
        plan = plan_balance(["a", "b"], [10, 5], target)
        return disk.generate_bytes(plan, (1, side, side), recipe, 4096)

    assert need(20, 8) < need(40, 8) < need(40, 128)
    assert disk.fit_bytes(10, 10, 1000, 0) < disk.fit_bytes(10, 10, 1000, 3)
    assert disk.evaluate_bytes(8, 100, 10) < disk.evaluate_bytes(16, 100, 10)


def test_row_87_both_numbers_are_told(tmp_path: Path):
    free = free_bytes(tmp_path)
    require_room(tmp_path / "not" / "yet", free // 2, "fit")
    with pytest.raises(ResourceError, match=r"fit may take \d+.* TB in .* are free") as caught:
        require_room(tmp_path / "run", 10**15, "fit")
    assert in_words(free_bytes(tmp_path)) in str(caught.value)
    assert disk.room_notice(tmp_path, DiskNeed(1, 1, 1)) is None
    assert "together" in (disk.room_notice(tmp_path, DiskNeed(1, 10**15, 1)) or "")


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1500, "1.5 kB"),
        (40_000_000, "40 MB"),
        (3e15, "3000 TB"),
    ],
)
def test_bytes_in_words(n: float, words: str):
    assert in_words(n) == words


def test_row_88_a_folder_nobody_may_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    require_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="is no folder"):
        require_writable(tmp_path / "file" / "run")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # permissions do not bind root
    with pytest.raises(ResourceError, match="read-only") as caught:
        require_writable(tmp_path / "run")
    assert str(tmp_path) in str(caught.value) and "--run" in caught.value.remedy
