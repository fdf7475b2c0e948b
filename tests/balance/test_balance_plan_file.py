"""plan.json: what may be edited is followed, and what may not is told by class and numbers."""

import json

import pytest

from synthaug.balance.plan import BalancePlan, plan_balance
from synthaug.balance.plan_file import EDITABLE, parse_plan
from synthaug.errors import DataError

NAMES = ("melanoma", "nevus", "solar lentigo", "a=b, c")
COUNTS = (12, 120, 30, 4)
KNOWN = dict(zip(NAMES, COUNTS, strict=True))


def written(**options):
    return json.loads(json.dumps(plan_balance(NAMES, COUNTS, **options).to_json()))


def edited(k: int = 0, **changes):
    data = written()
    data["classes"][k].update(changes)
    return data


def read(data) -> BalancePlan:
    return BalancePlan.from_json(data, KNOWN)


def fault(data) -> str:
    with pytest.raises(DataError) as caught:
        read(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_may_be_edited_stands_before_what_explains_it():
    entry = written()["classes"][0]
    assert tuple(entry)[2:5] == EDITABLE
    assert entry["planned"] == entry["target"] == 120 and entry["n_new"] == 108


@pytest.mark.parametrize("gone", [(), ("n_new",), ("n_new", "planned")])
def test_an_edited_target_is_followed(gone):
    data = edited(target=50)
    for key in gone:
        del data["classes"][0][key]
    plan = read(data)
    assert plan.n_new == (38, 0, 90, 116)
    assert plan.reason[0].endswith("38 new make 50, as edited (the strategy asks for 120)")
    again = plan.to_json()["classes"][0]
    assert (again["target"], again["planned"], again["n_new"]) == (50, 50, 38)


def test_without_the_target_as_it_was_planned_n_new_must_be_right():
    data = edited(target=50)
    del data["classes"][0]["planned"]
    assert "n_new 108" in fault(data)
    data["classes"][0]["n_new"] = 38
    assert read(data).n_new[0] == 38


def test_target_and_n_new_may_be_edited_together():
    assert read(edited(target=50, n_new=38)).n_new[0] == 38


def test_a_target_may_be_edited_again_and_again():
    data = edited(target=50)
    for target in (60, 12, 120):
        data = read(data).to_json()
        data["classes"][0]["target"] = target
    plan = read(data)
    assert plan == plan_balance(NAMES, COUNTS)


def test_cap_and_mode_are_followed():
    plan = read(edited(cap=9, mode="interpolate"))
    assert plan.cap == (9, None, None, None) and plan.target[0] == 120
    assert plan.mode[0] == "interpolate"


def test_cap_and_target_may_be_edited_together():
    data = written(caps=2)
    data["classes"][0].update(cap=10, target=100)
    plan = read(data)
    assert plan.n_new == (88, 0, 60, 8)
    assert plan.edited == (True, False, False, False)


def test_the_explanations_are_worked_out_again():
    data = edited(group="huge", minority=None, reason="because", mode_reason=3)
    data.update(total_new=-1, imbalance_ratio="x", left_out_by_caps=None)
    assert read(data) == plan_balance(NAMES, COUNTS)
    assert read(data).to_json() == written()


def test_the_order_of_the_classes_is_the_dataset_s():
    data = written()
    data["classes"].reverse()
    assert read(data) == plan_balance(NAMES, COUNTS)


def test_plans_of_earlier_versions_read():
    data = written()
    del data["left_out_by_caps"]
    for entry in data["classes"]:
        for key in ("cap", "planned", "mode", "mode_reason"):
            del entry[key]
    assert read(data) == plan_balance(NAMES, COUNTS)


@pytest.mark.parametrize("strategy", ["minority", 200, {"nevus": 130}])
def test_a_strategy_reads_back(strategy):
    assert read(written(strategy=strategy)) == plan_balance(NAMES, COUNTS, strategy)


def test_a_share_reads_back():
    plan = plan_balance(["a", "b"], [10, 40], 0.5)
    assert BalancePlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_new": 60}, ["n_new 60", "12 train images", "target 120", "108", "edit target", "72"]),
        ({"n_new": -1}, ["n_new -1", "target 120", "edit target"]),
        ({"target": 50, "n_new": 40}, ["n_new 40", "target 50", "38", "edit target instead: 52"]),
        ({"target": 10}, ["12 train images, target 10 is lower", "raise the target to 12"]),
        ({"target": -5}, ["negative target -5", "12 or more"]),
        ({"target": "many"}, ["target 'many'", "a whole number"]),
        ({"target": 50.5}, ["target 50.5", "a whole number"]),
        ({"target": 50.0}, ["target 50.0", "a whole number"]),
        ({"target": True}, ["target True", "a whole number"]),
        ({"target": None}, ["target None", "a whole number"]),
        ({"train_images": 13}, ["train_images 13", "the dataset's 12", "only target, cap, mode"]),
        ({"train_images": 0}, ["train_images 0", "the dataset's 12"]),
        ({"train_images": None}, ["train_images None", "a whole number"]),
        ({"n_new": 1.5}, ["n_new 1.5", "a whole number"]),
        ({"planned": "x"}, ["planned 'x'", "a whole number"]),
        ({"cap": 2}, ["12 train images", "target 120", "108", "cap of 2", "at most 36", "raise"]),
        ({"cap": -1}, ["cap -1", "0 or more", "or null"]),
        ({"cap": "ten"}, ["cap 'ten'", "0 or more"]),
        ({"cap": float("nan")}, ["cap nan", "0 or more"]),
        ({"cap": True}, ["cap True"]),
        ({"mode": "variaton"}, ["mode 'variaton'", "sample, ", "did you mean 'variation'"]),
        ({"mode": ["sample"]}, ["mode ['sample']", "sample, variation"]),
        ({"taget": 50}, ["unknown key 'taget'", "did you mean 'target'"]),
        ({"zzz": 50}, ["unknown key 'zzz'", "target, cap, mode", "remove it"]),
        ({"target": 2_000_000}, ["2,000,194 new images", "1,999,988 of them", "at most 1,000,000"]),
    ],
)  # fmt: skip
def test_a_wrong_edit_is_told_by_class_and_numbers(changes, words):
    told = fault(edited(**changes))
    assert "'melanoma'" in told
    assert [w for w in words if w not in told] == []


