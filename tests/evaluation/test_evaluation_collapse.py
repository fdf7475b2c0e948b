"""Neural collapse against closed forms, free features trained to the end, and plain formulas."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from synthaug.errors import DivergedError
from synthaug.evaluation.collapse import neural_collapse
from synthaug.evaluation.collapse_words import describe_collapse
from synthaug.evaluation.geometry import (
    geometry,
    gram_distance,
    minority_geometry,
    seli,
    seli_geometry,
    simplex,
)

COUNTS = st.lists(st.integers(1, 60), min_size=2, max_size=7).map(np.array)


def step(k: int, ratio: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts of k classes, half of them a minority of 1 image against `ratio`."""
    minority = np.arange(k) >= k // 2
    return np.where(minority, 1, ratio), minority


def vectors_of(gram: np.ndarray, dimension: int, seed: int = 0) -> np.ndarray:
    """[K, dimension] with that Gram matrix, turned at random."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dimension, dimension)))
    eigenvalues, v = np.linalg.eigh(gram)
    root = (v * np.sqrt(np.maximum(eigenvalues, 0))) @ v.T
    return root @ turn[: len(gram)]


def clouds(mu: np.ndarray, n: int, spread: float, seed: int = 0):
    """n features around each class mean [K, D], whose means are exactly those."""
    noise = np.random.default_rng(seed).normal(size=(len(mu), n, mu.shape[1])) * spread
    noise -= noise.mean(axis=1, keepdims=True)
    features = (mu[:, None] + noise).reshape(-1, mu.shape[1])
    return features, np.repeat(np.arange(len(mu)), n)


# --- SELI ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "cosine", "squared", "of_means", "squared_of_means"),
    [
        (1, -0.111, 1.000, -0.111, 1.000),
        (10, 0.033, 2.672, -0.187, 0.351),
        (100, 0.338, 5.766, -0.228, 0.116),
        (1000, 0.671, 9.066, -0.243, 0.037),
    ],
)
def test_seli_of_ten_classes(ratio, cosine, squared, of_means, squared_of_means):
    """Classifier vectors of the minority shrink and merge, its class means grow and part."""
    counts, minority = step(10, ratio)
    w, m = (minority_geometry(g, minority) for g in seli_geometry(counts))
    assert w.cosine == pytest.approx(cosine, abs=5e-4)
    assert w.squared_norm_ratio == pytest.approx(squared, abs=5e-4)
    assert w.norm_ratio**2 == pytest.approx(w.squared_norm_ratio)
    assert m.cosine == pytest.approx(of_means, abs=5e-4)
    assert m.squared_norm_ratio == pytest.approx(squared_of_means, abs=5e-4)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(2, 8), st.integers(1, 10_000))
def test_seli_of_a_step_in_closed_form(half, ratio):
    """Contrasts within a group have eigenvalue n_group, the one between groups (R + 1) / 2."""
    counts, minority = step(2 * half, ratio)
    u = np.where(minority, -1, 1) / np.sqrt(2 * half)
    within = np.eye(2 * half)
    within[:half, :half] -= 1 / half
    within[half:, half:] -= 1 / half
    s = np.sqrt(np.where(minority, 1.0, ratio))
    expected = s[:, None] * within + np.sqrt((ratio + 1) / 2) * np.outer(u, u)
    np.testing.assert_allclose(seli(counts)[0], expected, atol=1e-9 * ratio)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(COUNTS)
def test_seli_is_the_decomposition_of_the_encoded_labels(counts):
    """From the SVD of the K x n matrix itself, with nothing reduced."""
    k = len(counts)
    labels = np.repeat(np.arange(k), counts)
    z = simplex(k)[:, labels]
    v, s, ut = np.linalg.svd(z, full_matrices=False)
    v, s, ut = v[:, :-1], s[:-1], ut[:-1]
    features = ut.T * np.sqrt(s)  # [n, K-1]
    means = np.stack([features[labels == c].mean(axis=0) for c in range(k)])
    w, m = seli(counts)
    np.testing.assert_allclose(w, (v * s) @ v.T, atol=1e-9)
    np.testing.assert_allclose(m, means @ means.T, atol=1e-9)
    np.testing.assert_allclose(w @ m, simplex(k), atol=1e-9)
    np.testing.assert_allclose(w @ w, simplex(k) @ np.diag(counts) @ simplex(k), atol=1e-8)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(2, 12), st.integers(1, 500))
def test_seli_of_equal_counts_is_the_etf(k, n):
    for g in seli_geometry(np.full(k, n)):
        assert g.etf_distance == pytest.approx(0, abs=1e-9)
        np.testing.assert_allclose(g.cosines[~np.eye(k, dtype=bool)], -1 / (k - 1))


@pytest.mark.parametrize("counts", [[3, 0], [5], []])
def test_seli_needs_images_in_two_classes(counts):
    with pytest.raises(ValueError, match="2 or more classes with images"):
        seli(np.array(counts))


def train_free_features(counts, ridge, start, d=6):
    """Cross-entropy of free features [n, d] and classifier vectors [K, d], to the minimum."""
    k, n = len(counts), int(np.sum(counts))
    labels = np.repeat(np.arange(k), counts)

    def loss(flat):
        p = flat.reshape(k + n, d)
        w, h = p[:k], p[k:]
        z = h @ w.T
        grad = softmax(z, axis=1)
        grad[np.arange(n), labels] -= 1
        value = -log_softmax(z, axis=1)[np.arange(n), labels].sum() + ridge / 2 * (p**2).sum()
        return value, np.concatenate([grad.T @ h, grad @ w]).ravel() + ridge * flat

    options = {"maxiter": 2000, "ftol": 0, "gtol": 1e-12}
    flat = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    p = flat.reshape(k + n, d)
    return neural_collapse(p[k:], labels, p[:k]), flat


def test_free_features_tend_to_seli_and_not_to_the_etf_as_weight_decay_vanishes():
    counts = np.array([10, 10, 1, 1])
    flat = np.random.default_rng(0).normal(size=(4 + counts.sum()) * 6)
    found = []
    for ridge in (1e-2, 1e-3, 1e-4, 1e-5, 1e-7, 1e-9):
        measured, flat = train_free_features(counts, ridge, flat)
        found.append(measured)
    for side in ("classifier", "means"):
        to_seli = [getattr(f, side).seli_distance for f in found]
        assert (np.diff(to_seli) < 0).all() and to_seli[-1] < 0.05
        assert getattr(found[-1], side).etf_distance > 0.35
    assert found[-1].nc1 < 1e-12
    assert found[-1].logits < 0.04 < found[-1].nc3  # SELI is not self-dual
    assert found[-1].train_accuracy == 1


# --- Numbers of a classifier --------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_a_collapsed_classifier(offset):
    """Means and classifier vectors on one ETF, images on their mean: everything is at its limit."""
    mu = vectors_of(simplex(5), 16)
    features, labels = clouds(mu + offset, 7, 0.0)
    c = neural_collapse(features, labels, 3 * mu, -3 * (mu * offset).sum(axis=1))
    assert c.nc1 == pytest.approx(0, abs=1e-12) and c.cdnv == pytest.approx(0, abs=1e-12)
    assert c.nc4 == c.train_accuracy == 1
    for value in (c.nc3, c.logits):
        assert value == pytest.approx(0, abs=1e-9)
    for g in (c.means, c.classifier):
        for name in ("equinorm", "equiangular", "max_angle", "etf_distance", "seli_distance"):
            assert getattr(g, name) == pytest.approx(0, abs=1e-8), name


def test_variability_equals_the_formulas():
    rng = np.random.default_rng(3)
    k, d, counts = 4, 9, np.array([20, 11, 5, 3])
    labels = rng.permutation(np.repeat(np.arange(k), counts))
    features = rng.normal(size=(k, d))[labels] * 2 + rng.normal(size=(len(labels), d)) + 1
    c = neural_collapse(features, labels, rng.normal(size=(k, d)))
    mu = np.array([features[labels == i].mean(axis=0) for i in range(k)])
    sigma = [np.cov(features[labels == i].T, bias=True) for i in range(k)]
    m = mu - mu.mean(axis=0)
    between = np.linalg.pinv(m.T @ m / k, rcond=1e-10)
    assert c.nc1 == pytest.approx(np.trace(np.mean(sigma, axis=0) @ between) / k)
    weighted = np.trace(np.average(sigma, axis=0, weights=counts) @ between) / k
    assert np.average(c.nc1_by_class, weights=counts) == pytest.approx(weighted)
    for i in range(k):
        for j in range(k):
            if i == j:
                assert np.isnan(c.cdnv_pairs[i, j])
                continue
            expected = np.trace(sigma[i] + sigma[j]) / 2 / ((mu[i] - mu[j]) ** 2).sum()
            assert c.cdnv_pairs[i, j] == pytest.approx(expected)
    assert c.cdnv == pytest.approx(np.nanmean(c.cdnv_pairs))


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(3, 6), st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-20, 20))
def test_nothing_depends_on_scale_rotation_or_origin(k, seed, scale, shift):
    rng = np.random.default_rng(seed)
    d = 8
    labels = np.concatenate([np.arange(k), np.arange(k), rng.integers(0, k, 20)])
    mu, w = rng.normal(size=(2, k, d))
    features = mu[labels] + 0.3 * rng.normal(size=(len(labels), d))
    turn, _ = np.linalg.qr(rng.normal(size=(d, d)))
    a = neural_collapse(features, labels, w)
    moved, turned = scale * (features @ turn) + shift, w @ turn + rng.normal(size=d)
    b = neural_collapse(moved, labels, turned, -(w @ turn).sum(axis=1) * shift)
    for name in ("nc1", "cdnv", "nc3", "logits"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-6), name
    for x, y in ((a.means, b.means), (a.classifier, b.classifier)):
        for name in ("equinorm", "equiangular", "max_angle", "etf_distance", "seli_distance"):
            assert getattr(x, name) == pytest.approx(getattr(y, name), rel=1e-5), name


def test_geometry_equals_the_formulas():
    x = np.random.default_rng(5).normal(size=(6, 4)) + 3
    g = geometry(x, seli(np.arange(1, 7))[0])
    m = x - x.mean(axis=0)
    norms = np.linalg.norm(m, axis=1)
    cosines = [m[i] @ m[j] / norms[i] / norms[j] for i in range(6) for j in range(6) if i != j]
    assert g.equinorm == pytest.approx(norms.std() / norms.mean())
    assert g.equiangular == pytest.approx(np.std(cosines))
    assert g.max_angle == pytest.approx(np.mean([abs(c + 1 / 5) for c in cosines]))
    gram = m @ m.T / np.linalg.norm(m @ m.T)
    etf = (np.eye(6) - 1 / 6) / np.sqrt(5)
    assert g.etf_distance == pytest.approx(np.linalg.norm(gram - etf))
    w = seli(np.arange(1, 7))[0]
    assert g.seli_distance == pytest.approx(np.linalg.norm(gram - w / np.linalg.norm(w)))


def test_self_duality_is_of_vectors_and_not_of_their_angles():
    mu = vectors_of(simplex(4), 6)
    features, labels = clouds(mu, 3, 0.1)
    assert neural_collapse(features, labels, mu * 9).nc3 == pytest.approx(0, abs=1e-9)
    assert neural_collapse(features, labels, -mu).nc3 == pytest.approx(2)
    elsewhere = neural_collapse(features, labels, vectors_of(simplex(4), 6, seed=1))
    assert elsewhere.classifier.etf_distance == pytest.approx(0, abs=1e-8)
    assert elsewhere.nc3 > 0.5


def test_nearest_mean_agreement_of_train_and_test_images():
    mu = np.array([[0.0, 0], [4, 0], [0, 4]])
    features, labels = clouds(mu, 40, 1.5, seed=1)
    w, b = np.random.default_rng(2).normal(size=(3, 2)), np.array([0.3, -0.2, 0.1])
    tested = np.random.default_rng(4).normal(size=(31, 2)) * 3
    c = neural_collapse(features, labels, w, b, test_features=tested)
    for x, found in ((features, c.nc4), (tested, c.nc4_test)):
        nearest = [np.argmin([np.linalg.norm(h - m) for m in mu]) for h in x]
        decided = [np.argmax(w @ h + b) for h in x]
        assert found == np.mean(np.equal(nearest, decided))
    assert 0 < c.nc4 < 1 and c.nc4_test != c.nc4
    assert neural_collapse(features, labels, w, b).nc4_test is None
    # Nearest mean as a linear layer: the two are the same classifier.
    assert neural_collapse(features, labels, mu, -(mu**2).sum(axis=1) / 2).nc4 == 1


def test_train_recall_shows_the_class_that_accuracy_hides():
    mu = np.array([[0.0, 0], [9, 0], [0, 9]])
    labels = np.repeat([0, 1, 2], [500, 499, 1])
    c = neural_collapse(mu[labels], labels, np.array([[0.0, 0], [9, 0], [0, -9]]))
    assert c.train_accuracy == 0.999
    assert c.train_recall.tolist() == [1, 1, 0]


def test_seli_follows_the_counts_of_training_and_not_of_measuring():
    counts, minority = step(6, 50)
    w = vectors_of(seli(counts)[0], 8)
    features, labels = clouds(vectors_of(seli(counts)[1], 8), 4, 0.1)
    c = neural_collapse(features, labels, w, counts=counts)
    assert c.classifier.seli_distance == pytest.approx(0, abs=1e-6)
    assert c.means.seli_distance == pytest.approx(0, abs=1e-6)
    assert c.logits == pytest.approx(0, abs=1e-6) and c.nc3 > 0.5
    balanced = neural_collapse(features, labels, w).classifier
    assert balanced.seli_distance == pytest.approx(balanced.etf_distance)
    assert balanced.etf_distance > 0.3
    assert minority_geometry(c.classifier, minority).cosine > 0.2


def test_float32_features_of_a_network_are_precise_enough():
    mu = vectors_of(simplex(6), 32) + 5
    features, labels = clouds(mu, 30, 0.05)
    exact = neural_collapse(features, labels, mu)
    single = neural_collapse(features.astype(np.float32), labels, mu.astype(np.float32))
    assert single.nc1 == pytest.approx(exact.nc1, rel=1e-4)
    assert single.means.etf_distance == pytest.approx(exact.means.etf_distance, abs=1e-6)


# --- What is undefined --------------------------------------------------------------------------


def test_a_class_without_images_leaves_the_classifier():
    mu = vectors_of(simplex(3), 4)
    features, labels = clouds(mu[:2], 5, 0.1)
    c = neural_collapse(features, labels, mu)
    assert c.means is c.nc1 is c.cdnv is c.nc3 is c.logits is c.nc4 is None
    assert np.isnan(c.nc1_by_class).all() and np.isnan(c.cdnv_pairs).all()
    assert c.classifier.etf_distance == pytest.approx(0, abs=1e-9)
    assert c.classifier.seli_distance is None
    assert np.isnan(c.train_recall[2]) and c.train_accuracy == 1


def test_one_class_has_only_a_train_accuracy():
    c = neural_collapse(np.ones((3, 2)), np.zeros(3, int), np.ones((1, 2)))
    assert c.train_accuracy == 1
    assert c.classifier is c.means is c.nc1 is None


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_dead_features_have_no_means_to_measure(level):
    labels = np.arange(12) % 3
    w = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    c = neural_collapse(np.full((12, 5), level, np.float32), labels, w)
    assert c.means is c.nc1 is c.cdnv is c.nc3 is c.logits is c.nc4 is None
    assert np.isinf(c.cdnv_pairs[~np.eye(3, dtype=bool)]).all()
    assert c.classifier is not None


def test_a_classifier_of_zeros_has_no_geometry():
    features, labels = clouds(vectors_of(simplex(3), 4), 5, 0.1)
    c = neural_collapse(features, labels, np.zeros((3, 4)))
    assert c.classifier is c.nc3 is c.logits is None
    assert c.means is not None and c.nc1 > 0


def test_a_class_of_one_image_has_no_spread():
    mu = vectors_of(simplex(3), 4)
    features, labels = clouds(mu, 5, 0.1)
    kept = np.r_[0:11]  # one image of the last class
    c = neural_collapse(features[kept], labels[kept], mu)
    assert np.isnan(c.nc1_by_class[2]) and np.isnan(c.cdnv_pairs[2]).all()
    assert c.nc1 == pytest.approx(c.nc1_by_class[:2].mean())
    assert c.cdnv == pytest.approx(c.cdnv_pairs[0, 1])


def test_a_vector_in_the_middle_has_no_angle():
    g = geometry(np.array([[1.0, 0], [-1, 0], [0, 0]]))
    assert g.equiangular is g.max_angle is None
    assert g.norms.tolist() == [1, 1, 0]
    of_one = minority_geometry(g, np.array([False, False, True]))
    assert of_one.norm_ratio is of_one.cosine is of_one.cross_cosine is None
    assert of_one.majority_cosine == pytest.approx(-1)


def test_no_minority_and_only_a_minority():
    g = geometry(vectors_of(simplex(4), 5))
    none = minority_geometry(g, np.zeros(4, bool))
    assert none.cosine is none.cross_cosine is none.norm_ratio is none.squared_norm_ratio is None
    every = minority_geometry(g, np.ones(4, bool))
    assert every.cosine == pytest.approx(-1 / 3) and every.norm_ratio is None


def test_a_diverged_classifier_is_told():
    with pytest.raises(DivergedError, match="not finite; expected numbers; train it again"):
        neural_collapse(np.array([[np.nan, 0]]), np.array([0]), np.ones((2, 2)))


@pytest.mark.parametrize(
    ("labels", "weights", "more"),
    [
        ([0, 3], (3, 2), {}),
        ([0, -1], (3, 2), {}),
        ([0], (3, 2), {}),
        ([0, 1], (3, 5), {}),
        ([0, 1], (3, 2), {"bias": np.zeros(2)}),
        ([0, 1], (3, 2), {"counts": np.ones(2, int)}),
        ([0, 1], (3, 2), {"test_features": np.zeros((4, 3))}),
    ],
)
def test_shapes_that_do_not_fit(labels, weights, more):
    with pytest.raises(ValueError, match=r"classes|for weights"):
        neural_collapse(np.zeros((2, 2)), np.array(labels), np.ones(weights), **more)


def test_gram_distance_is_of_directions():
    p = simplex(3)
    assert gram_distance(p, 7 * p) == pytest.approx(0, abs=1e-12)
    assert gram_distance(p, np.ones((3, 3))) == pytest.approx(np.sqrt(2))


# --- In words -----------------------------------------------------------------------------------


def classifier_of(gram, *, accuracy=1.0, recall=None):
    """The collapse of a classifier with that Gram matrix; only the vectors are looked at."""
    k = len(gram)
    mu = vectors_of(simplex(k), k + 1)
    measured = neural_collapse(*clouds(mu, 2, 0.1), vectors_of(gram, k + 1))
    return replace(
        measured,
        train_accuracy=accuracy,
        train_recall=np.ones(k) if recall is None else np.asarray(recall, dtype=float),
    )


def test_words_of_balancing_a_seli_classifier():
    counts, minority = step(10, 100)
    before, after = classifier_of(seli(counts)[0]), classifier_of(simplex(10))
    assert describe_collapse(before, after, minority) == (
        "The minority classes collapsed less: the mean cosine between their classifier vectors was "
        "+0.34 and is -0.11 (-0.11 in the simplex ETF), the norm ratio of majority to minority was "
        "2.40 and is 1.00 and the distance of all classifier vectors to the ETF was "
        f"{before.classifier.etf_distance:.2f} and is 0.00."
    )
    assert describe_collapse(after, before, minority).startswith("The minority classes collapsed m")


def test_words_of_no_clear_change():
    counts, minority = step(10, 100)
    before = classifier_of(seli(counts)[0])
    after = classifier_of(seli(np.where(minority, 10, 900))[0])
    for b, a in ((before, after), (after, before), (before, before)):
        assert describe_collapse(b, a, minority).startswith("No clear change in the collapse of")
    assert describe_collapse(before, after, minority, tolerance=0.001).startswith(
        "The minority classes collapsed less: "
    )


def test_words_of_signs_that_disagree():
    """Longer minority vectors that point together: one sign of two."""
    minority = np.array([False, False, True, True])
    before = classifier_of(seli(np.array([100, 100, 1, 1]))[0])
    grown = np.where(minority, 2.5, 1.0)
    together = before.classifier.cosines.copy()
    together[2, 3] = together[3, 2] = 0.95
    after = replace(before.classifier, norms=before.classifier.norms * grown, cosines=together)
    text = describe_collapse(before, replace(before, classifier=after), minority)
    assert text.startswith("The signs of minority collapse moved in different directions: ")
    assert "was +0.56 and is +0.95" in text


def test_words_of_the_etf_alone_decide_nothing():
    counts, minority = step(10, 100)
    before = classifier_of(seli(counts)[0])
    after = replace(before, classifier=replace(before.classifier, etf_distance=0.0))
    assert describe_collapse(before, after, minority).startswith("No clear change")


def test_words_of_a_single_minority_class_have_no_cosine():
    minority = np.array([False, False, False, True])
    before, after = classifier_of(seli(np.array([99, 99, 99, 1]))[0]), classifier_of(simplex(4))
    text = describe_collapse(before, after, minority)
    assert text.startswith("The minority classes collapsed less: the norm ratio")
    assert "cosine" not in text


@pytest.mark.parametrize("k", [2, 4])
def test_words_of_what_cannot_be_told(k):
    """Two centred vectors are opposite and equal by algebra; without a minority nothing can be."""
    c = classifier_of(seli(np.arange(1, k + 1))[0])
    minority = np.array([True, False]) if k == 2 else np.zeros(4, bool)
    assert "cannot be told" in describe_collapse(c, c, minority)
    gone = replace(c, classifier=None)
    assert "cannot be told" in describe_collapse(gone, c, np.arange(k) == 0)


def test_words_warn_of_an_unfinished_training():
    minority = np.array([False, False, True, True])
    done = classifier_of(simplex(4))
    early = classifier_of(simplex(4), accuracy=0.93)
    hidden = classifier_of(simplex(4), accuracy=0.999, recall=[1, 1, 0.5, 0.5])
    assert "Warning" not in describe_collapse(done, done, minority)
    text = describe_collapse(early, hidden, minority)
    assert text.endswith(
        "Warning: train accuracy is 0.930 before and 0.500 after for the minority classes, below "
        "0.99: the terminal phase was not reached, and these numbers may still move."
    )


def test_words_of_other_classes_are_refused():
    a, b = classifier_of(simplex(3)), classifier_of(simplex(4))
    with pytest.raises(ValueError, match="number of classes"):
        describe_collapse(a, b, np.ones(4, bool))
