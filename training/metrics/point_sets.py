"""Distances between sets of shapes, each shape a cloud of surface points.

P. Achlioptas et al.: Learning Representations and Generative Models for 3D Point Clouds, ICML 2018, section 4 (MMD,
COV); G. Yang et al.: PointFlow, ICCV 2019, section 4.1 (1-NNA). Chamfer distances are of squared lengths, the sum of
both directions' means, on shapes whose longest side is 1.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial import cKDTree

POINTS = 2048


def normalise(points: np.ndarray) -> np.ndarray:
    """Centre a cloud (P, 3) by its bounding box and scale its longest side to 1."""
    low, high = points.min(axis=0), points.max(axis=0)
    return ((points - (low + high) / 2) / max(float((high - low).max()), 1e-12)).astype(np.float32)


def chamfer(one: cKDTree, other: cKDTree) -> float:
    """Squared Chamfer distance of two clouds, given as search trees."""
    forth, _ = other.query(one.data)
    back, _ = one.query(other.data)
    return float((forth**2).mean() + (back**2).mean())


def distance_matrix(first: np.ndarray, second: np.ndarray | None = None) -> np.ndarray:
    """(A, B) Chamfer distances between clouds (A, P, 3) and (B, P, 3); within `first` where `second` is None."""
    rows = [cKDTree(cloud) for cloud in first]
    if second is not None:
        columns = [cKDTree(cloud) for cloud in second]
        return np.array([[chamfer(row, column) for column in columns] for row in rows])
    out = np.zeros((len(rows), len(rows)))
    for i in range(len(rows)):
        for j in range(i):
            out[i, j] = out[j, i] = chamfer(rows[i], rows[j])
    return out


@dataclasses.dataclass(frozen=True)
class SetScores:
    """Figures of a generated set against a reference set."""

    mmd: float
    """Mean over references of the nearest generated shape's distance; lower is better."""
    coverage: float
    """Share of references that are the nearest of some generated shape, 0 … 1; higher is better."""
    nna: float
    """Leave-one-out accuracy of a 1-nearest-neighbour classifier between the sets, 0 … 1; 0.5 is ideal."""


def scores(generated: np.ndarray, reference: np.ndarray, cross: np.ndarray) -> SetScores:
    """Scores from distances.

    Args:
        generated: (G, G) distances within the generated set.
        reference: (R, R) distances within the reference set.
        cross: (G, R) distances between them.
    """
    count = len(generated)
    whole = np.block([[generated, cross], [cross.T, reference]]).astype(np.float64)
    np.fill_diagonal(whole, np.inf)
    is_generated = np.arange(len(whole)) < count
    right = is_generated[whole.argmin(axis=1)] == is_generated
    return SetScores(
        mmd=float(cross.min(axis=0).mean()),
        coverage=len(np.unique(cross.argmin(axis=1))) / cross.shape[1],
        nna=float(right.mean()),
    )
