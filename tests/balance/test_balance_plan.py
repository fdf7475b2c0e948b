"""The plan: imbalanced-learn's meaning of the words, the user's numbers in every refusal."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.utils import check_sampling_strategy

from synthaug.balance.plan import BalancePlan, parse_strategy, plan_balance
from synthaug.errors import DataError, UsageError

NAMES = ("melanoma", "nevus", "solar lentigo", "a=b, c")
COUNTS = (12, 120, 30, 4)
many_counts = st.lists(st.integers(1, 300), min_size=2, max_size=8)


def names_for(counts):
    return [f"class {k}" for k in range(len(counts))]


@settings(deadline=None)
@given(many_counts, st.sampled_from(["auto", "minority", "not majority"]))
def test_words_equal_imbalanced_learn(counts, word):
    plan = plan_balance(names_for(counts), counts, word)
    expected = check_sampling_strategy(word, np.repeat(range(len(counts)), counts), "over-sampling")
    assert {k: new for k, new in enumerate(plan.n_new) if new} == {
        k: new for k, new in expected.items() if new
    }


@settings(deadline=None)
@given(many_counts, st.one_of(st.just("auto"), st.integers(0, 500)))
def test_plan_properties(counts, strategy):
    plan = plan_balance(names_for(counts), counts, strategy)
    assert all(t >= n >= 1 for t, n in zip(plan.target, plan.counts, strict=True))
    assert plan.total_new == sum(plan.target) - sum(plan.counts)
    floor = max(counts) if strategy == "auto" else strategy
    assert plan.target == tuple(max(floor, n) for n in counts)
    assert BalancePlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.imbalance_ratio == max(counts) / min(counts)


def test_final_counts_by_class_leave_the_others():
    plan = plan_balance(NAMES, COUNTS, {"melanoma": 100, "a=b, c": 4})
    assert plan.target == (100, 120, 30, 4) and plan.n_new == (88, 0, 0, 0)
    assert plan == plan_balance(NAMES, COUNTS, plan.strategy)
    assert plan_balance(NAMES, COUNTS, "melanoma=100,a=b, c=4").target == plan.target


def test_number_below_every_count_changes_nothing():
    plan = plan_balance(NAMES, COUNTS, 3)
    assert plan.total_new == 0
    assert plan.notices == ("every class has its target already: nothing to synthesise",)


def test_row_33_already_balanced():
    plan = plan_balance(["a", "b"], [50, 50])
    assert plan.total_new == 0 and plan.imbalance_ratio == 1
    assert plan.minority == (False, False)
    assert plan.notices == ("the classes are balanced already, with 50 images each",)


def test_row_34_extreme_ratio_is_told():
    plan = plan_balance(["head", "tail"], [10_000, 1])
    assert plan.imbalance_ratio == 10_000
    assert plan.notices == (
        "class 'tail' would get 9999 synthetic images for 1 real ones; "
        "a target of 11 keeps it at 10 for one",
    )


def test_groups_minorities_and_reasons():
    plan = plan_balance(NAMES, COUNTS, "melanoma=100")
    assert plan.group == ("few", "many", "medium", "few")
    assert plan.minority == (True, False, True, True)
    assert plan.reason == (
        "12 train images (few, 10.0 times fewer than the largest class); 88 new make 100",
        "120 train images (many), the most of any class; nothing to add",
        "30 train images (medium); the strategy leaves it as it is",
        "4 train images (few); the strategy leaves it as it is",
    )
    assert plan_balance(NAMES, COUNTS, minority_below=0.05).minority == (False,) * 3 + (True,)


def test_target_below_the_count():
    with pytest.raises(DataError) as caught:
        plan_balance(NAMES, COUNTS, {"melanoma": 10})
    assert str(caught.value).startswith(
        "class 'melanoma' has 12 train images, target 10 is lower; "
    )
    assert "raise the target to 12 or more" in caught.value.remedy


@pytest.mark.parametrize(
    ("names", "counts", "message"),
    [
        (["a"], [5], "1 class"),
        (["a", "b"], [5, 0], "class 'b' has 0 train images"),
        (["a", "a"], [5, 5], "class 'a' is in the plan twice"),
    ],
)
def test_classes_that_cannot_be_planned(names, counts, message):
    with pytest.raises(DataError, match=message):
        plan_balance(names, counts)


def test_minority_share_out_of_range():
    with pytest.raises(UsageError, match=r"below 1\.5 of the largest"):
        plan_balance(NAMES, COUNTS, minority_below=1.5)


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("auto", "auto"),
        (" Minority ", "minority"),
        ("not majority", "not majority"),
        ("not-majority", "not majority"),
        ("200", 200),
        ("0", 0),
        ("melanoma=200", {"melanoma": 200}),
        ("melanoma=200,nevus=150", {"melanoma": 200, "nevus": 150}),
        ("solar lentigo = 40 , a=b, c=7", {"solar lentigo": 40, "a=b, c": 7}),
    ],
)
def test_parse_strategy(text, strategy):
    assert parse_strategy(text, NAMES) == strategy


def test_classes_named_like_numbers_and_words():
    assert parse_strategy("5=20,auto=30", ["5", "auto"]) == {"5": 20, "auto": 30}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("autoo", r"'autoo' is not known.*did you mean 'auto'"),
        ("", "is not known"),
        ("1.5", "is not known"),
        ("-3", "the strategy '-3' is negative"),
        ("melanoma=-3", "target of class 'melanoma' is negative"),
        ("Melanom=20", r"class 'Melanom', which .* did you mean 'melanoma'"),
        ("MELANOMA=20", "did you mean 'melanoma'"),
        ("nevus=20,nevus=30", "names class 'nevus' twice"),
        ("nevus=twenty", "'nevus=twenty' of the strategy is not class=number"),
        ("nevus=20,melanoma", "'melanoma' of the strategy is not class=number"),
        ("=20", "'=20' of the strategy"),
    ],
)
def test_parse_strategy_refusals(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        parse_strategy(text, NAMES)
    assert "\n" not in str(caught.value)


def test_unknown_class_in_a_dict_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'nevus'"):
        plan_balance(NAMES, COUNTS, {"nevis": 200})


def edited(**changes):
    data = json.loads(json.dumps(plan_balance(NAMES, COUNTS).to_json()))
    data["classes"][0].update(changes)
    return data


def test_an_edited_target_counts():
    data = edited(target=50)
    del data["classes"][0]["n_new"]
    plan = BalancePlan.from_json(data)
    assert plan.n_new == (38, 0, 90, 116)
    assert plan.reason[0].endswith("38 new make 50")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": 50}, "12 train images and target 50, which makes 38 new ones.*n_new 108"),
        ({"target": 10}, "'melanoma' has 12 train images, target 10 is lower"),
        ({"target": "many"}, "'melanoma' has target 'many'"),
        ({"target": True}, "'melanoma' has target True"),
        ({"train_images": 0, "n_new": 120}, "'melanoma' has 0 train images"),
        ({"train_images": None}, "'melanoma' has train_images None"),
        ({"n_new": 1.5}, r"'melanoma' has n_new 1\.5"),
        ({"name": "nevus"}, "'nevus' is in the plan twice"),
        ({"name": 3}, "a class without a name"),
    ],
)
def test_wrong_edits_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        BalancePlan.from_json(edited(**changes))


@pytest.mark.parametrize(
    "changes", [{"classes": None}, {"strategy": None}, {"minority_below": 2}, {"classes": []}]
)
def test_wrong_edits_of_the_whole_are_refused(changes):
    with pytest.raises(DataError):
        BalancePlan.from_json({**edited(), **changes})
