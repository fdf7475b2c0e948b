"""The long-tail profile and the digits written with it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from synthaug.data.decode import decode_images
from synthaug.data.folder import index_folder
from synthaug.data.longtail import long_tail_counts, write_digits_long_tail
from synthaug.data.splits import make_splits
from synthaug.errors import DataError, UsageError


def test_profile_of_the_digits():
    assert long_tail_counts(100, 10, 20) == [100, 72, 51, 37, 26, 19, 14, 10, 7, 5]


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 100), st.floats(1, 1000))
def test_profile_properties(n_max, n_classes, ratio):
    counts = long_tail_counts(n_max, n_classes, ratio)
    assert len(counts) == n_classes and counts[0] == n_max
    assert counts == sorted(counts, reverse=True) and counts[-1] >= 1
    if n_classes > 1:
        assert counts[-1] == max(1, round(n_max / ratio))


@pytest.mark.parametrize("bad", [(0, 10, 20), (100, 0, 20), (100, 10, 0.5), (1, 1, float("nan"))])
def test_profile_refuses_nonsense(bad):
    with pytest.raises(UsageError):
        long_tail_counts(*bad)


def test_digits_are_a_usable_disjoint_dataset(tmp_path):
    root = write_digits_long_tail(tmp_path / "digits")
    index = index_folder(root)
    decoded = decode_images(index, size=8, channels=1)
    assert index.class_names == tuple("0123456789")
    assert index.ignored == {} and decoded.bad == () and decoded.notices == {}
    splits = make_splits(
        index.labels,
        decoded.content_hashes,
        index.declared_split,
        class_names=index.class_names,
    )
    assert splits.notices == () and len(splits.val) == 0
    train = np.bincount(index.labels[splits.train])
    assert train.tolist() == long_tail_counts(100, 10, 20)
    digits = load_digits()
    total = np.bincount(digits.target)
    assert (np.bincount(index.labels[splits.test]) == total - train).all()
    assert (total - train >= 60).all()

    expected = np.rint(digits.images * 255 / 16).astype(np.uint8)
    assert {image.tobytes() for image in decoded.pixels[:, 0]} == {i.tobytes() for i in expected}


def test_digits_depend_on_the_seed_only(tmp_path):
    prints = [
        index_folder(write_digits_long_tail(tmp_path / name, seed=seed)).fingerprint
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert prints[0] == prints[1] != prints[2]


def test_digits_never_write_over_something(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="not an empty folder"):
        write_digits_long_tail(tmp_path)
    with pytest.raises(DataError, match="not an empty folder"):
        write_digits_long_tail(tmp_path / "mine.txt")
    (tmp_path / "empty").mkdir()
    assert (write_digits_long_tail(tmp_path / "empty") / "train" / "9").is_dir()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "mine.txt"]


def test_digits_keep_enough_to_test_on(tmp_path):
    with pytest.raises(UsageError, match="at least 60 test images; lower n_max to 114"):
        write_digits_long_tail(tmp_path / "digits", n_max=150)
    assert not (tmp_path / "digits").exists()
