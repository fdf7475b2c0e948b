"""Bad input: one line with what was found and what to do, and an exit code for its kind."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOLD = (
    "import sys\nfrom pathlib import Path\nfrom synthaug.stages.run_dir import RunDir\n"
    "with RunDir(Path(sys.argv[1])).locked():\n    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


def fit(cli, dataset: Path, *more: object):
    return cli("fit", "--dataset", dataset, "--recipe", "smoke", *more)


def bad_folder(kind: str, root: Path, write_folder) -> Path:
    if kind == "missing":
        return root / "nowhere"
    if kind == "a file":
        (root / "images").write_text("x")
        return root / "images"
    if kind == "a class with one image":
        return write_folder({"many": 6, "single": 1})
    folder = root / "images"
    folder.mkdir()
    if kind == "no class folders":
        source = write_folder({"a": 3}, root="other")
        for path in (source / "a").iterdir():
            shutil.copy(path, folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("missing", "check the path"),
        ("a file", ".tar.gz"),
        ("empty", "check the path"),
        ("no class folders", "subfolder"),
        ("a class with one image", "add images"),
    ],
)
def test_a_folder_that_cannot_be_used(cli, in_tmp: Path, write_folder, kind: str, remedy: str):
    folder = bad_folder(kind, in_tmp, write_folder)
    refused = fit(cli, folder, "--run", "run")
    assert refused.code == 3
    assert remedy in refused.fault
    assert str(folder) in refused.fault
    assert refused.out == ""
    assert not Path("run").exists()


def test_a_class_with_one_image_is_named(cli, in_tmp: Path, write_folder):
    refused = fit(cli, write_folder({"many": 6, "single": 1}))
    assert "'single'" in refused.fault


def test_the_fault_goes_to_stderr_with_json_too(cli, in_tmp: Path):
    refused = fit(cli, in_tmp / "nowhere", "--json")
    assert refused.code == 3
    assert refused.json["error"]["found"] in refused.fault


@pytest.mark.parametrize("verb", ["generate", "evaluate"])
@pytest.mark.parametrize("named", [True, False])
def test_a_verb_before_fit(cli, in_tmp: Path, verb: str, named: bool):
    Path("folder").mkdir()
    refused = cli(verb, *(["--run", "folder"] if named else []))
    assert refused.code == 2
    assert "synthaug fit --dataset" in refused.fault
    assert ("folder" if named else "runs/") in refused.fault


def test_evaluate_before_generate(cli, copied_run: Path):
    (copied_run / "synthaug_manifest.jsonl").unlink()
    refused = cli("evaluate", "--run", copied_run)
    assert refused.code == 2
    assert str(copied_run) in refused.fault
    assert "synthaug generate --balance" in refused.fault


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "diffusion.bach_size=3"], ["diffusion.bach_size", "'batch_size'"]),
        (["--set", "nonsense"], ["nonsense", "section.key=value"]),
        (["--recipe", "smok"], ["'smok'", "'smoke'"]),
        (["--recipe", "absent.yaml"], ["absent.yaml"]),
        (["--device", "cuda:0"], ["'cuda:0'", "--device cpu"]),
        (["--device", "banana"], ["'banana'", "cuda:0"]),
        (["--from-scratch"], ["--per-class"]),
        (["--image-size", "9"], ["image size 9", "8 or 10"]),
        (["--image-size", "4"], ["image_size"]),
        (["--time-limit", "soon"], ["'soon'", "10m"]),
        (["--set", "sampling.steps=2000"], ["sampling.steps 2000", "diffusion.T 1000"]),
        (["--set", "balance.strategy=al"], ["'al'", "auto"]),
    ],
)
def test_a_fit_that_asks_for_what_does_not_exist(
    cli, digits: Path, in_tmp: Path, options: list[str], words: list[str]
):
    import torch

    if "cuda:0" in options and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    refused = fit(cli, digits, "--run", "run", *options)
    assert refused.code == 2
    assert [w for w in words if w not in refused.fault] == []
    assert not Path("run").exists()


def test_a_run_folder_that_is_not_empty_is_refused_before_anything_is_planned(
    cli, digits: Path, in_tmp: Path
):
    Path("run").mkdir()
    Path("run/mine.txt").write_text("x")
    refused = fit(cli, digits, "--run", "run")
    assert refused.code == 2
    assert "run folder run" in refused.fault and "--run" in refused.fault
    assert [p.name for p in Path("run").iterdir()] == ["mine.txt"]
    assert refused.out == "", "planned and measured first, refused afterwards"


def test_a_run_inside_the_dataset_is_refused(cli, in_tmp: Path, write_folder, hash_of):
    folder = write_folder({"a": 4, "b": 4})
    before = hash_of(folder)
    refused = fit(cli, folder, "--run", folder / "run")
    assert refused.code == 2 and str(folder) in refused.fault
    assert hash_of(folder) == before


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--balance", "minorty"], 2, ["'minorty'", "'minority'"]),
        (["--balance", "10=50"], 2, ["'10'", "one of 0"]),
        (["--balance", "3=x"], 2, ["3=x"]),
        (["--balance", "3=2"], 3, ["'3'", "19", "target 2"]),
        (["--sampler", "euler"], 2, ["'euler'", "ddim"]),
        (["--steps", "0"], 2, ["0 sampling steps"]),
        (["--steps", "1001"], 2, ["1001 sampling steps", "1 to 1000"]),
        (["--device", "cuda:9"], 2, ["'cuda:9'"]),
    ],
)
def test_a_generate_that_asks_for_what_does_not_exist(
    cli, copied_run: Path, hash_of, options: list[str], code: int, words: list[str]
):
    before = hash_of(copied_run)
    refused = cli("generate", "--run", copied_run, *options)
    assert refused.code == code
    assert [w for w in words if w not in refused.fault] == []
    assert (copied_run / ".lock").exists()
    assert hash_of(copied_run) == before


def test_a_refused_sampler_leaves_the_plan_as_it_was(cli, copied_run: Path):
    before = (copied_run / "plan.json").read_bytes()
    refused = cli("generate", "--run", copied_run, "--balance", "50", "--sampler", "euler")
    assert refused.code == 2
    assert (copied_run / "plan.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--arms", "real,imaginary"], ["'imaginary'", "synthaug,", "DATA/LOSS", "la"]),
        (["--arms", "real/mse"], ["'real/mse'"]),
        (["--arms", "real,"], ["''"]),
        (["--arms", "oracle"], ["--oracle"]),
    ],
)
def test_an_evaluate_that_asks_for_what_does_not_exist(
    cli, smoke, options: list[str], words: list[str]
):
    refused = cli("evaluate", "--run", smoke.path, *options)
    assert refused.code == 2
    assert [w for w in words if w not in refused.fault] == []


def test_an_oracle_folder_with_an_unknown_class(cli, smoke, in_tmp: Path, write_folder):
    extra = write_folder({"3": 2, "eleven": 2}, root="extra")
    refused = cli("evaluate", "--run", smoke.path, "--oracle", extra)
    assert refused.code == 3
    assert str(extra) in refused.fault and "'eleven'" in refused.fault


def test_an_oracle_folder_that_is_not_there(cli, smoke, in_tmp: Path):
    refused = cli("evaluate", "--run", smoke.path, "--oracle", in_tmp / "nowhere")
    assert refused.code == 3 and "nowhere" in refused.fault


@pytest.mark.parametrize("verb", ["generate", "evaluate"])
def test_a_run_folder_in_use(cli, copied_run: Path, verb: str):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(copied_run)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        refused = cli(verb, "--run", copied_run)
        assert refused.code == 6
        assert str(copied_run) in refused.fault and "--run" in refused.fault
    finally:
        holder.communicate("")
    cli(verb, "--run", copied_run).ok()


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "--dataset", "x", "--frobnicate"],
        ["fit"],
        ["generate", "--cfg-scale", "much"],
        ["generate", "--cfg-scale", "-1"],
        ["evaluate", "--seeds", "0"],
        ["paint"],
    ],
    ids=" ".join,
)
def test_an_unknown_option_is_one_line_too(cli, in_tmp: Path, words: list[str]):
    done = subprocess.run(
        [str(Path(sys.executable).parent / "synthaug"), *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert [line[:6] for line in done.stderr.splitlines()].count("error:") == 1


def test_a_damaged_checkpoint_is_named(cli, copied_run: Path):
    (weights,) = (copied_run / "base").rglob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    refused = cli("generate", "--run", copied_run)
    assert refused.code == 3
    assert str(weights) in refused.fault


def test_a_full_disk_is_told_as_such(cli, digits: Path, in_tmp: Path, monkeypatch):
    import numpy as np

    def full(path: Path, *args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(np, "save", full)
    refused = fit(cli, digits, "--run", "run")
    assert refused.code == 4
    assert "pixels.npy" in refused.fault and "No space left" in refused.fault


def test_debug_shows_where_it_happened(cli, in_tmp: Path):
    from synthaug.errors import DataError

    with pytest.raises(DataError):
        fit(cli, in_tmp / "nowhere", "--debug")


def test_a_broken_image_is_skipped_counted_and_named(cli, in_tmp: Path, write_folder):
    folder = write_folder({"a": 9, "b": 5})
    (folder / "b" / "torn.png").write_bytes((folder / "b" / "00.png").read_bytes()[:40])
    told = fit(cli, folder, "--run", "run").ok()
    said = " ".join(told.err.split())
    assert "1 broken image skipped: b/torn.png (" in said
    results = fit(cli, folder, "--dry-run", "--json").ok().json
    assert any("b/torn.png" in notice for notice in results["plan"]["notices"])
    assert "b/torn.png" in Path("run/fit.json").read_text()
