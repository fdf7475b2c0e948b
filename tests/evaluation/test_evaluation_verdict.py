"""The verdict: what it says in planted cases, and how often chance gets one."""

import re

import numpy as np
import pytest

from synthaug.evaluation import verdict as module
from synthaug.evaluation.opponents import Contest
from synthaug.evaluation.paired import Difference
from synthaug.evaluation.verdict import _overall, judge

NAMES = ("cat", "dog", "emu", "fox")
MINORITY = np.array([False, False, True, True])
N_TEST = (120, 90, 60, 40)


@pytest.fixture
def quick(monkeypatch):
    """Without what takes most of the time and has no part in what is advised."""
    monkeypatch.setattr(module, "smallest_detectable", lambda *a, **k: None)
    monkeypatch.setattr(module, "find_prices", lambda *a, **k: ())


def judged(
    world, ours, *others, n_test=N_TEST, repetitions=1, seed=0, minority=MINORITY, **options
):
    """Judgements of arms with these recalls by class; `others` are called A, B, ..."""
    drawn = world(recall=(ours, *others), n_test=n_test, **options)
    rivals = "ABCDEF"[: len(others)]
    rng = np.random.default_rng(seed)
    for start in range(0, repetitions, 100):
        for predictions in drawn.draw(rng, min(100, repetitions - start)):
            yield judge(
                drawn.y_true, dict(zip(("ours", *rivals), predictions, strict=True)),
                ours="ours", opponents=list(rivals), class_names=NAMES[: len(n_test)],
                minority=minority[: len(n_test)],
            )  # fmt: skip


def one(world, *arms, **options):
    return next(judged(world, *arms, **options))


# What is said -------------------------------------------------------------------------------------

PLAIN = (0.8, 0.8, 0.5, 0.4)
NUMBERS = r"[+-]\d\.\d{3} \[[+-]\d\.\d{3}, [+-]\d\.\d{3}\]"


def test_a_gain_in_rare_classes_is_used(world):
    j = one(world, (0.8, 0.8, 0.85, 0.9), PLAIN, (0.75, 0.8, 0.45, 0.4))
    assert j.advice == "use"
    assert re.fullmatch(
        rf"use: recall of the minority classes {NUMBERS} against [AB], "
        rf"balanced accuracy {NUMBERS} against [AB]", j.sentence
    )  # fmt: skip
    assert [c.advice for c in j.classes] == ["cannot tell", "cannot tell", "use", "use"]
    fox = j.classes[3]
    assert re.fullmatch(rf"use: recall {NUMBERS} against {fox.opponent}", fox.sentence)
    assert f"{fox.recall.mean:+.3f} [{fox.recall.low:+.3f}" in fox.reason
    assert fox.p < 0.05
    assert j.minority_recall.low > 0
    assert j.macro_f1.mean > 0


def test_row_104_no_better_is_no_evidence(world):
    j = one(world, PLAIN, PLAIN)
    assert j.advice == "cannot tell"
    assert j.reason.startswith("no evidence of a gain; recall of the minority classes")
    for c in j.classes:
        assert c.advice == "cannot tell"
        assert c.recall.low < 0 < c.recall.high
        assert re.fullmatch(
            rf"cannot tell: recall {NUMBERS} against A; {c.n_test} test images and 5 seeds "
            rf"would show {c.detectable:.3f} or more", c.sentence
        )  # fmt: skip


def test_a_loss_is_not_used(world):
    j = one(world, (0.8, 0.8, 0.2, 0.1), PLAIN)
    assert j.advice == "do not use"
    assert [c.advice for c in j.classes][2:] == ["do not use", "do not use"]
    assert re.search(rf"; lost .*recall of “emu” {NUMBERS}", j.reason)


def test_a_gain_names_the_classes_that_paid(world):
    """Balanced accuracy is up, the cats lose half of their recall."""
    j = one(world, (0.4, 0.8, 0.9, 0.95), PLAIN)
    assert j.advice == "use"
    assert re.search(rf"; paid for with .*recall of “cat” {NUMBERS}", j.reason)
    assert [(p.k, p.metric) for p in j.prices if p.metric == "recall"] == [(0, "recall")]
    emu = j.classes[2]
    assert emu.advice == "use"
    assert "recall of “cat” -0." in emu.reason.split("; paid for with ")[1]
    assert any(p.k == 0 for p in emu.prices)
    assert j.classes[0].advice == "do not use"
    assert j.classes[0].prices == ()


