"""Tuning: what is tried, and what is chosen from what validation told."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from synthaug.evaluation.arms import DATA_SIDES, Material, training_set
from synthaug.evaluation.sides import with_trial
from synthaug.evaluation.tuning import (
    AMOUNTS,
    ROUNDS,
    TRIALS,
    Trial,
    choose,
    lead,
    scores,
    survivors,
)

LABELS = np.repeat([0, 1, 2, 3], [120, 60, 16, 6])
RARE = np.array([False, False, True, True])
OURS = TRIALS["synthaug-tuned"]


def simulated(chances, seed, *, seeds=1, shared=0.7):
    """What trials with these chances of being right [K] got right; images are hard for all alike.

    `shared` is the part of the luck of an image that all trials have in common.
    """
    rng = np.random.default_rng(seed)
    common = rng.uniform(size=len(LABELS))
    outcomes = {}
    for trial, chance in chances.items():
        own = rng.uniform(size=(seeds, len(LABELS)))
        u = np.where(rng.uniform(size=own.shape) < shared, common, own)
        outcomes[trial] = u < np.asarray(chance)[LABELS]
    return outcomes


# What is tried ------------------------------------------------------------------------------------


def test_both_sides_try_equally_many_different_trials():
    assert {len(set(trials)) for trials in TRIALS.values()} == {ROUNDS[0][0]}
    assert set(TRIALS) == {"synthaug-tuned", "real-tuned"}


def test_the_opponent_has_no_synthetic_images_and_ours_may_have_none():
    assert not any(t.share for t in TRIALS["real-tuned"])
    without = [t for t in OURS if not t.share]
    # The simple remedies alone: logit adjustment, oversampling, both.
    assert {(t.tau, t.power) for t in without} == {(1, 0), (0, 1), (1, 1)}
    assert set(without) <= set(TRIALS["real-tuned"])
    assert {t.share for t in OURS} == {0, 0.25, 0.5, 1}
    assert {t.amount for t in OURS} == set(AMOUNTS)


def test_names_and_words_tell_trials_apart():
    trials = {t for own in TRIALS.values() for t in own}
    assert len({t.name for t in trials}) == len({t.words for t in trials}) == len(trials)


def test_rounds_keep_fewer_trials_and_give_them_more_seeds():
    assert all(more[0] < less[0] and more[1] > less[1] for less, more in pairwise(ROUNDS))


# What a trial trains on ---------------------------------------------------------------------------


def pool(counts, first=0):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    np.random.default_rng(first).shuffle(labels)
    images = np.zeros((len(labels), 1, 2, 2), np.uint8)
    images[:] = (first + np.arange(len(labels)))[:, None, None, None]
    return images, labels


@pytest.fixture
def material():
    return Material(pool([30, 12, 3]), 3, synthetic=pool([0, 18, 27], 100), synthetic_share=0.5)


@pytest.mark.parametrize(
    ("trial", "side"),
    [
        (Trial(0, 0, 0), "real"),
        (Trial(0, 1, 1), "real+oversample"),
        (Trial(0.5, 0, 1), "synthaug"),
    ],
)
def test_trials_that_are_plain_arms_draw_as_they_do(material, trial, side):
    got, expected = with_trial(material, trial), DATA_SIDES[side](material)
    np.testing.assert_array_equal(got.images, expected.images)
    np.testing.assert_array_equal(got.labels, expected.labels)
    np.testing.assert_allclose(got.weights, expected.weights)
    assert got.tau == trial.tau


def test_power_lies_between_natural_and_balanced(material):
    data = with_trial(material, Trial(0, 0, 0.5))
    shares = np.bincount(data.labels, data.weights)
    np.testing.assert_allclose(shares, np.sqrt([30, 12, 3]) / np.sqrt([30, 12, 3]).sum())
    mixed = with_trial(material, Trial(1, 0, 0.5))
    np.testing.assert_allclose(np.bincount(mixed.labels, mixed.weights), shares)


def test_double_takes_the_first_images_of_a_class_up_to_its_real_ones(material):
    data = with_trial(material, Trial(1, 0, 1, "double"))
    added, labels = data.images[45:], data.labels[45:]
    np.testing.assert_array_equal(np.bincount(labels, minlength=3), [0, 12, 3])
    images, of = material.synthetic
    np.testing.assert_array_equal(added[labels == 2], images[of == 2][:3])
    # Half of the draws of a class that is doubled are synthetic.
    assert data.weights[45:][labels == 2].sum() == pytest.approx(1 / 6)


def test_without_share_synthetic_images_are_not_even_there(material):
    none = replace(material, synthetic=None)
    assert len(with_trial(material, Trial(0, 1, 1)).labels) == 45
    assert len(with_trial(none, Trial(0, 1, 1)).labels) == 45
    with pytest.raises(ValueError, match="synthetic images"):
        with_trial(none, Trial(0.5, 1, 1))


def test_a_tuned_side_is_what_was_chosen_for_it(material):
    with pytest.raises(ValueError, match="needs a choice"):
        training_set("real-tuned", material)
    tuned = {"real-tuned": Trial(0, 0.5, 0), "synthaug-tuned": Trial(1, 1.5, 1)}
    chosen = replace(material, tuned=tuned)
    assert training_set("real-tuned", chosen).tau == 0.5
    ours = training_set("synthaug-tuned", chosen)
    assert ours.tau == 1.5 and len(ours.labels) == 90


# Scores -------------------------------------------------------------------------------------------


def test_scores_by_hand():
    labels = np.array([0, 0, 0, 0, 2, 2])
    right = np.array([[1, 1, 1, 0, 1, 0], [1, 1, 0, 0, 0, 0]], dtype=bool)
    balanced, of_rare = scores(right, labels, np.array([False, True, True]))
    assert balanced == pytest.approx((5 / 8 + 1 / 4) / 2)
    assert of_rare == pytest.approx(1 / 4)  # class 1 has no validation image
    assert np.isnan(scores(right, labels, np.array([False, True, False]))[1])


def test_lead_by_hand():
    labels = np.array([0, 0, 1])
    first, second = np.array([[1, 1, 0]], bool), np.array([[1, 0, 0]], bool)
    mean, error = lead(first, second, labels)
    assert mean == pytest.approx(1 / 4)
    # Class 0: differences 0 and 1, then half an image each way; class 1: 0, and the same.
    variances = (2 / 4 - (1 / 4) ** 2) / 4 + (1 / 3) / 3
    assert error == pytest.approx(np.sqrt(variances) / 2)
    assert lead(second, first, labels) == pytest.approx((-mean, error))


def test_the_standard_error_is_about_the_spread_of_leads():
    """Over 400 draws of the images; a little more where classes are small."""
    pair = {OURS[0]: [0.95, 0.9, 0.6, 0.5], OURS[1]: [0.95, 0.85, 0.7, 0.5]}
    found = np.array([lead(*simulated(pair, s).values(), LABELS) for s in range(400)])
    assert found[:, 0].std() == pytest.approx(found[:, 1].mean(), rel=0.2)
    assert found[:, 0].mean() == pytest.approx(-0.0125, abs=3 * found[:, 0].std() / 20)


# The choice ---------------------------------------------------------------------------------------

PLAIN = [0.97, 0.9, 0.6, 0.5]
BETTER = [0.97, 0.92, 0.85, 0.9]
WORSE = [0.9, 0.8, 0.5, 0.3]


def shares_chosen(synthetic, n=100):
    chances = {t: synthetic if t.share else PLAIN for t in OURS}
    return [choose(simulated(chances, s, seeds=3), LABELS, RARE).chosen.share for s in range(n)]


def test_good_synthetic_images_are_chosen():
    assert np.mean([share > 0 for share in shares_chosen(BETTER)]) > 0.95


def test_bad_synthetic_images_are_not():
    assert np.mean([share == 0 for share in shares_chosen(WORSE)]) == 1


def test_useless_synthetic_images_are_mostly_left_out():
    """Nine of the twelve equal trials have some: the best-looking one would in three of four."""
    chances = dict.fromkeys(OURS, PLAIN)
    looks_best = [choose(simulated(chances, s, seeds=3), LABELS, RARE).best for s in range(100)]
    assert np.mean([t.share > 0 for t in looks_best]) > 0.6
    assert np.mean([share == 0 for share in shares_chosen(PLAIN)]) > 0.85


def test_the_opponent_gets_its_best_trial_however_small_the_lead():
    trials = TRIALS["real-tuned"]
    right = np.zeros((3, len(LABELS)), dtype=bool)
    right[:, LABELS < 2] = True
    outcomes = {t: right.copy() for t in trials}
    outcomes[trials[7]][0, -1] = True
    choice = choose(outcomes, LABELS, RARE)
    assert choice.chosen == choice.best == trials[7]
    assert choice.reason == "best on validation images"


def test_equal_accuracy_goes_to_the_better_recall_of_rare_classes():
    first, second = Trial(0, 0, 0), Trial(0, 1, 0)
    labels, rare = np.array([0, 0, 1, 1]), np.array([False, True])
    outcomes = {first: np.array([[1, 1, 0, 1]], bool), second: np.array([[1, 0, 1, 1]], bool)}
    assert choose(outcomes, labels, rare).chosen == second
    assert choose(outcomes, labels, ~rare).chosen == first


def test_within_one_standard_error_the_least_synthetic_data_wins():
    none, little, more = Trial(0, 0, 1), Trial(1, 0, 1, "double"), Trial(1, 0, 1)
    right = np.ones((1, len(LABELS)), dtype=bool)
    missed = right.copy()
    missed[0, np.flatnonzero(LABELS == 2)[0]] = False
    far = right.copy()
    far[0, LABELS == 3] = False
    choice = choose({more: right, little: missed, none: far}, LABELS, RARE)
    assert (choice.best, choice.chosen) == (more, little)
    assert "within one standard error" in choice.reason
    behind, error = lead(right, missed, LABELS)
    assert [(s.behind, s.standard_error) for s in choice.table if s.trial == little] == [
        (behind, error)
    ]
    assert choose({more: right, none: missed}, LABELS, RARE).chosen == none


def test_only_trials_of_the_last_round_are_chosen_and_all_are_told():
    chances = dict.fromkeys(OURS, PLAIN)
    outcomes = simulated(chances, 0)
    outcomes[OURS[5]][:] = True  # lucky with one seed, then it dropped out
    for t in OURS[:3]:
        outcomes[t] = np.repeat(outcomes[t], 3, axis=0)
    choice = choose(outcomes, LABELS, RARE)
    assert choice.chosen in OURS[:3]
    assert [s.trial for s in choice.table] == list(OURS)
    assert [s.behind is None for s in choice.table] == [False] * 3 + [True] * 9


def test_the_best_survive_and_with_them_one_without_synthetic_images():
    chances = {t: BETTER if t.share else WORSE for t in OURS}
    kept = survivors(simulated(chances, 0), LABELS, RARE, 4)
    assert len(kept) == 4
    assert sum(not t.share for t in kept) == 1
    chances[OURS[1]] = BETTER
    kept = survivors(simulated(chances, 0), LABELS, RARE, 10)
    assert len(kept) == 10 and OURS[1] in kept
