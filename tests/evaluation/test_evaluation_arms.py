"""Arms: the names people may ask for."""

import pytest

from synthaug.errors import UsageError
from synthaug.evaluation.arms import (
    DATA_SIDES,
    DEFAULT_ARMS,
    LOSS_SIDES,
    TUNED_ARMS,
    USUAL_LOSSES,
    Arm,
    parse_arms,
)
from synthaug.evaluation.losses import LOSSES


@pytest.mark.parametrize("text", ["default", " default ", "default,default", "default,real/ce"])
def test_default_arms(text):
    assert parse_arms(text, oracle=False) == DEFAULT_ARMS


def test_default_arms_hold_the_usual_remedies_and_the_control():
    assert [arm.name for arm in DEFAULT_ARMS] == [
        "real/ce", "real/la", "real+oversample/ce", "real+oversample/la",
        "copy-control/ce", "copy-control/la", "synthaug/ce", "synthaug/la",
    ]  # fmt: skip


def test_the_kinds_of_arm():
    sides = {side: Arm(side, "ce") for side in DATA_SIDES}
    assert {side for side, arm in sides.items() if arm.synthetic} == {
        "synthaug", "synthaug-unfiltered", "synthaug-weighted", "synthaug-finetune",
    }  # fmt: skip
    assert {side for side, arm in sides.items() if arm.control} == {"copy-control", "noise-control"}
    assert {side for side, arm in sides.items() if arm.oracle} == {"oracle"}


def test_the_names_of_losses_are_those_of_their_functions():
    assert set(LOSS_SIDES) == set(LOSSES)


def test_all_has_every_data_side_and_every_loss():
    arms = parse_arms("all", oracle=True, unfiltered=True)
    assert {arm.data for arm in arms if not arm.tuned} == set(DATA_SIDES)
    assert len(set(arms)) == len(arms)
    assert {arm for arm in arms if arm.tuned} == set(TUNED_ARMS)
    for side in DATA_SIDES:
        losses = [arm.loss for arm in arms if arm.data == side]
        assert losses == list(LOSS_SIDES if side in ("real", "synthaug") else USUAL_LOSSES)


def test_all_leaves_out_what_there_are_no_images_for():
    with_both = parse_arms("all", oracle=True, unfiltered=True)
    assert parse_arms("all", oracle=False) == tuple(
        arm for arm in with_both if arm.data not in ("oracle", "synthaug-unfiltered")
    )


@pytest.mark.parametrize("data", DATA_SIDES)
@pytest.mark.parametrize("loss", LOSS_SIDES)
def test_any_pair_may_be_named(data, loss):
    arms = parse_arms(f"{data}/{loss}", oracle=data == "oracle", unfiltered=True)
    assert arms == (Arm(data, loss),)


def test_list_keeps_its_order_and_drops_repeats():
    got = parse_arms("synthaug/ldam, real , synthaug,real/ce", oracle=False)
    assert [a.name for a in got] == [
        "synthaug/ldam", "real/ce", "real/la", "synthaug/ce", "synthaug/la",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("reel", "real"),
        ("real/focul", "real/focal"),
        ("mix-up", "mixup"),
        ("smote-feature/la", "smote-features/la"),
        ("synthaug/LA", "synthaug/la"),
        ("real,synthaug-finetuned", "synthaug-finetune"),
        ("al", "all"),
        ("real/", "real"),
    ],
)
def test_an_unknown_arm_is_told_the_nearest_one(text, nearest):
    with pytest.raises(UsageError) as caught:
        parse_arms(text, oracle=False)
    word = text.split(",")[-1]
    assert f"unknown arm {word!r} (did you mean {nearest!r}?)" in str(caught.value)


@pytest.mark.parametrize("text", ["", "real,,synthaug", "/ce", "transformer"])
def test_an_arm_like_no_other_is_told_what_there_is(text):
    with pytest.raises(UsageError, match="unknown arm") as caught:
        parse_arms(text, oracle=False)
    assert "DATA one of real, real+oversample, classical" in str(caught.value)
    assert "LOSS one of ce, cb, la, ldam, focal" in str(caught.value)
    assert "oracle" not in str(caught.value)


@pytest.mark.parametrize("text", ["oracle", "oracle/la", "real,oracle/ce"])
def test_oracle_needs_images(text):
    with pytest.raises(UsageError, match="--oracle DIR"):
        parse_arms(text, oracle=False)


def test_unfiltered_needs_images():
    with pytest.raises(UsageError, match="synthaug-unfiltered/la' without the images before"):
        parse_arms("synthaug-unfiltered/la", oracle=False)


@pytest.mark.parametrize(
    "text",
    ["real-tuned", "synthaug-tuned", "real-tuned/la,synthaug-tuned", "synthaug-tuned/la"],
)
def test_tuned_arms_come_together(text):
    assert parse_arms(text, oracle=False) == TUNED_ARMS
    assert [(arm.name, arm.synthetic) for arm in TUNED_ARMS] == [
        ("real-tuned/la", False), ("synthaug-tuned/la", True),
    ]  # fmt: skip


def test_default_has_no_tuned_arms():
    assert not any(arm.tuned for arm in DEFAULT_ARMS)


def test_the_loss_of_a_tuned_arm_is_not_to_be_named():
    with pytest.raises(UsageError, match="real-tuned/ce': the loss of a tuned arm is tuned"):
        parse_arms("real-tuned/ce", oracle=False)
    for unknown in ("real-tuned/", "real-tuned/lla"):
        with pytest.raises(UsageError, match="unknown arm 'real-tuned/"):
            parse_arms(unknown, oracle=False)


def test_oracle_is_added_once():
    assert parse_arms("real/ce", oracle=True) == (Arm("real", "ce"), Arm("oracle", "ce"))
    assert parse_arms("oracle/la", oracle=True) == (Arm("oracle", "la"),)
    assert parse_arms("default", oracle=True) == (*DEFAULT_ARMS, Arm("oracle", "ce"))
