"""Classification losses under class imbalance. `logits` float [B, K], `labels` int64 [B]."""

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor, log_prior: Tensor, tau: float) -> Tensor:
    """Plain cross-entropy; the prior is not used."""
    del log_prior, tau
    return F.cross_entropy(logits, labels)


def logit_adjusted(logits: Tensor, labels: Tensor, log_prior: Tensor, tau: float) -> Tensor:
    """Logit adjustment, Eq. 10 of Menon et al. (2021), arXiv:2007.07314.

    `log_prior` [K] is the logarithm of the class frequencies of the real train split. Adding
    tau log pi_y during training asks a larger margin of rare classes; tau = 1 is also balanced
    softmax (Ren et al. 2020, arXiv:2007.10740).
    """
    return F.cross_entropy(logits + tau * log_prior, labels)


LOSSES = {"ce": cross_entropy, "la": logit_adjusted}


def log_prior(counts: list[int]) -> Tensor:
    """log(n_k / N), float32 [K]; every class needs at least one image."""
    n = torch.tensor(counts, dtype=torch.float64)
    return (n / n.sum()).log().float()
