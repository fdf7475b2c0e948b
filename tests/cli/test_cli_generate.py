"""`synthaug generate`: equal counts, and where every file comes from."""

import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthaug.diffusion.checkpoint import load_checkpoint, newest_checkpoint
from synthaug.diffusion.generation import generate_images
from synthaug.diffusion.partial import PartialStart
from synthaug.recipe import load_recipe
from synthaug.stages.device import resolve_device

TRAIN = [40, 31, 24, 19, 14, 11, 9, 7, 5, 4]


def balanced_counts(run: Path) -> list[int]:
    return [len(list((run / "balanced" / str(k)).iterdir())) for k in range(10)]


def files_of(run: Path) -> dict[str, str]:
    tops = [run / "synthetic", run / "balanced"]
    paths = [p for top in tops for p in sorted(top.rglob("*.png"))]
    return {
        p.relative_to(run).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths
    }


def test_the_manifest_has_a_line_for_every_file(smoke):
    lines = smoke.manifest()
    assert len({x["file"] for x in lines}) == len(lines)
    assert {x["file"] for x in lines} == set(files_of(smoke.path))


def test_every_synthetic_file_has_its_provenance(smoke):
    folder = newest_checkpoint(smoke.path / "base")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    made = [x for x in smoke.manifest() if x["source"] == "synthetic"]
    assert len(made) == 2 * 236
    for line in made:
        assert line["checkpoint"] == sha256
        assert line["denoiser"] == "base"
        assert line["class_name"] == line["file"].split("/")[1]
        assert (line["sampler"], line["steps"], line["cfg_scale"]) == ("ddim", 3, 1.0)
        # Of the steps 999, 666 and 332 only the last lies below the default strength of 0.6.
        large = TRAIN[int(line["class_name"])] >= 20
        assert (line["mode"], line["nfe"]) == (("sample", 3) if large else ("variation", 1))
        assert ("sources" in line) == ("strength" in line) == (not large)
        assert isinstance(line["seed"], int)
    seeds = [x["seed"] for x in made if x["file"].startswith("synthetic/")]
    assert len(set(seeds)) == len(seeds)


def test_every_real_file_names_its_original(smoke):
    real = [x for x in smoke.manifest() if x["source"] == "real"]
    assert len(real) == sum(TRAIN)
    for line in real:
        assert line["original"].startswith(f"train/{line['class_name']}/")
        with Image.open(smoke.path / line["file"]) as copy:
            with Image.open(smoke.dataset / line["original"]) as original:
                np.testing.assert_array_equal(np.asarray(copy), np.asarray(original))


def test_an_image_can_be_made_again_from_its_line(smoke):
    line = [x for x in smoke.manifest() if x["file"].startswith("synthetic/7/")][5]
    checkpoint = load_checkpoint(newest_checkpoint(smoke.path / "base"), resolve_device("cpu"))
    (source,) = line["sources"]
    with Image.open(smoke.dataset / source) as image:
        start = PartialStart(np.array(image)[None, None], line["strength"])
    (batch,) = generate_images(
        checkpoint.denoiser, np.array([7]), np.array([line["seed"]]), start=start,
        sampler=line["sampler"], steps=line["steps"], cfg_scale=line["cfg_scale"],
    )  # fmt: skip
    with Image.open(smoke.path / line["file"]) as image:
        difference = np.asarray(image).astype(int) - batch.images[0, 0]
    assert np.abs(difference).max() <= 1


def test_balance_makes_the_counts_equal(smoke):
    assert balanced_counts(smoke.path) == [40] * 10
    told = smoke.generate.json
    assert told == smoke.read("generate.json")
    assert told["counts"] == {str(k): 40 - n for k, n in enumerate(TRAIN)}
    assert told["images_per_second"] > 0
    assert told["shortfall"] == {}


