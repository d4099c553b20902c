"""A critic that knows the class: T. Miyato, M. Koyama: cGANs with Projection Discriminator, ICLR 2018, equation 3."""

from __future__ import annotations

import math

import torch
from torch import nn

from .features import feature_layers, tapped


class ProjectionCritic(nn.Module):
    """D(x, y) = D(x) + ⟨e(y), φ(x)⟩ / √C, with a learned vector e for each class.

    φ are the critic's last features, averaged over their cells, points or corners: any critic that names its
    `feature_layers` can be conditioned so. The √C keeps the term's size when features are wide.

    Args:
        critic: (N, …) to (N,).
        classes: how many there are.
        channels: C, of its last features.
    """

    def __init__(self, critic: nn.Module, classes: int, channels: int) -> None:
        super().__init__()
        self.critic = critic
        self.embedding = nn.Embedding(classes, channels)
        # The class begins unheard, so that the start is that of the plain critic.
        nn.init.zeros_(self.embedding.weight)

    @property
    def feature_layers(self) -> list[nn.Module]:
        return feature_layers(self.critic)

    def forward(self, samples: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(N, …) and classes (N,) int64 to (N,)."""
        with tapped(self.feature_layers[-1:]) as features:
            score = self.critic(samples)
        pooled = features[0].flatten(2).mean(2) if features[0].dim() > 2 else features[0]  # (N, C)
        return score + (self.embedding(labels) * pooled).sum(1) / math.sqrt(pooled.shape[1])
