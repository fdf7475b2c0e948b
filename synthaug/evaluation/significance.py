"""What a number of test images could show at all, before anything is trained."""

SIGN_TEST_LEAST = 6
"""Differing images, all on one side, that a two-sided sign test at 5 % needs: 2 * 0.5**6 < 0.05."""


def smallest_difference(n_test: int) -> float | None:
    """The least difference in recall that ``n_test`` images of a class could show; None: nothing.

    Two classifiers judged on the same images differ by those that one gets right and the other
    wrong. At best all of these are on one side, and six of them are needed (exact sign test, which
    is McNemar's). Noise only raises what is needed.
    """
    return SIGN_TEST_LEAST / n_test if n_test >= SIGN_TEST_LEAST else None
