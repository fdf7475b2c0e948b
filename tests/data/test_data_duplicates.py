"""Near duplicates: planted ones are found, look-alikes are not, memory is bounded."""

import io

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from synthaug.data import duplicates
from synthaug.data.duplicates import components, links, near_duplicates, perceptual_hashes


def clouds(n, size=32, channels=1, seed=0, grain=2.0):
    """uint8 [n, channels, size, size]: smooth random images, no two alike."""
    noise = np.random.default_rng(seed).normal(size=(n, channels, size, size))
    smooth = gaussian_filter(noise, (0, 0, grain, grain))
    smooth /= np.abs(smooth).max(axis=(1, 2, 3), keepdims=True)
    return np.rint(127.5 + 120 * smooth).astype(np.uint8)


def as_image(pixels):
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def as_pixels(image):
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def recompressed(pixels, quality=50):
    buffer = io.BytesIO()
    as_image(pixels).save(buffer, "JPEG", quality=quality)
    return as_pixels(Image.open(buffer))


def resized(pixels):
    image = as_image(pixels)
    return as_pixels(image.resize((29, 29)).resize(image.size))


EDITS = {
    "recompressed": recompressed,
    "resized": resized,
    "brighter": lambda x: np.minimum(np.rint(x * 1.05), 255).astype(np.uint8),
    "shifted": lambda x: np.concatenate([x[:, :, :1], x[:, :, :-1]], axis=2),
    "blurred": lambda x: as_pixels(as_image(x).filter(ImageFilter.GaussianBlur(0.7))),
    "grey": lambda x: np.broadcast_to(as_pixels(as_image(x).convert("L")), x.shape),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("grain", [0.5, 2.0])
def test_hashes_are_imagehash_phash(channels, grain):
    pixels = clouds(60, channels=channels, grain=grain)
    pixels[-1] = 0
    expected = [int(str(imagehash.phash(as_image(x))), 16) for x in pixels]
    hashes = perceptual_hashes(pixels)
    assert hashes.dtype == np.uint64 and hashes.tolist() == expected


def test_hashes_hardly_depend_on_the_size():
    large = clouds(50, size=64, grain=6.0)
    small = np.stack([as_pixels(as_image(x).resize((16, 16))) for x in large])
    differing = np.bitwise_count(perceptual_hashes(large) ^ perceptual_hashes(small))
    others = np.bitwise_count(perceptual_hashes(large) ^ perceptual_hashes(small[::-1]))
    assert differing.max() <= 6 < np.median(others)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((2, 1, 8, 8), np.float32),
        np.zeros((2, 8, 8), np.uint8),
        np.zeros((2, 2, 8, 8), np.uint8),
        np.zeros((2, 1, 8, 9), np.uint8),
        np.zeros((2, 1, 7, 7), np.uint8),
    ],
)
def test_other_arrays_are_refused(pixels):
    for function in (perceptual_hashes, near_duplicates):
        with pytest.raises(ValueError, match="expected uint8"):
            function(pixels)


@pytest.mark.parametrize(
    ("channels", "edit"), [*((1, e) for e in EDITS if e != "grey"), *((3, e) for e in EDITS)]
)
def test_row_37_planted_near_duplicates_are_found_and_no_others(edit, channels):
    pixels = clouds(200, channels=channels)
    changed = np.stack([EDITS[edit](x) for x in pixels[:20]])
    pairs = near_duplicates(np.concatenate([pixels, changed]))
    expected = [[i, 200 + i] for i in range(20)]
    found = [pair for pair in expected if pair in pairs.tolist()]
    assert len(found) >= (16 if edit == "shifted" else 20)
    assert len(pairs) == len(found)
    assert pairs.dtype == np.int64


def test_row_37_images_of_one_kind_are_not_near_duplicates():
    """Like X-rays of one view: much is common to all, and the correlation of most pairs is high."""
    anatomy = clouds(1, seed=1).astype(float)
    own = clouds(300, seed=2, grain=1.5).astype(float)
    pixels = np.rint(0.9 * anatomy + 0.1 * own).astype(np.uint8)
    structure = duplicates._structure(pixels[:, 0], 0, 0)
    assert np.median(structure @ structure.T) > duplicates.CORRELATION
    changed = np.stack([recompressed(x, quality=90) for x in pixels[:5]])
    pairs = near_duplicates(np.concatenate([pixels, changed]))
    assert pairs.tolist() == [[i, 300 + i] for i in range(5)]


