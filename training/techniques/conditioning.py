"""A critic that knows the class: T. Miyato, M. Koyama: cGANs with Projection Discriminator, ICLR 2018, equation 3."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn

from .features import feature_layers, tapped


class Told(NamedTuple):
    """What a conditioned critic is told of N samples."""

    known: torch.Tensor | None
    """What the critic inside is told: the cameras of pictures."""
    labels: torch.Tensor
    """(N,) int64, the classes."""


class ProjectionCritic(nn.Module):
    """D(x, y) = D(x) + ⟨e(y), φ(x)⟩ / √C, with a learned vector e for each class.

    φ are the critic's last features, averaged over their cells and over a shape's pictures: any critic that names its
    `feature_layers` can be conditioned so. The √C keeps the term's size when features are wide.

    Args:
        critic: (N, …) to (N,).
        classes: how many there are.
        channels: C, of its last features; see `channels_of`.
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

    def forward(self, samples: torch.Tensor, given: Told) -> torch.Tensor:
        """(N, …) to (N,)."""
        with tapped(self.feature_layers[-1:]) as features:
            score = self.critic(samples, given.known)
        pooled = features[0].unflatten(0, (len(score), -1))  # (N, V, C, …)
        pooled = pooled.transpose(1, 2).flatten(2).mean(2)  # (N, C)
        return score + (self.embedding(given.labels) * pooled).sum(1) / math.sqrt(pooled.shape[1])


@torch.no_grad()
def channels_of(critic: nn.Module, samples: torch.Tensor, known: torch.Tensor | None) -> int:
    """How many channels a critic's last features have, found by showing it something."""
    with tapped(feature_layers(critic)[-1:]) as features:
        critic(samples, known)
    return features[0].shape[1]
