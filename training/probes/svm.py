"""A linear support vector machine, one class against the rest.

The squared hinge loss with a quadratic penalty is smooth and strictly convex, so a general minimiser finds the one
optimum: R.-E. Fan et al.: LIBLINEAR: A Library for Large Linear Classification, JMLR 2008, equation 1 with the loss
max(0, 1 − y wᵀx)².
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.optimize import minimize

from gan3d_core.errors import TrainingError


@dataclasses.dataclass(frozen=True)
class LinearSVM:
    """Hyperplanes of K classes."""

    weights: np.ndarray
    """(K, D)."""
    bias: np.ndarray
    """(K,)."""

    def scores(self, features: np.ndarray) -> np.ndarray:
        """(N, D) to (N, K): how far on each class's side."""
        return features @ self.weights.T + self.bias

    def classify(self, features: np.ndarray) -> np.ndarray:
        """(N, D) to (N,) classes."""
        return self.scores(features).argmax(1)

    @classmethod
    def fit(cls, features: np.ndarray, labels: np.ndarray, cost: float = 1.0) -> LinearSVM:
        """For each class minimise ½ (‖w‖² + b²) + C Σᵢ max(0, 1 − yᵢ (wᵀxᵢ + b))², yᵢ = 1 in the class, else −1.

        The bias is penalised as a weight of a constant feature is (ibid., section 2); with it the optimum is unique.

        Args:
            features: (N, D), each column of about unit size.
            labels: (N,) 0 … K − 1, each there at least once.
            cost: C.

        Raises:
            TrainingError: a single class, or the minimiser does not arrive.
        """
        classes = int(labels.max()) + 1
        if classes < 2 or len(np.unique(labels)) < classes:
            raise TrainingError("A classifier needs shapes of two or more categories.", "Name a dataset with them.")
        given = np.concatenate([features, np.ones((len(features), 1))], 1).astype(np.float64)
        planes = np.stack([_plane(given, np.where(labels == each, 1.0, -1.0), cost) for each in range(classes)])
        return cls(planes[:, :-1], planes[:, -1])


def objective(plane: np.ndarray, features: np.ndarray, signs: np.ndarray, cost: float) -> tuple[float, np.ndarray]:
    """What is minimised, and its gradient, at (D,) of features (N, D) and signs (N,)."""
    short = np.maximum(0, 1 - signs * (features @ plane))  # (N,)
    value = 0.5 * plane @ plane + cost * short @ short
    return float(value), plane - 2 * cost * (features.T @ (short * signs))


def _plane(features: np.ndarray, signs: np.ndarray, cost: float) -> np.ndarray:
    # At the optimum w = 2C Σ ξᵢ yᵢ xᵢ lies in the span of the samples: with fewer samples than features it is found in
    # their coordinates, by the same formula, since a rotation changes no product.
    basis = np.linalg.qr(features.T)[0] if features.shape[1] > features.shape[0] else None
    given = features if basis is None else features @ basis
    options = {"maxiter": 2000, "ftol": 1e-12, "gtol": 1e-8}
    start = np.zeros(given.shape[1])
    found = minimize(objective, start, (given, signs, cost), method="L-BFGS-B", jac=True, options=options)
    if not found.success:
        raise TrainingError(f"The support vector machine did not converge ({found.message}).", "Lower --cost.")
    return found.x if basis is None else basis @ found.x
