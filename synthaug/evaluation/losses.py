"""Classification losses under class imbalance, each a value for every image of a batch.

A loss is called with `logits` float [B, K], `labels` int64 [B] and the `ClassTerms` of the real
train counts, and returns float [B]; training takes the mean. All are linear in the label, so that
an image mixed of two costs `share` of the one label's loss and the rest of the other's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from synthaug.evaluation.options import ClassifierOptions


@dataclass(frozen=True)
class ClassTerms:
    """What losses know of the classes: float32 tensors [K] from the REAL train counts n.

    `log_prior` is log(n_k / N), `class_weights` the effective-number weights of mean 1, `margins`
    LDAM's on the scale of the logits; `deferred` says that the last part of the steps has begun.
    """

    log_prior: Tensor
    class_weights: Tensor
    margins: Tensor
    tau: float
    gamma: float
    deferred: bool = False


Loss = Callable[[Tensor, Tensor, ClassTerms], Tensor]


def class_terms(
    counts: np.ndarray, options: ClassifierOptions, device: torch.device | str = "cpu"
) -> ClassTerms:
    """The terms of train counts int [K]; every class needs at least one image."""
    n = torch.as_tensor(np.asarray(counts), dtype=torch.float64)

    def made(values: Tensor) -> Tensor:
        return values.float().to(device)

    return ClassTerms(
        log_prior=made((n / n.sum()).log()),
        class_weights=made(effective_weights(n, options.cb_beta)),
        margins=made(options.ldam_scale * options.ldam_margin * (n.min() / n) ** 0.25),
        tau=options.tau,
        gamma=options.focal_gamma,
    )


def effective_weights(n: Tensor, beta: float) -> Tensor:
    """Inverse effective numbers of images, float64 [K] of mean 1, from counts float64 [K].

    Class k has (1 - beta^n_k) / (1 - beta) effective images: one for beta 0, n_k for beta
    towards 1. Cui et al. (2019), arXiv:1901.05555.
    """
    inverse = (1 - beta) / (1 - beta**n)
    return inverse / inverse.mean()


def cross_entropy(logits: Tensor, labels: Tensor, terms: ClassTerms) -> Tensor:
    """Plain cross-entropy; the classes' counts are not used."""
    del terms
    return F.cross_entropy(logits, labels, reduction="none")


def class_balanced_cross_entropy(logits: Tensor, labels: Tensor, terms: ClassTerms) -> Tensor:
    """Cross-entropy weighted by effective number (Cui et al. 2019, arXiv:1901.05555)."""
    return terms.class_weights[labels] * cross_entropy(logits, labels, terms)


def logit_adjusted(logits: Tensor, labels: Tensor, terms: ClassTerms) -> Tensor:
    """Logit adjustment, Eq. 10 of Menon et al. (2021), arXiv:2007.07314.

    Adding tau log pi_y during training asks a larger margin of rare classes; tau = 1 is also
    balanced softmax (Ren et al. 2020, arXiv:2007.10740).
    """
    return cross_entropy(logits + terms.tau * terms.log_prior, labels, terms)


def focal(logits: Tensor, labels: Tensor, terms: ClassTerms) -> Tensor:
    """(1 - p_y)^gamma times cross-entropy (Lin et al. 2017, arXiv:1708.02002), without alpha."""
    surprise = cross_entropy(logits, labels, terms)
    # 1 - p_y without cancellation; kept off zero, where a power below one has no derivative.
    missing = (-torch.expm1(-surprise)).clamp_min(1e-7)
    return missing**terms.gamma * surprise


def ldam(logits: Tensor, labels: Tensor, terms: ClassTerms) -> Tensor:
    """Label-distribution-aware margins with deferred re-weighting: LDAM-DRW.

    Cao et al. (2019), arXiv:1906.07413: the true class is to win by a margin proportional to
    n_y^(-1/4); in the last part of the steps classes are weighted by effective number. Logits are
    the scaled cosines of `heads.use_cosines`.
    """
    raised = F.one_hot(labels, logits.shape[1]) * terms.margins
    loss = cross_entropy(logits - raised, labels, terms)
    return terms.class_weights[labels] * loss if terms.deferred else loss


LOSSES: dict[str, Loss] = {
    "ce": cross_entropy,
    "cb": class_balanced_cross_entropy,
    "la": logit_adjusted,
    "ldam": ldam,
    "focal": focal,
}
