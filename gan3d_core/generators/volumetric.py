"""The volumetric generator of 3D-GAN.

J. Wu, C. Zhang, T. Xue, W. T. Freeman, J. B. Tenenbaum: Learning a Probabilistic Latent Space of Object Shapes via 3D
Generative-Adversarial Modeling, NIPS 2016, section 3.1 and figure 1.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import nn

from ..field import Field
from ..representations import Volume
from .volume_field import VolumeField

SURFACE_BAND = 1.0
"""Half-width of the occupancy ramp around the surface, in voxels: see `VolumeField`."""


class VolumetricGenerator(nn.Module):
    """Five transposed convolutions from a code to an occupancy volume, batch norm and ReLU between, sigmoid last.

    Args:
        latent_size: length of z; 200 in the paper.
        channels: widths at 4³, 8³, 16³, … from coarse to fine; (512, 256, 128, 64) in the paper. Each further entry
            doubles the resolution: 4 · 2^len(channels).
    """

    yields = Volume

    def __init__(self, latent_size: int = 200, channels: tuple[int, ...] | list[int] = (512, 256, 128, 64)) -> None:
        super().__init__()
        if latent_size < 1 or not channels or min(channels) < 1:
            raise ValueError("latent_size and channels must be positive")
        self.latent_size = latent_size
        self.resolution = 4 * 2 ** len(channels)
        widths = list(channels)
        # A transposed convolution of a 1³ input by a 4³ kernel is a linear map; it stays a convolution as published.
        layers: list[nn.Module] = [nn.ConvTranspose3d(latent_size, widths[0], 4, bias=False)]
        for before, after in itertools.pairwise(widths):
            layers += [nn.BatchNorm3d(before), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose3d(before, after, 4, stride=2, padding=1, bias=False)]
        layers += [nn.BatchNorm3d(widths[-1]), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose3d(widths[-1], 1, 4, stride=2, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Map codes to logits of occupancy.

        Args:
            codes: (N, latent_size).

        Returns:
            (N, 1, R, R, R), axes x, y, z; `sigmoid` of it is the occupancy of the paper.
        """
        return self.layers(codes[:, :, None, None, None])

    def represent(self, codes: torch.Tensor) -> Volume:
        """(N, latent_size) to volumes of the generator's own resolution."""
        return Volume(self(codes)[:, 0].float().sigmoid())

    @torch.inference_mode()
    def fields(self, codes: np.ndarray, size_m: float) -> list[Field]:
        device = next(self.parameters()).device
        occupancy = self(torch.as_tensor(codes, device=device)).sigmoid()[:, 0].float().cpu().numpy()
        voxel = 2.0 / self.resolution
        # Occupancy falls linearly from 1 to 0 across the band, so it is a clipped distance in other units.
        return [VolumeField((0.5 - volume) * (2.0 * SURFACE_BAND * voxel), size_m) for volume in occupancy]
