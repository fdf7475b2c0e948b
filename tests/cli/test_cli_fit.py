"""`synthaug fit`: the plan before, the facts after."""

import json
import re
from pathlib import Path

import pytest

from synthaug.diffusion.checkpoint import load_checkpoint, newest_checkpoint
from synthaug.recipe import load_recipe
from synthaug.stages.device import resolve_device


@pytest.fixture(scope="module")
def dry(cli, digits: Path, tmp_path_factory: pytest.TempPathFactory):
    run = tmp_path_factory.mktemp("dry") / "run"
    told = cli("fit", "--dataset", digits, "--recipe", "smoke", "--dry-run", "--run", run).ok()
    assert not run.exists()
    return told


def test_a_dry_run_tells_the_plan(dry):
    text = " ".join(dry.out.split())
    assert re.search(r"digits: 164 train, 0 validation and 1633 test images in 10 classes", text)
    assert "8×8 grey" in text
    assert "imbalance ratio 10" in text
    assert "236 images to synthesise" in text
    assert re.search(
        r"network: UNet, 0\.\d+ M parameters, \d+ MFLOP an image, channels \[16, 32\]; device cpu",
        text,
    )
    assert re.search(r"training: 6 steps for the joint model, at \d+ images/s", text)
    expected = r"expected time: fit \d+ s, generate \d+ s, evaluate \d+ s"
    assert re.search(expected, text)
    assert "nothing was trained or written" in dry.err


def test_a_dry_run_tells_every_class_its_group_and_why(dry):
    rows = {row.split()[0]: row.split() for row in dry.out.splitlines() if row[:1].isdigit()}
    assert rows["0"][1:5] == ["40", "138", "medium", "0"]
    assert rows["9"][1:5] == ["4", "176", "few", "36"]
    assert "10.0 times fewer" in " ".join(dry.out.split())
    assert "many: over 100 train images, medium: 20 to 100, few: under 20" in dry.out


def test_a_dry_run_in_json_is_the_whole_plan_and_writes_nothing(cli, digits: Path, in_tmp: Path):
    told = cli("fit", "--dataset", digits, "--recipe", "smoke", "--dry-run", "--json").ok().json
    assert told["dry_run"] is True
    plan = told["plan"]
    assert [c["train"] for c in plan["classes"]] == [40, 31, 24, 19, 14, 11, 9, 7, 5, 4]
    assert [c["minority"] for c in plan["classes"]] == [False] * 3 + [True] * 7
    assert plan["total_new"] == sum(c["n_new"] for c in plan["classes"]) == 236
    assert all(c["reason"] for c in plan["classes"])
    assert set(plan["expected_seconds"]) == {"fit", "generate", "evaluate"}
    assert list(in_tmp.iterdir()) == []


def test_the_run_folder_has_what_later_verbs_need(smoke):
    for name in ("recipe.yaml", "dataset.json", "pixels.npy", "splits.json", "plan.json"):
        assert (smoke.path / name).is_file()
    assert list((smoke.path / "grids").glob("*.png"))
    assert (smoke.path / "metrics.jsonl").read_text().count("\n") >= 1
    folder = newest_checkpoint(smoke.path / "base")
    checkpoint = load_checkpoint(folder, resolve_device("cpu"))
    assert checkpoint.meta["complete"] is True
    assert checkpoint.denoiser.n_classes == 10


def test_the_json_of_a_fit_is_what_the_run_keeps(smoke):
    told = smoke.fit.json
    assert told == smoke.read("fit.json")
    assert told["n_img"] == 6 * 8
    assert told["images_per_second"] > 0
    assert told["device"].startswith("cpu")
    assert told["specialists"] == []


def test_the_resolved_recipe_is_kept(smoke):
    assert load_recipe(str(smoke.path / "recipe.yaml")) == load_recipe("smoke")


def test_no_image_of_the_user_is_touched(smoke, hash_of):
    assert hash_of(smoke.dataset) == smoke.hash_before


