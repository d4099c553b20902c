"""How many different shapes a batch holds: what mode collapse makes fall.

D. Friedman, A. B. Dieng: The Vendi Score: A Diversity Evaluation Metric for Machine Learning, TMLR 2023, equation 1.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

CELLS = 8
"""Along the last two axes of volumes and pictures: coarse shapes tell modes apart, and cost nothing beside a step."""


def signatures(samples: torch.Tensor) -> torch.Tensor:
    """Samples (N, …) as short vectors (N, D), by which they are compared.

    Volumes and pictures are averaged down over their cells. Points are unordered, so theirs are the mean and the
    second moments of their columns; the latter tell shapes of equal extent apart.
    """
    flat = samples.detach().float()
    if flat.dim() == 3 and flat.shape[2] < CELLS:  # (N, P, K) points
        pairs = torch.einsum("npi,npj->nij", flat, flat) / flat.shape[1]
        return torch.cat([flat.mean(1), pairs.flatten(1)], 1)
    if flat.dim() > 3 and min(flat.shape[-2:]) > CELLS:
        flat = F.adaptive_avg_pool2d(flat.flatten(1, -3), CELLS)  # (N, everything before, CELLS, CELLS)
    return flat.flatten(1)


def effective_count(vectors: torch.Tensor, width: float) -> float:
    """exp of the entropy of the eigenvalues of K / N, K_ij = exp(−‖xᵢ − xⱼ‖² / 2 width²).

    1 for N equal samples, N for N that are far apart, k for k equally large groups of equal ones.

    Args:
        vectors: (N, D).
        width: distance at which samples begin to count as different.
    """
    kernel = torch.exp(-(torch.cdist(vectors, vectors) ** 2) / (2 * width**2)).double()
    values = torch.linalg.eigvalsh(kernel / len(vectors)).clamp(min=1e-12)
    return float(torch.exp(-(values * values.log()).sum()))


def relative_diversity(real: torch.Tensor, fake: torch.Tensor) -> float | None:
    """(count of the generated − 1) / (count of the real − 1): 0 for a batch that is one shape, about 1 for a batch as
    varied as the data. None where the real ones are one shape themselves.

    The width of comparison is half the mean distance of the real samples, so that nothing depends on units.

    Args:
        real, fake: (N, …) of equal size.
    """
    unit = real.float().std().clamp(min=1e-12)
    a, b = signatures(real / unit), signatures(fake / unit)
    distances = F.pdist(a)
    if not len(distances) or float(distances.mean()) < 1e-6:
        return None
    width = float(distances.mean()) / 2
    return (effective_count(b, width) - 1) / (effective_count(a, width) - 1)
