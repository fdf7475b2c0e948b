"""`synthaug inspect`: what a careful person sees before anything is trained."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def speckle(seed: int, size=(16, 16), channels: int = 1) -> np.ndarray:
    shape = size if channels == 1 else (*size, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def of_kind(result: dict, kind: str) -> list[dict]:
    return [finding for finding in result["findings"] if finding["kind"] == kind]


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """Two sound classes, and about every fault that a folder can have without being refused."""
    root = tmp_path / "faulty"
    for i in range(40):
        save(root / "sound" / f"{i:02}.png", speckle(i))
    for i in range(12):
        save(root / "rare" / f"{i:02}.png", speckle(100 + i))
    odd = root / "odd"
    for i in range(4):
        save(odd / f"{i}.png", speckle(200 + i))
    (odd / "empty.jpg").write_bytes(b"")
    (odd / "text.jpg").write_text("not an image")
    buffer = io.BytesIO()
    Image.fromarray(speckle(300, (64, 64))).save(buffer, "JPEG")
    (odd / "cut.jpg").write_bytes(buffer.getvalue()[:-200])
    save(odd / "black.png", np.zeros((16, 16), np.uint8))
    save(odd / "strip.png", speckle(301, (8, 80)))
    save(odd / "tiny.png", speckle(302, (2, 2)))
    save(odd / "colour.png", speckle(303, channels=3))
    Image.fromarray(speckle(304, (16, 16)).astype(np.uint16) * 16).save(odd / "deep.png")
    shutil.copy(root / "sound" / "00.png", root / "sound" / "copy.png")
    shutil.copy(root / "sound" / "01.png", root / "rare" / "same.png")
    near = speckle(2).astype(int)
    near[0, 0] = (near[0, 0] + 40) % 256
    save(root / "sound" / "near.png", near.astype(np.uint8))
    (root / "notes.txt").write_text("x")
    (root / "odd" / "Thumbs.db").write_bytes(b"x")
    return root


def test_a_sound_dataset_is_told_in_full(cli, digits, hash_of):
    before = hash_of(digits)
    outcome = cli("inspect", "--dataset", digits).ok()
    assert hash_of(digits) == before
    text = outcome.out
    assert "10 classes" in text and "split declared: train, test" in text
    assert "8x8" in text and "grey" in text and "Imbalance ratio 10" in text
    lines = {line.split()[0]: line for line in text.splitlines() if line[:1].isdigit()}
    assert lines["0"].count("█") > lines["9"].count("█")
    assert "few" in lines["9"] and "36 by variation" in lines["9"]
    assert "next: synthaug fit --dataset" in outcome.err


def test_json_is_the_same_and_nothing_else(cli, digits):
    result = cli("inspect", "--dataset", digits, "--json").ok().json
    counts = [entry["train"] for entry in result["classes"]]
    assert counts[0] == 40 and counts[-1] == 4 and result["imbalance_ratio"] == 10
    for entry in result["classes"]:
        # Six discordant images on one side are what a sign test needs: 2 * 0.5**6 < 0.05.
        assert entry["smallest_difference"] == pytest.approx(6 / entry["test"], abs=1e-4)
    assert result["classes"][9]["mode"] == "variation"
    assert result["classes"][0]["mode"] == "sample"
    assert result["refused"] == [] and result["broken"] == []


def test_every_fault_is_found_named_and_left_alone(cli, faulty, hash_of):
    before = hash_of(faulty)
    result = cli("inspect", "--dataset", faulty, "--json").ok().json
    assert hash_of(faulty) == before
    broken = {entry["path"]: entry["reason"] for entry in result["broken"]}
    assert set(broken) == {"odd/empty.jpg", "odd/text.jpg", "odd/cut.jpg", "odd/tiny.png"}
    assert "empty" in broken["odd/empty.jpg"] and "2" in broken["odd/tiny.png"]
    (broken_finding,) = of_kind(result, "broken")
    assert broken_finding["count"] == 4 and broken_finding["severity"] == "warning"
    (torn,) = of_kind(result, "two_labels")
    assert torn["examples"] == ["rare/same.png = sound/01.png"]
    (same,) = of_kind(result, "duplicates")
    assert same["examples"] == ["sound/00.png = sound/copy.png"]
    (near,) = of_kind(result, "near_duplicates")
    assert near["examples"] == ["sound/02.png = sound/near.png"]
    odd = {example for f in of_kind(result, "odd") for example in f["examples"]}
    assert {"odd/black.png", "odd/strip.png"} <= odd
    passed = {f["text"] for f in of_kind(result, "passed_over")}
    assert any("not an image" in text for text in passed)
    assert of_kind(result, "shapes") and of_kind(result, "treated")
    for finding in result["findings"]:
        assert "\n" not in finding["text"] + finding["remedy"]
        assert finding["remedy"] or finding["severity"] == "note", finding


def test_the_gravest_comes_first_and_says_what_to_do(cli, faulty):
    text = cli("inspect", "--dataset", faulty).ok().out
    findings = text[text.index("!") :]
    assert findings.index("!") < findings.index("·")
    assert "odd/empty.jpg" in text and "to do:" in text
    assert "Traceback" not in text


def test_dark_deep_images_are_told_with_the_range_to_declare(cli, tmp_path):
    for name in ("a", "b"):
        for i in range(5):
            levels = np.random.default_rng(i + 9 * ord(name)).integers(0, 4096, (16, 16))
            path = tmp_path / "scans" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(levels.astype(np.uint16)).save(path)
    result = cli("inspect", "--dataset", tmp_path / "scans", "--json").ok().json
    (dark,) = of_kind(result, "dark")
    assert "--value-range 0:4095" in dark["remedy"]
    outcome = cli("inspect", "--dataset", tmp_path / "scans", "--value-range", "0:4095", "--json")
    assert not of_kind(outcome.ok().json, "dark")


@pytest.mark.parametrize("as_json", [False, True])
def test_refused_training_is_exit_3_after_the_whole_report(cli, write_folder, as_json):
    root = write_folder({"many": 9, "single": 1})
    outcome = cli("inspect", "--dataset", root, *(["--json"] if as_json else []))
    assert outcome.code == 3
    assert "'single'" in outcome.fault
    if as_json:
        assert "'single'" in outcome.json["refused"][0]
        assert [entry["images"] for entry in outcome.json["classes"]] == [9, 1]
    else:
        assert "single" in outcome.out and "many" in outcome.out
    fitted = cli("fit", "--dataset", root, "--recipe", "smoke")
    assert fitted.code == 3 and "'single'" in fitted.fault


def test_a_folder_that_does_not_exist_is_one_line(cli, tmp_path):
    outcome = cli("inspect", "--dataset", tmp_path / "nowhere", "--json")
    assert outcome.code == 3 and "does not exist" in outcome.fault
    assert "does not exist" in outcome.json["error"]["found"]


def test_small_test_classes_are_told_with_the_folds_that_help(cli, write_folder):
    root = write_folder({"many": 40, "owl": 7})
    result = cli("inspect", "--dataset", root, "--json").ok().json
    (mute,) = of_kind(result, "too_few_tested")
    assert "owl" in mute["text"] and "--folds" in mute["remedy"]
    folds = mute["remedy"].split()[1]
    inside = cli("inspect", "--dataset", root, "--folds", folds, "--json").ok().json
    assert inside["split"] == f"in {folds} folds"


def test_row_39_synthetic_images_fed_back_are_refused(cli, smoke, tmp_path, monkeypatch):
    outcome = cli("inspect", "--dataset", smoke.path / "balanced", "--json")
    assert outcome.code == 3 and "made by synthaug" in outcome.fault
    fitted = cli("fit", "--dataset", smoke.path / "balanced", "--recipe", "smoke", "--run",
                 tmp_path / "again")  # fmt: skip
    assert fitted.code == 3 and "made by synthaug" in fitted.fault
    assert not (tmp_path / "again").exists()
    # A copy elsewhere is recognised while the run that made it lies under runs/.
    shutil.copytree(smoke.path / "balanced", tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    assert cli("inspect", "--dataset", "copy").code == 0
    (tmp_path / "runs" / "one").mkdir(parents=True)
    shutil.copy(smoke.path / "synthaug_manifest.jsonl", tmp_path / "runs" / "one")
    assert cli("inspect", "--dataset", "copy").code == 3


def test_excluded_classes_are_gone(cli, write_folder):
    root = write_folder({"many": 9, "single": 1, "other": 8})
    assert cli("inspect", "--dataset", root).code == 3
    result = cli("inspect", "--dataset", root, "--set", "data.exclude=[single]", "--json").ok().json
    assert [entry["name"] for entry in result["classes"]] == ["many", "other"]
    wrong = cli("inspect", "--dataset", root, "--set", "data.exclude=[sinlge]")
    assert wrong.code == 2 and "sinlge" in wrong.fault


def test_nothing_is_written_and_no_network_library_is_loaded(cli, digits, in_tmp, synthaug):
    import subprocess
    import sys

    code = (
        "import sys; from synthaug.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(sorted({'torch', 'datasets'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "inspect", "--dataset", str(digits), "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    json.loads(done.stdout)
    assert done.stderr.splitlines()[-1] == "[]"
    assert list(in_tmp.iterdir()) == []
