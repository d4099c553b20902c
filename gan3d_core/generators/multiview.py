"""The multi-view generator: what cameras around a shape see of it, as depth and normal maps, made by 2D convolutions.

A. A. Soltani, H. Huang, J. Wu, T. D. Kulkarni, J. B. Tenenbaum: Synthesizing 3D Shapes via Modeling Multi-view Depth
Maps and Silhouettes with Deep Generative Networks, CVPR 2017, section 3; normal maps beside the depths as in Z. Lun et
al.: 3D Shape Reconstruction from Sketches via Multi-view Convolutional Networks, 3DV 2017. What is ours: orthographic
cameras, and fusion by a closed formula (`fusion`) that critics can see through.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from ..field import Field, Materials, lattice
from ..fusion import camera_frames, fuse
from ..representations import DISTANCE_BAND, Views
from .chunks import in_chunks

START_HEIGHT = 0.5
"""Where a fresh network's maps see the surface: together they are about a block of this half side."""
START_CLEARANCE = -1.0
"""How deep rays go through a fresh network's shapes, before the tanh."""


class MultiViewGenerator(nn.Module):
    """Code → 4² features for each camera → … → maps of height, normal and clearance, one set of weights for all
    cameras.

    Args:
        latent_size: length of z.
        views: 6, 14 or 26 cameras; see `fusion.camera_frames`.
        channels: widths at 4², 8², … from coarse to fine; the maps have 4 · 2^len(channels) pixels along each side.
    """

    yields = Views

    def __init__(self, latent_size: int = 128, views: int = 6, channels: Sequence[int] = (128, 64, 32, 16)) -> None:
        super().__init__()
        if not channels or min(latent_size, *channels) < 1:
            raise ValueError("latent_size and channels must be positive")
        axes, reach = camera_frames(views)
        self.latent_size, self.views, self.first = latent_size, views, channels[0]
        self.size = 4 * 2 ** len(channels)
        self.register_buffer("axes", torch.from_numpy(axes), persistent=False)
        self.register_buffer("reach", torch.from_numpy(reach), persistent=False)
        self.start = nn.Linear(latent_size, views * channels[0] * 16)
        layers: list[nn.Module] = [nn.LeakyReLU(0.2)]
        for before, after in itertools.pairwise(channels):
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(channels[-1], 5, 4, stride=2, padding=1))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(N, latent_size) to raw maps (N, C, 5, S, S): height, normal along right, up and towards, clearance."""
        maps = self.layers(self.start(codes).reshape(-1, self.first, 4, 4))
        return maps.unflatten(0, (len(codes), self.views)).float()

    def represent(self, codes: torch.Tensor) -> Views:
        """(N, latent_size) to maps."""
        maps, axes, reach = self(codes), self.get_buffer("axes"), self.get_buffer("reach")
        start = np.arctanh(START_HEIGHT)
        height = reach[:, None, None] * torch.tanh(maps[:, :, 0] + start)
        towards = maps.new_tensor([0.0, 0.0, 1.0])[:, None, None]
        normal = torch.einsum("nckuv,cki->nciuv", F.normalize(maps[:, :, 1:4] + towards, dim=2), axes).float()
        clearance = DISTANCE_BAND * torch.tanh(maps[:, :, 4] + START_CLEARANCE)
        return Views(height, normal, clearance, axes, reach)

    @torch.inference_mode()
    def fields(self, codes: np.ndarray, size_m: float) -> list[Field]:
        views = self.represent(torch.as_tensor(codes, device=self.get_buffer("axes").device))
        every = zip(views.height, views.normal, views.clearance, strict=True)
        return [FusedField(Views(h[None], n[None], c[None], views.axes, views.reach), size_m) for h, n, c in every]


class FusedField:
    """The fused maps of one shape."""

    CHUNK = 1 << 17

    def __init__(self, views: Views, size_m: float) -> None:
        self.views, self.size_m = views, size_m

    def values(self, resolution: int) -> np.ndarray:
        found = in_chunks(
            functools.partial(fuse, self.views), lattice(resolution), self.views.height.device, self.CHUNK
        )
        return found.reshape((resolution,) * 3)

    def materials(self, points: np.ndarray) -> Materials | None:
        return None
