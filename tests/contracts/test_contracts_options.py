"""The options of the parts and the recipe sections that feed them name the same numbers."""

import dataclasses

import pytest

from synthaug.diffusion.batches import TrainingOptions
from synthaug.evaluation.training import ClassifierOptions
from synthaug.recipe import DiffusionSection, EvaluationSection, Recipe
from synthaug.stages.planning import classifier_options
from synthaug.stages.sizing import training_options


@pytest.mark.parametrize(
    ("options", "section"),
    [(TrainingOptions, DiffusionSection), (ClassifierOptions, EvaluationSection)],
)
def test_names_and_defaults_agree(options, section):
    defaults = {field.name: field.default for field in dataclasses.fields(options)}
    assert defaults
    told = {name: field.default for name, field in section.model_fields.items()}
    if section is DiffusionSection:  # "auto" is for the stage to settle, see test_stages_memory.py
        assert told.pop("micro_batch") == "auto" and defaults.pop("micro_batch") is None
    assert {name: told.get(name, "missing") for name in defaults} == defaults


def test_every_option_is_taken_from_the_recipe():
    changed = {
        "batch_size": 5, "learning_rate": 0.5, "warmup_steps": 7, "ema_decay": 0.25,
        "p_uncond": 0.75, "class_power": 0.125, "grad_clip": 9.0, "weight_decay": 0.375,
        "flip": True, "augment": ("shift", "flip"), "augment_probability": 0.25,
        "transfer": "cbdm", "transfer_tau": 2.5, "loss": "min_snr", "min_snr_gamma": 2.0,
        "micro_batch": 3,
    }  # fmt: skip
    assert dataclasses.asdict(training_options(DiffusionSection(**changed))) == changed
    changed = {
        "steps": 3, "batch_size": 4, "learning_rate": 0.5, "weight_decay": 0.25, "max_shift": 2,
        "flip": True, "tau": 0.5, "classifier": "timm:resnet18", "cb_beta": 0.5,
        "focal_gamma": 1.0, "ldam_margin": 0.25, "ldam_scale": 10.0, "mixup_alpha": 1.5,
        "cutmix_alpha": 0.75, "synthetic_weight": 0.125, "deferred_share": 0.375,
    }  # fmt: skip
    recipe = Recipe(evaluation=EvaluationSection(**changed))
    assert dataclasses.asdict(classifier_options(recipe)) == changed
