"""Noise that fills space, so that a surface cut through it is mottled without seams, however it is unwrapped.

K. Perlin: An Image Synthesizer, SIGGRAPH 1985 (solid texture); values on a lattice, interpolated: D. Ebert et al.:
Texturing and Modeling, 3rd edition 2003, chapter 2.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

PERIOD = 64
"""Lattice cells after which a lattice repeats; the two do so at different places."""
CELLS = (36.0, 70.0)
"""Lattice cells in a unit of space, from coarse to fine, both of the same strength; in a cube of side 2 the correlation
has fallen to a quarter after 0.018, much as in the baked wood of the furniture that the generators learn from."""
SPREAD = math.sqrt(len(CELLS) / 3.0 * (26.0 / 35.0) ** 3)
"""Standard deviation of their sum: a lattice value's variance is 1/3, and of that a blend of two neighbours along an
axis by the weights s and 1 − s, s = 3t² − 2t³, keeps ∫ s² + (1 − s)² = 26/35 on average."""


@functools.cache
def _lattice() -> np.ndarray:
    """(PERIOD + 1)³ values in [−1, 1], the last along each axis as the first.

    The same on every machine: a hash of integers, and no library's random numbers.
    """
    value = np.arange(PERIOD**3, dtype=np.uint64)
    # The finaliser of SplitMix64 (G. Steele et al.: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
    value = (value + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    value ^= value >> np.uint64(31)
    values = ((value >> np.uint64(40)).astype(np.float64) / 2.0**23 - 1.0).astype(np.float32)
    return np.pad(values.reshape((PERIOD,) * 3), (0, 1), mode="wrap")


def solid_noise(points: torch.Tensor) -> torch.Tensor:
    """Mottling at points.

    Args:
        points: (…, 3), in the cube of side 2.

    Returns:
        (…), mean about 0 and standard deviation about 1 over space.
    """
    lattice = torch.from_numpy(_lattice()).to(points.device)[None, None]
    flat = points.reshape(1, -1, 1, 1, 3).float()
    total = torch.zeros(flat.shape[1], device=points.device)
    for number, cells in enumerate(CELLS):
        # The finer lattice begins elsewhere, or both would agree around the origin.
        at = flat * cells + 17.3 * number
        floor = at.floor()
        part = at - floor
        # Where a trilinear blend has the weights that a smooth one has at the point itself.
        at = floor % PERIOD + part * part * (3.0 - 2.0 * part)
        at = (at * (2.0 / PERIOD) - 1.0).flip(-1)
        total += F.grid_sample(lattice, at, align_corners=True).flatten()
    total = total.reshape(points.shape[:-1])
    return total / SPREAD
