"""Near duplicates: the same picture saved, resized, shifted or brightened again.

Perceptual hashes find candidates cheaply but are not enough: a million pairs of 12,000 handwritten
digits have similar ones. So a candidate is confirmed on its pixels, by the correlation of the
coarse structure of the two images. A fixed limit of that is not enough either, since it would chain
all ones together: a pair must also be far nearer than what surrounds it, however crowded that is.
`benchmarks/duplicates.md` shows what this finds and what it mistakes.
"""

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

SAME_BITS = 52
"""Of 64: a candidate has hashes that agree in at least so many bits."""
CORRELATION = 0.9
"""A near duplicate has at least this correlation at the best alignment."""
TIMES_NEARER = 3
"""And is so many times nearer than the image's `_surroundings`; the convention of copy ratios."""
SURE = 0.995
"""Correlation from which surroundings do not matter: they may be further copies."""
FLAT = 2.0
"""Standard deviation in grey levels below which an image has no structure to compare."""

MAX_BYTES = 64 << 20
"""Of each of the larger working arrays, apart from those that grow with M alone."""

_HASH_SIDE = 8
_BANDS = 12
_ALIGNMENTS = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))
# Least correlation without alignment of an image with itself moved by one pixel, 28 pixels wide.
_BEFORE_ALIGNMENT = 0.6


def perceptual_hashes(pixels: Pixels) -> NDArray[np.uint64]:
    """Tell, for the 64 lowest frequencies of an image, which are above their median.

    The pHash of C. Zauner (2010), "Implementation and benchmarking of perceptual image hash
    functions", but for the scaling to 32x32 pixels that usually comes first: images of that size
    get what ImageHash's `phash` gives, the first bit being the most significant.

    Args:
        pixels: uint8 [M, C, S, S] with C 1 or 3 and S at least 8.

    Returns:
        uint64 [M]. The number of differing bits is always even, since half of them are set.

    Raises:
        ValueError: for arrays of another kind.
    """
    from scipy.fft import dctn  # slow to import, and `inspect` may never need it

    hashes = np.empty(len(pixels), dtype=np.uint64)
    grey = _grey(pixels)
    for block in _blocks(len(grey), 16 * grey[:1].size):
        low = dctn(grey[block].astype(np.float64), axes=(1, 2))[:, :_HASH_SIDE, :_HASH_SIDE]
        low = low.reshape(len(low), -1)
        bits = np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1)
        hashes[block] = bits.view(">u8").ravel()
    return hashes


def near_duplicates(pixels: Pixels) -> Ints:
    """Find the pairs of images that are one picture, within small edits.

    Compared is the structure of the grey levels: the 12x12 lowest frequencies but the mean, each
    weighted by its frequency as in a gradient, at the best of five alignments within one pixel.
    Brightness, contrast and colour do not count. Two images are near duplicates where their
    correlation r is at least 0.9 and 1 - r at most a ninth of the same between either image and its
    n-th nearest one (a third of the Euclidean distance), n being a hundredth of M within 10 and 30;
    or where r is at least 0.995.

    Equal images are near duplicates, unless they are flat: an image whose grey levels deviate by
    less than 2 has no structure and no near duplicate. Equal content is `content_hash`'s to tell.
    From 28x28 pixels on, the edits named above are found; below, digits blur into each other.

    Args:
        pixels: uint8 [M, C, S, S] with C 1 or 3 and S at least 8.

    Returns:
        int64 [P, 2], pairs i < j in ascending order. Memory grows with M and
        the pairs of such a correlation; time with M².

    Raises:
        ValueError: for arrays of another kind.
    """
    grey = _grey(pixels)
    structured = np.flatnonzero(_deviation(grey) >= FLAT)
    grey = grey[structured]
    hashes = perceptual_hashes(pixels[structured])
    moved = [_structure(grey, *by) for by in _ALIGNMENTS]
    still = moved[0]
    pairs = [np.empty((0, 2), dtype=np.int64)]
    correlations = [np.empty(0, dtype=np.float32)]
    for some in _similar_hashes(hashes):
        some = some[_correlation(still, still, some) >= _BEFORE_ALIGNMENT]
        r = np.max([_correlation(still, other, some) for other in moved], axis=0)
        pairs.append(some[r >= CORRELATION])
        correlations.append(r[r >= CORRELATION])
    found, r = np.concatenate(pairs), np.concatenate(correlations)
    involved, where = np.unique(found, return_inverse=True)
    limit = _surroundings(still, involved)[where.reshape(found.shape)].min(axis=1, initial=np.inf)
    found = found[(r >= SURE) | (1 - r <= limit / TIMES_NEARER**2)]
    return structured[found[np.lexsort(found.T[::-1])]]