def test_more_lost_than_gained_is_a_trade(world):
    j = one(world, (0.3, 0.3, 0.9, 0.4), PLAIN, n_test=(400,) * 4)
    assert j.sentence.startswith(
        "cannot tell: a trade, not a gain; recall of the minority classes +"
    )
    assert re.search(rf"; lost .*recall of “dog” {NUMBERS}", j.reason)
    assert j.balanced_accuracy.high < 0 < j.minority_recall.low


def test_fewer_than_six_test_images_say_nothing(world):
    j = one(world, (0.8, 0.8, 0.9, 0.99), PLAIN, n_test=(120, 90, 5, 1))
    assert j.classes[2].sentence == "cannot tell: only 5 test images"
    assert j.classes[3].sentence == "cannot tell: only 1 test image"
    assert j.classes[2].recall is None
    assert j.sentence.startswith("cannot tell: no evidence")


def test_row_101_classes_and_minorities_without_test_images(world):
    j = one(world, PLAIN[:2], PLAIN[:2], n_test=(60, 60), minority=np.array([False, False]))
    assert j.sentence == "cannot tell: no minority class has test images"
    assert j.minority_recall is None
    assert j.balanced_accuracy is not None
    drawn = world(recall=(PLAIN[:2],) * 2, n_test=(60, 60))
    (predictions,) = drawn.draw(np.random.default_rng(0), 1)
    j = judge(
        drawn.y_true, dict(zip("xy", predictions, strict=True)), ours="x", opponents=["y"],
        class_names=NAMES, minority=MINORITY,
    )  # fmt: skip
    assert j.classes[2].sentence == "cannot tell: no test images"
    assert j.advice == "cannot tell"


def test_few_test_images_of_all_minority_classes(world):
    j = one(world, (0.8, 0.8, 0.9, 0.99), PLAIN, n_test=(120, 90, 2, 3))
    assert j.sentence == "cannot tell: only 5 test images of the minority classes"


def test_one_seed_and_no_opponent_say_nothing(world):
    j = one(world, PLAIN, PLAIN, n_seeds=1, n_test=(20, 20, 20, 3))
    assert j.advice == "cannot tell"
    assert "one seed" in j.reason
    assert "one seed" in j.classes[0].reason
    assert j.classes[3].reason == "only 3 test images"
    j = one(world, PLAIN)
    assert "no arm without synthetic images" in j.reason
    assert {c.advice for c in j.classes} == {"cannot tell"}


def test_the_same_predictions_give_the_same_words(world):
    assert one(world, PLAIN, PLAIN, seed=3) == one(world, PLAIN, PLAIN, seed=3)


def test_a_weak_opponent_flatters_nobody(world):
    """Ours is far better than A and equal to B, which stays."""
    j = one(world, PLAIN, (0.5, 0.5, 0.2, 0.1), PLAIN)
    assert j.opponents == ("B",)
    assert j.advice == "cannot tell"


def test_every_arm_that_may_be_the_best_must_be_beaten(world):
    """B equals A overall; it is as good as ours in the fox and bad at the dog."""
    j = one(world, (0.8, 0.8, 0.5, 0.9), PLAIN, (0.8, 0.32, 0.5, 0.9), n_test=(400,) * 4)
    assert set(j.opponents) == {"A", "B"}
    assert j.classes[3].advice == "cannot tell"
    assert j.classes[3].opponent == "B"


def test_chance_among_many_is_said_so(world):
    """An interval off zero that does not survive the correction."""
    for j in judged(world, (0.8, 0.8, 0.5, 0.62), PLAIN, repetitions=60):
        fox = j.classes[3]
        if fox.recall.reading == "better" and fox.p >= 0.05:
            assert fox.sentence.endswith("against A, which chance also gives among 4 classes")
            break
    else:
        pytest.fail("no such case was drawn")


# The rules of the overall verdict -----------------------------------------------------------------


def found(word):
    outcome, p = {"better": ("better", 0.001), "worse": ("worse", 0.001)}.get(word, ("better", 0.4))
    sign = 1 if outcome == "better" else -1
    d = Difference(0.1 * sign, 0.0, 0.2, p, (0.1,) * 5, 0.0, 0.001, 9)
    return Contest(outcome, p, d, "A")


