"""Folders as people have them go through all three verbs."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from synthaug.data.names import folder_names


def all_verbs(cli, folder: Path, *options: str) -> Path:
    run = Path("run")
    cli("fit", "--dataset", folder, "--recipe", "smoke", "--run", run, *options).ok()
    cli("generate", "--balance", "--run", run).ok()
    cli("evaluate", "--run", run, "--seeds", "1").ok()
    return run


@pytest.mark.parametrize("options", [[], ["--per-class"]], ids=["joint", "per class"])
def test_a_folder_of_mixed_sizes_formats_and_names(
    cli, in_tmp: Path, mixed_folder: Path, serial: None, hash_of, manifest_of, options: list[str]
):
    before = hash_of(mixed_folder)
    run = all_verbs(cli, mixed_folder, *options)
    assert hash_of(mixed_folder) == before
    folders = [p for p in (run / "balanced").iterdir() if p.is_dir()]
    counts = {p.name: len(list(p.iterdir())) for p in folders}
    assert set(counts) == {"big dog", "cat", "owl"}
    assert len(set(counts.values())) == 1
    size = json.loads((run / "dataset.json").read_text())["image_size"]
    for path in (run / "balanced").rglob("*.png"):
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("RGB", (size, size))
    lines = manifest_of(run)
    assert Counter(x["class_name"] for x in lines if x["source"] == "real")["owl"] == 2
    results = json.loads((run / "results.json").read_text())
    assert results["dataset"]["class_names"] == ["big dog", "cat", "owl"]
    fitted = json.loads((run / "fit.json").read_text())
    if options:
        told = {s["class_name"]: s for s in fitted["specialists"]}
        assert told["owl"]["kept"] is False and "too few" in told["owl"]["reason"]
    else:
        assert fitted["specialists"] == []


NAMES = ["<b>x", "[red]y", "test", "a & b:smile:", "naïve"]


def test_class_names_are_shown_as_they_are(cli, in_tmp: Path, write_folder, serial: None):
    folder = write_folder({name: 8 - k for k, name in enumerate(NAMES)})
    run = Path("run")
    told = cli("fit", "--dataset", folder, "--recipe", "smoke", "--run", run).ok()
    for name in NAMES:
        assert name in told.out
    cli("generate", "--balance", "--run", run).ok()
    told = cli("evaluate", "--run", run, "--seeds", "1").ok()
    for name in NAMES:
        assert name in told.out
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<b>x" not in page and "&lt;b&gt;x" in page
    assert "a &amp; b:smile:" in page
    found = {p.name for p in (run / "balanced").iterdir() if p.is_dir()}
    assert found == set(folder_names(sorted(NAMES)).values())


def test_a_path_in_an_error_is_shown_as_it_is(cli, in_tmp: Path):
    for name in ("[red]", ":smile:", "a" * 150):
        assert name in cli("fit", "--dataset", in_tmp / name).fault


def test_a_test_class_without_images_is_said(cli, in_tmp: Path, write_folder, serial: None):
    source = write_folder({"a": 9, "b": 7, "c": 5}, root="source")
    for split, classes in {"train": "abc", "test": "ab"}.items():
        for name in classes:
            (in_tmp / "images" / split / name).mkdir(parents=True)
            for i, path in enumerate(sorted((source / name).iterdir())):
                if (i < 3) == (split == "test") or name == "c":
                    shutil.copy(path, in_tmp / "images" / split / name)
    run = all_verbs(cli, in_tmp / "images")
    results = json.loads((run / "results.json").read_text())
    assert any("no test images of c" in notice for notice in results["notices"])
    assert results["arms"][0]["recall"][2] is None
    assert results["arms"][0]["recall"][0] is not None


def test_balanced_classes_need_nothing(cli, in_tmp: Path, write_folder, serial: None):
    folder = write_folder({"a": 6, "b": 6})
    told = cli("fit", "--dataset", folder, "--recipe", "smoke", "--run", "run").ok()
    assert "balanced already" in " ".join(told.err.split())
    assert "nothing was drawn" in cli("generate", "--balance", "--run", "run").ok().out
    cli("evaluate", "--run", "run", "--seeds", "1").ok()


def test_originals_may_move_after_the_fit(cli, in_tmp: Path, write_folder, serial: None):
    folder = write_folder({"a": 9, "b": 5})
    cli("fit", "--dataset", folder, "--recipe", "smoke", "--run", "run").ok()
    folder.rename(in_tmp / "elsewhere")
    cli("generate", "--balance", "--run", "run").ok()
    cli("evaluate", "--run", "run", "--seeds", "1").ok()


def test_a_run_may_move_too(cli, copied_run: Path, tmp_path: Path):
    moved = copied_run.rename(tmp_path / "moved here")
    told = cli("generate", "--balance", "--run", moved, "--json").ok().json
    assert told["balanced"] == str(moved / "balanced")
    told = cli("evaluate", "--run", moved, "--json").ok().json
    assert Path(told["report"]) == moved / "report.html"