def test_no_image_of_the_user_is_touched(smoke, hash_of):
    assert hash_of(smoke.dataset) == smoke.hash_before


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_balanced_folder_reads_back_with_datasets(smoke, tmp_path: Path):
    import datasets

    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(smoke.path / "balanced"), cache_dir=str(tmp_path)
    )
    assert set(loaded) == {"train"}
    label = loaded["train"].features["label"]
    assert isinstance(label, datasets.ClassLabel)
    assert label.names == [str(k) for k in range(10)]
    assert Counter(loaded["train"]["label"]) == dict.fromkeys(range(10), 40)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("minority", [*TRAIN[:9], 40]),
        ("not majority", [40] * 10),
        ("30", [max(n, 30) for n in TRAIN]),
        ("3=60,4=70", [60 if k == 3 else 70 if k == 4 else n for k, n in enumerate(TRAIN)]),
        ("0", TRAIN),
    ],
)
def test_strategies(cli, copied_run: Path, strategy: str, expected: list[int]):
    told = cli("generate", "--balance", strategy, "--run", copied_run, "--json").ok().json
    assert balanced_counts(copied_run) == expected
    assert [told["counts"][str(k)] for k in range(10)] == [
        e - n for e, n in zip(expected, TRAIN, strict=True)
    ]
    kept = [len(list((copied_run / "synthetic" / str(k)).glob("*"))) for k in range(10)]
    assert kept == [told["counts"][str(k)] for k in range(10)]
    # A bare --balance, or none, keeps to the plan that the last strategy left.
    for again in (["--balance"], []):
        cli("generate", *again, "--run", copied_run).ok()
        assert balanced_counts(copied_run) == expected


def test_nothing_to_draw_is_said(cli, copied_run: Path):
    told = cli("generate", "--balance", "0", "--run", copied_run).ok()
    assert "nothing was drawn" in told.out


def test_an_edited_plan_is_followed(cli, copied_run: Path):
    import json

    plan = json.loads((copied_run / "plan.json").read_text())
    for entry in plan["classes"]:
        entry["target"] = entry["train_images"] + (entry["name"] == "9")
        del entry["n_new"]
    (copied_run / "plan.json").write_text(json.dumps(plan))
    cli("generate", "--run", copied_run).ok()
    assert balanced_counts(copied_run) == [*TRAIN[:9], 5]


@pytest.mark.parametrize(("key", "value"), [("train_images", 39), ("target", 3), ("target", "x")])
def test_a_wrong_edit_of_the_plan_is_told_with_the_file(
    cli, copied_run: Path, key: str, value: object
):
    import json

    plan = json.loads((copied_run / "plan.json").read_text())
    plan["classes"][0][key] = value
    del plan["classes"][0]["n_new"]
    (copied_run / "plan.json").write_text(json.dumps(plan))
    refused = cli("generate", "--run", copied_run)
    assert refused.code == 3
    assert str(copied_run / "plan.json") in refused.fault


@pytest.mark.parametrize(
    ("sampler", "nfe"), [("ddpm", 8), ("ddim", 8), ("dpmpp_2m", 8), ("heun", 14)]
)
def test_samplers_and_guidance_are_recorded(
    cli, copied_run: Path, manifest_of, sampler: str, nfe: int
):
    before = files_of(copied_run)
    told = cli(
        "generate", "--balance", "3=25,9=8", "--sampler", sampler, "--steps", "4",
        "--cfg-scale", "2", "--mode", "sample", "--run", copied_run, "--json",
    ).ok().json  # fmt: skip
    assert (told["sampler"], told["steps"], told["nfe"], told["cfg_scale"]) == (
        sampler, 4, nfe, 2.0
    )  # fmt: skip
    made = [x for x in manifest_of(copied_run) if x["source"] == "synthetic"]
    assert len(made) == 2 * (6 + 4)
    for line in made:
        assert (line["sampler"], line["nfe"], line["cfg_scale"]) == (sampler, nfe, 2.0)
        assert "eta" not in line
    changed = files_of(copied_run)
    assert changed["synthetic/9/000000.png"] != before["synthetic/9/000000.png"]
    assert changed["balanced/0/real-000000.png"] == before["balanced/0/real-000000.png"]


