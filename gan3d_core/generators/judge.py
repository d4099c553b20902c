"""A judge of drawn shapes by their codes, which a generator keeps to itself: may this one be shown?

Rejection sampling by a critic: S. Azadi et al.: Discriminator Rejection Sampling, ICLR 2019, section 3. The critic of
the training does not know chairs with a broken arm from whole ones: what it sees, the generator has learned to hide. A
network that is trained afterwards, when the generator cannot answer any more, does. Theirs accepts by chance, in the
ratio of both densities; here a seed's first shape over a bar is taken, so that a seed stays a shape.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from .volume_encoder import cells_to_channels


class CellTrunk(nn.Module):
    """Convolutions from a code of cells to one vector.

    Args:
        channels, cells: of the code: it is (channels, X, Y, Z), flattened.
        widths: at half the resolution, at a quarter of it, … down to 4 cells along an axis.
    """

    def __init__(self, channels: int, cells: tuple[int, int, int], widths: Sequence[int] = (64, 128)) -> None:
        super().__init__()
        self.grid = (channels, *cells)
        axes = [torch.linspace(-1, 1, n // 2) for n in cells]
        self.place: torch.Tensor
        self.register_buffer("place", torch.stack(torch.meshgrid(*axes, indexing="ij"))[None], persistent=False)
        self.enter = nn.Conv3d(8 * channels + 3, widths[0], 3, padding=1)
        self.within = nn.ModuleList(nn.Conv3d(width, width, 3, padding=1) for width in widths)
        self.down = nn.ModuleList(
            nn.Conv3d(before, after, 4, stride=2, padding=1) for before, after in itertools.pairwise(widths)
        )
        self.size = widths[-1] * math.prod(n // 2 ** len(widths) for n in cells)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(N, channels · X · Y · Z) to (N, size) in 32 bits."""
        grid = cells_to_channels(codes.unflatten(1, self.grid))
        grid = torch.cat([grid, self.place.expand(len(grid), -1, -1, -1, -1)], 1)
        grid = F.leaky_relu(self.enter(grid), 0.2)
        for within, down in zip(self.within, self.down, strict=False):
            grid = F.leaky_relu(down(grid + F.leaky_relu(within(grid), 0.2)), 0.2)
        # Weight gradients of so small a 16-bit convolution come out as NaN now and then on CPUs (torch 2.13).
        with torch.autocast(grid.device.type, enabled=False):
            grid = grid.float()
            return (grid + F.leaky_relu(self.within[-1](grid), 0.2)).flatten(1)


class VectorTrunk(nn.Sequential):
    """The same for a code that is a vector: one layer."""

    def __init__(self, code_size: int, width: int = 256) -> None:
        super().__init__(nn.Linear(code_size, width), nn.LeakyReLU(0.2))
        self.size = width


class Judge(nn.Module):
    """A code → how much it looks like that of a real shape.

    Args:
        trunk: from codes (N, code_size) to vectors (N, trunk.size).
    """

    HIDDEN = 64

    def __init__(self, trunk: CellTrunk | VectorTrunk) -> None:
        super().__init__()
        self.trunk = trunk
        # It sees some thousand codes, and would know each of them by heart.
        self.rest = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(trunk.size, self.HIDDEN),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.3),
            nn.Linear(self.HIDDEN, 1),
        )
        self.bar: torch.Tensor
        self.register_buffer("bar", torch.zeros(()))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Standardised codes (N, code_size) to (N,), the logarithm of the odds that they are real."""
        return self.rest(self.trunk(codes))[:, 0]

    def doubts(self, codes: torch.Tensor) -> list[float]:
        """How far each of the codes stays below the bar, 0 for what passes."""
        return (self.bar - self(codes)).clamp_min(0.0).tolist()