def test_a_first_picture_comes_early_and_is_told(cli, write_folder, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("synthaug.stages.learner.FIRST_SECONDS", 0.0)
    run = tmp_path / "run"
    folder = write_folder({"a": 9, "b": 5})
    told = cli("fit", "--dataset", folder, "--recipe", "smoke", "--run", run).ok()
    names = sorted(path.name for path in (run / "grids").iterdir())
    assert names == ["step-00000001.png", "step-00000006.png"]
    said = " ".join(told.err.split())
    assert said.count("what it makes after 1 steps, a row for each class") == 1


def test_a_fit_without_json_prints_rate_and_next_step(cli, digits: Path, in_tmp: Path):
    told = cli("fit", "--dataset", digits, "--recipe", "smoke", "--seed", "3", "--image-size", "16",
               "--set", "sampling.steps=2").ok()  # fmt: skip
    assert re.search(r"\d+ training images/s on cpu", " ".join(told.out.split()))
    assert "next: synthaug generate --balance" in told.err
    (run,) = (in_tmp / "runs").iterdir()
    assert f"run folder: runs/{run.name}" in told.out
    assert run.name.endswith("-digits")
    recipe = load_recipe(str(run / "recipe.yaml"))
    assert (recipe.seed, recipe.data.image_size, recipe.sampling.steps) == (3, 16, 2)
    assert json.loads((run / "dataset.json").read_text())["image_size"] == 16


def test_a_time_limit_overrides_the_steps_of_a_recipe(cli, digits: Path, in_tmp: Path):
    told = cli(
        "fit", "--dataset", digits, "--recipe", "smoke", "--time-limit", "2s", "--run", "run",
        "--json",
    ).ok()  # fmt: skip
    assert 6 < told.json["steps"]
    assert told.json["minutes"] < 0.25


def test_the_same_seed_trains_the_same_network(cli, smoke, digits: Path, in_tmp: Path):
    cli("fit", "--dataset", digits, "--recipe", "smoke", "--run", "same").ok()
    cli("fit", "--dataset", digits, "--recipe", "smoke", "--run", "other", "--seed", "1").ok()
    first, same, other = (
        load_checkpoint(newest_checkpoint(run / "base"), resolve_device("cpu")).sha256
        for run in (smoke.path, in_tmp / "same", in_tmp / "other")
    )
    assert same == first
    assert other != first


def test_specialists_are_judged_told_and_kept(cli, digits: Path, in_tmp: Path, manifest_of):
    told = cli(
        "fit", "--dataset", digits, "--recipe", "smoke", "--run", "run", "--per-class",
        "--set", "diffusion.steps=40",
    ).ok()  # fmt: skip
    stored = json.loads(Path("run/fit.json").read_text())["specialists"]
    assert [s["class_name"] for s in stored] == list("3456789")
    assert stored[-1]["kept"] is False
    assert "too few to hold any out" in stored[-1]["reason"]
    for s in stored[:-1]:
        assert s["n_held_out"] >= 1
        assert s["kept"] == (s["specialist_loss"] < s["base_loss"])
        assert bool(newest_checkpoint(Path("run/specialists") / s["class_name"])) == s["kept"]
    kept = [s["class_name"] for s in stored if s["kept"]]
    assert kept, "none is kept, so nothing below is tested"
    assert f"specialists kept: {', '.join(kept)} (of 7 classes)" in told.out
    said = " ".join(told.err.split())
    assert said.count("held-out denoising loss") == 6
    assert f"specialist for {kept[0]}: kept" in said

    generated = cli("generate", "--balance", "--run", "run", "--json").ok().json
    for name, kind in generated["denoisers"].items():
        assert kind == ("specialist" if name in kept else "base")
    own = newest_checkpoint(Path("run/specialists") / kept[0])
    sha256 = load_checkpoint(own, resolve_device("cpu")).sha256
    assert generated["checkpoints"][kept[0]] == sha256
    lines = [x for x in manifest_of(Path("run")) if x["source"] == "synthetic"]
    told = {(x["checkpoint"], x["denoiser"]) for x in lines if x["class_name"] == kept[0]}
    assert told == {(sha256, "specialist")}


def test_each_class_alone(cli, digits: Path, in_tmp: Path, serial: None):
    fitted = cli(
        "fit", "--dataset", digits, "--recipe", "smoke", "--run", "run", "--per-class",
        "--from-scratch", "--json",
    ).ok().json  # fmt: skip
    assert {s["class_name"] for s in fitted["specialists"]} == set("123456789")
    assert all(s["kept"] and "from scratch" in s["reason"] for s in fitted["specialists"])
    assert not Path("run/base").exists()
    generated = cli("generate", "--balance", "--run", "run", "--json").ok().json
    assert set(generated["denoisers"].values()) == {"specialist"}
    assert len(set(generated["checkpoints"].values())) == 9
    results = cli("evaluate", "--run", "run", "--arms", "real/ce,synthaug/ce", "--json").ok().json
    assert "--from-scratch" in results["commands"][0]


def test_a_class_that_was_not_trained_alone_is_told_what_would_help(
    cli, digits: Path, in_tmp: Path
):
    cli(
        "fit", "--dataset", digits, "--recipe", "smoke", "--run", "run", "--per-class",
        "--from-scratch",
    ).ok()  # fmt: skip
    refused = cli("generate", "--balance", "50", "--run", "run")
    assert refused.code == 2
    assert "class '0'" in refused.fault
    assert "to its end" not in refused.fault, "that fit did run to its end"


def test_training_stops_early_and_keeps_the_best_weights(cli, digits: Path, in_tmp: Path):
    """A learning rate at which the held-out loss soon rises: the weights before that are saved."""
    told = cli(
        "fit", "--dataset", digits, "--recipe", "smoke", "--run", "run", "--json",
        "--set", "diffusion.early_stop=true", "--set", "diffusion.check_every=2",
        "--set", "diffusion.patience=2", "--set", "diffusion.steps=60",
        "--set", "diffusion.learning_rate=0.5", "--set", "diffusion.ema_decay=0.0",
        "--set", "diffusion.warmup_steps=0",
    ).ok()  # fmt: skip
    fitted = told.json
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    checks = [(m["step"], m["loss"]) for m in lines if m["phase"] == "base held out"]
    best = min(checks, key=lambda check: check[1])
    assert fitted["n_held_out"] > 0
    assert fitted["best_step"] == best[0]
    assert fitted["steps"] == best[0] + 4 < 60
    said = " ".join(told.err.split())
    assert f"{best[1]:.4f}, after {best[0]} of {fitted['steps']} steps" in said
    saved = load_checkpoint(newest_checkpoint(Path("run/base")), resolve_device("cpu"))
    assert saved.meta["complete"]


def test_without_held_out_images_nothing_stops_early(smoke):
    fitted = smoke.read("fit.json")
    assert fitted["best_step"] is None
    assert fitted["n_held_out"] == 0
    assert "held out" not in (smoke.path / "metrics.jsonl").read_text()


@pytest.mark.slow
def test_augment_and_transfer_reach_the_network(cli, digits: Path, in_tmp: Path):
    for name, options in {
        "a": ("diffusion.augment=[shift, rotate]", "diffusion.transfer=cbdm"),
        "b": ("diffusion.transfer=t2h", "diffusion.dropout=0.1"),
    }.items():
        words = [word for option in options for word in ("--set", option)]
        cli("fit", "--dataset", digits, "--recipe", "smoke", "--run", name, *words).ok()
        made = cli("generate", "--balance", "--run", name, "--json").ok().json
        assert made["n"] == 236
    loaded = load_checkpoint(newest_checkpoint(Path("a/base")), resolve_device("cpu"))
    assert loaded.denoiser.vector_size == 6


def test_t2h_with_augmentation_is_refused_with_its_reason(cli, digits: Path):
    refused = cli(
        "fit", "--dataset", digits, "--recipe", "smoke",
        "--set", "diffusion.transfer=t2h", "--set", "diffusion.augment=[flip]",
    )  # fmt: skip
    assert refused.code == 2
    assert "exclude each other" in refused.fault
