"""Arms: what is drawn how often, and the names people may ask for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthaug.errors import UsageError
from synthaug.evaluation.arms import (
    DATA_SIDES,
    DEFAULT_ARMS,
    LOSS_SIDES,
    Arm,
    Material,
    class_balanced,
    mixed,
    parse_arms,
)

real_counts = st.lists(st.integers(1, 40), min_size=2, max_size=6)


def pool(counts, first=0):
    """Images whose class and number are written in their pixels, labels in a mixed order."""
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    np.random.default_rng(first).shuffle(labels)
    images = np.zeros((len(labels), 2, 2, 2), np.uint8)
    images[:, 0, 0, 0] = labels
    images[:, 1] = (first + np.arange(len(labels)))[:, None, None]
    return images, labels


@st.composite
def materials(draw):
    n = draw(real_counts)
    m = draw(st.lists(st.integers(0, 40), min_size=len(n), max_size=len(n)))
    share = draw(st.floats(0, 1))
    return Material(
        real=pool(n), n_classes=len(n), synthetic=pool(m, 1), extra=pool(m, 2),
        synthetic_share=share, seed=3,
    )  # fmt: skip


def class_shares(data, k):
    return np.bincount(data.labels, data.weights, minlength=k)


@settings(deadline=None)
@given(materials(), st.sampled_from(list(DATA_SIDES)))
def test_every_side_is_a_probability_over_its_images(material, name):
    data = DATA_SIDES[name](material)
    assert len(data.images) == len(data.labels) == len(data.weights)
    assert data.weights.sum() == pytest.approx(1)
    assert data.weights.min() >= 0
    assert data.images.dtype == np.uint8
    np.testing.assert_array_equal(data.images[:, 0, 0, 0], data.labels)  # pixels keep their class


@settings(deadline=None)
@given(materials(), st.sampled_from([d for d in DATA_SIDES if d != "real"]))
def test_every_class_is_drawn_equally_often(material, name):
    shares = class_shares(DATA_SIDES[name](material), material.n_classes)
    np.testing.assert_allclose(shares, 1 / material.n_classes)


def test_class_balanced_counts_only_classes_that_are_there():
    np.testing.assert_allclose(class_balanced(np.array([0, 0, 0, 3])), [1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_natural_arm_is_uniform_and_untouched():
    material = Material(real=pool([5, 1, 2]), n_classes=3)
    data = DATA_SIDES["real"](material)
    np.testing.assert_allclose(data.weights, 1 / 8)
    assert data.images is material.real[0]


@settings(deadline=None)
@given(materials())
def test_synthetic_share_of_each_class(material):
    """share * m / (n + m) of a class's draws are synthetic, evenly over its images."""
    data = DATA_SIDES["synthaug"](material)
    k, n_real = material.n_classes, len(material.real[1])
    n = np.bincount(material.real[1], minlength=k)
    m = np.bincount(material.synthetic[1], minlength=k)
    added = np.bincount(data.labels[n_real:], data.weights[n_real:], minlength=k)
    expected = material.synthetic_share * m / (n + m)
    np.testing.assert_allclose(added * k, expected, atol=1e-12)
    for c in range(k):
        real_w = data.weights[:n_real][data.labels[:n_real] == c]
        added_w = data.weights[n_real:][data.labels[n_real:] == c]
        assert np.ptp(real_w) < 1e-15
        if len(added_w):
            assert np.ptp(added_w) < 1e-15
            assert added_w[0] <= real_w[0] * (1 + 1e-9)  # never likelier than a real image


def test_mixed_by_hand():
    """10 + 30 images at share 0.5: 3/8 of the class's draws; 6 + 2: 1/8."""
    data = mixed(pool([10, 6]), pool([30, 2], 1), 0.5)
    added = np.bincount(data.labels[16:], data.weights[16:])
    np.testing.assert_allclose(added, [3 / 16, 1 / 16])


def test_share_one_is_the_balanced_folder_as_it_is():
    data = mixed(pool([10, 6]), pool([30, 34], 1), 1.0)
    np.testing.assert_allclose(data.weights, 1 / 80)


