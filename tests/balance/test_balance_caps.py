"""Caps: what they leave of a strategy, and how the plan tells it."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthaug.balance.caps import class_caps, is_cap, most_images, parse_caps
from synthaug.balance.plan import BalancePlan, plan_balance
from synthaug.errors import DataError, UsageError

NAMES = ("melanoma", "nevus", "solar lentigo", "a=b, c")
COUNTS = (12, 120, 30, 4)


@pytest.mark.parametrize(
    ("cap", "count", "most"),
    [
        (0, 7, 7),
        (1, 7, 14),
        (0.5, 7, 10),
        (2.5, 3, 10),
        (0.29, 100, 129),
        (1e-5, 7, 7),
        (10, 4, 44),
    ],
)
def test_most_images_is_the_floor_of_the_number_as_written(cap: float, count: int, most: int):
    assert most_images(cap, count) == most


def test_no_cap_is_no_limit():
    assert most_images(None, 7) == math.inf


@pytest.mark.parametrize(
    ("text", "caps"),
    [
        ("10", 10),
        (" 2.5 ", 2.5),
        ("0", 0),
        ("None", None),
        ("melanoma=5,nevus=0.5", {"melanoma": 5, "nevus": 0.5}),
        ("a=b, c=3 , melanoma = none", {"a=b, c": 3, "melanoma": None}),
    ],
)
def test_parse_caps(text: str, caps):
    assert parse_caps(text, NAMES) == caps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the cap '' is not known; expected a number of 0 or more"),
        ("ten", "the cap 'ten' is not known"),
        ("-1", "the cap '-1' is not known; expected a number of 0 or more"),
        ("inf", "the cap 'inf'"),
        ("nan", "the cap 'nan'"),
        ("9" * 400, "the cap is inf"),
        ("nevus=ten", "the cap 'ten' of class 'nevus'"),
        ("nevus=-1", "the cap '-1' of class 'nevus'"),
        ("nevis=1", "--cap names class 'nevis'.*did you mean 'nevus'"),
        ("nevus=1,nevus=2", "--cap names class 'nevus' twice"),
        ("nevus=1,2", "the part '2' of --cap is not class=number"),
    ],
)
def test_parse_caps_refusals(text: str, message: str):
    with pytest.raises(UsageError, match=message):
        parse_caps(text, NAMES)


def test_class_caps_for_all_for_some_and_over_others():
    assert class_caps(None, NAMES) == (None,) * 4
    assert class_caps(2.0, NAMES) == (2,) * 4
    assert class_caps({"nevus": 0.5}, NAMES) == (None, 0.5, None, None)
    assert class_caps({"nevus": None}, NAMES, others=(1, 2, 3, 4)) == (1, None, 3, 4)
    assert class_caps(7, NAMES, others=(1, 2, 3, 4)) == (7,) * 4


@pytest.mark.parametrize("cap", [-1, math.nan, math.inf, True, "3", [3]])
def test_what_is_no_cap(cap):
    assert not is_cap(cap)
    with pytest.raises(UsageError, match="the cap of class 'nevus' is"):
        class_caps({"nevus": cap}, NAMES)


def test_an_unknown_class():
    with pytest.raises(UsageError, match=r"the cap names class 'nevis'.*did you mean 'nevus'"):
        plan_balance(NAMES, COUNTS, caps={"nevis": 3})


counts_and_caps = st.lists(
    st.tuples(st.integers(1, 300), st.none() | st.floats(0, 20) | st.integers(0, 20)),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(counts_and_caps, st.integers(0, 900))
def test_a_cap_takes_from_a_strategy_and_never_adds(rows, strategy: int):
    names = [f"class {k}" for k in range(len(rows))]
    counts, caps = [n for n, _ in rows], dict(zip(names, [c for _, c in rows], strict=True))
    free = plan_balance(names, counts, strategy)
    plan = plan_balance(names, counts, strategy, caps=caps)
    assert plan.asked == free.target and not any(plan.edited)
    for n, cap, new, wanted, left in zip(
        counts, plan.cap, plan.n_new, free.n_new, plan.left_out, strict=True
    ):
        assert new == (wanted if cap is None else min(wanted, most_images(cap, n) - n))
        assert new + left == wanted
    assert BalancePlan.from_json(plan.to_json()) == plan


def test_the_plan_tells_what_a_cap_leaves_out():
    plan = plan_balance(NAMES, COUNTS, caps={"melanoma": 2, "a=b, c": 0, "solar lentigo": 9})
    assert plan.target == (36, 120, 120, 4)
    assert plan.left_out == (84, 0, 0, 116)
    assert plan.reason == (
        "12 train images (few, 10.0 times fewer than the largest class); 24 new make 36, by the "
        "cap of 2 for each real one (the strategy asks for 120)",
        "120 train images (many), the most of any class; nothing to add",
        "30 train images (medium, 4.0 times fewer than the largest class); 90 new make 120",
        "4 train images (few); the cap of 0 for each real one leaves it as it is (the strategy "
        "asks for 120)",
    )
    assert plan.to_json()["left_out_by_caps"] == 200
    assert plan.notices == (
        "caps leave out 200 of the 314 images to synthesise, most of class 'a=b, c': 0 new, 116 "
        "left out",
    )


def test_caps_that_leave_nothing_are_not_taken_for_targets_met():
    plan = plan_balance(NAMES, COUNTS, caps=0)
    assert plan.total_new == 0
    assert len(plan.notices) == 1 and plan.notices[0].startswith("caps leave out 314 of the 314")


def test_new_caps_ask_the_strategy_again_and_keep_edited_targets():
    data = plan_balance(NAMES, COUNTS, caps=2).to_json()
    data["classes"][2]["target"] = 50  # of 90 that the cap allows
    plan = BalancePlan.from_json(data)
    assert plan.target == (36, 120, 50, 12)
    assert plan.with_caps(3).target == (48, 120, 50, 16)
    assert plan.with_caps({"melanoma": None}).target == (120, 120, 50, 12)
    assert plan.with_caps(0.5).target == (18, 120, 45, 6)
    assert plan.with_caps(0.5).with_caps(2).target == (36, 120, 90, 12)


def test_a_target_beyond_the_cap():
    with pytest.raises(DataError) as caught:
        BalancePlan(NAMES, COUNTS, (60, 120, 30, 4), cap=(2.5, None, None, None))
    assert str(caught.value) == (
        "class 'melanoma' has 12 train images and target 60, which takes 48 new ones, beyond its "
        "cap of 2.5 for each real one; expected a target of at most 42; lower target or raise cap"
    )