def test_eta_is_taken_from_the_recipe_recorded_and_refused_by_other_samplers(
    cli, copied_run: Path, manifest_of
):
    cli("generate", "--mode", "sample", "--run", copied_run).ok()
    before = files_of(copied_run)
    recipe = (copied_run / "recipe.yaml").read_text()
    assert "eta: 0.0" in recipe
    (copied_run / "recipe.yaml").write_text(recipe.replace("eta: 0.0", "eta: 0.75"))
    # With three steps, a variation is one step from its end, where DDIM draws no noise.
    told = cli("generate", "--mode", "sample", "--run", copied_run, "--json").ok().json
    assert told["eta"] == 0.75
    assert {x.get("eta") for x in manifest_of(copied_run) if x["source"] == "synthetic"} == {0.75}
    changed = files_of(copied_run)
    assert changed["synthetic/9/000000.png"] != before["synthetic/9/000000.png"]
    refused = cli("generate", "--run", copied_run, "--sampler", "heun")
    assert refused.code == 2 and "eta 0.75 with the sampler heun" in refused.fault


def test_row_96_the_same_seed_gives_the_same_bytes(cli, smoke, copied_run: Path):
    import shutil

    before = files_of(smoke.path)
    manifest = (smoke.path / "synthaug_manifest.jsonl").read_bytes()
    for name in ("candidates", "synthetic", "balanced"):
        shutil.rmtree(copied_run / name)
    (copied_run / "synthaug_manifest.jsonl").unlink()
    cli("generate", "--balance", "--run", copied_run).ok()
    assert files_of(copied_run) == before
    assert (copied_run / "synthaug_manifest.jsonl").read_bytes() == manifest


def test_row_97_another_batch_size_gives_the_same_seeds_names_and_nearly_the_same_pixels(
    cli, copied_run: Path, manifest_of
):
    def drawn(batch_size: int) -> dict[str, tuple[int, np.ndarray]]:
        values = {"sampling.batch_size": batch_size, "selection.enabled": False}
        recipe = load_recipe(str(copied_run / "recipe.yaml"), values=values)
        (copied_run / "recipe.yaml").write_text(recipe.to_yaml())
        cli("generate", "--balance", "20", "--run", copied_run).ok()
        made = [x for x in manifest_of(copied_run) if x["source"] == "synthetic"]
        return {
            x["file"]: (x["seed"], np.asarray(Image.open(copied_run / x["file"]), np.int64))
            for x in made
        }

    one, other = drawn(128), drawn(3)
    assert one and {f: seed for f, (seed, _) in one.items()} == {
        f: seed for f, (seed, _) in other.items()
    }
    assert all(abs(one[f][1] - other[f][1]).max() <= 1 for f in one)


def test_finished_classes_are_not_drawn_again_and_damaged_ones_are(cli, copied_run: Path):
    before = files_of(copied_run)
    nine, eight = (copied_run / "candidates" / f"{k}.npz" for k in (9, 8))
    stamp = nine.stat().st_mtime_ns
    eight.write_bytes(eight.read_bytes()[:100])
    cli("generate", "--balance", "--run", copied_run).ok()
    assert nine.stat().st_mtime_ns == stamp
    assert eight.stat().st_size > 100
    assert files_of(copied_run) == before


def test_the_end_tells_rate_folder_and_next_step(cli, copied_run: Path):
    told = cli("generate", "--balance", "--run", copied_run).ok()
    text = " ".join(told.out.split())
    assert re.search(r"236 synthetic images with ddim, 3 steps, guidance 1: \d+ sampling", text)
    assert "balanced folder to train on:" in text
    assert "next: synthaug evaluate" in told.err


def test_the_newest_run_is_taken(cli, smoke, in_tmp: Path):
    import os
    import shutil

    for age, name in enumerate(("new", "old")):
        run = shutil.copytree(smoke.path, Path("runs") / name)
        os.utime(run / "recipe.yaml", ns=(0, 10**18 - age))
    told = cli("generate", "--balance", "0", "--json").ok().json
    assert told["run"] == "runs/new"


def test_a_file_of_the_user_among_the_results_is_not_deleted(cli, copied_run: Path):
    mine = copied_run / "balanced" / "3" / "mine.png"
    mine.write_bytes(b"precious")
    refused = cli("generate", "--balance", "--run", copied_run)
    assert refused.code == 3
    assert "mine.png" in refused.fault
    assert mine.read_bytes() == b"precious"
