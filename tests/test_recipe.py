"""Recipes: what is read, what is refused, and in which words."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from synthaug.errors import UsageError
from synthaug.recipe import (
    Recipe,
    RecipeError,
    build_recipe,
    check_recipe,
    copy_recipe,
    load_recipe,
    recipe_folder,
    shipped_recipes,
    variant_recipes,
)


def fault(*overrides: str, recipe: str = "default") -> str:
    with pytest.raises(UsageError) as caught:
        load_recipe(recipe, overrides)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


SHIPPED = [
    "beta-ablation", "cifar10-lt", "default", "digits-demo", "mnist-lt-cpu", "smoke",
    "user-folder-32", "user-folder-64",
]  # fmt: skip


def test_every_shipped_recipe_is_found_and_validates():
    files = sorted(recipe_folder().rglob("*.yaml")) + sorted(recipe_folder().rglob("*.yml"))
    assert [path.stem for path in files] == shipped_recipes() == SHIPPED
    for path in files:
        assert check_recipe(str(path)) == []
        assert load_recipe(path.stem) == load_recipe(str(path))
        assert load_recipe(path.stem).name == path.stem
        assert load_recipe(path.stem).description


def test_the_default_recipe_says_nothing_the_models_do_not():
    told = {"name", "description"}
    assert load_recipe("default").model_dump(exclude=told) == Recipe().model_dump(exclude=told)


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_recipe_written_and_read_again_is_the_same(name: str, tmp_path: Path):
    recipe = load_recipe(name, ["diffusion.channels=[16, 32]", "data.image_size=null", "seed=7"])
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(str(path)) == recipe
    assert recipe.diffusion.channels == (16, 32)


def test_a_recipe_cannot_be_changed():
    recipe = load_recipe("smoke")
    with pytest.raises(ValidationError, match="frozen"):
        recipe.seed = 3
    with pytest.raises(ValidationError, match="frozen"):
        recipe.diffusion.steps = 3


@pytest.mark.parametrize(
    ("override", "key", "near"),
    [
        ("diffusion.bach_size=8", "diffusion.bach_size", "batch_size"),
        ("evaluation.seed=8", "evaluation.seed", "seeds"),
        ("difusion.steps=8", "difusion", "diffusion"),
        ("sampling.cfgscale=8", "sampling.cfgscale", "cfg_scale"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_one(override: str, key: str, near: str):
    text = fault(override)
    assert f"unknown key {key!r}" in text
    assert f"did you mean {near!r}?" in text


def test_an_unknown_key_like_no_other_gets_the_list():
    text = fault("data.zzzzzz=1")
    assert "did you mean" not in text
    assert all(key in text for key in ("image_size", "channels", "test_fraction"))


def test_all_faults_are_told_together():
    text = fault("diffusion.bach_size=8", "data.image_size=3", "sampling.sampler=euler", "seed=-1")
    for place in ("diffusion.bach_size", "data.image_size", "sampling.sampler", "seed"):
        assert place in text
    assert text.count(" | ") == 3


def test_contradictions_are_told_beside_other_faults():
    with pytest.raises(RecipeError) as caught:
        load_recipe(
            "smoke",
            [
                "diffusion.bach_size=8", "diffusion.beta_end=0.1", "diffusion.transfer=t2h",
                "diffusion.augment=[shift]", "data.image_size=9", "sampling.steps=2000", "seed",
                "data.fold=0", "data.value_range=[3, 2]", "evaluation.arms=reel",
                "balance.strategy=minoritty", "sampling.eta=7",
            ],
        )  # fmt: skip
    told = caught.value.faults
    words = [
        "override 'seed'", "'diffusion.bach_size' (did you mean 'batch_size'?)",
        "diffusion: beta_start and beta_end belong to", "diffusion: transfer t2h and augment",
        "image size 9 is no multiple of 2", "sampling.steps 2000 is above diffusion.T 1000",
        "data: fold 0 of None", "data: value_range (3.0, 2.0)", "did you mean 'real'?",
        "did you mean 'minority'?", "sampling.eta: ",
    ]  # fmt: skip
    assert [sum(word in fault for fault in told) for word in words] == [1] * len(words)
    assert len(told) == len(words)


def test_a_value_that_is_wrong_itself_is_not_told_to_contradict_others():
    """A misspelled schedule is no reason to complain of the betas that belong to the right one."""
    text = fault("diffusion.schedule=linaer", "diffusion.beta_end=0.1")
    assert "diffusion.schedule" in text and "belong to" not in text


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("diffusion.channels=null", "diffusion.patch=2"), "give channels too"),
        (("diffusion.channels=null", "diffusion.attention=[8]"), "give channels too"),
        (("data.image_size=12", "diffusion.channels=[8, 8, 8, 8]"), "12 is no multiple of 8"),
        (
            ("data.image_size=16", "diffusion.attention=[16, 4]"),
            r"attention \[4\]: at image size 16 the feature maps are 16, 8 pixels",
        ),
        (
            ("data.image_size=16", "diffusion.patch=2", "diffusion.attention=[16]"),
            "feature maps are 8, 4 pixels",
        ),
        (("diffusion.time_limit=10 minutes",), "diffusion.time_limit: duration '10 minutes'"),
    ],
)
def test_what_would_fail_later_is_a_fault_of_the_recipe(overrides: tuple[str, ...], words: str):
    assert re.search(words, fault(*overrides, recipe="smoke"))


def test_a_key_given_twice_is_a_fault_with_its_lines(tmp_path: Path):
    path = tmp_path / "twice.yaml"
    path.write_text(
        "diffusion:\n  steps: 3\nseed: 1\ndiffusion:\n  T: 100\n  T: 200\n", encoding="utf-8"
    )
    text = fault("sampling.eta=2", recipe=str(path))
    assert "key 'diffusion' is given twice, in lines 1 and 4" in text
    assert "key 'T' is given twice, in lines 5 and 6" in text
    assert "sampling.eta" in text


def test_a_section_with_all_its_keys_commented_out_is_no_fault(tmp_path: Path):
    path = tmp_path / "sparse.yaml"
    path.write_text("diffusion:\n  # steps: 3\nevaluation:\n", encoding="utf-8")
    assert load_recipe(str(path)) == Recipe()
    assert load_recipe(str(path), ["diffusion.steps=4"]).diffusion.steps == 4


def test_the_faults_of_all_variants_are_told_together(tmp_path: Path):
    path = tmp_path / "variants.yaml"
    path.write_text(
        "ablation:\n  variants:\n    a: {diffusion.stepps: 3}\n    b: {seed.x: 1, seed: -1}\n"
        "    c: {seed: 1}\n",
        encoding="utf-8",
    )
    told = check_recipe(str(path), ["seed=0"])
    assert [fault.partition(":")[0] for fault in told] == [f"variant {v!r}" for v in "abb"]
    assert "did you mean 'steps'?" in told[0] and "'seed' is not a section" in told[1]


def test_a_copy_says_the_same_under_its_own_name(tmp_path: Path):
    for name in shipped_recipes():
        target = tmp_path / f"my {name}.yaml"
        copy_recipe(name, target)
        copied = load_recipe(str(target))
        assert copied.name == f"my {name}"
        assert copied.model_copy(update={"name": name}) == load_recipe(name)


def test_a_copy_overwrites_nothing(tmp_path: Path):
    target = tmp_path / "mine.yaml"
    target.write_text("seed: 3\n", encoding="utf-8")
    with pytest.raises(UsageError, match="is there already"):
        copy_recipe("smoke", target)
    assert target.read_text(encoding="utf-8") == "seed: 3\n"
    with pytest.raises(UsageError, match=r"ending in \.yaml"):
        copy_recipe("smoke", tmp_path / "mine.txt")
    with pytest.raises(UsageError, match="cannot be copied"):
        copy_recipe("smoke", tmp_path / "nowhere" / "mine.yaml")


@pytest.mark.parametrize(
    "override",
    [
        "data.image_size=7",
        "data.image_size=257",
        "data.image_size=eight",
        "data.channels=2",
        "data.test_fraction=0",
        "diffusion.prediction=noise",
        "diffusion.T=9",
        "diffusion.channels=[]",
        "diffusion.channels=[a]",
        "diffusion.steps=0",
        "diffusion.learning_rate=0",
        "diffusion.learning_rate=.nan",
        "diffusion.p_uncond=1",
        "diffusion.time_limit=[1]",
        "sampling.steps=1.5",
        "sampling.cfg_scale=-1",
        "evaluation.seeds=0",
        "evaluation.batch_size=1",
        "evaluation=3",
        "balance.strategy=null",
    ],
)
def test_a_wrong_type_or_range_is_refused_with_its_place(override: str):
    assert override.partition("=")[0] in fault(override)


@pytest.mark.parametrize("key", ["diffusion.learning_rate", "sampling.cfg_scale", "evaluation.tau"])
def test_an_infinite_number_is_refused(key: str):
    assert key in fault(f"{key}=.inf")


def test_overrides_reach_into_sections_and_the_last_one_wins():
    recipe = load_recipe(
        "smoke",
        [
            "diffusion.learning_rate=1e-4",
            " diffusion.steps = null",
            "balance.strategy='not majority'",
            "diffusion.channels=[8, 16, 32]",
            "evaluation.flip=true",
            "seed=1",
            "seed=2",
        ],
    )
    assert recipe.diffusion.learning_rate == 1e-4
    assert recipe.diffusion.steps is None
    assert recipe.balance.strategy == "not majority"
    assert recipe.diffusion.channels == (8, 16, 32)
    assert recipe.evaluation.flip is True
    assert recipe.seed == 2
    assert recipe.diffusion.batch_size == load_recipe("smoke").diffusion.batch_size


def test_a_value_may_hold_equals_signs():
    assert load_recipe("smoke", ["balance.strategy=3=60,4=70"]).balance.strategy == "3=60,4=70"


@pytest.mark.parametrize("override", ["diffusion.steps", "=5", ""])
def test_an_override_without_key_or_value_is_refused(override: str):
    text = fault(override)
    assert repr(override) in text
    assert "section.key=value" in text


def test_an_override_through_a_value_is_refused():
    assert "'seed' is not a section" in fault("seed=1", "seed.x=2")


def test_an_override_that_is_not_yaml_is_refused():
    assert "not YAML" in fault("diffusion.channels=[1, 2")


def test_an_unknown_recipe_is_told_the_nearest_name():
    text = fault(recipe="smok")
    assert "did you mean 'smoke'?" in text
    assert all(name in text for name in shipped_recipes())


def test_an_unknown_recipe_cannot_climb_out_of_the_folder():
    assert "unknown recipe" in fault(recipe="../recipes/smoke")


def test_a_file_of_ones_own(tmp_path: Path):
    path = tmp_path / "mine.yml"
    path.write_text("name: mine\ndiffusion:\n  steps: 3\n", encoding="utf-8")
    recipe = load_recipe(str(path), ["diffusion.T=100"])
    assert (recipe.name, recipe.diffusion.steps, recipe.diffusion.T) == ("mine", 3, 100)
    assert recipe.sampling == Recipe().sampling


def test_an_empty_file_is_the_default(tmp_path: Path):
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing yet\n", encoding="utf-8")
    assert load_recipe(str(path)) == Recipe()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"- a\n- b\n", "holds no mapping"),
        (b"just a sentence\n", "holds no mapping"),
        (b"data: [1\n", "not YAML"),
        (b"data: {image_size: 8}\n\tseed: 1\n", "not YAML"),
        (b"description: gr\xfcn\n", "not YAML"),
        (b"!!python/object/apply:os.getcwd []\n", "not YAML"),
    ],
    ids=["list", "text", "unclosed", "tab", "latin-1", "object"],
)
def test_a_file_that_is_no_recipe_is_named(content: bytes, words: str, tmp_path: Path):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    text = fault(recipe=str(path))
    assert str(path) in text
    assert words in text


@pytest.mark.parametrize("name", ["absent.yaml", "folder.yaml"])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path):
    (tmp_path / "folder.yaml").mkdir()
    text = fault(recipe=str(tmp_path / name))
    assert name in text
    assert "cannot be read" in text


def test_faults_name_the_source():
    with pytest.raises(UsageError, match="recipe here: seed: "):
        build_recipe({"seed": "x"}, source="here")


def test_keys_that_are_not_words_are_refused():
    with pytest.raises(UsageError):
        build_recipe({1: 2}, source="here")


def test_every_number_of_a_recipe_is_written_out():
    written = yaml.safe_load(load_recipe("smoke").to_yaml())
    assert set(written) == set(Recipe.model_fields)
    assert set(written["diffusion"]) == set(type(Recipe().diffusion).model_fields)


def test_a_list_of_betas_brings_its_own_T():
    betas = [0.1] * 12
    recipe = load_recipe("smoke", [f"diffusion.schedule={betas}"])
    assert (recipe.diffusion.schedule, recipe.diffusion.T) == (tuple(betas), 12)
    assert load_recipe("smoke", [f"diffusion.schedule={betas}", "diffusion.T=12"]) == recipe


def test_a_list_of_betas_survives_the_run_folder(tmp_path: Path):
    recipe = load_recipe("smoke", [f"diffusion.schedule={[0.1, 1 / 3] * 6}"])
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(str(path)) == recipe


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ((f"diffusion.schedule={[0.1] * 12}", "diffusion.T=1000"), "T is 1000 .* of 12 betas"),
        ((f"diffusion.schedule={[0.1] * 3}",), "diffusion.T: .* greater than or equal to 10"),
        ((f"diffusion.schedule={[0.1] * 11 + [1.5]}",), "diffusion.schedule.* less than 1"),
        (("diffusion.schedule=sigmoid",), "diffusion.schedule.*'cosine' or 'linear'"),
        (("diffusion.schedule=7",), "diffusion.schedule.*tuple"),
        (("sampling.eta=0.5", "sampling.sampler=heun"), "eta 0.5 belongs to `sampler: ddim`"),
        (("diffusion.beta_end=0.1",), "diffusion: beta_start and beta_end belong to"),
    ],
)
def test_settings_that_contradict_each_other_are_faults(overrides: tuple[str, ...], words: str):
    assert re.search(words, fault(*overrides))


def test_every_variant_of_a_shipped_ablation_is_a_valid_recipe():
    recipe = load_recipe("beta-ablation")
    variants = variant_recipes(recipe)
    ends = {n: (r.diffusion.schedule, r.diffusion.beta_end) for n, r in variants.items()}
    assert sorted(end for name, end in ends.values() if name == "linear") == [
        0.005, 0.01, 0.02, 0.05, 0.2
    ]  # fmt: skip
    assert ends["cosine"][0] == "cosine"
    assert variants["constant 0.01"].diffusion.beta_start == 0.01
    for variant in variants.values():
        assert variant.diffusion.steps == recipe.diffusion.steps  # equal training
        assert not variant.ablation.variants
