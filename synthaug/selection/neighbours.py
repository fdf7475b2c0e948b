"""The nearest images to images: by their pixels, by their pixels up to a shift, by features."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthaug.selection.sets import Floats, Images, Ints

MAX_BYTES = 64 << 20
"""Of each of the working arrays: two blocks of images and the distances between them."""
MAX_SIDE = 16
"""Shifted images are compared by the means of at most this many blocks of pixels a side."""

SquaredDistances = Callable[[slice, slice], NDArray[Any]]


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
        own: [N], the position in `reference` of each image itself, which is then passed over; -1
            for an image that is not there.
        max_bytes: bound of each working array, whatever N and M.

    Returns:
        (index int64 [N, k], distance float64 [N, k]): Euclidean over the d pixel values scaled to
        [0, 1], divided by sqrt(d), so 0 is equal and 1 black against white. Of equally near ones
        the first counts as nearer. Where there are fewer than k, index -1 and distance infinity.

    Raises:
        ValueError: if the images are not uint8 of one size, or k < 1.
    """
    _check(images, reference, k)
    d = int(np.prod(images.shape[1:]))
    rows = max(min(max_bytes // (8 * max(d, 1)), int((max_bytes // 8) ** 0.5)), 1)

    def squared(some: slice, others: slice) -> Floats:
        # In integers below 2^53 the expansion of (x - y)^2 is exact: equal images are at 0.
        return _squared(*(_flat(x, np.float64) for x in (images[some], reference[others])))

    index, total = _search(squared, len(images), len(reference), k, own, rows)
    return index, np.sqrt(total / max(d, 1)) / 255.0


def nearest_shifted(
    images: Images,
    reference: Images,
    k: int,
    *,
    own: Ints | None = None,
    max_shift: int | None = None,
    mirror: bool = True,
    max_bytes: int = MAX_BYTES,
) -> tuple[Ints, Floats]:
    """`nearest` of images that may have been moved and mirrored: the least distance of them all.

    A distance is taken over the pixels that both images show, so a moved image is at 0 from its
    source whatever fills its border. Images of more than 16 pixels a side are moved pixel by pixel
    and then compared by the means of square blocks, rounded to whole grey levels.

    Args:
        images: uint8 [N, C, H, W].
        reference: uint8 [M, C, H, W].
        k, own, max_bytes: as in `nearest`.
        max_shift: pixels each way; None is 1 for images under 16 pixels a side, otherwise 2.
        mirror: also compare with left and right exchanged.

    Returns:
        As `nearest`.

    Raises:
        ValueError: as `nearest`, or if `max_shift` leaves no block of pixels in common.
    """
    _check(images, reference, k)
    d = int(np.prod(images.shape[1:]))
    rows = max(min(max_bytes // (4 * max(d, 1)), int((max_bytes // 4) ** 0.5)), 1)

    def squared(some: slice, others: slice) -> NDArray[np.float32]:
        return _squared_shifted(images[some], reference[others], max_shift, mirror)

    index, mean = _search(squared, len(images), len(reference), k, own, rows)
    return index, np.sqrt(mean) / 255.0


def shifted_distances(
    images: Images, *, max_shift: int | None = None, mirror: bool = True
) -> Floats:
    """The distances of `nearest_shifted` between all of N images, float64 [N, N].

    Raises `ValueError` as it does.
    """
    _check(images, images, 1)
    squared = _squared_shifted(images, images, max_shift, mirror).astype(np.float64)
    distances: Floats = np.sqrt(squared) / 255.0
    return distances


def nearest_directions(
    directions: Floats, reference: Floats, k: int, *, own: Ints | None = None
) -> tuple[Ints, Floats]:
    """The k nearest of M unit vectors [M, D] to each of N [N, D], as `nearest` returns them.

    The distance is Euclidean, at most 2; numbers within 1e-7 of 0 may be anything there.
    """
    rows = max(int((MAX_BYTES // 8) ** 0.5), 1)

    def squared(some: slice, others: slice) -> Floats:
        block: Floats = np.maximum(_squared(directions[some], reference[others]), 0.0)
        return block

    index, total = _search(squared, len(directions), len(reference), k, own, rows)
    return index, np.sqrt(total)


def within(values: Floats, radius: float) -> NDArray[np.bool_]:
    """Whether two of n vectors [n, D] are at most `radius` apart, bool [n, n].

    Whole numbers below 2^26 are compared exactly.
    """
    near = np.empty((len(values), len(values)), dtype=bool)
    for some in _blocks(len(values), max(MAX_BYTES // (8 * max(len(values), 1)), 1)):
        near[some] = _squared(values[some], values) <= radius**2
    return near


def _check(images: Images, reference: Images, k: int) -> None:
    if images.dtype != np.uint8 or reference.dtype != np.uint8:
        raise ValueError(f"images are {images.dtype} and {reference.dtype}; expected uint8")
    if images.shape[1:] != reference.shape[1:] or k < 1:
        raise ValueError(f"{images.shape} against {reference.shape}, k {k}")


def _squared_shifted(
    images: Images, reference: Images, max_shift: int | None, mirror: bool
) -> NDArray[np.float32]:
    """Least mean of squared differences over all moves, in grey levels, float32 [n, m]."""
    height, width = images.shape[2:]
    block = -(-max(height, width) // MAX_SIDE)
    if max_shift is None:
        max_shift = 1 if min(height, width) < MAX_SIDE else 2
    if not 0 <= max_shift <= (min(height, width) // block - 1) * block:
        raise ValueError(f"max_shift {max_shift} for images of {height}x{width}")
    shifts = range(-max_shift, max_shift + 1)
    best = np.full((len(images), len(reference)), np.inf, np.float32)
    for dy in shifts:
        y_here, y_there = _common(height, dy, block)
        for dx in shifts:
            x_here, x_there = _common(width, dx, block)
            there = _means(reference[:, :, y_there, x_there], block)
            for turned in (images, images[..., ::-1])[: 1 + mirror]:
                here = _means(turned[:, :, y_here, x_here], block)
                np.minimum(best, _squared(here, there) / there.shape[1], out=best)
    return np.maximum(best, 0)  # sums may have been rounded below it


def _common(side: int, shift: int, block: int) -> tuple[slice, slice]:
    """The pixels of an image moved by `shift` and of its source that show the same.

    Of the source they are whole blocks of its grid, so that it is cut alike for every shift.
    """
    first = -(-max(-shift, 0) // block) * block
    last = (side - max(shift, 0)) // block * block
    return slice(first + shift, last + shift), slice(first, last)


def _means(images: Images, block: int) -> NDArray[np.float32]:
    """Means over square blocks, as whole numbers around 0, float32 [N, d].

    Up to 16 * 16 * 4 of them, each at most 128 in size, have squares and products whose sums stay
    below 2^24, the whole numbers that float32 can tell apart: equal images are at 0.
    """
    if block > 1:
        n, c, h, w = images.shape
        cut = images.reshape(n, c, h // block, block, w // block, block)
        images = np.rint(cut.mean(axis=(3, 5), dtype=np.float32)).astype(np.uint8)
    return _flat(images, np.float32) - np.float32(128)


def _flat(images: Images, dtype: type) -> NDArray[Any]:
    return images.reshape(len(images), -1).astype(dtype)


def _squared(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """Squared distances [n, m] between rows; 0 between equal ones where sums are exact."""
    product: NDArray[Any] = x @ y.T
    product *= -2
    product += (x * x).sum(axis=1)[:, None]
    product += (y * y).sum(axis=1)[None, :]
    return product


def _search(
    squared: SquaredDistances, n: int, m: int, k: int, own: Ints | None, rows: int
) -> tuple[Ints, Floats]:
    """The k least of each row of an [n, m] matrix that is never whole in memory."""
    index = np.full((n, k), -1, dtype=np.int64)
    least = np.full((n, k), np.inf)
    for some in _blocks(n, rows):
        for others in _blocks(m, rows):
            block = squared(some, others)
            if own is not None:
                mine = own[some] - others.start
                here = np.flatnonzero((own[some] >= 0) & (mine >= 0) & (mine < block.shape[1]))
                block[here, mine[here]] = np.inf
            _keep_least(index[some], least[some], block, others.start)
    return index, least


def _blocks(n: int, rows: int) -> Iterator[slice]:
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))


def _keep_least(index: Ints, least: Floats, block: NDArray[Any], offset: int) -> None:
    """Merge a block [n, m] into the k least so far, in place."""
    k = least.shape[1]
    rows = np.arange(len(block))
    found_index = np.full_like(index, -1)
    found = np.full_like(least, np.inf)
    for j in range(min(k, block.shape[1])):  # k is small: cheaper than sorting
        place = block.argmin(axis=1)
        found[:, j] = block[rows, place]
        found_index[:, j] = np.where(np.isfinite(found[:, j]), place + offset, -1)
        block[rows, place] = np.inf
    both = np.concatenate([least, found], axis=1)
    order = both.argsort(axis=1, kind="stable")[:, :k]
    index[:] = np.take_along_axis(np.concatenate([index, found_index], axis=1), order, axis=1)
    least[:] = np.take_along_axis(both, order, axis=1)
