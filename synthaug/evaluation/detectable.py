"""What a comparison on n test images can show at all. Light enough for `inspect`: no scipy here."""

MIN_TEST_IMAGES = 6
"""Images that must all point the same way before a two-sided sign test reaches 5 %: 2 / 2^6."""

_BISECTIONS = 12
_QUANTILES = 10


def smallest_difference(n_test: int) -> float | None:
    """Smallest observed difference in recall that n images can show, in (0, 1]; None below 6.

    A bound that needs no training: seeds and disagreement among images only add to it.
    """
    return MIN_TEST_IMAGES / n_test if n_test >= MIN_TEST_IMAGES else None


def smallest_detectable(
    n_test: int,
    n_seeds: int,
    *,
    seed_variance: float,
    image_variance: float,
    level: float = 0.05,
    power: float = 0.8,
) -> float | None:
    """Smallest true difference in a class's recall that the comparison would find, in (0, 1].

    Args:
        n_test: test images of the class.
        n_seeds: paired seeds, at least 2.
        seed_variance, image_variance: of the comparison that was made (`Difference`).
        level: two-sided size of the test; 0.05 / K where Holm corrects for K classes.
        power: how often the difference shall be found.

    Returns:
        None if no difference would be found that often.

    The difference adds disagreement of its own to what was observed, as much as if it came from
    images that one arm always recognises and the other never. And however small the variances, it
    takes as many images as a sign test needs at that level.
    """
    import numpy as np
    from scipy.special import bdtrc, chdtri, ndtr

    from synthaug.evaluation.intervals import half_width

    needed = int(np.floor(1 - np.log2(level))) + 1
    quantiles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    luck = chdtri(n_seeds - 1, quantiles) / (n_seeds - 1)  # of the estimated seed variance

    def found(difference: float) -> float:
        """How often, as the lesser of two bounds."""
        own = difference * (1 - difference) / n_test
        half = half_width(
            seed_variance * luck, image_variance + own + 2 / n_test**2, n_seeds, 1 - level
        )
        spread = np.sqrt(seed_variance + image_variance + own)
        seen = ndtr((difference - half) / spread) if spread > 0 else difference > half
        return min(float(np.mean(seen)), float(bdtrc(needed - 1, n_test, difference)))

    if needed > n_test or found(1.0) < power:
        return None
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= power else (middle, high)
    return high
