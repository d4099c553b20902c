"""Metrics of render features against closed forms and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from training.metrics.frechet import frechet_distance, frechet_of_gaussians
from training.metrics.kernel_distance import kernel_distance
from training.metrics.path_length import path_length, walk
from training.metrics.precision_recall import precision_recall

# ── Fréchet distance ──────────────────────────────────────────────────────────────────────────────────────────────


def covariance(random: np.random.Generator, size: int) -> np.ndarray:
    root = random.normal(size=(size, size))
    return root @ root.T


def test_frechet_of_gaussians_with_diagonal_covariances():
    """|μ₁ − μ₂|² + Σ (√a − √b)²."""
    a, b, shift = np.array([4.0, 9.0, 0.0]), np.array([1.0, 9.0, 16.0]), np.array([3.0, 0.0, 4.0])
    found = frechet_of_gaussians(np.zeros(3), np.diag(a), shift, np.diag(b))
    assert found == pytest.approx(25 + 1 + 0 + 16)


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_frechet_of_gaussians_against_the_matrix_square_root(size, seed):
    random = np.random.default_rng(seed)
    first, second = covariance(random, size), covariance(random, size)
    mean = random.normal(size=size)
    root = scipy.linalg.sqrtm(first @ second).real
    expected = mean @ mean + np.trace(first + second - 2 * root)
    assert frechet_of_gaussians(mean, first, np.zeros(size), second) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("count", [3, 20, 400], ids=["fewer than features", "about as many", "many more"])
def test_frechet_of_samples_is_that_of_their_gaussians(count):
    random = np.random.default_rng(count)
    a, b = random.normal(size=(count, 24)) * 2, random.normal(size=(count + 1, 24)) + 1
    gaussians = frechet_of_gaussians(a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T))
    assert frechet_distance(a, b) == pytest.approx(gaussians, rel=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 0.5) == pytest.approx(24 * 0.25, rel=1e-9)
    turn = scipy.linalg.qr(random.normal(size=(24, 24)))[0]
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_frechet_of_a_few_samples_in_many_features():
    """Two in 1,280: the covariances have rank one, where a matrix square root has nothing to hold on to."""
    a = np.zeros((2, 1280))
    a[0, 0], a[1, 0] = 1.0, -1.0  # variance 2 along the first axis
    b = np.zeros((2, 1280))
    b[0, 1], b[1, 1] = 2.0, -2.0  # variance 8 along another
    assert frechet_distance(a, b) == pytest.approx(2 + 8)
    assert frechet_distance(a, 2 * a) == pytest.approx((np.sqrt(8) - np.sqrt(2)) ** 2)
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(a[:1], b)


# ── kernel distance ───────────────────────────────────────────────────────────────────────────────────────────────


def test_kernel_distance_against_brute_force():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(4, 2, 5)), random.normal(size=(3, 2, 5)) + 0.3

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean([(p @ q / 5 + 1) ** 3 for p in x for q in y]))

    within_a = np.mean([kernel(a[i], a[j]) for i in range(4) for j in range(4) if i != j])
    within_b = np.mean([kernel(b[i], b[j]) for i in range(3) for j in range(3) if i != j])
    across = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(within_a + within_b - 2 * across)


def test_with_few_samples_the_kernel_distance_is_unbiased_and_the_frechet_distance_is_not():
    """Sets of twelve from one distribution, three like views of each: the mean over many trials tells."""
    random = np.random.default_rng(1)

    def draw() -> np.ndarray:
        return random.normal(size=(12, 1, 16)) + 0.2 * random.normal(size=(12, 3, 16))

    pairs = [(draw(), draw()) for _ in range(400)]
    kernel = np.array([kernel_distance(a, b) for a, b in pairs])
    assert abs(kernel.mean()) < 4 * kernel.std() / np.sqrt(len(kernel))
    # Over images, as if views were independent, it is not: a shape's own views count as neighbours by chance.
    images = np.array([kernel_distance(a.reshape(36, 1, 16), b.reshape(36, 1, 16)) for a, b in pairs])
    assert images.mean() > 4 * images.std() / np.sqrt(len(images))
    frechet = [frechet_distance(a.reshape(36, 16), b.reshape(36, 16)) for a, b in pairs[:20]]
    assert min(frechet) > 1.0


# ── precision and recall ──────────────────────────────────────────────────────────────────────────────────────────


def test_precision_recall_of_constructed_sets():
    random = np.random.default_rng(2)
    left, right = random.random((60, 2)), random.random((60, 2)) + np.array([10, 0])
    both = np.concatenate([left, right])
    assert precision_recall(both, both) == precision_recall(both, both[::-1])
    one = precision_recall(both, both)
    assert (one.precision, one.recall) == (1.0, 1.0)
    # One of two modes, and nothing else.
    half = precision_recall(both, left + 1e-9)
    assert half.precision == 1.0
    assert half.recall == 0.5
    # Both modes, and as much rubbish.
    mixed = precision_recall(left, np.concatenate([left + 1e-9, right]))
    assert mixed.precision == 0.5
    assert mixed.recall == 1.0
    apart = precision_recall(left, right)
    assert (apart.precision, apart.recall) == (0.0, 0.0)
    # A collapsed set: precise, and no ball of it reaches anything.
    collapsed = precision_recall(left, np.repeat(left[:1], 10, axis=0))
    assert collapsed.precision == 1.0
    assert collapsed.recall == pytest.approx(1 / 60)


@settings(max_examples=20)
@given(st.integers(5, 12), st.integers(5, 12), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_precision_recall_against_brute_force(count, other, neighbours, seed):
    random = np.random.default_rng(seed)
    real, made = random.normal(size=(count, 3)), random.normal(size=(other, 3)) + 0.7

    def inside(point: np.ndarray, manifold: np.ndarray) -> bool:
        for index, member in enumerate(manifold):
            others = np.delete(manifold, index, axis=0)
            radius = np.sort(np.linalg.norm(others - member, axis=1))[neighbours - 1]
            if np.linalg.norm(point - member) <= radius:
                return True
        return False

    found = precision_recall(real, made, neighbours)
    assert found.precision == pytest.approx(np.mean([inside(point, real) for point in made]))
    assert found.recall == pytest.approx(np.mean([inside(point, made) for point in real]))


def test_precision_recall_needs_neighbours():
    with pytest.raises(ValueError, match="more than 3"):
        precision_recall(np.zeros((3, 2)), np.zeros((9, 2)))


# ── path length ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_straight_walk_of_constant_speed_has_relative_length_one():
    random = np.random.default_rng(3)
    first, second = random.random((20, 6)), random.random((20, 6))
    matrix = random.normal(size=(6, 2 * 4))

    def features(codes: np.ndarray) -> np.ndarray:
        return (codes @ matrix).reshape(-1, 2, 4)

    found = path_length(features, first, second, (features(first), features(second)), "uniform")
    moved = ((second - first) @ matrix).reshape(20, 2, 4)
    speeds = (moved**2).sum(-1).mean(-1)
    assert found.length == pytest.approx(speeds.mean(), rel=1e-4)
    assert found.relative == pytest.approx(1, rel=1e-4)


def test_a_jump_is_as_long_as_there_are_steps():
    """All of the change in one of K steps: K² (1/K) = K."""
    first, second = np.zeros((20_000, 1)), np.ones((20_000, 1))

    def features(codes: np.ndarray) -> np.ndarray:
        return (codes[:, :, None] > 0.55).astype(float)

    found = path_length(features, first, second, (features(first), features(second)), "uniform", steps=10)
    assert found.relative == pytest.approx(10, rel=0.1)


def test_a_generator_of_one_thing_has_no_length():
    still = np.ones((5, 1, 3))
    found = path_length(lambda codes: still, np.zeros((5, 2)), np.ones((5, 2)), (still, still), "normal")
    assert (found.length, found.relative) == (0.0, 0.0)


def test_walks():
    random = np.random.default_rng(4)
    a, b = random.normal(size=(2, 3, 64)).astype(np.float32)
    for prior in ("normal", "uniform"):
        assert np.allclose(walk(a, b, np.zeros(3), prior), a, atol=1e-6)
        assert np.allclose(walk(a, b, np.ones(3), prior), b, atol=1e-6)
    assert np.allclose(walk(a, b, np.full(3, 0.25), "uniform"), 0.75 * a + 0.25 * b, atol=1e-6)
    # On the sphere the arc stays on it, at equal angles; on a line the middle would come near to the origin.
    unit_a, unit_b = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (a, b))
    points = [walk(unit_a, unit_b, np.full(3, share), "normal") for share in np.linspace(0, 1, 5)]
    assert np.allclose([np.linalg.norm(point, axis=1) for point in points], 1, atol=1e-5)
    steps = [np.linalg.norm(q - p, axis=1) for p, q in itertools.pairwise(points)]
    assert np.allclose(steps, steps[0], rtol=1e-4)
    # Equal and opposite codes have no arc between them; the line is finite.
    assert np.allclose(walk(a, a, np.full(3, 0.5), "normal"), a, atol=1e-6)
    assert np.isfinite(walk(a, -a, np.full(3, 0.5), "normal")).all()
