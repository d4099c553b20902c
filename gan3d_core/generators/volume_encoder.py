"""From a grid of distances to a code: the autoencoder's half that also mends drawn codes."""

from __future__ import annotations

import itertools

import torch
from torch import nn


def space_to_depth(volumes: torch.Tensor) -> torch.Tensor:
    """(N, 2A, 2B, 2C) to (N, 8, A, B, C): the 2³ values of each cell, x slowest."""
    return cells_to_channels(volumes[:, None])


def cells_to_channels(grid: torch.Tensor) -> torch.Tensor:
    """(N, C, 2A, 2B, 2D) to (N, 8 C, A, B, D): the values of 2³ cells side by side."""
    split = grid.unflatten(4, (-1, 2)).unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
    return split.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4)


def channels_to_cells(grid: torch.Tensor) -> torch.Tensor:
    """(N, 8 C, A, B, D) to (N, C, 2A, 2B, 2D): the inverse of `cells_to_channels`."""
    split = grid.unflatten(1, (-1, 2, 2, 2)).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return split.flatten(6, 7).flatten(4, 5).flatten(2, 3)


class VolumeEncoder(nn.Module):
    """A grid → mean and log-variance of a code: strided convolutions from 32³ to 4³, then one linear layer.

    With `symmetric`, the grid is the half x > 0, as the generator draws only that half.
    """

    def __init__(self, channels: int, code_size: int, width: int, symmetric: bool) -> None:
        super().__init__()
        widths = [channels, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv3d(before, after, 4, stride=2, padding=1), nn.GroupNorm(8, after), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.out = nn.Linear(8 * width * 4 * 4 * (2 if symmetric else 4), 2 * code_size)

    def forward(self, grid: torch.Tensor) -> torch.Tensor:
        """(B, channels, 16 or 32, 32, 32) to (B, 2 · code_size)."""
        return self.out(self.body(grid))
