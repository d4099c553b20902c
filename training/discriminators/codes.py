"""Critics of an autoencoder's codes, vectors or grids of cells. They are not one of the four kinds that `train` pairs
with generators: codes mean something to their own autoencoder only."""

from __future__ import annotations

import torch
from torch import nn

from gan3d_core.generators.judge import CellTrunk

GROUP = 8
"""Samples that share one figure of how much they vary (minibatch standard deviation, Karras et al. 2018, section 3),
against collapse; few, so that a gradient penalty stays nearly per sample."""


def group_spread(codes: torch.Tensor) -> torch.Tensor:
    """(N, S), N a multiple of 8, to (N, 1): the mean standard deviation within each group of 8."""
    groups = codes.unflatten(0, (-1, GROUP))
    spread = (groups.var(1, unbiased=False) + 1e-8).sqrt().mean(-1)
    return spread[:, None, None].expand(-1, GROUP, 1).flatten(0, 1)


class CodeCritic(nn.Module):
    """A perceptron on codes that also sees how much its batch varies.

    Args:
        code_size: length of a code.
        width: of the perceptron.
        beside: how many numbers it is told besides, which follow the code.
    """

    def __init__(self, code_size: int, width: int, beside: int = 0) -> None:
        super().__init__()
        self.code_size = code_size
        self.layers = nn.Sequential(
            nn.Linear(code_size + beside + 1, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 1),
        )

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(N, code_size + beside), N a multiple of 8, to (N,)."""
        return self.layers(torch.cat([codes, group_spread(codes[:, : self.code_size])], 1))[:, 0]


class ApartCritic(nn.Module):
    """One critic of a shape's code and one of its surface's, which sees the first entries of the shape's; their sum.

    A critic of both together spends itself on surfaces, and bars break.

    Args:
        shape, surface: lengths of the codes, one after the other.
        told: how many conditions follow.
        width: of the perceptron on shapes; that on surfaces has half of it.
    """

    SEEN = 32

    def __init__(self, shape: int, surface: int, told: int, width: int) -> None:
        super().__init__()
        self.sizes = [shape, surface, told]
        self.shape = CodeCritic(shape, width, told)
        self.surface = CodeCritic(surface, width // 2, told + min(shape, self.SEEN))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(N, shape + surface + told), N a multiple of 8, to (N,)."""
        shape, surface, told = codes.split(self.sizes, 1)
        seen = shape[:, : self.SEEN]
        return self.shape(torch.cat([shape, told], 1)) + self.surface(torch.cat([surface, told, seen], 1))


class CellCritic(nn.Module):
    """A trunk on the code of a shape, then a perceptron that also sees the code of the surface.

    Args:
        trunk: of the shape's code.
        texture_code: length of the surface's code, which follows it.
        hidden: of the perceptron.
    """

    def __init__(self, trunk: CellTrunk, texture_code: int, hidden: int = 256) -> None:
        super().__init__()
        self.trunk, self.texture_code = trunk, texture_code
        self.all = nn.Linear(trunk.size + 1, hidden)
        self.texture = nn.Sequential(nn.Linear(texture_code, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden))
        self.rest = nn.Sequential(nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(N, channels · X · Y · Z + texture_code), N a multiple of 8, to (N,)."""
        shape, surface = codes[:, : -self.texture_code], codes[:, -self.texture_code :]
        seen = self.all(torch.cat([self.trunk(shape), group_spread(shape)], 1))
        return self.rest(seen.float() + self.texture(surface).float())[:, 0].float()
