"""Copies of train images among synthetic ones, by distances between pixels.

An image is taken for a copy where its nearest train image is more than three times nearer than its
second nearest: Yoon et al. (2023, ICML workshop on structured probabilistic inference) and Gu et
al. (2023), arXiv:2310.02664. The same ratio of real images against the others tells how often that
happens without any copying, since the third is a convention and not a measurement.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COPY_BELOW = 1 / 3
MAX_BYTES = 64 << 20
"""Of each of the working arrays: two blocks of images and the distances between them."""


def nearest(
    images: Images,
    reference: Images,
    k: int,
    *,
    own: Ints | None = None,
    max_bytes: int = MAX_BYTES,
) -> tuple[Ints, Floats]:
    """The k nearest of M reference images to each of N images, the nearest first.

    Args:
        images: uint8 [N, ...].
        reference: uint8 [M, ...], of the same size.
        k: how many, at least 1.
        own: [N], the position in `reference` of each image itself, which is then passed over.
        max_bytes: bound of each working array, whatever N and M.

    Returns:
        (index int64 [N, k], distance float64 [N, k]): Euclidean over the d pixel values scaled to
        [0, 1], divided by sqrt(d), so 0 is equal and 1 black against white. Of equally near ones
        the first counts as nearer. Where there are fewer than k, index -1 and distance infinity.

    Raises:
        ValueError: if the images are not uint8 of one size, or k < 1.
    """
    if images.dtype != np.uint8 or reference.dtype != np.uint8:
        raise ValueError(f"images are {images.dtype} and {reference.dtype}; expected uint8")
    if images.shape[1:] != reference.shape[1:] or k < 1:
        raise ValueError(f"{images.shape} against {reference.shape}, k {k}")
    n, m, d = len(images), len(reference), int(np.prod(images.shape[1:]))
    index = np.full((n, k), -1, dtype=np.int64)
    squared = np.full((n, k), np.inf)
    rows = max(min(max_bytes // (8 * max(d, 1)), int((max_bytes // 8) ** 0.5)), 1)
    for some in _blocks(n, rows):
        x = _flat(images[some])
        for others in _blocks(m, rows):
            y = _flat(reference[others])
            # In integers below 2^53 the expansion of (x - y)^2 is exact: equal images are at 0.
            block = (x * x).sum(1)[:, None] - 2 * (x @ y.T) + (y * y).sum(1)[None, :]
            if own is not None:
                mine = own[some] - others.start
                here = np.flatnonzero((mine >= 0) & (mine < len(y)))
                block[here, mine[here]] = np.inf
            _keep_nearest(index[some], squared[some], block, others.start)
    return index, np.sqrt(squared / max(d, 1)) / 255.0


def copy_ratio(images: Images, reference: Images, *, own: Ints | None = None) -> Floats:
    """d(nearest) / d(second nearest) of each of N images among the reference, float64 [N].

    0 for an image that equals one of them, even if it equals two (0/0) or there is no second.
    Otherwise nan without a second.
    """
    return ratio_of(nearest(images, reference, 2, own=own)[1])


def ratio_of(distance: Floats) -> Floats:
    """That ratio from distances [N, k] with k >= 2, as `nearest` returns them."""
    first, second = distance[:, 0], distance[:, 1]
    ratio = np.full(len(distance), np.nan)
    known = np.isfinite(second) & (second > 0)
    ratio[known] = first[known] / second[known]
    ratio[first == 0] = 0.0
    return ratio


def leave_one_out_ratio(reference: Images) -> Floats:
    """The ratio of each reference image among all others: what real images show of it."""
    return copy_ratio(reference, reference, own=np.arange(len(reference)))


def copy_share(ratio: Floats) -> float:
    """Share of copies among the ratios that are known; nan if none is."""
    known = ratio[~np.isnan(ratio)]
    return float((known < COPY_BELOW).mean()) if len(known) else float("nan")


def _blocks(n: int, rows: int) -> Iterator[slice]:
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))


def _flat(images: Images) -> Floats:
    return images.reshape(len(images), -1).astype(np.float64)


def _keep_nearest(index: Ints, squared: Floats, block: Floats, offset: int) -> None:
    """Merge a block of squared distances [n, m] into the k nearest so far, in place."""
    k = squared.shape[1]
    rows = np.arange(len(block))
    found_index = np.full_like(index, -1)
    found = np.full_like(squared, np.inf)
    for j in range(min(k, block.shape[1])):  # k is small: cheaper than sorting
        place = block.argmin(axis=1)
        found[:, j] = block[rows, place]
        found_index[:, j] = np.where(np.isfinite(found[:, j]), place + offset, -1)
        block[rows, place] = np.inf
    both = np.concatenate([squared, found], axis=1)
    order = both.argsort(axis=1, kind="stable")[:, :k]
    index[:] = np.take_along_axis(np.concatenate([index, found_index], axis=1), order, axis=1)
    squared[:] = np.take_along_axis(both, order, axis=1)
