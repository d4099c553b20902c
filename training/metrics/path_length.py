"""How evenly pictures change along a walk between two codes.

T. Karras, S. Laine, T. Aila: A Style-Based Generator Architecture for Generative Adversarial Networks, CVPR 2019,
section 4.1, "perceptual path length", full paths in Z:

    l = E [ d²(G(p(t)), G(p(t + ε))) / ε² ],   p the walk between two codes, t uniform

Adapted to shapes: G is the renders of a shape from several sides, and d² the mean over the sides of the squared
distance of their features (instead of LPIPS). ε is not 10⁻⁴ but a tenth, t a multiple of it: surfaces are extracted
from grids, parts meet and part, outlines cross pixels, so d² shrinks like ε and not like ε², and a tiny step measures
the renderer. Lengths of different ε cannot be compared.

The length alone depends on the features' units and on how varied the samples are. `relative` divides it by the mean
squared distance of the ends: with ε = 1/K and t at the K steps it is at least 1 in expectation (Cauchy–Schwarz and
the triangle inequality), and 1 for a straight walk of constant speed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

STEPS = 10
"""K = 1/ε."""

Features = Callable[[np.ndarray], np.ndarray]
"""(N, latent) codes to (N, V, D) features of V views."""


@dataclasses.dataclass(frozen=True)
class PathLength:
    length: float
    """E[d²]/ε², in squared units of the features."""
    relative: float
    """length / E[d²] of the ends; 1 for a straight walk of constant speed, 0 where nothing changes at all."""


def walk(first: np.ndarray, second: np.ndarray, share: np.ndarray, prior: str) -> np.ndarray:
    """Codes between codes: along the arc for a normal prior, along the line for a uniform one.

    Args:
        first, second: (N, latent) ends.
        share: (N,), 0 at `first`, 1 at `second`.
        prior: as in `latent.draw`.

    Returns:
        (N, latent) float32. The arc is K. Shoemake's (1985); it keeps the norm that normal codes have.
    """
    share = np.asarray(share, np.float64)[:, None]
    if prior != "normal":
        return (first + (second - first) * share).astype(np.float32)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosine = (first.astype(np.float64) * second).sum(axis=1) / np.maximum(norms, 1e-30)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))[:, None]
    sine = np.sin(angle)
    flat = np.abs(sine) < 1e-6  # equal or opposite directions have no arc of their own
    safe = np.where(flat, 1.0, sine)
    early = np.where(flat, 1.0 - share, np.sin((1.0 - share) * angle) / safe)
    late = np.where(flat, share, np.sin(share * angle) / safe)
    return (early * first + late * second).astype(np.float32)


def path_length(
    features: Features,
    first: np.ndarray,
    second: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    prior: str,
    steps: int = STEPS,
    seed: int = 0,
) -> PathLength:
    """Measure walks between pairs of codes, one step of each.

    Args:
        features: of codes; called twice with N codes.
        first, second: (N, latent) ends of the walks.
        ends: their features, twice (N, V, D), which are mostly known already.
        prior: as in `latent.draw`.
        steps: K, of which each walk makes one.
        seed: of the steps chosen.
    """
    where = np.random.default_rng(seed).integers(steps, size=len(first)) / steps
    here = features(walk(first, second, where, prior))
    there = features(walk(first, second, where + 1.0 / steps, prior))
    length = float(squared_distances(here, there).mean()) * steps**2
    apart = float(squared_distances(*ends).mean())
    return PathLength(length, length / max(apart, 1e-30))


def squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N,) mean over views of the squared feature distance."""
    return ((first.astype(np.float64) - second) ** 2).sum(axis=-1).mean(axis=-1)
