"""The plan as a whole: its numbers, its words, and what it refuses."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthaug.balance.plan import MOST_NEW, BalancePlan, plan_balance
from synthaug.errors import DataError, UsageError

NAMES = ("melanoma", "nevus", "solar lentigo", "a=b, c")
COUNTS = (12, 120, 30, 4)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=8),
    st.one_of(st.just("auto"), st.integers(0, 500)),
)
def test_plan_properties(counts, strategy):
    plan = plan_balance([f"class {k}" for k in range(len(counts))], counts, strategy)
    assert all(t >= n >= 1 for t, n in zip(plan.target, plan.counts, strict=True))
    assert plan.total_new == sum(plan.target) - sum(plan.counts)
    floor = max(counts) if strategy == "auto" else strategy
    assert plan.target == tuple(max(floor, n) for n in counts)
    assert not any(plan.edited) and not any(plan.left_out)
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
    for strategy in ("auto", "all", 1.0, 50):
        plan = plan_balance(["a", "b"], [50, 50], strategy)
        assert plan.total_new == 0 and plan.imbalance_ratio == 1
        assert plan.minority == (False, False)
        assert plan.notices == ("the classes are balanced already, with 50 images each",)


def test_row_34_extreme_ratio_is_told_with_a_cap():
    plan = plan_balance(["head", "tail"], [10_000, 1])
    assert plan.imbalance_ratio == 10_000
    assert plan.notices == (
        "class 'tail' would get 9999 synthetic images for 1 real one; `generate --cap 10` keeps "
        "every class at 10 for one",
    )
    assert plan.with_caps(10).n_new == (0, 10)
    told = plan.with_caps(20).notices
    assert told == (
        "caps leave out 9979 of the 9999 images to synthesise, most of class 'tail': 20 new, 9979 "
        "left out",
    )


def test_row_34_many_such_classes_are_one_notice():
    plan = plan_balance([f"class {k}" for k in range(50)], [1000] + [7] * 48 + [3])
    (notice,) = plan.notices
    assert notice.startswith("class 'class 49' (and 48 others) would get 997 synthetic images")


def test_row_99_a_huge_plan_is_refused_with_the_number():
    limit = MOST_NEW + sum(COUNTS)
    with pytest.raises(DataError) as caught:
        plan_balance(NAMES, COUNTS, {"melanoma": 400_012, "nevus": 600_121})
    assert str(caught.value) == (
        "the plan asks for 1,000,001 new images in all, 600,001 of them of class 'nevus'; expected "
        "at most 1,000,000; lower the targets, or cap the synthetic images for each real one"
    )
    assert plan_balance(["only"], [limit - MOST_NEW], limit).total_new == MOST_NEW
    with pytest.raises(DataError, match="999,999,999,999,999,999"):
        plan_balance(["only"], [1], 10**18)


def test_row_99_a_cap_brings_a_huge_plan_within_bounds():
    assert plan_balance(["head", "tail"], [5_000_000, 3], caps=10).n_new == (0, 30)


def test_row_99_nothing_asked_is_nothing_to_do():
    assert plan_balance(NAMES, COUNTS, 0).total_new == 0


def test_row_29_a_single_class_has_a_plan_that_says_so():
    plan = plan_balance(["only"], [5])
    assert plan.n_new == (0,) and plan.minority == (False,)
    assert plan.reason == ("5 train images (few), the only class; nothing to balance it against",)
    (notice,) = plan.notices
    assert "single class, 'only'" in notice and "`generate --balance` with a number" in notice
    more = plan_balance(["only"], [5], 8)
    assert more.n_new == (3,)
    assert more.reason == ("5 train images (few); 3 new make 8",)


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


def test_an_edited_plan_says_so_and_can_be_asked_for_again():
    plan = BalancePlan(NAMES, COUNTS, (50, 120, 30, 120), strategy="auto")
    assert plan.edited == (True, False, True, False)
    assert plan.reason[0].endswith("38 new make 50, as edited (the strategy asks for 120)")
    assert plan.reason[2] == (
        "30 train images (medium); nothing to add, as edited (the strategy asks for 120)"
    )
    assert plan.warnings[0] == (
        "the plan was edited: class 'melanoma' (and 1 other) has target 50, where the strategy "
        "'auto' asks for 120"
    )
    assert plan.as_strategy == {"melanoma": 50, "a=b, c": 120}
    assert plan_balance(NAMES, COUNTS, plan.as_strategy).target == plan.target


def test_what_to_ask_for_is_the_strategy_itself_unless_it_would_give_something_else():
    assert plan_balance(NAMES, COUNTS, "minority").as_strategy == "minority"
    assert plan_balance(NAMES, COUNTS, caps=100).as_strategy == "auto"
    assert plan_balance(NAMES, COUNTS, caps=1).as_strategy == {
        "melanoma": 24, "solar lentigo": 60, "a=b, c": 8
    }  # fmt: skip
    assert plan_balance(NAMES, COUNTS, caps=0).as_strategy == 0


@pytest.mark.parametrize(
    ("names", "counts", "message"),
    [
        ([], [], "no classes"),
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


def test_a_target_below_the_count():
    with pytest.raises(DataError, match="'melanoma' has 12 train images, target 10 is lower"):
        plan_balance(NAMES, COUNTS, {"melanoma": 10})
