"""The balance section of a recipe: strategies and caps in every form that YAML gives them."""

import pytest
import yaml

from synthaug.errors import UsageError
from synthaug.recipe import Recipe, load_recipe


@pytest.mark.parametrize(
    ("override", "strategy"),
    [
        ("not minority", "not minority"),
        ("owl=20,cat=30", "owl=20,cat=30"),
        ("200", 200),
        ("0.5", 0.5),
        ("{owl: 20, 3: 30}", {"owl": 20, "3": 30}),
    ],
)
def test_strategies(override: str, strategy):
    recipe = load_recipe("smoke", [f"balance.strategy={override}"])
    found = recipe.balance.strategy
    assert (found, type(found)) == (strategy, type(strategy))
    assert Recipe.model_validate(yaml.safe_load(recipe.to_yaml())) == recipe


@pytest.mark.parametrize(
    ("override", "cap"),
    [
        ("null", None),
        ("10", 10),
        ("2.5", 2.5),
        ("0", 0),
        ("{owl: 5, 3: null}", {"owl": 5, "3": None}),
    ],
)
def test_caps(override: str, cap):
    recipe = load_recipe("smoke", [f"balance.cap={override}"])
    assert recipe.balance.cap == cap
    assert Recipe.model_validate(yaml.safe_load(recipe.to_yaml())) == recipe


def test_no_cap_unless_asked_for():
    assert load_recipe("default").balance.cap is None


@pytest.mark.parametrize(
    "override",
    [
        "strategy=null", "strategy=true", "strategy=[owl]", "strategy={owl: 1.5}",
        "strategy={owl: true}", "cap=true", "cap=-1", "cap=.inf", "cap=.nan", "cap=ten",
        "cap=[3]", "cap={owl: -1}", "cap={owl: ten}", "cap={owl: .inf}",
    ],
)  # fmt: skip
def test_what_is_neither_is_one_fault_with_its_place(override: str):
    with pytest.raises(UsageError) as caught:
        load_recipe("smoke", [f"balance.{override}"])
    place = f"balance.{override.partition('=')[0]}:"
    assert str(caught.value).count(place) == 1 and " | " not in str(caught.value)