def links(keys: Sequence[Hashable]) -> Ints:
    """Pairs that join everything with the same key, for `components`.

    Args:
        keys: N of them, such as the names of patients; "" stands for none and joins nothing.

    Returns:
        int64 [P, 2]: the first position of a key, and each further one.
    """
    first: dict[Hashable, int] = {}
    pairs = [
        (first[key], i) for i, key in enumerate(keys) if key != "" and first.setdefault(key, i) != i
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def components(n: int, pairs: Ints) -> Ints:
    """Connected components: what is joined by a chain of pairs.

    Args:
        n: how many there are.
        pairs: int64 [P, 2], positions below `n`.

    Returns:
        int64 [n], for each the smallest position of its component.
    """
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for i, j in np.asarray(pairs).tolist():
        a, b = root(i), root(j)
        parent[max(a, b)] = min(a, b)
    return np.array([root(i) for i in range(n)], dtype=np.int64)


def _grey(pixels: Pixels) -> Pixels:
    """Grey levels uint8 [M, S, S], rounded as Pillow's mode L is (ITU-R 601-2 luma)."""
    pixels = np.asarray(pixels)
    shape = pixels.shape
    if (
        pixels.dtype != np.uint8
        or len(shape) != 4
        or shape[1] not in (1, 3)
        or shape[2] != shape[3]
        or shape[2] < _HASH_SIDE
    ):
        raise ValueError(f"{pixels.dtype} {shape}; expected uint8 [M, 1 or 3, S, S], S >= 8")
    if shape[1] == 1:
        return pixels[:, 0]
    grey = np.empty((shape[0], *shape[2:]), dtype=np.uint8)
    for block in _blocks(shape[0], 16 * shape[2] ** 2):
        red, green, blue = (pixels[block, c].astype(np.uint32) for c in range(3))
        grey[block] = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16
    return grey


def _deviation(grey: Pixels) -> Floats:
    deviation = np.empty(len(grey), dtype=np.float32)
    for block in _blocks(len(grey), 8 * grey[:1].size):
        deviation[block] = grey[block].std(axis=(1, 2))
    return deviation


def _structure(grey: Pixels, down: int, right: int) -> Floats:
    """Unit vectors [M, D] of an image without its border, taken one pixel further.

    Their inner products are correlations. Weighting by frequency counts edges, by which two strokes
    or two ribs differ, more than the smooth shading that all images of one kind share.
    """
    from scipy.fft import dctn

    inner = grey.shape[1] - 2
    bands = min(_BANDS, inner)
    frequency = np.hypot(*np.indices((bands, bands))).ravel().astype(np.float32)
    structure = np.empty((len(grey), bands**2), dtype=np.float32)
    for block in _blocks(len(grey), 16 * grey[:1].size):
        cropped = grey[block, 1 + down : 1 + down + inner, 1 + right : 1 + right + inner]
        low = dctn(cropped.astype(np.float32), axes=(1, 2), norm="ortho")[:, :bands, :bands]
        weighted = low.reshape(len(low), -1) * frequency
        length = np.linalg.norm(weighted, axis=1, keepdims=True)
        # A border alone may hold all of an image's structure: then this is zero, like no image.
        structure[block] = weighted / np.maximum(length, 1e-3)
    return structure


def _similar_hashes(hashes: NDArray[np.uint64]) -> Iterator[Ints]:
    """Yield pairs i < j [P, 2] of similar hashes, all of them once, in blocks."""
    n = len(hashes)
    for block in _blocks(n, 32 * n):
        differing = np.bitwise_count(hashes[block, None] ^ hashes[None, block.start :])
        i, j = np.nonzero(differing <= 64 - SAME_BITS)
        pairs = np.stack([i, j], axis=1)[i < j]
        yield from (pairs[part] + block.start for part in _blocks(len(pairs), 4 * _BANDS**2))


def _correlation(a: Floats, b: Floats, pairs: Ints) -> Floats:
    r: Floats = np.einsum("pd,pd->p", a[pairs[:, 0]], b[pairs[:, 1]])
    return r


def _surroundings(structure: Floats, positions: Ints) -> Floats:
    """1 - r of some images and their n-th nearest one, float32 [len(positions)].

    The n-th and not the first, because there may be several duplicates of one picture.
    """
    m = len(structure)
    rank = max(min(max(m // 100, 10), 30, m - 1), 0)
    distance = np.empty(len(positions), dtype=np.float32)
    for block in _blocks(len(positions), 8 * m):
        r = structure[positions[block]] @ structure.T
        # The nearest one of an image is itself.
        distance[block] = 1 - np.partition(r, m - 1 - rank, axis=1)[:, m - 1 - rank]
    return np.maximum(distance, 0)


def _blocks(n: int, bytes_each: int) -> Iterator[slice]:
    rows = max(MAX_BYTES // max(bytes_each, 1), 1)
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))
