"""Data sides: which images there are and how often each is drawn."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthaug.evaluation.material import Material, class_balanced, mixed
from synthaug.evaluation.sides import DATA_SIDES, NOISE

CONTROLS = ("noise-control", "copy-control")
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
        unfiltered=pool([2 * c for c in m], 3), synthetic_share=share, seed=3, n_new=np.array(m),
    )  # fmt: skip


NATURAL = ("real", "classical", "mixup", "cutmix", "smote-features")


def class_shares(data, k):
    return np.bincount(data.labels, data.weights, minlength=k)


@settings(deadline=None, derandomize=True)
@given(materials(), st.sampled_from(list(DATA_SIDES)))
def test_every_side_is_a_probability_over_its_images(material, name):
    data = DATA_SIDES[name](material)
    assert len(data.images) == len(data.labels) == len(data.weights)
    assert data.weights.sum() == pytest.approx(1)
    assert data.weights.min() >= 0
    assert data.images.dtype == np.uint8
    if name != "noise-control":  # pixels keep their class
        np.testing.assert_array_equal(data.images[:, 0, 0, 0], data.labels)


@settings(deadline=None, derandomize=True)
@given(materials(), st.sampled_from([d for d in DATA_SIDES if d not in NATURAL]))
def test_every_class_is_drawn_equally_often(material, name):
    shares = class_shares(DATA_SIDES[name](material), material.n_classes)
    np.testing.assert_allclose(shares, 1 / material.n_classes)


def test_class_balanced_counts_only_classes_that_are_there():
    np.testing.assert_allclose(class_balanced(np.array([0, 0, 0, 3])), [1 / 6, 1 / 6, 1 / 6, 1 / 2])


@pytest.mark.parametrize("name", NATURAL)
def test_natural_sides_are_uniform_and_untouched(name):
    material = Material(real=pool([5, 1, 2]), n_classes=3)
    data = DATA_SIDES[name](material)
    np.testing.assert_allclose(data.weights, 1 / 8)
    assert data.images is material.real[0]
    assert data.labels is material.real[1]
    assert data.transform == (name if name in ("classical", "mixup", "cutmix") else "")


@settings(deadline=None, derandomize=True)
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


@settings(deadline=None, derandomize=True)
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


@settings(deadline=None, derandomize=True)
@given(materials())
def test_noise_control_is_the_copy_control_with_noise(material):
    """Real images and draws are the same, and no copy is far from what it copies."""
    noisy, copies = DATA_SIDES["noise-control"](material), DATA_SIDES["copy-control"](material)
    n = len(material.real[1])
    np.testing.assert_array_equal(noisy.labels, copies.labels)
    np.testing.assert_array_equal(noisy.weights, copies.weights)
    np.testing.assert_array_equal(noisy.images[:n], copies.images[:n])
    off = noisy.images[n:].astype(float) - copies.images[n:]
    level = NOISE * material.real[0].std()
    assert np.abs(off).max(initial=0) < 6 * level + 1


def test_noise_has_its_level_and_follows_the_seed():
    images = np.random.default_rng(0).integers(90, 160, (20, 1, 16, 16)).astype(np.uint8)
    real = images, np.repeat([0, 1], 10)
    added = images[:15], np.zeros(15, np.int64)

    def made(seed):
        material = Material(real, 2, synthetic=added, seed=seed)
        noisy, copies = (DATA_SIDES[d](material).images[20:] for d in CONTROLS)
        return noisy.astype(float) - copies

    off = made(0)
    assert off.std() == pytest.approx(NOISE * images.std(), rel=0.05)
    assert abs(off.mean()) < 5 * off.std() / off.size**0.5
    np.testing.assert_array_equal(off, made(0))
    assert not np.array_equal(off, made(1))
    assert len(np.unique(off.reshape(15, -1), axis=0)) == 15


@settings(deadline=None, derandomize=True, max_examples=25)
@given(materials())
def test_smote_fills_up_to_the_plan_between_images_of_a_class(material):
    data = DATA_SIDES["smote"](material)
    n = len(material.real[1])
    k = material.n_classes
    assert np.bincount(data.labels[n:], minlength=k).tolist() == material.n_new.tolist()
    for c in range(k):
        own = material.real[0][material.real[1] == c]
        made = data.images[n:][data.labels[n:] == c]
        if len(made):
            assert (made.min(0) >= own.min(0)).all()
            assert (made.max(0) <= own.max(0)).all()


def test_smote_draws_as_synthaug_does_where_counts_agree():
    material = Material(pool([12, 3, 1]), 3, synthetic=pool([0, 9, 11], 1))
    ours, theirs = DATA_SIDES["synthaug"](material), DATA_SIDES["smote"](material)

    def share(data):
        return np.bincount(data.labels[16:], data.weights[16:], minlength=3)

    np.testing.assert_allclose(share(ours), share(theirs))
    np.testing.assert_allclose(ours.weights[:16], theirs.weights[:16])


def test_without_a_plan_classes_are_filled_up_to_the_largest():
    material = Material(pool([12, 3, 1]), 3)
    assert material.planned().tolist() == [0, 9, 11]
    assert DATA_SIDES["smote-features"](material).smote_features.tolist() == [0, 9, 11]
    planned = replace(material, n_new=np.array([0, 2, 4]))
    assert DATA_SIDES["smote-features"](planned).smote_features.tolist() == [0, 2, 4]
    assert len(DATA_SIDES["smote"](planned).labels) == 16 + 6


@settings(deadline=None, derandomize=True)
@given(materials())
def test_unfiltered_images_are_drawn_as_often_as_selected_ones(material):
    """Twice as many images, and the same share of every class's draws."""
    ours, theirs = DATA_SIDES["synthaug"](material), DATA_SIDES["synthaug-unfiltered"](material)
    n, k = len(material.real[1]), material.n_classes
    np.testing.assert_array_equal(theirs.images[n:], material.unfiltered[0])
    np.testing.assert_array_equal(theirs.weights[:n], ours.weights[:n])
    shares = (np.bincount(d.labels[n:], d.weights[n:], minlength=k) for d in (ours, theirs))
    np.testing.assert_allclose(*shares, atol=1e-12)


