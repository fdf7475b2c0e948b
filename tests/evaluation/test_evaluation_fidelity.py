"""Fidelity by convention, by brute force, and refused where it would say nothing."""

from dataclasses import FrozenInstanceError, asdict

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel

from synthaug.evaluation.distances import frechet_distance, kernel_distance
from synthaug.evaluation.fidelity import MIN_IMAGES, Beside, class_fidelity
from synthaug.evaluation.manifold import manifold, radii

SHARES = ("precision", "recall", "density", "coverage")
SCORES = (*SHARES, "frechet", "kernel")
SPREAD = 3 * np.arange(1, 33.0) ** -0.75
CENTRES = np.random.default_rng(7).normal(size=(4, 32)) * SPREAD * 1.5


def draw(n: int, seed: int, *, modes: int = 4, width: float = 1.0) -> np.ndarray:
    """n features of a class of four modes, or of fewer of them, or nearer to their centres."""
    rng = np.random.default_rng(seed)
    return CENTRES[rng.integers(0, modes, n)] + width * rng.normal(size=(n, 32)) * SPREAD + 2


def plain(n: int, d: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


# --- Neighbours ---------------------------------------------------------------------------------


def brute_force(real, synthetic, k_precision, k_density):
    def distance(a, b):
        return float(np.sqrt(((a - b) ** 2).sum()))

    def ball(x, i, k):
        return sorted(distance(x[i], x[j]) for j in range(len(x)) if j != i)[k - 1]

    def inside(y, x, k):
        return [distance(y, x[i]) <= ball(x, i, k) for i in range(len(x))]

    around = [inside(y, real, k_density) for y in synthetic]
    return {
        "precision": np.mean([any(inside(y, real, k_precision)) for y in synthetic]),
        "recall": np.mean([any(inside(x, synthetic, k_precision)) for x in real]),
        "density": np.sum(around) / (k_density * len(synthetic)),
        "coverage": np.mean(np.any(around, axis=0)),
    }


@pytest.mark.parametrize(("n", "m", "k"), [(18, 25, (3, 5)), (25, 18, (1, 2)), (12, 12, (4, 1))])
def test_shares_equal_brute_force(n, m, k):
    real, synthetic = plain(n, 3, 0), 0.8 * plain(m, 3, 1) + 0.5
    found = manifold(real, synthetic, k_precision=k[0], k_density=k[1])
    expected = brute_force(real, synthetic, *k)
    assert asdict(found) == pytest.approx(expected)
    assert 0 < found.coverage < 1


@pytest.mark.parametrize("k", [3, 5])
def test_shares_equal_prdc(k, capsys):
    prdc = pytest.importorskip("prdc")
    real, synthetic = draw(80, 0), draw(60, 1, modes=3)
    theirs = prdc.compute_prdc(real, synthetic, nearest_k=k)
    capsys.readouterr()  # it prints
    assert asdict(manifold(real, synthetic, k_precision=k, k_density=k)) == pytest.approx(theirs)


def test_radii_leave_out_the_image_itself_and_count_its_copies():
    x = np.array([[0.0], [1], [3], [3], [7]])
    np.testing.assert_allclose(radii(x, 1), [1, 1, 0, 0, 4])
    np.testing.assert_allclose(radii(x, 2), [3, 2, 2, 2, 4])


def test_a_collapsed_generator_is_precise_and_recalls_little():
    found = manifold(draw(200, 0), draw(200, 1, modes=1))
    assert found.precision > 0.8
    assert found.recall < 0.4 and found.coverage < 0.5


def test_images_near_the_middle_are_precise_and_dense_and_only_recall_tells():
    real, fair, dull = draw(200, 0), draw(200, 1), draw(200, 1, width=0.5)
    found, honest = manifold(real, dull), manifold(real, fair)
    assert found.precision > honest.precision and found.density > 1.5 > honest.density
    assert found.recall < honest.recall / 2


def test_noise_is_not_precise():
    noise = plain(200, 32, 3) * 3 * SPREAD.max()
    found = manifold(draw(200, 0), noise)
    assert found.precision < 0.01 and found.density < 0.01 and found.coverage < 0.01


def test_swapping_the_sets_swaps_precision_and_recall():
    a, b = draw(70, 0), draw(50, 1, modes=2)
    one, other = manifold(a, b), manifold(b, a)
    assert one.precision == other.recall != one.recall == other.precision


def test_equal_sets_are_precise_and_recalled():
    x = draw(60, 0)
    found = manifold(x, x[::-1])
    assert found.precision == found.recall == found.coverage == 1


@pytest.mark.parametrize(("n", "m", "k"), [(5, 40, 5), (40, 3, 3), (40, 40, 0)])
def test_no_more_images_than_neighbours(n, m, k):
    with pytest.raises(ValueError, match="expected 0 < k < images"):
        manifold(plain(n, 2, 0), plain(m, 2, 1), k_precision=k, k_density=k)


# --- Distances ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m", "d"), [(90, 70, 8), (200, 9, 8), (9, 200, 8), (40, 40, 39)])
def test_frechet_distance_equals_the_formula(n, m, d):
    x, y = plain(n, d, 0) @ plain(d, d, 1), plain(m, d, 2) + 0.3
    s, t = np.cov(x.T), np.cov(y.T)
    root = np.real(sqrtm(s @ t))
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * root)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [2, 5, 20])
def test_frechet_distance_of_fewer_images_than_dimensions(n):
    """Turned into more dimensions, where the covariances are singular, nothing changes."""
    x, y = plain(60, 4, 0)[:n], plain(50, 4, 1) * 2
    turn, _ = np.linalg.qr(plain(300, 4, 2))
    wide = frechet_distance(x @ turn.T, y @ turn.T)
    assert wide == pytest.approx(frechet_distance(x, y), rel=1e-9)


