"""Latent codes from seeds, the same on every machine and without torch.

numpy's Philox generator is counter-based and its stream is fixed across platforms and versions, which torch does not
promise between CPU and CUDA.
"""

from __future__ import annotations

import numpy as np

from .errors import RecipeError

PRIORS = ("uniform", "normal")


def draw(seed: int, size: int, prior: str, truncation: float = 1.0) -> np.ndarray:
    """The code of one seed.

    Args:
        seed: 0 … 2³¹−1.
        size: length of the code.
        prior: `uniform` is U[0, 1] per entry with mean 0.5 (Wu et al. 2016, section 3.1); `normal` is N(0, 1).
        truncation: scales the distance from the prior's mean, 0 … 1 (Brock et al. 2019, section 3.1, as the
            continuous scaling of Karras et al. 2019, section B).

    Returns:
        (size,) float32.
    """
    generator = np.random.Generator(np.random.Philox(key=seed))
    if prior == "uniform":
        return (0.5 + truncation * (generator.random(size) - 0.5)).astype(np.float32)
    if prior == "normal":
        return (truncation * generator.standard_normal(size)).astype(np.float32)
    raise RecipeError(f"Unknown prior {prior!r}; known are {', '.join(PRIORS)}.")
