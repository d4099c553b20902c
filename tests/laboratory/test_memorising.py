"""Copies of training shapes are told from new ones, and surface distances are what they say."""

from __future__ import annotations

import numpy as np
import pytest
import solids
from scipy.spatial import cKDTree
from scipy.stats import mannwhitneyu, norm

from training.data.distance import sample_surface
from training.metrics.memorising import mann_whitney_z, memorising, nearest_other
from training.metrics.point_sets import normalise
from training.metrics.surface_grids import surface_distances, surface_grids


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a[:, None] - b[None], axis=-1)


def of(samples: np.ndarray, held_out: np.ndarray, training: np.ndarray):
    return memorising(
        distances(samples, training),
        distances(held_out, training),
        distances(training, training),
        distances(samples, samples),
        distances(held_out, held_out),
    )


def test_copies_are_found_and_new_shapes_are_not():
    random = np.random.default_rng(0)
    training, held_out, fresh, far = (random.random((400, 2)) for _ in range(4))
    copies = training[:100] + 1e-6
    found = of(copies, held_out, training)
    assert found.share_near == 1.0
    assert found.share_near_held_out == pytest.approx(0.05, abs=0.05)
    assert found.median < 0.01 * found.median_held_out
    assert found.copying_z < -10
    new = of(fresh, held_out, training)
    assert new.share_near == pytest.approx(0.05, abs=0.05)
    assert abs(new.copying_z) < 3
    assert of(far + 5, held_out, training).copying_z > 10
    # One sample again and again is new to the training set, and still found.
    collapsed = of(np.repeat([[0.5, 5.0]], 50, axis=0), held_out, training)
    assert collapsed.share_near == 0.0
    assert collapsed.share_repeated == 1.0
    assert collapsed.share_repeated_held_out < 0.2


def test_the_threshold_is_the_quantile_of_nearest_training_distances():
    random = np.random.default_rng(1)
    training, samples = random.random((30, 2)), random.random((12, 2))
    nearest = [min(np.linalg.norm(p - q) for j, q in enumerate(training) if j != i) for i, p in enumerate(training)]
    assert nearest_other(distances(training, training)) == pytest.approx(nearest)
    found = of(samples, samples, training)
    assert found.threshold == pytest.approx(np.quantile(nearest, 0.05))
    below = [min(np.linalg.norm(p - q) for q in training) < found.threshold for p in samples]
    assert found.share_near == found.share_near_held_out == pytest.approx(np.mean(below))
    assert found.copying_z == 0.0


def test_mann_whitney_against_scipy():
    random = np.random.default_rng(2)
    a, b = random.random(40), random.random(55) + 0.1
    test = mannwhitneyu(a, b, method="asymptotic", use_continuity=False, alternative="less")
    # P(Z < z) is scipy's one-sided p.
    assert norm.cdf(mann_whitney_z(a, b)) == pytest.approx(test.pvalue)


def cloud(solid: tuple[np.ndarray, np.ndarray], seed: int = 0, count: int = 8192) -> np.ndarray:
    return sample_surface(*solid, count=count, seed=seed)[0]


SHAPES = [
    solids.box((-0.5, -0.5, -0.9), (0.5, 0.5, 0.9)),
    solids.box((-0.4, -0.5, -0.9), (0.4, 0.5, 0.9)),
    solids.box((-0.9, -0.1, -0.9), (0.9, 0.1, 0.9)),
    solids.sphere(0.7),
    solids.torus(),
]


def test_surface_distances_against_search_trees():
    """Trees of 40,000 points stand for the surfaces."""
    grids = surface_grids([cloud(shape) for shape in SHAPES])
    found = surface_distances(grids, grids)
    dense = [normalise(cloud(shape, 1, 40_000)) for shape in SHAPES]
    trees = [cKDTree(points) for points in dense]
    few = [points[::13] for points in dense]
    exact = [
        [(trees[j].query(few[i])[0] ** 2).mean() + (trees[i].query(few[j])[0] ** 2).mean() for j in range(5)]
        for i in range(5)
    ]
    assert found == pytest.approx(np.array(exact), rel=0.05, abs=1e-4)
    assert found == pytest.approx(found.T, abs=1e-6)


def test_two_samples_of_one_surface_are_nearer_than_any_neighbour():
    """What point clouds cannot tell: two draws of 2,048 points of one box, and boxes a tenth narrower."""
    first = surface_grids([cloud(SHAPES[0], 0)])
    second = surface_grids([cloud(SHAPES[0], 1), cloud(solids.box((-0.45, -0.5, -0.9), (0.45, 0.5, 0.9)))])
    same, near = surface_distances(first, second)[0]
    assert same < 0.1 * near
    # Size and place do not count.
    assert surface_distances(first, surface_grids([cloud(SHAPES[0], 2) * 3 + 7]))[0, 0] == pytest.approx(same, abs=5e-5)