@pytest.mark.parametrize(
    ("minority", "balanced", "f1", "advice", "words"),
    [
        ("better", "better", "none", "use", ""),
        ("better", "none", "none", "use", ""),
        ("better", "better", "worse", "cannot tell", "a trade"),
        ("better", "worse", "none", "cannot tell", "a trade"),
        ("none", "better", "better", "cannot tell", "no evidence"),
        ("none", "none", "better", "cannot tell", "no evidence"),
        ("none", "none", "worse", "cannot tell", "no evidence"),
        ("none", "worse", "none", "do not use", ""),
        ("worse", "better", "none", "cannot tell", "a trade"),
        ("worse", "none", "none", "do not use", ""),
        ("worse", "worse", "worse", "do not use", ""),
    ],
)
def test_every_combination(minority, balanced, f1, advice, words):
    contests = [found(word) for word in (minority, balanced, f1)]
    told, reason = _overall(contests, 100)
    assert told == advice
    assert reason.startswith(words or "recall of the minority classes")
    assert ("macro F1" in reason) == (f1 == "worse")


def test_two_questions_are_corrected_for():
    nearly = Contest("better", 0.03, found("better").difference, "A")
    assert _overall([nearly, found("none"), found("none")], 100)[0] == "cannot tell"
    assert _overall([nearly, found("better"), found("none")], 100)[0] == "use"


# Calibration --------------------------------------------------------------------------------------

EQUAL = {
    "alike": {"taste": 0.0, "run": 0.15},
    "seeds differ": {"taste": 0.3, "run": 0.5},
    "images differ": {"taste": 1.2, "run": 0.05},
}


def above(rate, repetitions):
    """A rate and three standard errors of its estimate."""
    return rate + 3 * (rate * (1 - rate) / repetitions) ** 0.5


def check_equal_arms(world, n_test, n_opponents, repetitions, **options):
    """No more than 5 % are advised anything: overall, and in any class."""
    equal = [(0.9, 0.8, 0.7, 0.6)[: len(n_test)]] * (1 + n_opponents)
    judgements = list(judged(world, *equal, n_test=n_test, repetitions=repetitions, **options))
    for advised in (
        [j.advice != "cannot tell" for j in judgements],
        [any(c.advice != "cannot tell" for c in j.classes) for j in judgements],
    ):
        assert np.mean(advised) <= above(0.05, repetitions)
    used = [any(c.advice == "use" for c in j.classes) for j in judgements]
    assert np.mean(used) <= above(0.025, repetitions)
    return judgements


@pytest.mark.parametrize("name", ["seeds differ", "images differ"])
def test_equal_arms_are_advised_nothing(world, quick, name):
    judgements = check_equal_arms(world, (60, 40, 25, 10), 1, 1000, **EQUAL[name])
    assert any(c.advice != "cannot tell" for j in judgements for c in j.classes)  # not mute


@pytest.mark.slow
@pytest.mark.parametrize("n_seeds", [3, 5])
@pytest.mark.parametrize("n_opponents", [1, 2, 5])
@pytest.mark.parametrize("name", EQUAL)
def test_equal_arms_in_every_corner(world, quick, name, n_opponents, n_seeds):
    options = {**EQUAL[name], "n_seeds": n_seeds, "seed": 5}
    check_equal_arms(world, (200, 60, 25, 7), n_opponents, 2000, **options)


def test_the_best_of_several_opponents_is_chosen_at_no_cost_to_either_side(world, quick):
    """Ours equals the best of four, two of which are worse: neither bias of choosing shows."""
    best, worse = (0.8, 0.7, 0.6, 0.6), (0.78, 0.66, 0.5, 0.5)
    judgements = list(judged(world, best, best, best, worse, worse, repetitions=200, taste=0.8))
    for advice in ("use", "do not use"):
        said = np.mean([j.advice == advice for j in judgements])
        assert said <= above(0.025, 200)
        said = np.mean([any(c.advice == advice for c in j.classes) for j in judgements])
        assert said <= above(0.025, 200)


def test_a_large_effect_is_found(world, quick):
    better = list(judged(world, (0.8, 0.8, 0.75, 0.7), PLAIN, PLAIN, repetitions=100))
    assert np.mean([j.advice == "use" for j in better]) >= 0.8
    assert not any(j.advice == "do not use" for j in better)


def test_twice_the_detectable_difference_of_a_class_is_found(world, monkeypatch):
    """Detectable at the level corrected for four classes, in comparisons of equal arms."""
    base = (0.8, 0.7, 0.6, 0.15)
    n_test = (60, 60, 60, 200)
    told = [
        j.classes[3].detectable for j in judged(world, base, base, n_test=n_test, repetitions=30)
    ]
    planted = (*base[:3], base[3] + 2 * float(np.median(told)))
    assert planted[3] < 0.95
    monkeypatch.setattr(module, "smallest_detectable", lambda *a, **k: None)
    better = list(judged(world, planted, base, n_test=n_test, repetitions=100, seed=1))
    assert np.mean([j.classes[3].advice == "use" for j in better]) >= 0.8
