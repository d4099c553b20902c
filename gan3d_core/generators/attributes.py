"""What is known of shapes by name (a chair has arms, its legs are straight), as a part of z.

A generator that is not told must turn chairs with arms into chairs without by every z between, and shows stumps there.
Conditions for generator and critic: M. Mirza, S. Osindero: Conditional Generative Adversarial Nets, 2014, section 3.2.
They are drawn from z like everything else, so that a seed still is a whole shape: by the Gumbel-max trick
(E. J. Gumbel 1954), with its softmax (E. Jang et al.: Categorical Reparameterization with Gumbel-Softmax, ICLR 2017,
section 2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

DECIDEDNESS = 40.0
"""Inverse temperature of the softmax: hardly any z lies between two values, and yet a walk has no jump."""


class Attributes(nn.Module):
    """z → conditions, spread and going together as in the shapes it has followed.

    All attributes are independent of each other but for the first, which the others depend on: what a leg's style is
    depends on the kind of chair, and some kinds have no arms to speak of. The conditions are, one attribute after the
    other, a one for its value and zeros for its others; all zero where there is no such thing.

    Args:
        attributes: names with their values.
    """

    def __init__(self, attributes: Sequence[tuple[str, Sequence[str]]]) -> None:
        super().__init__()
        self.names = [name for name, _ in attributes]
        self.counts = [len(values) for _, values in attributes]
        if len(set(self.names)) < len(self.names) or any(len(set(v)) < max(1, len(v)) for _, v in attributes):
            raise ValueError("attributes must differ, and each have values that differ")
        self.size = sum(self.counts)
        kinds = self.counts[0] if attributes else 1
        self.shares: torch.Tensor
        self.there: torch.Tensor
        kept = bool(attributes)  # without any, weights are what they were before there were attributes
        # Of each value among the shapes of a kind that have any of its attribute's; of the kinds, among all.
        self.register_buffer("shares", torch.ones(kinds, self.size), persistent=kept)
        # Whether most shapes of a kind have the attribute.
        self.register_buffer("there", torch.ones(kinds, len(self.names)), persistent=kept)

    def follow(self, conditions: torch.Tensor) -> None:
        """Take how often values are, and which go together, from the conditions (N, size) of shapes."""
        if not self.names:
            return
        kinds = conditions[:, : self.counts[0]] > 0
        parts = conditions.split(self.counts, 1)
        shares = []
        for number, part in enumerate(parts):
            has = part.any(1)
            own = kinds & has[:, None] if number else has[:, None].expand(-1, kinds.shape[1])
            shares.append(own.float().T @ part / own.sum(0).clamp_min(1)[:, None])
            self.there[:, number] = (own.sum(0) > 0.5 * kinds.sum(0)).float()
        self.shares.copy_(torch.cat(shares, 1))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(N, size) ~ N(0, 1) to conditions (N, size)."""
        if not self.names:
            return z
        uniform = (0.5 * (1 + torch.erf(z / 2**0.5))).clamp(1e-6, 1 - 1e-6)
        gumbel = -(-uniform.log()).log()
        shares = self.shares.split(self.counts, 1)
        out: list[torch.Tensor] = []
        for number, part in enumerate(gumbel.split(self.counts, 1)):
            own = out[0] @ shares[number] if number else shares[0][:1]
            drawn = torch.softmax(DECIDEDNESS * (own.clamp_min(1e-9).log() + part), 1)
            out.append(drawn * (out[0] @ self.there[:, number : number + 1]) if number else drawn)
        return torch.cat(out, 1)