def test_a_class_whose_candidates_were_all_kept_out_draws_real_images_alone():
    material = Material(pool([6, 2]), 2, synthetic=pool([3, 0], 1), unfiltered=pool([4, 5], 2))
    data = DATA_SIDES["synthaug-unfiltered"](material)
    drawn = data.weights[8:][data.labels[8:] == 1]
    assert len(drawn) == 5 and not drawn.any()
    assert data.weights.sum() == pytest.approx(1)


def test_weighted_side_discounts_synthetic_images_and_draws_all_alike():
    material = Material(pool([10, 6]), 2, synthetic=pool([0, 4], 1))
    data = DATA_SIDES["synthaug-weighted"](material)
    np.testing.assert_array_equal(data.discounted, np.arange(20) >= 16)
    np.testing.assert_allclose(data.weights, 1 / 20)


@settings(deadline=None, derandomize=True)
@given(materials())
def test_finetune_side_ends_as_oversampling(material):
    data = DATA_SIDES["synthaug-finetune"](material)
    n = len(material.real[1])
    np.testing.assert_array_equal(data.weights, DATA_SIDES["synthaug"](material).weights)
    expected = DATA_SIDES["real+oversample"](material).weights
    np.testing.assert_array_equal(data.last_weights[:n], expected)
    assert not data.last_weights[n:].any()


NEEDY = [d for d in DATA_SIDES if d.startswith(("synthaug", "copy", "noise", "oracle"))]


@pytest.mark.parametrize("name", NEEDY)
def test_missing_material(name):
    with pytest.raises(ValueError, match=f"the {name} arm needs"):
        DATA_SIDES[name](Material(real=pool([4, 1]), n_classes=2))


@pytest.mark.parametrize("name", sorted(set(DATA_SIDES) - set(NEEDY)))
def test_real_images_are_enough_for_the_others(name):
    data = DATA_SIDES[name](Material(real=pool([4, 1]), n_classes=2))
    assert data.weights.sum() == pytest.approx(1)
