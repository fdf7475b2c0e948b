"""Every example and every benchmark printer is run on a real run folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent


def run(*command: object) -> str:
    words = [sys.executable, *(str(word) for word in command)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here():
    names = {path.name for path in (ROOT / "examples").rglob("*.py")}
    assert names == {
        "draw_with_diffusers.py",
        "pipeline_on_balanced.py",
        "sampler_in_a_pipeline.py",
        "train_on_balanced.py",
    }


def test_train_on_balanced(smoke, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))  # not into the home of whoever runs this
    lines = run(ROOT / "examples/train_on_balanced.py", smoke.path).splitlines()
    counts = [re.fullmatch(r"(\d): (\d+) images, (\d+) synthetic, test recall [01]\.\d+", line)
              for line in lines]  # fmt: skip
    assert all(counts) and len(counts) == 10
    made = smoke.read("generate.json")["counts"]
    assert {m[1]: int(m[3]) for m in counts if m} == made
    assert {int(m[2]) for m in counts if m} == {40}  # balanced


def test_pipeline_on_balanced(smoke):
    printed = run(ROOT / "examples/pipeline_on_balanced.py", smoke.path)
    assert re.fullmatch(r"best C (0\.1|1\.0), balanced accuracy [01]\.\d{3}\n", printed)


@pytest.mark.slow
def test_sampler_in_a_pipeline():
    printed = run(ROOT / "examples/sampler_in_a_pipeline.py", "smoke", 2)
    assert re.findall(r"^(.+): balanced accuracy [01]\.\d{3}$", printed, re.MULTILINE) == [
        "as they are", "with SynthAugSampler",
    ]  # fmt: skip


def test_draw_with_diffusers(smoke, tmp_path):
    (checkpoint,) = (smoke.path / "base").glob("ckpt-*")
    out = tmp_path / "strip.png"
    run(ROOT / "examples/draw_with_diffusers.py", checkpoint, 3, out)
    with Image.open(out) as strip:
        assert strip.size == (8 * 8, 8)


def test_benchmark_table(smoke):
    printed = run(ROOT / "benchmarks/table.py", smoke.path)
    results = smoke.read("results.json")
    for arm in results["arms"]:
        assert f"{arm['metrics']['balanced_accuracy']['mean']:.3f}" in printed
    assert results["verdict"]["sentence"] in printed
    assert results["created"][:10] in printed


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_documents_name_only_files_that_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for mentioned in set(re.findall(r"`((?:docs|examples|recipes|benchmarks)/[\w./-]*)`", text)):
        assert (ROOT / mentioned).exists(), mentioned
