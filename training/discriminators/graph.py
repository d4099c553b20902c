"""The discriminator of graphs: convolutions among the nearest neighbours of surface points.

Y. Wang, Y. Sun, Z. Liu, S. E. Sarma, M. M. Bronstein, J. M. Solomon: Dynamic Graph CNN for Learning on Point Clouds,
ACM TOG 2019, section 3.1 (edge convolutions). The graph is that of the places, the same in every layer: neighbours in
space are what a mesh's edges would join.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from . import minibatch

NODE = 6  # a place and a unit normal


def neighbours(places: torch.Tensor, count: int) -> torch.Tensor:
    """(N, P, K) int64: of every point of (N, P, 3) the K nearest others; all there are where those are fewer."""
    places = places.detach().float()
    nearest = torch.cdist(places, places).topk(min(count + 1, places.shape[1]), largest=False).indices
    return nearest[..., 1:]  # the nearest of all is the point itself


class EdgeConvolution(nn.Module):
    """Of every node the maximum over its edges of a linear map of (the node, the neighbour less the node)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        # A map of the difference is the difference of maps: 2 P products in place of K P.
        self.own = nn.Linear(before, after)
        self.difference = nn.Linear(before, after, bias=False)
        self.activation = nn.LeakyReLU(0.2)

    def forward(self, nodes: torch.Tensor, joined: torch.Tensor) -> torch.Tensor:
        """(N, P, before) and (N, P, K) to (N, P, after)."""
        mapped = self.difference(nodes)
        first = torch.arange(len(nodes), device=nodes.device)[:, None, None] * nodes.shape[1]
        rows = (joined + first).reshape(-1)  # whole rows are picked: several times faster than gathering numbers
        around = mapped.flatten(0, 1).index_select(0, rows).reshape(*joined.shape, -1)
        # Not amax: its gradient looks for ties among all, which costs several times as much as the rest.
        return self.activation(self.own(nodes) - mapped + around.max(2).values)


class GraphDiscriminator(nn.Module):
    """Nodes with normals → one number.

    Args:
        channels: widths of the edge convolutions.
        neighbours: how many each node is joined to.
        dense: width of the layer after all nodes have been gathered.
        minibatch_std: tell the last layers how much the batch varies (Karras et al. 2018, section 3).
    """

    consumes = "graph"

    def __init__(
        self,
        channels: Sequence[int] = (64, 64, 128),
        neighbours: int = 12,
        dense: int = 128,
        minibatch_std: bool = False,
    ) -> None:
        super().__init__()
        if not channels or min(*channels, neighbours, dense) < 1:
            raise ValueError("widths and neighbours must be positive")
        self.neighbours, self.minibatch_std = neighbours, minibatch_std
        self.convolutions = nn.ModuleList(
            EdgeConvolution(before, after) for before, after in itertools.pairwise([NODE, *channels])
        )
        gathered = 2 * sum(channels) + minibatch_std
        self.dense = nn.Sequential(nn.Linear(gathered, dense), nn.LeakyReLU(0.2))
        self.last = nn.Linear(dense, 1)

    @property
    def feature_layers(self) -> list[nn.Module]:
        """The layer after the nodes have been gathered: nodes have no order, and compare with nothing."""
        return [self.dense[1]]

    def forward(self, nodes: torch.Tensor, given: torch.Tensor | None = None) -> torch.Tensor:
        """(N, P, 6) to (N,)."""
        joined = neighbours(nodes[..., :3], self.neighbours)
        levels = []
        for convolution in self.convolutions:
            nodes = convolution(nodes, joined)
            levels.append(nodes)
        every = torch.cat(levels, -1)
        gathered = torch.cat([every.max(1).values, every.mean(1)], 1)
        if self.minibatch_std:
            gathered = torch.cat([gathered, minibatch.standard_deviation(gathered)], 1)
        return self.last(self.dense(gathered))[:, 0]
