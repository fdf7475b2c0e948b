"""Losses under imbalance against their formulas."""

import math

import pytest
import torch
import torch.nn.functional as F

from synthaug.evaluation.losses import LOSSES, cross_entropy, log_prior, logit_adjusted

COUNTS = [900, 90, 10]
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = 2 * torch.randn(64, 3, generator=GENERATOR)
LABELS = torch.randint(0, 3, (64,), generator=GENERATOR)


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_log_prior():
    close(log_prior(COUNTS), torch.tensor([math.log(0.9), math.log(0.09), math.log(0.01)]))


def test_tau_zero_and_a_uniform_prior_are_cross_entropy():
    plain = F.cross_entropy(LOGITS, LABELS)
    close(logit_adjusted(LOGITS, LABELS, log_prior(COUNTS), 0.0), plain)
    close(logit_adjusted(LOGITS, LABELS, log_prior([7, 7, 7]), 1.0), plain)
    close(cross_entropy(LOGITS, LABELS, log_prior(COUNTS), 1.0), plain)


def test_tau_one_is_balanced_softmax():
    """-log( n_y exp(f_y) / sum_j n_j exp(f_j) ), Ren et al. (2020), Eq. 3."""
    n = torch.tensor(COUNTS, dtype=torch.float64)
    weighted = n * LOGITS.double().exp()
    rows = torch.arange(64)
    expected = -(weighted[rows, LABELS] / weighted.sum(dim=1)).log().mean()
    close(logit_adjusted(LOGITS, LABELS, log_prior(COUNTS), 1.0), expected.float())


@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_tau_is_a_power_of_the_prior(tau):
    pi = torch.tensor(COUNTS, dtype=torch.float64) / 1000
    weighted = pi**tau * LOGITS.double().exp()
    expected = -(weighted[torch.arange(64), LABELS] / weighted.sum(dim=1)).log().mean()
    close(logit_adjusted(LOGITS, LABELS, log_prior(COUNTS), tau), expected.float())


def test_gradient_favours_rare_classes():
    """At equal logits a rare image pulls harder than a common one, and than under plain CE."""

    def pull(loss, label):
        logits = torch.zeros(1, 3, requires_grad=True)
        LOSSES[loss](logits, torch.tensor([label]), log_prior(COUNTS), 1.0).backward()
        return -float(logits.grad[0, label])

    assert pull("la", 2) == pytest.approx(0.99, abs=1e-4)
    assert pull("la", 0) == pytest.approx(0.10, abs=1e-4)
    assert pull("la", 2) > pull("ce", 2) == pytest.approx(2 / 3, abs=1e-4)
    assert pull("la", 0) < pull("ce", 0)


def test_the_best_constant_answer_is_uniform():
    """Trained on the prior alone, adjusted logits end balanced: the Bayes rule for recall."""
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    bias = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.LBFGS([bias], max_iter=100)

    def closure():
        optimiser.zero_grad()
        loss = logit_adjusted(bias.expand(len(labels), 3), labels, log_prior(COUNTS), 1.0)
        loss.backward()
        return loss

    optimiser.step(closure)
    close(bias.detach().softmax(0), torch.full((3,), 1 / 3))
