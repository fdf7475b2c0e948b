"""`synthaug recipes`, and every shipped recipe in use."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from synthaug.diffusion.schedule import make_schedule
from synthaug.diffusion.unet import build_denoiser
from synthaug.recipe import Recipe, load_recipe, shipped_recipes
from synthaug.stages.sizing import own_network

ON_A_CPU = [name for name in shipped_recipes() if not load_recipe(name).needs_gpu]


def test_ls_names_every_recipe(cli):
    told = cli("recipes", "ls").ok()
    assert all(name in told.out for name in shipped_recipes())
    known = cli("recipes", "ls", "--json").ok().json["recipes"]
    assert [r["name"] for r in known] == shipped_recipes()
    assert {r["name"] for r in known if r["needs_gpu"]} == {"cifar10-lt"}
    assert all(Path(r["file"]).is_file() and r["description"] for r in known)


def test_show_prints_what_can_be_read_again(cli, tmp_path: Path):
    written = cli("recipes", "show", "digits-demo").ok().out
    assert written.startswith("# `synthaug demo`") and "time_limit: 150s" in written
    for words in (["--resolved"], ["--set", "seed=4"]):
        path = tmp_path / f"{len(words)}.yaml"
        path.write_text(cli("recipes", "show", "cifar10-lt", *words).ok().out, encoding="utf-8")
        assert load_recipe(str(path)) == load_recipe("cifar10-lt", words[1:])
        assert set(yaml.safe_load(path.read_text(encoding="utf-8"))) == set(Recipe.model_fields)
    assert "needs a GPU" in cli("recipes", "show", "cifar10-lt").ok().err
    shown = cli("recipes", "show", "smoke", "--json").ok().json
    assert shown == json.loads(load_recipe("smoke").model_dump_json())


def test_validate_tells_every_fault_of_every_recipe(cli, tmp_path: Path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("diffusion: {stepps: 3, T: 2}\nsead: 4\n", encoding="utf-8")
    told = cli("recipes", "validate", "smoke", bad, "smok")
    assert told.code == 2
    assert "smoke: nothing is wrong" in told.out
    lines = [line for line in told.err.splitlines() if line.startswith("error:")]
    assert len(lines) == 4
    for words in ("did you mean 'steps'?", "diffusion.T", "did you mean 'seed'?", "'smoke'?"):
        assert sum(words in line for line in lines) == 1
    faults = cli("recipes", "validate", "smoke", bad, "--json").json["faults"]
    assert [len(of) for of in faults.values()] == [0, 3]
    assert "next: synthaug fit" in cli("recipes", "validate", "smoke").ok().err


def test_a_copy_is_changed_and_used(cli, in_tmp: Path, write_folder):
    told = cli("recipes", "copy", "smoke", "my own.yaml").ok()
    assert "--recipe 'my own.yaml'" in told.err
    path = Path("my own.yaml")
    path.write_text(path.read_text(encoding="utf-8").replace("steps: 6", "steps: 2"))
    folder = write_folder({"a": 9, "b": 5})
    fit = ("fit", "--dataset", folder, "--recipe", "my own.yaml", "--run", "run", "--json")
    assert cli(*fit).ok().json["steps"] == 2
    assert "is there already" in cli("recipes", "copy", "smoke", "my own.yaml").fault


def test_a_recipe_for_a_gpu_says_so_on_a_cpu(cli, in_tmp: Path):
    told = cli("fit", "--dataset", "anywhere", "--recipe", "cifar10-lt", "--device", "cpu")
    assert told.code == 2
    assert "recipe cifar10-lt needs a GPU, and this is cpu" in told.fault
    assert "--set needs_gpu=false" in told.fault
    assert not list(in_tmp.iterdir())


@pytest.mark.parametrize("name", ON_A_CPU)
def test_every_recipe_for_a_cpu_trains(name: str, cli, write_folder, tmp_path: Path):
    """A few small steps of it; smoke's own numbers run in every other test."""
    small = ("diffusion.steps=2", "diffusion.batch_size=2", "sampling.batch_size=2",
             "evaluation.batch_size=2", "diffusion.T=10", "sampling.steps=2")  # fmt: skip
    folder, run = write_folder({"a": 9, "b": 5}), tmp_path / "run"
    words = [word for one in small for word in ("--set", one)]
    told = cli("fit", "--dataset", folder, "--recipe", name, "--run", run, "--json", *words).ok()
    assert told.json["steps"] == 2
    assert load_recipe(str(run / "recipe.yaml")) == load_recipe(name, small)
    sizes = {"user-folder-32": 32, "user-folder-64": 64, "mnist-lt-cpu": 16}
    described = json.loads((run / "dataset.json").read_text(encoding="utf-8"))
    assert described["image_size"] == sizes.get(name, 8)


def test_the_cifar_recipe_has_the_network_of_ho_et_al():
    """35.7 M (Ho et al. 2020, Appendix B): the number of parameters of the published weights in
    diffusers' layout, and a table of classes over it."""
    recipe = load_recipe("cifar10-lt")
    section = recipe.diffusion
    schedule = make_schedule(section.schedule, section.T)
    assert float(schedule.betas[0]) == 1e-4 and float(schedule.betas[-1]) == 0.02
    assert recipe.data.image_size == 32
    with torch.device("meta"):
        denoiser = build_denoiser(
            own_network(section, 32), image_size=32, channels=3, n_classes=10, schedule=schedule,
            prediction=section.prediction, seed=0, device=torch.device("meta"),
            variance=section.variance,
        )  # fmt: skip
    classes = denoiser.network.class_embedding.weight.numel()
    assert classes == 11 * 4 * 128
    assert denoiser.n_parameters - classes == 35_746_307
    config = denoiser.network.config
    assert config.down_block_types == (
        "DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"
    )  # fmt: skip
    assert (config.dropout, config.layers_per_block, section.prediction) == (0.1, 2, "eps")
    assert (section.learning_rate, section.batch_size, section.ema_decay) == (2e-4, 128, 0.9999)


def test_attention_is_where_the_recipe_wants_it():
    recipe = load_recipe("smoke", ["diffusion.attention=[8]", "diffusion.attention_width=null"])
    spec = own_network(recipe.diffusion, 16)
    assert (spec.attention, spec.attention_width) == ((False, True), None)
    assert own_network(load_recipe("smoke").diffusion, 16).attention == (False, False)
