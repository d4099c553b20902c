"""Figures against brute force and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from training.metrics.point_sets import chamfer, distance_matrix, normalise, scores


def test_chamfer_against_brute_force():
    random = np.random.default_rng(0)
    one, many = random.normal(size=(40, 3)), random.normal(size=(3, 40, 3))
    expected = [
        np.mean([min(((p - q) ** 2).sum() for q in cloud) for p in one])
        + np.mean([min(((p - q) ** 2).sum() for p in one) for q in cloud])
        for cloud in many
    ]
    assert [chamfer(cKDTree(one), cKDTree(cloud)) for cloud in many] == pytest.approx(expected)
    assert distance_matrix(one[None], many)[0] == pytest.approx(expected)
    whole = distance_matrix(np.concatenate([one[None], many]))
    assert whole == pytest.approx(whole.T)
    assert whole[0, 1:] == pytest.approx(expected)


def test_chamfer_of_a_shift():
    """Two points far from each other, both shifted by s: the distance is 2 s²."""
    cloud = np.array([[[0.0, 0, 0], [9, 0, 0]]], np.float32)
    assert distance_matrix(cloud, cloud + np.float32([0, 0.5, 0]))[0, 0] == pytest.approx(0.5)
    assert distance_matrix(cloud)[0, 0] == 0


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a[:, None] - b[None])


def test_scores_of_equal_far_and_collapsed_sets():
    random = np.random.default_rng(1)
    a, b, far = random.random(400), random.random(400), random.random(400) + 9

    def of(generated: np.ndarray, reference: np.ndarray):
        return scores(distances(generated, generated), distances(reference, reference), distances(generated, reference))

    same, apart, collapsed = of(a, b), of(far, b), of(np.full(400, 0.5) + 1e-6 * a, b)
    assert same.nna == pytest.approx(0.5, abs=0.08)
    assert apart.nna == 1.0
    assert apart.mmd == pytest.approx(distances(far, b).min(axis=0).mean())
    assert collapsed.coverage == pytest.approx(1 / 400)
    assert collapsed.coverage < apart.coverage + 0.01 < same.coverage
    assert collapsed.nna > 0.9


def test_scores_by_hand():
    generated, reference = np.array([0.0, 1.0]), np.array([0.1, 5.0, 6.0])
    found = scores(distances(generated, generated), distances(reference, reference), distances(generated, reference))
    assert found.mmd == pytest.approx((0.1 + 4.0 + 5.0) / 3)
    assert found.coverage == pytest.approx(1 / 3)
    # Nearest of 0 is 0.1 (wrong), of 1 is 0.1 (wrong), of 0.1 is 0 (wrong), of 5 is 6, of 6 is 5.
    assert found.nna == pytest.approx(2 / 5)


def test_normalise_is_centred_with_longest_side_one():
    points = np.random.default_rng(2).random((100, 3)) * [1, 5, 2] + 7
    out = normalise(points)
    assert np.ptp(out, axis=0).max() == pytest.approx(1, abs=1e-6)
    assert (out.max(axis=0) + out.min(axis=0)) == pytest.approx(np.zeros(3), abs=1e-6)
