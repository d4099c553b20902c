"""Precision and recall of a generated set by nearest-neighbour manifolds.

T. Kynkäänniemi et al.: Improved Precision and Recall Metric for Assessing Generative Models, NeurIPS 2019, section 2: a
set's manifold is the union of balls around its members, each as large as the distance to the k-th nearest other member.
Precision is the share of generated members inside the real manifold, recall that of real members inside the generated.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial.distance import cdist

NEIGHBOURS = 3  # k of the paper


@dataclasses.dataclass(frozen=True)
class PrecisionRecall:
    precision: float
    """Share of generated members that look real, 0 … 1."""
    recall: float
    """Share of real members that the generator could have made, 0 … 1."""


def precision_recall(real: np.ndarray, generated: np.ndarray, neighbours: int = NEIGHBOURS) -> PrecisionRecall:
    """Precision and recall of features (N, D) and (M, D).

    Several views of a shape belong in one row, one after the other: with a row for each, a view's neighbours would be
    other views of the same shape, and its ball too small.

    Raises:
        ValueError: a set with no `neighbours`-th neighbour.
    """
    across = cdist(real, generated)
    return PrecisionRecall(_inside(across, real, neighbours), _inside(across.T, generated, neighbours))


def within(around: np.ndarray, members: np.ndarray, neighbours: int = NEIGHBOURS) -> float:
    """The share of `members` (M, D) inside the manifold of `around` (N, D).

    Raises:
        ValueError: `around` has no `neighbours`-th neighbours.
    """
    return _inside(cdist(around, members), around, neighbours)


def _inside(across: np.ndarray, around: np.ndarray, neighbours: int) -> float:
    """The same, from the distances (N, M) of both."""
    return float((across <= _radii(around, neighbours)[:, None]).any(axis=0).mean())


def _radii(features: np.ndarray, neighbours: int) -> np.ndarray:
    """(N,) distance of each member to its k-th nearest other one."""
    if len(features) <= neighbours:
        raise ValueError(f"each set needs more than {neighbours} members")
    distances = cdist(features, features)
    np.fill_diagonal(distances, -1.0)  # itself first, even among equals
    return np.partition(distances, neighbours, axis=1)[:, neighbours]
