"""The Fréchet distance between two sets of features, each taken for a Gaussian.

M. Heusel et al.: GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, NIPS 2017,
section 2; D. C. Dowson, B. V. Landau: The Fréchet distance between multivariate normal distributions, 1982:

    d² = |μ₁ − μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁ Σ₂)^½

What is called FID is d². The estimate is biased upwards, roughly by a constant over the number of samples (M. J.
Chong, D. Forsyth: Effectively Unbiased FID and Inception Score, CVPR 2020), and a covariance of D features has full
rank only from D + 1 samples on. Below some ten times D compare only at equal counts and beside a floor at the same
counts, and read `kernel_distance` first, which is unbiased. Nothing is shrunk or regularised here.
"""

from __future__ import annotations

import numpy as np


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """d² between two sets of features.

    Args:
        first: (N, D), two or more rows.
        second: (M, D), two or more rows.

    Returns:
        d² ≥ 0, in squared units of the features, with unbiased covariances (divisor N − 1).
    """
    mean_1, factor_1 = _mean_and_factor(first)
    mean_2, factor_2 = _mean_and_factor(second)
    return _from_factors(mean_1 - mean_2, factor_1, factor_2)


def frechet_of_gaussians(mean_1: np.ndarray, cov_1: np.ndarray, mean_2: np.ndarray, cov_2: np.ndarray) -> float:
    """d² between two Gaussians of means (D,) and positive semidefinite covariances (D, D)."""
    return _from_factors(np.asarray(mean_1) - np.asarray(mean_2), _square_root(cov_1), _square_root(cov_2))


def _from_factors(shift: np.ndarray, factor_1: np.ndarray, factor_2: np.ndarray) -> float:
    """d² from Σᵢ = Fᵢᵀ Fᵢ.

    The eigenvalues of Σ₁ Σ₂ other than zero are those of M Mᵀ with M = F₁ F₂ᵀ, so tr (Σ₁ Σ₂)^½ is the sum of the
    singular values of M. No square root of a singular, unsymmetric matrix is taken: with fewer samples than features,
    where that fails or needs a constant on the diagonal, this is exact.
    """
    root = np.linalg.svd(factor_1 @ factor_2.T, compute_uv=False).sum()
    squared = shift @ shift + (factor_1**2).sum() + (factor_2**2).sum() - 2.0 * root
    return max(float(squared), 0.0)


def _mean_and_factor(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features must be (N, D) with N of at least 2, not {features.shape}")
    features = features.astype(np.float64)
    mean = features.mean(axis=0)
    factor = (features - mean) / np.sqrt(len(features) - 1.0)
    # With more samples than features the triangle of a QR decomposition is the smaller factor of the same covariance.
    if len(factor) > factor.shape[1]:
        factor = np.asarray(np.linalg.qr(factor, mode="r"))
    return mean, factor


def _square_root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(np.asarray(covariance, np.float64))
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
