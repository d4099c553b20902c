"""The mesh generator: a sphere of triangles deformed by graph convolutions, coarse to fine.

N. Wang, Y. Zhang, Z. Li, Y. Fu, W. Liu, Y.-G. Jiang: Pixel2Mesh, ECCV 2018, sections 3.2 and 3.4: graph convolutions
with shortcuts, and unpooling by halving edges; here from a code, and as a generator.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from ..field import Field
from ..representations import Surfaces
from .mesh_field import MeshField
from .template import spheres


class GraphConvolution(nn.Module):
    """A vertex's features and the mean of its neighbours', each through a linear map."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.own = nn.Linear(before, after)
        self.around = nn.Linear(before, after, bias=False)

    def forward(self, features: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        """(N, V, before) and (V, K) to (N, V, after)."""
        return self.own(features) + self.around(features[:, neighbours].mean(2))


class Stage(nn.Module):
    """Two graph convolutions beside a shortcut, and an offset for every vertex."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = GraphConvolution(before + 3, after)
        self.second = GraphConvolution(after, after)
        self.shortcut = nn.Linear(before, after, bias=False)
        self.offset = nn.Linear(after, 3)

    def forward(
        self, features: torch.Tensor, places: torch.Tensor, neighbours: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        inner = F.leaky_relu(self.first(torch.cat([features, places], -1), neighbours), 0.2)
        features = F.leaky_relu(self.second(inner, neighbours), 0.2) + self.shortcut(features)
        return features, places + self.offset(features)


class MeshGenerator(nn.Module):
    """Code → features on the vertices of a coarse sphere → … → vertices of a fine one, moved.

    Genus zero: holes can be pinched but not opened.

    Args:
        latent_size: length of z.
        channels: widths of the stages from coarse to fine; after each but the last every edge is halved.
        coarsest: subdivisions of the icosahedron at the first stage; 1 is 42 vertices. The mesh has
            10 · 4^(coarsest + len(channels) − 1) + 2.
        start_radius: of the sphere that is deformed.
    """

    yields = Surfaces

    def __init__(
        self,
        latent_size: int = 128,
        channels: Sequence[int] = (128, 96, 64, 32),
        coarsest: int = 1,
        start_radius: float = 0.6,
    ) -> None:
        super().__init__()
        if not channels or min(latent_size, *channels) < 1 or coarsest < 0 or not 0 < start_radius < 1:
            raise ValueError("sizes must be positive, and start_radius between 0 and 1")
        self.latent_size = latent_size
        self.levels = spheres(coarsest + len(channels) - 1)[coarsest:]
        first = self.levels[0]
        self.first = channels[0]
        self.start = nn.Linear(latent_size, channels[0] * len(first.vertices))
        self.stages = nn.ModuleList(
            Stage(before, after) for before, after in itertools.pairwise([channels[0], *channels])
        )
        # Places are kept before a tanh, which holds the mesh in the cube.
        self.register_buffer("template", torch.from_numpy(first.vertices * start_radius).atanh(), persistent=False)
        for index, level in enumerate(self.levels):
            self.register_buffer(f"parents{index}", torch.from_numpy(level.parents), persistent=False)
            self.register_buffer(f"neighbours{index}", torch.from_numpy(level.neighbours), persistent=False)
        self.register_buffer("faces", torch.from_numpy(self.levels[-1].faces), persistent=False)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(N, latent_size) to vertices (N, V, 3) in the cube."""
        features = self.start(codes).reshape(len(codes), -1, self.first)
        features = F.leaky_relu(features, 0.2)
        places = self.get_buffer("template").expand(len(codes), -1, -1)
        for index, stage in enumerate(self.stages):
            if index:
                features, places = _halve_edges(self.get_buffer(f"parents{index}"), features, places)
            features, places = stage(features, places, self.get_buffer(f"neighbours{index}"))
        return places.float().tanh()

    def represent(self, codes: torch.Tensor) -> Surfaces:
        """(N, latent_size) to closed meshes."""
        return Surfaces(self(codes), self.get_buffer("faces"))

    @torch.inference_mode()
    def fields(self, codes: np.ndarray, size_m: float) -> list[Field]:
        faces = self.get_buffer("faces")
        vertices = self(torch.as_tensor(codes, device=faces.device)).cpu().numpy()
        return [MeshField(one, faces.cpu().numpy(), size_m) for one in vertices]


def _halve_edges(parents: torch.Tensor, *attributes: torch.Tensor) -> list[torch.Tensor]:
    """(N, V, C) attributes with those of the edges' middles behind them."""
    return [torch.cat([each, each[:, parents].mean(2)], 1) for each in attributes]
