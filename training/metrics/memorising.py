"""Whether a generator repeats its training set.

Nothing tells a copy from a likely shape by its distance alone; a real shape that was not trained on does. Three sets
of nearest distances to the training set are compared: from the samples, from held-out shapes, and, leaving each out
in turn, from the training shapes themselves. A low quantile of the last is the threshold below which a shape counts
as a near-copy, so of fresh real shapes about that share is below it.

The z of C. Meehan, K. Chaudhuri, S. Dasgupta: A Non-Parametric Test to Detect Data-Copying in Generative Models,
AISTATS 2020, section 3, is the Mann–Whitney statistic of samples' against held-out shapes' distances, here over one
cell.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.stats import rankdata

QUANTILE = 0.05


@dataclasses.dataclass(frozen=True)
class Memorising:
    threshold: float
    """The quantile of the training shapes' distances to their nearest other one."""
    share_near: float
    """Share of samples nearer to a training shape than the threshold."""
    share_near_held_out: float
    """The same of held-out real shapes: the floor."""
    share_repeated: float
    """Share of samples nearer to another sample than the threshold: the generator repeats itself."""
    share_repeated_held_out: float
    """The same of held-out real shapes."""
    median: float
    """Of samples' distances to the nearest training shape."""
    median_held_out: float
    """Of held-out shapes' distances to the nearest training shape."""
    copying_z: float
    """Below −3: samples lie nearer to the training set than new real shapes do, so it copies; above 3: farther."""


def memorising(
    samples: np.ndarray,
    held_out: np.ndarray,
    training: np.ndarray,
    among_samples: np.ndarray,
    among_held_out: np.ndarray,
    quantile: float = QUANTILE,
) -> Memorising:
    """Judge samples by distances.

    Args:
        samples: (S, T) from samples to training shapes.
        held_out: (H, T) from held-out to training shapes.
        training: (T, T) among training shapes.
        among_samples: (S, S).
        among_held_out: (H, H).
        quantile: of the training shapes' nearest distances, 0 … 1.
    """
    near, real = samples.min(axis=1), held_out.min(axis=1)
    threshold = float(np.quantile(nearest_other(training), quantile))
    return Memorising(
        threshold=threshold,
        share_near=float((near < threshold).mean()),
        share_near_held_out=float((real < threshold).mean()),
        share_repeated=float((nearest_other(among_samples) < threshold).mean()),
        share_repeated_held_out=float((nearest_other(among_held_out) < threshold).mean()),
        median=float(np.median(near)),
        median_held_out=float(np.median(real)),
        copying_z=mann_whitney_z(near, real),
    )


def nearest_other(distances: np.ndarray) -> np.ndarray:
    """(N,) distance of each member to the nearest other one, from all of them (N, N)."""
    distances = distances.astype(np.float64)
    np.fill_diagonal(distances, np.inf)
    return distances.min(axis=1)


def mann_whitney_z(first: np.ndarray, second: np.ndarray) -> float:
    """How many standard deviations `first` ranks above `second`, by the normal approximation without ties."""
    n, m = len(first), len(second)
    ranks = rankdata(np.concatenate([first, second]))[:n].sum()
    u = ranks - n * (n + 1) / 2  # pairs in which `first` is the larger
    return float((u - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12))