def test_row_37_real_digits_do_not_chain():
    from sklearn.datasets import load_digits

    digits = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)[:, None]
    pairs = near_duplicates(digits)
    assert len(pairs) <= 5
    assert np.bincount(components(len(digits), pairs)).max() <= 3


def test_more_copies_than_surroundings_are_still_found():
    """When the thirty nearest images are copies too, nothing stands out against them."""
    picture = clouds(1, seed=3)[0]
    copies = np.stack([recompressed(picture, quality=q) for q in range(55, 96)])
    pixels = np.concatenate([clouds(100), copies])
    together = components(len(pixels), near_duplicates(pixels))
    assert together[:100].tolist() == list(range(100))
    assert set(together[100:].tolist()) == {100}


def test_row_20_flat_images_have_no_near_duplicates():
    pixels = clouds(30)
    pixels[3:9] = 0
    pixels[9:12] = np.arange(32) % 2 + 100  # a deviation of half a level is no structure
    pixels[20] = pixels[21]
    assert near_duplicates(pixels).tolist() == [[20, 21]]
    assert near_duplicates(np.zeros((5, 3, 16, 16), np.uint8)).shape == (0, 2)
    assert near_duplicates(pixels[:1]).shape == near_duplicates(pixels[:0]).shape == (0, 2)


def test_images_whose_structure_is_all_in_the_border():
    pixels = np.zeros((4, 1, 16, 16), np.uint8)
    pixels[:2, :, 0], pixels[2:, :, :, 0] = 255, 255
    assert [0, 2] not in near_duplicates(pixels).tolist()


def test_pairs_are_sorted_and_do_not_depend_on_the_memory(monkeypatch):
    pixels = clouds(150)
    pixels = np.concatenate([pixels, [recompressed(x) for x in pixels[:60]], pixels[:10]])
    pixels = pixels[np.random.default_rng(0).permutation(len(pixels))]
    pairs = near_duplicates(pixels)
    assert len(pairs) >= 80
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert pairs.tolist() == sorted(pairs.tolist())
    monkeypatch.setattr(duplicates, "MAX_BYTES", 40_000)
    assert near_duplicates(pixels).tolist() == pairs.tolist()


def test_similar_hashes_are_all_found(monkeypatch):
    base = np.random.default_rng(0).integers(0, 2**64, 40, dtype=np.uint64)
    flips = [np.uint64(2**k - 1) for k in (1, 5, 12, 13, 20)]
    hashes = np.concatenate([base, *(base[:8] ^ flip for flip in flips)])
    expected = {
        (i, j)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if int(hashes[i] ^ hashes[j]).bit_count() <= 12
    }
    monkeypatch.setattr(duplicates, "MAX_BYTES", 10_000)
    blocks = [
        tuple(pair) for block in duplicates._similar_hashes(hashes) for pair in block.tolist()
    ]
    assert len(blocks) == len(set(blocks)) and set(blocks) == expected
    assert len(expected) >= 24


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 30), st.data())
def test_components_are_scipys(n, data):
    position = st.integers(0, n - 1)
    pairs = np.array(data.draw(st.lists(st.tuples(position, position))), np.int64).reshape(-1, 2)
    found = components(n, pairs)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, expected = connected_components(graph, directed=False)
    smallest = [int(np.flatnonzero(expected == label)[0]) for label in expected]
    assert found.dtype == np.int64 and found.tolist() == smallest


def test_links_join_equal_keys_only():
    assert links(["p1", "", "p2", "p1", "", "p1"]).tolist() == [[0, 3], [0, 5]]
    assert links([]).shape == (0, 2)
    both = np.concatenate([links([7, 8, 7, 9]), [[1, 3]]])
    assert components(4, both).tolist() == [0, 1, 0, 1]
