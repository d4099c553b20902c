"""Against floaters and holes that no image shows: neighbours of opposite sign are pulled towards agreeing.

Images constrain a signed field where the surface is seen and nowhere else, so behind it signs flip at random. For each
lattice edge whose ends differ in sign, each end is taken as a logit and asked for the other end's sign. The surface
itself has such edges too and pays as well: the term is the smaller the less surface there is, and pulls at noise most.

J. Gao et al.: GET3D, NeurIPS 2022, section 3.3, equation 5, there over the edges of a tetrahedral grid and with weight
0.01; after J. Munkberg et al.: Extracting Triangular 3D Models, Materials, and Lighting From Images, CVPR 2022.
"""

from __future__ import annotations

import torch
from torch.nn.functional import softplus


def sign_regulariser(values: torch.Tensor, mean: bool = True) -> torch.Tensor:
    """Binary cross-entropy between σ(value) at one end and the sign at the other, over edges with a change of sign.

    Args:
        values: (…, R, R, R) on lattices, positive outside. They are logits: scale them so that 1 is a clear sign.
        mean: divide by twice the number of such edges, so that the size of the surface does not count; otherwise sum
            over them, as published.

    Returns:
        A scalar, 0 where no edge changes sign.
    """
    total = values.new_zeros(())
    count = 0
    for axis in (-3, -2, -1):
        size = values.shape[axis]
        low, high = values.narrow(axis, 0, size - 1), values.narrow(axis, 1, size - 1)
        crossed = (low.detach() < 0) != (high.detach() < 0)
        a, b = low[crossed], high[crossed]
        # The ends differ, so each is asked for the opposite of its own sign: −log σ(−|x|) = softplus(|x|).
        total = total + softplus(a.abs()).sum() + softplus(b.abs()).sum()
        count += 2 * a.numel()
    return total / max(count, 1) if mean else total + 0.0 * values.sum()
