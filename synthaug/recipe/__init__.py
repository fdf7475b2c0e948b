"""Recipes: every number a run depends on, as frozen models, YAML files and dotted overrides.

A recipe is read once and checked whole: all its faults are told together, each with its place and,
for an unknown key, the nearest known one. Each section has a module; model.py joins them.
"""

from synthaug.recipe.ablation import AblationSection
from synthaug.recipe.balance import BalanceSection
from synthaug.recipe.data import DataSection
from synthaug.recipe.diffusion import DiffusionSection
from synthaug.recipe.duration import parse_duration
from synthaug.recipe.evaluation import EvaluationSection
from synthaug.recipe.faults import RecipeError
from synthaug.recipe.loading import build_recipe, check_recipe, load_recipe, variant_recipes
from synthaug.recipe.model import Recipe
from synthaug.recipe.sampling import SamplingSection
from synthaug.recipe.section import Section
from synthaug.recipe.selection import SelectionSection
from synthaug.recipe.shipped import copy_recipe, recipe_file, recipe_folder, shipped_recipes
from synthaug.recipe.tracking import TrackingSection

__all__ = [
    "AblationSection",
    "BalanceSection",
    "DataSection",
    "DiffusionSection",
    "EvaluationSection",
    "Recipe",
    "RecipeError",
    "SamplingSection",
    "Section",
    "SelectionSection",
    "TrackingSection",
    "build_recipe",
    "check_recipe",
    "copy_recipe",
    "load_recipe",
    "parse_duration",
    "recipe_file",
    "recipe_folder",
    "shipped_recipes",
    "variant_recipes",
]
