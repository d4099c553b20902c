"""The kernel distance between two sets of shapes seen from several sides: unbiased at any count.

M. Bińkowski et al.: Demystifying MMD GANs, ICLR 2018, section 4 ("KID"): the squared maximum mean discrepancy of
features under k(x, y) = (x·y/D + 1)³, by the unbiased estimator of A. Gretton et al. 2012, which can be negative.

The unit of sampling is the shape and not the image: two views of one chair are not independent, and an estimator over
images would count their likeness as part of the set. So the kernel of two shapes is the mean over all pairs of their
views, a kernel again, and the estimator leaves out pairs of a shape with itself.
"""

from __future__ import annotations

import numpy as np


def kernel_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Unbiased squared discrepancy of features (N, V, D) and (M, V, D); about 0 for sets of one distribution."""
    if len(first) < 2 or len(second) < 2:
        raise ValueError("two or more shapes are needed on either side")
    within_1, within_2, across = _gram(first, first), _gram(second, second), _gram(first, second)
    return float(_off_diagonal_mean(within_1) + _off_diagonal_mean(within_2) - 2.0 * across.mean())


def _gram(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, M) kernel of shapes."""
    channels = first.shape[-1]
    a, b = (part.reshape(-1, channels).astype(np.float64) for part in (first, second))
    images = (a @ b.T / channels + 1.0) ** 3
    return images.reshape(len(first), first.shape[1], len(second), second.shape[1]).mean(axis=(1, 3))


def _off_diagonal_mean(square: np.ndarray) -> float:
    count = len(square)
    return float((square.sum() - np.trace(square)) / (count * (count - 1)))
