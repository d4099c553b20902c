"""Feature matching: the generator is to match what the critic sees in real data, on average, and not to beat it.

T. Salimans et al.: Improved Techniques for Training GANs, NIPS 2016, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def feature_matching(real: Sequence[torch.Tensor], fake: Sequence[torch.Tensor]) -> torch.Tensor:
    """‖E f(x) − E f(G(z))‖²₂, summed over layers; each layer's is divided by its number of features, so that the
    weight of the term does not depend on the layer's size.

    Args:
        real: for each layer, features (N, …) of real samples; no gradient goes there.
        fake: for each layer, features (M, …) of generated ones, of the same size.
    """
    terms = [((a.detach().mean(0) - b.mean(0)) ** 2).mean() for a, b in zip(real, fake, strict=True)]
    return torch.stack(terms).sum()
