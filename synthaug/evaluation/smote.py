"""SMOTE: new points between a point and a near neighbour of its class."""

import numpy as np

NEIGHBOURS = 5


def smote(
    x: np.ndarray, labels: np.ndarray, n_new: np.ndarray, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """`n_new` int [K] points for each class: ([M, D], labels int64 [M]), class by class.

    `x` [N, D] and `labels` int64 [N] are the points there are; new ones have the dtype of `x`,
    rounded where that is integer. Chawla et al. (2002), arXiv:1106.1813, by imbalanced-learn, among
    the 5 nearest neighbours or as many as a class has; a class of one point gets copies of it, one
    of none gets nothing.
    """
    from imblearn.over_sampling import SMOTE  # takes sklearn along, which most arms never need

    made, made_labels = [x[:0]], [labels[:0]]
    for k, wanted in enumerate(n_new):
        own = x[labels == k]
        if not len(own) or not wanted:
            continue
        made_labels.append(np.full(wanted, k, np.int64))
        if len(own) == 1:
            made.append(np.repeat(own, wanted, axis=0))
            continue
        # Class by class, since the number of neighbours depends on it. The other class that
        # imbalanced-learn asks for is never looked at.
        points = np.concatenate([own, own[:1]]).astype(np.float32)
        is_other = np.r_[np.zeros(len(own), int), 1]
        sampler = SMOTE(
            sampling_strategy={0: len(own) + int(wanted)},
            k_neighbors=min(NEIGHBOURS, len(own) - 1),
            random_state=int(np.random.SeedSequence([seed, k]).generate_state(1)[0]),
        )
        between = sampler.fit_resample(points, is_other)[0][len(points) :]
        integer = np.issubdtype(x.dtype, np.integer)
        made.append((between.round() if integer else between).astype(x.dtype))
    return np.concatenate(made), np.concatenate(made_labels)
