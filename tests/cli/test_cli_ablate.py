"""`synthaug ablate`: variants trained alike, measured alike, and told in one table."""

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

SMALL = (
    "diffusion.steps=4", "diffusion.batch_size=8", "diffusion.channels=[16, 32]",
    "sampling.steps=2", "evaluation.steps=4", "evaluation.batch_size=16", "evaluation.seeds=2",
    "evaluation.likelihood_images=2", "evaluation.likelihood_timesteps=4",
)  # fmt: skip
VARIANTS = (
    "ablation.variants={small: {diffusion.schedule: linear, diffusion.beta_end: 0.005}, "
    "given: {diffusion.schedule: [0.1, 0.2, 0.1, 0.3, 0.2, 0.4, 0.5, 0.2, 0.3, 0.1]}}"
)


@pytest.fixture
def one_by_one(serial, monkeypatch):
    """As `serial` does for `evaluate`: no processes beside this one."""
    from synthaug.stages import ablate, evaluate

    monkeypatch.setattr(ablate, "train_all", evaluate.train_all)


def sets(*overrides: str) -> list[str]:
    return [word for override in (*SMALL, *overrides) for word in ("--set", override)]


@pytest.mark.slow
def test_the_shipped_ablation_in_small(cli, digits: Path, in_tmp: Path, one_by_one, hash_of):
    before = hash_of(digits)
    told = cli(
        "ablate", "--recipe", "beta-ablation", "--dataset", digits, "--out", "abl",
        *sets(VARIANTS), "--json",
    ).ok()  # fmt: skip
    result = told.json
    assert [v["name"] for v in result["variants"]] == ["small", "given"]
    small, given = result["variants"]
    assert (small["T"], given["T"]) == (1000, 10)
    bar = float(torch.tensor([0.9, 0.8, 0.9, 0.7, 0.8, 0.6, 0.5, 0.8, 0.7, 0.9]).prod())
    assert given["terminal_snr"] == pytest.approx(bar / (1 - bar), rel=1e-5)
    assert small["prior"] > 0.005  # a tenth of the signal is still there at T
    for variant in result["variants"]:
        assert variant["n_test_images"] == 20
        assert variant["bound"]["low"] < variant["bound"]["mean"] < variant["bound"]["high"]
        assert variant["bound"]["mean"] > variant["prior"] + variant["decoder"]
        assert len(variant["accuracy"]["values"]) == 2
        run = Path(variant["run"])
        fitted = json.loads((run / "fit.json").read_text())
        assert fitted["steps"] == 4
        made = json.loads((run / "generate.json").read_text())
        assert list(made["counts"].values()) == [
            len(list((digits / "train" / k).iterdir())) for k in made["counts"]
        ]
    assert result["n_synthetic"] == sum(made["counts"].values()) == 164
    assert len(result["real_accuracy"]["values"]) == 2
    stored = json.loads(Path("abl/ablation.json").read_text())
    assert {k: v for k, v in result.items() if k not in ("folder", "figure")} == stored
    with Image.open("abl/ablation.png") as picture:
        assert picture.width > 1000
    assert Path("abl/ablation.yaml").is_file()
    assert hash_of(digits) == before
    again = cli("ablate", "--out", "abl", *sets(VARIANTS))
    assert again.code == 2 and "is not empty" in again.fault
    resumes_to_the_same(cli, result)


def resumes_to_the_same(cli, result) -> None:
    """As if killed while the second variant was measured: the first is left, the second equal."""
    fits = [Path("abl/variants", name, "fit.json") for name in ("small", "given")]
    stamps = [path.stat().st_mtime_ns for path in fits]
    Path("abl/ablation.json").unlink()
    Path("abl/variants/given/measured.json").unlink()
    dataset = ("--dataset", result["dataset"])
    resumed = cli("ablate", "--resume", "--out", "abl", *dataset, "--json").ok().json
    assert [path.stat().st_mtime_ns for path in fits] == stamps
    for told in (result, resumed):
        told["variants"][1].pop("seconds")
        told.pop("created")
    assert resumed == result
    other = ("ablate", "--resume", "--out", "abl", *dataset, "--recipe", "beta-ablation")
    refused = cli(*other)
    assert refused.code == 2 and "diffusion.steps: 4 -> " in refused.fault
    nothing = cli("ablate", "--resume", "--out", "elsewhere", "--recipe", "beta-ablation")
    assert nothing.code == 2 and "nothing to resume" in nothing.fault


def test_balanced_digits_by_default_and_a_table(cli, in_tmp: Path, one_by_one):
    variants = "ablation.variants={cosine: {}}"
    told = cli("ablate", *sets(variants, "evaluation.seeds=1", "diffusion.T=20")).ok()
    (home,) = Path("runs").iterdir()
    assert len(list((home / "digits" / "train" / "9").iterdir())) == 100
    for words in ("Large or small beta?", "cosine", "real train images", "Best bound: cosine"):
        assert words in told.out
    # Its runs are parts of it: a later `generate` must not take one for the newest run.
    assert cli("generate").code == 2


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("ablation.variants={}",), "compares nothing"),
        (("ablation.variants={a: {diffusion.bach_size: 3}}",), "variant 'a'.*did you mean"),
        (("ablation.variants={a: {seed.x: 3}}",), "unknown key|not a section|seed"),
        (("ablation.variants={a: {diffusion.schedule: [2.0]}}",), "variant 'a'.*less than 1"),
        (("ablation.varants={}",), "did you mean 'variants'"),
    ],
)
def test_faults_are_told_before_anything_is_written(cli, in_tmp: Path, overrides, words):
    refused = cli("ablate", *sets(*overrides))
    assert refused.code == 2
    assert re.search(words, refused.fault)
    assert not list(Path(".").iterdir())
