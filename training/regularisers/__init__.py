"""What keeps a critic smooth. A file each, with equation and source; weights (λ, γ) are the caller's.

Two are terms of the critic's loss (`gradient_penalty`, `r1_penalty`), one is done after every step (`clip_weights`),
one once before the first (`spectral_norm`).
"""

from .gradient_penalty import gradient_penalty
from .r1 import r1_penalty
from .spectral_norm import spectral_norm
from .weight_clipping import clip_weights

__all__ = ["clip_weights", "gradient_penalty", "r1_penalty", "spectral_norm"]
