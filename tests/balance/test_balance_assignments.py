"""`class=value,...`: one reader for three options, with names that hold its own signs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthaug.balance.assignments import class_position, parse_assignments
from synthaug.errors import UsageError

NAMES = ("a", "a=b, c", "33", "3", "owl")


def read(text: str, names=NAMES) -> dict[str, str]:
    return parse_assignments(
        text, names, lambda name, value: value, option="--it", form="class=value"
    )


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("owl=5", {"owl": "5"}),
        (" owl = 5 , 3=x,", {"owl": "5", "3": "x"}),
        ("3=1,33=2", {"3": "1", "33": "2"}),
        ("a=b, c=7,a=8", {"a=b, c": "7", "a": "8"}),
        ("a=8,a=b, c=7", {"a": "8", "a=b, c": "7"}),
        ("owl=", {"owl": ""}),
    ],
)
def test_values_by_class(text: str, values: dict[str, str]):
    assert read(text) == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("owl=5,x", "the part 'x' of --it is not class=value; expected class=value,class=value"),
        (",owl=5", "names class ',owl'"),
        ("Owl=5", "--it names class 'Owl'.*did you mean 'owl'"),
        ("owl=5,owl=5", "--it names class 'owl' twice"),
        ("=5", "names class ''"),
        ("[/red]=5", r"names class '\[/red\]'"),
    ],
)
def test_refusals(text: str, message: str):
    with pytest.raises(UsageError, match=message):
        read(text)


# Signs of the grammar, of regular expressions and of markup; no blanks at the ends, which a
# command line cannot tell from those around a name.
letters = st.text("ab3=,.*[]() ", min_size=1, max_size=6).map(str.strip).filter(bool)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(letters, st.integers(0, 999))
def test_every_name_of_a_dataset_can_be_told_its_value(name: str, value: int):
    assert read(f"{name}={value}", [name]) == {name: str(value)}


def test_class_position():
    assert class_position("33", NAMES, "--class") == 2
    with pytest.raises(UsageError, match=r"--class names class 'olw'.*did you mean 'owl'"):
        class_position("olw", NAMES, "--class")
