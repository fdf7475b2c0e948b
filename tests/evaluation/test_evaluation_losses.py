"""Losses under imbalance against their formulas."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from synthaug.evaluation.losses import LOSSES, class_terms, effective_weights
from synthaug.evaluation.options import ClassifierOptions

COUNTS = np.array([900, 90, 10])
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = 2 * torch.randn(64, 3, generator=GENERATOR)
LABELS = torch.randint(0, 3, (64,), generator=GENERATOR)
PLAIN = F.cross_entropy(LOGITS, LABELS, reduction="none")
ROWS = torch.arange(64)


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def value(loss, counts=COUNTS, deferred=False, logits=LOGITS, **options):
    terms = class_terms(counts, ClassifierOptions(**options))
    return LOSSES[loss](logits, LABELS, replace(terms, deferred=deferred))


@pytest.mark.parametrize("loss", LOSSES)
def test_one_number_an_image(loss):
    assert value(loss).shape == (64,)
    assert value(loss).min() >= 0


@pytest.mark.parametrize(
    ("loss", "limit"),
    [
        ("ce", {}),
        ("la", {"tau": 0.0}),
        ("la", {"counts": [7, 7, 7]}),
        ("focal", {"focal_gamma": 0.0}),
        ("ldam", {"ldam_margin": 0.0}),
        ("ldam", {"ldam_margin": 0.0, "cb_beta": 0.0, "deferred": True}),
        ("cb", {"cb_beta": 0.0}),
        ("cb", {"counts": [7, 7, 7]}),
    ],
)
def test_limits_are_cross_entropy(loss, limit):
    close(value(loss, **limit), PLAIN)


# Logit adjustment -------------------------------------------------------------------------------


def test_log_prior():
    expected = torch.tensor([math.log(0.9), math.log(0.09), math.log(0.01)])
    close(class_terms(COUNTS, ClassifierOptions()).log_prior, expected)


def test_tau_one_is_balanced_softmax():
    """-log( n_y exp(f_y) / sum_j n_j exp(f_j) ), Ren et al. (2020), Eq. 3."""
    weighted = torch.tensor(COUNTS) * LOGITS.double().exp()
    expected = -(weighted[ROWS, LABELS] / weighted.sum(dim=1)).log()
    close(value("la"), expected.float())


@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_tau_is_a_power_of_the_prior(tau):
    pi = torch.tensor(COUNTS, dtype=torch.float64) / 1000
    weighted = pi**tau * LOGITS.double().exp()
    expected = -(weighted[ROWS, LABELS] / weighted.sum(dim=1)).log()
    close(value("la", tau=tau), expected.float())


def two_gaussians(loss, pi, **options):
    """Slope and intercept of f_1 - f_0 that minimise a loss over N(-1, 1) and N(+1, 1), exactly.

    The classes have frequencies 1 - pi and pi. log p(x|1) - log p(x|0) = 2 x, so a linear
    classifier can be Bayes-optimal for any prior. The expectation is a sum over a fine grid.
    """
    x = torch.linspace(-7, 7, 2001, dtype=torch.float64)
    likelihood = torch.stack([(-((x - mean) ** 2) / 2).exp() for mean in (-1, 1)])  # [2, G]
    density = torch.tensor([[1 - pi], [pi]]) * likelihood
    density /= density.sum()
    terms = class_terms(np.array([1 - pi, pi]) * 10_000, ClassifierOptions(**options))
    a, b = (torch.zeros(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimiser = torch.optim.LBFGS([a, b], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        logits = torch.stack([torch.zeros_like(x), a * x + b], dim=1)
        of_class = [LOSSES[loss](logits, torch.full((2001,), k), terms) for k in (0, 1)]
        total = sum((density[k] * of_class[k]).sum() for k in (0, 1))
        total.backward()
        return total

    optimiser.step(closure)
    return a.item(), b.item()


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
def test_logit_adjustment_learns_the_bayes_rule_of_a_shifted_prior(tau):
    """Of prior pi^(1 - tau): the data's own at tau 0, balanced at 1, reversed at 2."""
    slope, intercept = two_gaussians("la", 0.05, tau=tau)
    assert slope == pytest.approx(2, abs=1e-3)
    assert intercept == pytest.approx((1 - tau) * math.log(0.05 / 0.95), abs=1e-3)