def test_row_99_a_huge_target_in_a_file_is_refused_with_the_number():
    told = fault(edited(target=10**22))
    assert "10,000,000,000,000,000,000,194 new images in all" in told and "1,000,000" in told


@pytest.mark.parametrize(
    ("k", "changes", "words"),
    [
        (0, {"name": "nevus"}, ["'nevus' is in the plan twice"]),
        (0, {"name": "melanom"}, ["'melanom'", "does not have", "did you mean 'melanoma'"]),
        (0, {"name": "zzz"}, ["'zzz'", "melanoma, nevus", "remove the entry"]),
        (0, {"name": 3}, ["a class without a name"]),
    ],
)
def test_wrong_names(k, changes, words):
    told = fault(edited(k, **changes))
    assert [w for w in words if w not in told] == []


def test_a_missing_class_is_named_with_what_to_put_back():
    data = written()
    del data["classes"][2]
    assert fault(data) == (
        "class 'solar lentigo' is missing from the plan, which has 3 classes; expected the "
        "dataset's 4; put its entry back: train_images 30, target 30 or more"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": None}, ["no list of classes"]),
        ({"classes": []}, ["no list of classes"]),
        ({"classes": ["nevus"]}, ["a class without a name: 'nevus'"]),
        ({"minority_below": 2}, ["minority_below is 2"]),
        ({"strategy": None}, ["strategy", "None"]),
        ({"strategy": "autoo"}, ["strategy", "'autoo'", "auto, minority", "edit its target"]),
        ({"strategy": {"nevis": 200}}, ["strategy", "'nevis'"]),
        ({"strategy": 0.5}, ["strategy", "share", "two classes"]),
        ({"stratgy": "auto"}, ["unknown key 'stratgy'", "did you mean 'strategy'"]),
    ],
)
def test_wrong_edits_of_the_whole(changes, words):
    told = fault({**written(), **changes})
    assert [w for w in words if w not in told] == []


@pytest.mark.parametrize("data", [None, 3, "plan", ["classes"]])
def test_what_is_no_plan_at_all(data):
    assert "no JSON object" in fault(data)


def test_an_edited_strategy_is_not_obeyed_but_told():
    plan = read({**written(), "strategy": "minority"})
    assert plan.target == plan_balance(NAMES, COUNTS).target
    assert plan.warnings[0] == (
        "the plan was edited: class 'melanoma' (and 1 other) has target 120, where the strategy "
        "'minority' asks for 12"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n  "classes": [\n    {"name": "a",},\n', ["line 3, column"]),
        ("", ["line 1, column 1"]),
        ('{"a": }', ["line 1, column 7"]),
        ('{"n": ' + "9" * 5000 + "}", ["not valid JSON", "undo the edit"]),
        ("[" * 100_000, ["not valid JSON"]),
    ],
)
def test_row_53_wrong_json_is_told_by_line_and_column(text, words):
    with pytest.raises(DataError) as caught:
        parse_plan(text)
    assert [w for w in words if w not in str(caught.value)] == []


def test_a_key_that_stands_twice_is_not_decided_in_silence():
    text = json.dumps(written(), indent=2).replace('"target": 120', '"target": 50, "target": 60', 1)
    with pytest.raises(DataError, match="'target' of class 'melanoma' stands there twice, with 50"):
        parse_plan(text)