def test_nothing_added_is_oversampling():
    material = Material(real=pool([10, 2]), n_classes=2, synthetic=pool([0, 0]))
    ours, theirs = DATA_SIDES["synthaug"](material), DATA_SIDES["real+oversample"](material)
    np.testing.assert_allclose(ours.weights, theirs.weights)
    np.testing.assert_array_equal(ours.labels, theirs.labels)


@settings(deadline=None)
@given(materials())
def test_copy_control_differs_from_synthaug_in_pixels_only(material):
    control, ours = DATA_SIDES["copy-control"](material), DATA_SIDES["synthaug"](material)
    np.testing.assert_array_equal(control.labels, ours.labels)
    np.testing.assert_array_equal(control.weights, ours.weights)
    known = {(label, image.tobytes()) for image, label in zip(*material.real, strict=True)}
    for image, label in zip(control.images, control.labels, strict=True):
        assert (label, image.tobytes()) in known


def test_copies_follow_the_seed():
    material = Material(real=pool([30, 5]), n_classes=2, synthetic=pool([0, 40], 1))
    other = Material(real=pool([30, 5]), n_classes=2, synthetic=pool([0, 40], 1), seed=1)
    first, again = (DATA_SIDES["copy-control"](material).images for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, DATA_SIDES["copy-control"](other).images)
    assert len(np.unique(first[35:, 1, 0, 0])) == 5  # every image of the class is used


def test_oracle_joins_the_extra_images():
    material = Material(real=pool([4, 1]), n_classes=2, extra=pool([0, 3], 9))
    data = DATA_SIDES["oracle"](material)
    np.testing.assert_array_equal(np.bincount(data.labels), [4, 4])
    np.testing.assert_allclose(data.weights, 1 / 8)
    np.testing.assert_array_equal(data.images[5:], material.extra[0])


@pytest.mark.parametrize("name", ["synthaug", "copy-control", "oracle"])
def test_missing_material(name):
    with pytest.raises(ValueError, match="needs"):
        DATA_SIDES[name](Material(real=pool([4, 1]), n_classes=2))


# Names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["default", "all", " default ", "default,all", "default,real/ce"])
def test_default_arms(text):
    assert parse_arms(text, oracle=False) == DEFAULT_ARMS


def test_default_arms_hold_the_remedies_and_their_control():
    names = {arm.name for arm in DEFAULT_ARMS}
    sides = ("real", "real+oversample", "copy-control", "synthaug")
    assert names == {f"{data}/{loss}" for data in sides for loss in LOSS_SIDES}
    assert [a.name for a in DEFAULT_ARMS if a.synthetic] == ["synthaug/ce", "synthaug/la"]
    assert [a.name for a in DEFAULT_ARMS if a.control] == ["copy-control/ce", "copy-control/la"]
    assert not any(a.oracle for a in DEFAULT_ARMS)


def test_list_keeps_its_order_and_drops_repeats():
    got = parse_arms("synthaug/la, real , synthaug", oracle=False)
    assert [a.name for a in got] == ["synthaug/la", "real/ce", "real/la", "synthaug/ce"]


@pytest.mark.parametrize("text", ["", "reel", "real/focal", "real,,synthaug", "default/la", "/ce"])
def test_unknown_arm_names_the_known_ones(text):
    with pytest.raises(UsageError, match="unknown arm") as caught:
        parse_arms(text, oracle=False)
    assert "real/ce, real/la, real+oversample/ce" in str(caught.value)
    assert "oracle" not in str(caught.value)


@pytest.mark.parametrize("text", ["oracle", "oracle/la", "real,oracle/ce"])
def test_oracle_needs_images(text):
    with pytest.raises(UsageError, match="--oracle DIR"):
        parse_arms(text, oracle=False)


def test_oracle_is_added_once():
    assert parse_arms("real/ce", oracle=True) == (Arm("real", "ce"), Arm("oracle", "ce"))
    assert parse_arms("oracle/la", oracle=True) == (Arm("oracle", "la"),)
    assert parse_arms("default", oracle=True) == (*DEFAULT_ARMS, Arm("oracle", "ce"))