def test_frechet_distance_of_one_dimension_in_closed_form():
    """(mu_x - mu_y)^2 + (sd_x - sd_y)^2, and 0 spread on a side is no trouble."""
    x, y = np.array([[0.0], [2]]), np.array([[10.0], [10], [10]])
    assert frechet_distance(x, y) == pytest.approx(81 + 2)
    assert frechet_distance(x, 3 * x) == pytest.approx(4 + 8)


def test_distances_of_equal_sets():
    x = draw(80, 0)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, draw(80, 1)) > 1
    # Unbiased: pairs of an image and itself are left out on one side only.
    assert kernel_distance(x, x) < 0


@pytest.mark.parametrize(("n", "m"), [(30, 20), (2, 7)])
def test_kernel_distance_equals_the_sums(n, m):
    x, y = plain(n, 6, 0), plain(m, 6, 1) + 0.5
    kx, ky, kxy = polynomial_kernel(x), polynomial_kernel(y), polynomial_kernel(x, y)
    within_x = sum(kx[i, j] for i in range(n) for j in range(n) if i != j) / n / (n - 1)
    within_y = sum(ky[i, j] for i in range(m) for j in range(m) if i != j) / m / (m - 1)
    expected = within_x + within_y - 2 * kxy.mean()
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_is_unbiased_and_the_frechet_distance_is_not():
    draws = [(plain(12, 5, 2 * i), plain(12, 5, 2 * i + 1)) for i in range(400)]
    kernel = np.array([kernel_distance(x, y) for x, y in draws])
    assert abs(kernel.mean()) < 3 * kernel.std() / 20
    assert (kernel < 0).mean() > 0.3
    assert min(frechet_distance(x, y) for x, y in draws) > 0.1


# --- One class ----------------------------------------------------------------------------------


def test_one_side_is_as_large_as_the_other_and_half_of_the_real():
    for n, m, half, compared in ((100, 300, 50, 50), (101, 40, 50, 40), (60, 30, 30, 30)):
        found = class_fidelity(draw(n, 0), draw(m, 1), seed=0)
        assert (found.n_real, found.n_synthetic) == (n, m)
        assert (found.n_reference, found.n_compared, found.reason) == (half, compared, None)
    found = class_fidelity(draw(300, 0), draw(300, 1), seed=0, max_images=35, n_splits=2)
    assert (found.n_reference, found.n_compared) == (35, 35)


def test_scores_are_those_of_the_splits(monkeypatch):
    """Every half against the other and against as many synthetic images, none of them twice."""
    seen = []

    def spy(x, y):
        seen.append((x.copy(), y.copy()))
        return float(len(seen))

    monkeypatch.setattr("synthaug.evaluation.fidelity.frechet_distance", spy)
    real, synthetic = draw(80, 0), draw(33, 1)
    found = class_fidelity(real, synthetic, seed=5, n_splits=3)
    assert found.frechet == Beside(3.0, 4.0, 2.0, 6.0)
    rows = {tuple(x) for x in real}
    for (a, ours), (b, others) in zip(seen[::2], seen[1::2], strict=True):
        np.testing.assert_array_equal(a, b)
        assert len({tuple(x) for x in a} | {tuple(x) for x in others}) == 40 + 33
        assert {tuple(x) for x in a} | {tuple(x) for x in others} <= rows
        assert {tuple(x) for x in ours} == {tuple(x) for x in synthetic}
    assert not np.array_equal(seen[0][0], seen[2][0])


