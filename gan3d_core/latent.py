"""Latent codes from seeds, the same on every machine and without torch.

numpy's Philox generator is counter-based and its stream is fixed across platforms and versions, which torch does not
promise between CPU and CUDA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .errors import RecipeError

if TYPE_CHECKING:
    from .checkpoints import CheckpointConfig
    from .recipe import Recipe

PRIORS = ("uniform", "normal")


def of_recipe(recipe: Recipe, config: CheckpointConfig, attempt: int | None = None) -> np.ndarray:
    """The code (latent_size,) float32 that a recipe asks of a checkpoint.

    Args:
        attempt: which of the seed's codes; None takes the recipe's own, or the first if it leaves that open.

    Raises:
        RecipeError: it asks for a texture of its own where the checkpoint's code has no part for it.
    """
    attempt = max(recipe.attempt, 0) if attempt is None else attempt
    code = draw(recipe.seed, config.latent_size, config.prior, recipe.truncation, attempt)
    if recipe.texture_seed >= 0:
        size = config.texture_latent
        if not size:
            raise RecipeError(
                f"The checkpoint {recipe.checkpoint!r} draws shape and texture together.",
                "Leave texture_seed at -1, or choose a checkpoint with separate textures.",
            )
        other = draw(recipe.texture_seed, config.latent_size, config.prior, recipe.truncation)
        code[-size:] = other[-size:]
    return code


def draw(seed: int, size: int, prior: str, truncation: float = 1.0, attempt: int = 0) -> np.ndarray:
    """The code of one seed.

    Args:
        seed: 0 … 2³¹−1.
        size: length of the code.
        prior: `uniform` is U[0, 1] per entry with mean 0.5 (Wu et al. 2016, section 3.1); `normal` is N(0, 1).
        truncation: scales the distance from the prior's mean, 0 … 1 (Brock et al. 2019, section 3.1, as the
            continuous scaling of Karras et al. 2019, section B).
        attempt: 0 … 2⁶⁴−1; every attempt of a seed has a stream of its own.

    Returns:
        (size,) float32.
    """
    generator = np.random.Generator(np.random.Philox(key=seed | attempt << 64))
    if prior == "uniform":
        return (0.5 + truncation * (generator.random(size) - 0.5)).astype(np.float32)
    if prior == "normal":
        return (truncation * generator.standard_normal(size)).astype(np.float32)
    raise RecipeError(f"Unknown prior {prior!r}; known are {', '.join(PRIORS)}.")
