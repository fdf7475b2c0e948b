"""How a class is drawn: by its train count, by the plan's edit or by --mode."""

import json

import pytest

from synthaug.balance.modes import (
    MODE_FROM,
    MODES,
    choose_mode,
    mode_in_use,
    mode_reason,
    parse_modes,
)
from synthaug.balance.plan import BalancePlan, plan_balance
from synthaug.errors import DataError, UsageError

NAMES = ("melanoma", "nevus", "3", "33", "a=b, c", "a")
COUNTS = (12, 120, 30, 20, 4, 1)


def test_the_table_decides_every_count_and_falls():
    bounds = [least for least, _ in MODE_FROM]
    assert bounds == sorted(bounds, reverse=True) and bounds[-1] == 1
    for least, mode in MODE_FROM:
        assert mode in MODES
        assert choose_mode(least) == mode
    assert choose_mode(10**6) == "sample"


@pytest.mark.parametrize(("count", "mode"), [(20, "sample"), (19, "variation"), (1, "variation")])
def test_choice_by_count(count: int, mode: str):
    assert choose_mode(count) == mode


def test_reasons_carry_the_numbers():
    assert mode_reason(40, "sample") == "drawn from noise (at least 20 images)"
    assert mode_reason(5, "variation") == "varied from real images (under 20 images)"
    assert mode_reason(5, "sample") == (
        "drawn from noise, as asked (with under 20 images it would be variation)"
    )
    assert mode_reason(1, "interpolate") == (
        "varied from real images, since 1 train image makes no pair"
    )


def test_one_image_is_varied_where_pairs_were_asked_for():
    assert [mode_in_use(n, "interpolate") for n in (1, 2)] == ["variation", "interpolate"]
    assert [mode_in_use(1, m) for m in ("sample", "variation")] == ["sample", "variation"]


@pytest.mark.parametrize(
    ("text", "modes"),
    [
        ("sample", "sample"),
        (" Interpolate ", "interpolate"),
        ("melanoma=sample", {"melanoma": "sample"}),
        ("melanoma = Sample , nevus=variation", {"melanoma": "sample", "nevus": "variation"}),
        ("3=sample,33=interpolate", {"3": "sample", "33": "interpolate"}),
        ("a=b, c=variation,a=sample", {"a=b, c": "variation", "a": "sample"}),
    ],
)
def test_parse_modes(text: str, modes):
    assert parse_modes(text, NAMES) == modes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("variaton", "'variaton' is not known.*did you mean 'variation'"),
        ("", "the mode '' is not known; expected one of sample, variation, interpolate"),
        ("nevus=variaton", "'variaton' of class 'nevus' is not known.*did you mean 'variation'"),
        ("nevus=", "the mode '' of class 'nevus'"),
        ("nevis=sample", "--mode names class 'nevis'.*did you mean 'nevus'"),
        ("NEVUS=sample", "did you mean 'nevus'"),
        ("nevus=sample,nevus=sample", "names class 'nevus' twice"),
        ("nevus=sample,variation", "the part 'variation' of --mode is not class=mode"),
        ("=sample", "names class ''"),
    ],
)
def test_parse_modes_refusals(text: str, message: str):
    with pytest.raises(UsageError, match=message) as caught:
        parse_modes(text, NAMES)
    assert "\n" not in str(caught.value)


def test_the_plan_chooses_tells_and_reads_back():
    plan = plan_balance(NAMES, COUNTS)
    assert plan.mode == ("variation", "sample", "sample", "sample", "variation", "variation")
    data = json.loads(json.dumps(plan.to_json()))
    assert [c["mode"] for c in data["classes"]] == list(plan.mode)
    assert data["classes"][0]["mode_reason"] == plan.mode_reason[0]
    assert plan.mode_reason[0] == "varied from real images (under 20 images)"
    data["classes"][0]["mode"] = "interpolate"
    edited = BalancePlan.from_json(data)
    assert edited.mode == ("interpolate", *plan.mode[1:])
    assert "as asked (with under 20 images it would be variation)" in edited.mode_reason[0]


def test_a_plan_of_before_there_were_modes_still_reads():
    data = plan_balance(NAMES, COUNTS).to_json()
    for entry in data["classes"]:
        del entry["mode"], entry["mode_reason"]
    assert BalancePlan.from_json(data) == plan_balance(NAMES, COUNTS)


@pytest.mark.parametrize("word", ["variaton", "Sample", None, 3, ["sample"]])
def test_a_wrong_mode_in_the_plan_names_class_and_modes(word):
    data = plan_balance(NAMES, COUNTS).to_json()
    data["classes"][1]["mode"] = word
    with pytest.raises(DataError, match=r"'nevus' has mode .*sample, variation, interpolate"):
        BalancePlan.from_json(data)


def test_with_modes():
    plan = plan_balance(NAMES, COUNTS)
    assert plan.with_modes("interpolate").mode == ("interpolate",) * 6
    assert plan.with_modes("interpolate").mode_in_use == ("interpolate",) * 5 + ("variation",)
    assert plan.with_modes({"nevus": "variation"}).mode == (
        "variation", "variation", "sample", "sample", "variation", "variation"
    )  # fmt: skip
    assert plan.with_modes("sample").target == plan.target