def test_fresh_real_images_score_as_real_ones():
    found = class_fidelity(draw(400, 0), draw(400, 1), seed=0)
    for name in SHARES:
        score = getattr(found, name)
        assert score.synthetic == pytest.approx(score.real, abs=0.1), name
    assert found.kernel.real == pytest.approx(0, abs=0.3)
    assert found.frechet.synthetic == pytest.approx(found.frechet.real, rel=0.15)
    assert found.frechet.real > 0.5  # its bias: what the value beside it is for


def test_lost_modes_are_outside_the_real_values():
    found = class_fidelity(draw(200, 0), draw(200, 1, modes=2), seed=0)
    assert found.precision.synthetic > 0.85
    assert found.recall.synthetic < found.recall.real_low
    assert found.coverage.synthetic < found.coverage.real_low
    assert found.frechet.synthetic > found.frechet.real_high


def test_copies_of_the_real_images_score_no_worse_than_fresh_ones():
    """What these scores cannot tell, and why memorisation is measured apart."""
    real = draw(200, 0)
    found = class_fidelity(real, real, seed=0)
    for name in SHARES:
        assert getattr(found, name).synthetic >= getattr(found, name).real_low, name
    assert found.frechet.synthetic < found.frechet.real_low
    assert found.kernel.synthetic < found.kernel.real_high


def test_row_102_too_few_images_are_refused_and_told():
    few = class_fidelity(draw(59, 0), draw(500, 1), seed=0)
    assert few.reason == "59 real images; a comparison needs 60, half on each side"
    none = class_fidelity(draw(500, 0), draw(29, 1), seed=0)
    assert none.reason == "29 synthetic images; a comparison needs 30"
    for refused in (few, none, class_fidelity(draw(0, 0), draw(0, 0), seed=0)):
        assert all(getattr(refused, name) is None for name in SCORES)
        assert refused.n_reference == refused.n_compared == 0
    enough = class_fidelity(draw(60, 0), draw(30, 1), seed=0)
    assert enough.reason is None and all(getattr(enough, name) is not None for name in SCORES)


def test_features_that_are_not_finite_are_refused_and_told():
    broken = draw(60, 0)
    broken[3, 1] = np.inf
    for real, synthetic in ((broken, draw(60, 1)), (draw(60, 1), broken)):
        found = class_fidelity(real, synthetic, seed=0)
        assert found.reason.startswith("features are not finite") and found.recall is None


def test_the_minimum_is_where_lost_modes_show_and_good_images_are_left_alone():
    n = MIN_IMAGES
    lost, blamed = 0, 0
    for i in range(0, 36, 3):
        real = draw(2 * n, i)
        half_of_it = class_fidelity(real, draw(n, i + 1, modes=2), seed=i)
        fresh = class_fidelity(real, draw(n, i + 2), seed=i)
        lost += half_of_it.recall.synthetic < half_of_it.recall.real_low
        blamed += fresh.recall.synthetic < fresh.recall.real_low
        blamed += fresh.frechet.synthetic > fresh.frechet.real_high
    assert lost >= 11
    assert blamed <= 4  # of 24


def test_the_seed_decides_everything_and_only_it():
    real, synthetic = draw(90, 0), draw(70, 1, modes=3)
    a, b, c = (class_fidelity(real, synthetic, seed=s) for s in (1, 1, 2))
    assert a == b != c
    with pytest.raises(FrozenInstanceError):
        a.reason = ""
    single = class_fidelity(real.astype(np.float32), synthetic.astype(np.float32), seed=1)
    assert single.frechet.synthetic == pytest.approx(a.frechet.synthetic, rel=1e-4)


def test_neighbours_can_be_chosen():
    real, synthetic = draw(90, 0), draw(70, 1, modes=3)
    few = class_fidelity(real, synthetic, seed=1)
    many = class_fidelity(real, synthetic, seed=1, k_precision=8, k_density=9)
    assert many.recall.synthetic > few.recall.synthetic
    assert many.coverage.synthetic > few.coverage.synthetic
    assert many.frechet == few.frechet


@pytest.mark.parametrize(
    ("shapes", "more"),
    [
        (((70, 3), (70, 4)), {}),
        (((70,), (70, 3)), {}),
        (((70, 3), (70, 3)), {"k_precision": 0}),
        (((70, 3), (70, 3)), {"k_density": 30}),
        (((70, 3), (70, 3)), {"n_splits": 0}),
        (((70, 3), (70, 3)), {"max_images": 29}),
    ],
)
def test_what_does_not_fit(shapes, more):
    with pytest.raises(ValueError, match=r"expected \[n, D\]|splits of at most"):
        class_fidelity(np.ones(shapes[0]), np.ones(shapes[1]), seed=0, **more)