def test_inverse_frequency_learns_the_balanced_bayes_rule_too():
    slope, intercept = two_gaussians("cb", 0.05, cb_beta=1 - 1e-9)
    assert slope == pytest.approx(2, abs=1e-3)
    assert intercept == pytest.approx(0, abs=1e-3)


def test_gradient_favours_rare_classes():
    """At equal logits a rare image pulls harder than a common one, and than under plain CE."""

    def pull(loss, label):
        logits = torch.zeros(1, 3, requires_grad=True)
        terms = class_terms(COUNTS, ClassifierOptions())
        LOSSES[loss](logits, torch.tensor([label]), terms).sum().backward()
        return -float(logits.grad[0, label])

    assert pull("la", 2) == pytest.approx(0.99, abs=1e-4)
    assert pull("la", 0) == pytest.approx(0.10, abs=1e-4)
    assert pull("la", 2) > pull("ce", 2) == pytest.approx(2 / 3, abs=1e-4)
    assert pull("la", 0) < pull("ce", 0)
    assert pull("cb", 2) > pull("ce", 2) > pull("cb", 0)
    assert pull("ldam", 2) > pull("ldam", 0)


# Effective number -------------------------------------------------------------------------------


def test_effective_number_by_hand():
    """(1 - 0.9^n) / 0.1 of 1, 2 and 3 images: 1, 1.9, 2.71."""
    got = effective_weights(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), 0.9)
    inverse = np.array([1, 1 / 1.9, 1 / 2.71])
    np.testing.assert_allclose(got.numpy(), inverse / inverse.mean(), rtol=1e-12)


def test_effective_number_tends_to_inverse_frequency():
    n = torch.tensor(COUNTS, dtype=torch.float64)
    got = effective_weights(n, 1 - 1e-10)
    np.testing.assert_allclose(got, (1 / n) / (1 / n).mean(), rtol=1e-5)


def test_class_weights_are_those_of_torch():
    weights = class_terms(COUNTS, ClassifierOptions()).class_weights
    assert float(weights.mean()) == pytest.approx(1)
    close(value("cb"), F.cross_entropy(LOGITS, LABELS, weight=weights, reduction="none"))


# Focal ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_by_its_formula(gamma):
    p = LOGITS.double().softmax(1)[ROWS, LABELS]
    close(value("focal", focal_gamma=gamma), (-((1 - p) ** gamma) * p.log()).float())


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_of_an_image_that_is_certain_has_a_gradient(gamma):
    logits = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    terms = class_terms(COUNTS, ClassifierOptions(focal_gamma=gamma))
    LOSSES["focal"](logits, torch.tensor([0]), terms).sum().backward()
    assert torch.isfinite(logits.grad).all()


# LDAM -------------------------------------------------------------------------------------------


def test_margins_are_the_fourth_root_and_the_rarest_has_the_largest():
    margins = class_terms(COUNTS, ClassifierOptions(ldam_margin=0.5, ldam_scale=30)).margins
    close(margins, 15 * torch.tensor([(10 / 900) ** 0.25, (10 / 90) ** 0.25, 1.0]))


def test_ldam_by_its_formula():
    margins = class_terms(COUNTS, ClassifierOptions()).margins.double()
    expected = []
    for f, y in zip(LOGITS.double(), LABELS, strict=True):
        own = f[y] - margins[y]
        others = torch.cat([f[:y], f[y + 1 :]])
        expected.append(-(own.exp() / (own.exp() + others.exp().sum())).log())
    close(value("ldam"), torch.stack(expected).float())


def test_ldam_weighs_classes_in_the_last_part_only():
    weights = class_terms(COUNTS, ClassifierOptions()).class_weights
    close(value("ldam", deferred=True), weights[LABELS] * value("ldam"))


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - {"ldam"}))
def test_the_other_losses_are_the_same_throughout(loss):
    assert torch.equal(value(loss, deferred=True), value(loss))
