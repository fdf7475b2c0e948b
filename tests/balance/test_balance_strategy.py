"""Strategies: imbalanced-learn's words and numbers, and refusals in our own words."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.utils import check_sampling_strategy

from synthaug.balance.strategy import WORDS, check_strategy, parse_strategy, target_counts
from synthaug.errors import DataError, SynthaugError, UsageError

NAMES = ("melanoma", "nevus", "solar lentigo", "a=b, c")
COUNTS = (12, 120, 30, 4)
quick = settings(deadline=None, max_examples=60, derandomize=True)
many_counts = st.lists(st.integers(1, 300), min_size=2, max_size=8)


def names_for(counts):
    return [f"class {k}" for k in range(len(counts))]


def by_imbalanced_learn(strategy, counts) -> list[int]:
    added = check_sampling_strategy(
        strategy, np.repeat(range(len(counts)), counts), "over-sampling"
    )
    return [count + added.get(k, 0) for k, count in enumerate(counts)]


@quick
@given(many_counts, st.sampled_from(WORDS))
def test_words_equal_imbalanced_learn(counts, word: str):
    found = target_counts(word, names_for(counts), counts)
    assert found == by_imbalanced_learn(word, counts)


@quick
@given(many_counts, st.data())
def test_final_counts_equal_imbalanced_learn(counts, data):
    more = {k: n + data.draw(st.integers(0, 200)) for k, n in enumerate(counts)}
    some = {k: n for k, n in more.items() if data.draw(st.booleans())}
    asked = {f"class {k}": n for k, n in some.items()}
    found = target_counts(asked, names_for(counts), counts)
    assert found == by_imbalanced_learn(some, counts)


@quick
@given(st.lists(st.integers(1, 300), min_size=2, max_size=2), st.floats(0.001, 1))
def test_shares_equal_imbalanced_learn(counts, share: float):
    """Where it refuses, the share is below the present one, or makes no whole image."""
    present = min(counts) / max(counts)
    try:
        expected = by_imbalanced_learn(share, counts)
    except ValueError:
        if share < present:
            with pytest.raises(DataError, match="already"):
                target_counts(share, names_for(counts), counts)
            return
        expected = counts
    assert target_counts(share, names_for(counts), counts) == expected


@pytest.mark.parametrize("share", [0.1, 0.5, 0.75, 1.0])
def test_a_share_is_what_the_smaller_class_then_has(share: float):
    small, large = target_counts(share, ["few", "many"], [8, 80])
    assert (small / large, large) == (share, 80)


def test_two_equal_classes_have_a_share_of_one():
    assert target_counts(1.0, ["a", "b"], [7, 7]) == [7, 7]
    with pytest.raises(DataError, match="7 train images and 'b' 7, which is 1 already"):
        target_counts(0.99, ["a", "b"], [7, 7])


def test_a_share_below_the_present_one_is_told_with_the_numbers():
    with pytest.raises(DataError) as caught:
        target_counts("0.5", ["few", "many"], [47, 60])
    assert str(caught.value) == (
        "the strategy asks for a share of 0.5, but class 'few' has 47 train images and 'many' 60, "
        "which is 0.7833 already; expected only images added, never removed; raise the share to "
        "0.784 or more"
    )
    assert target_counts("0.784", ["few", "many"], [47, 60]) == [47, 60]


@pytest.mark.parametrize(("k", "told"), [(1, "has 1 class;"), (3, "has 3 classes;")])
def test_a_share_needs_two_classes(k: int, told: str):
    with pytest.raises(UsageError, match=f"share of the larger class.*{told}.*exactly two classes"):
        target_counts(0.5, NAMES[:k], COUNTS[:k])


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, float("nan"), float("inf")])
def test_a_share_out_of_range(share: float):
    with pytest.raises(UsageError, match="more than 0 and at most 1"):
        target_counts(share, ["a", "b"], [5, 9])


def test_a_whole_number_is_a_final_count_though_a_share_may_be_one():
    assert target_counts("1", ["a", "b"], [5, 9]) == [5, 9]
    assert target_counts("1.0", ["a", "b"], [5, 9]) == [9, 9]


@pytest.mark.parametrize("word", WORDS)
def test_row_29_a_single_class_stays_under_every_word(word: str):
    assert target_counts(word, ["only"], [5]) == [5]


def test_row_29_a_single_class_may_have_a_number():
    assert target_counts(8, ["only"], [5]) == target_counts("only=8", ["only"], [5]) == [8]


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("auto", "auto"),
        (" Minority ", "minority"),
        ("not majority", "not majority"),
        ("not-minority", "not minority"),
        ("ALL", "all"),
        ("200", 200),
        ("0", 0),
        ("0.5", 0.5),
        (".25", 0.25),
        ("1.", 1.0),
        ("melanoma=200", {"melanoma": 200}),
        ("melanoma=200,nevus=150", {"melanoma": 200, "nevus": 150}),
        ("solar lentigo = 40 , a=b, c=7", {"solar lentigo": 40, "a=b, c": 7}),
    ],
)
def test_parse_strategy(text: str, strategy):
    found = parse_strategy(text, NAMES)
    assert (found, type(found)) == (strategy, type(strategy))


def test_classes_named_like_numbers_and_words():
    assert parse_strategy("5=20,auto=30", ["5", "auto"]) == {"5": 20, "auto": 30}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("autoo", "'autoo' is not known.*did you mean 'auto'"),
        ("majority", "'majority' would only add to the largest class"),
        ("", "is not known"),
        ("1.5", r"1\.5 is a share of the larger class.*at most 1.*such as 200"),
        ("nan", "is not known"),
        ("-3", "the strategy '-3' is negative"),
        ("-0.5", r"-0\.5 is a share of the larger class"),
        ("9" * 5000, "has 5000 digits"),
        ("melanoma=-3", "target of class 'melanoma' is negative"),
        (f"melanoma={'9' * 5000}", "target of class 'melanoma' has 5000 digits"),
        ("Melanom=20", r"class 'Melanom', which .* did you mean 'melanoma'"),
        ("MELANOMA=20", "did you mean 'melanoma'"),
        ("nevus=20,nevus=30", "names class 'nevus' twice"),
        ("nevus=twenty", "'nevus=twenty' of the strategy is not class=number"),
        ("nevus=0.5", r"'nevus=0\.5' of the strategy is not class=number"),
        ("nevus=20,melanoma", "'melanoma' of the strategy is not class=number"),
        ("=20", "names class ''"),
    ],
)
def test_parse_strategy_refusals(text: str, message: str):
    with pytest.raises(UsageError, match=message) as caught:
        parse_strategy(text, NAMES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (True, "the strategy is True"),
        (None, "the strategy is None"),
        (["nevus"], "the strategy is"),
        (-3, "is negative"),
        ({"nevus": 1.5}, r"class 'nevus' the target 1\.5"),
        ({"nevus": True}, "class 'nevus' the target True"),
        ({"nevus": -1}, "target of class 'nevus' is negative"),
        ({"nevis": 200}, "did you mean 'nevus'"),
    ],
)
def test_check_strategy_refusals(strategy, message: str):
    with pytest.raises(UsageError, match=message):
        check_strategy(strategy, NAMES, COUNTS)


def test_a_target_below_the_count():
    with pytest.raises(DataError) as caught:
        target_counts({"melanoma": 10}, NAMES, COUNTS)
    assert str(caught.value).startswith(
        "class 'melanoma' has 12 train images, target 10 is lower; "
    )
    assert "raise the target to 12 or more" in caught.value.remedy


def test_numbers_of_numpy_are_numbers():
    found = check_strategy({"nevus": np.int64(200)}, NAMES, COUNTS)
    assert found == {"nevus": 200} and type(found["nevus"]) is int


@quick
@given(many_counts, st.one_of(st.text(max_size=12), st.floats(), st.integers(), st.none()))
def test_nothing_of_imbalanced_learn_reaches_the_user(counts, strategy):
    try:
        targets = target_counts(strategy, names_for(counts), counts)
    except SynthaugError:
        return
    assert all(t >= n for t, n in zip(targets, counts, strict=True))
