"""The volumetric generator of 3D-GAN.

J. Wu, C. Zhang, T. Xue, W. T. Freeman, J. B. Tenenbaum: Learning a Probabilistic Latent Space of Object Shapes via 3D
Generative-Adversarial Modeling, NIPS 2016, section 3.1 and figure 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ..field import Field
from ..representations import Volume
from .attention import SelfAttention
from .columns import DoublingConv3d
from .virtual_batch_norm import VirtualBatch, VirtualBatchNorm
from .volume_field import VolumeField

SURFACE_BAND = 1.0
"""Half-width of the occupancy ramp around the surface, in voxels: see `VolumeField`."""


class VolumetricGenerator(nn.Module):
    """Five transposed convolutions from a code to an occupancy volume, batch norm and ReLU between, sigmoid last.

    Args:
        latent_size: length of z; 200 in the paper.
        channels: widths at 4³, 8³, 16³, … from coarse to fine; (512, 256, 128, 64) in the paper. Each further entry
            doubles the resolution: 4 · 2^len(channels).
        normalisation: `batch` as published, or `virtual` (`virtual_batch_norm`), whose reference batch is set once by
            `set_reference`.
        reference: samples of the reference batch.
        attention: cells along each axis of the volume to which self-attention is added, such as 8; 0 for none.
        start: occupancy of a fresh network's cells, in (0, 1); one half as published. Of a chair's cells 3 % are
            occupied: begun there, a volume is four times nearer to chairs than half-filled fog is.
    """

    yields = Volume

    def __init__(
        self,
        latent_size: int = 200,
        channels: tuple[int, ...] | list[int] = (512, 256, 128, 64),
        normalisation: str = "batch",
        reference: int = 16,
        attention: int = 0,
        start: float = 0.5,
    ) -> None:
        super().__init__()
        if latent_size < 1 or not channels or min(channels) < 1:
            raise ValueError("latent_size and channels must be positive")
        if normalisation not in ("batch", "virtual"):
            raise ValueError("normalisation must be batch or virtual")
        if not 0 < start < 1:
            raise ValueError("start must be between 0 and 1")
        self.latent_size = latent_size
        self.start = math.log(start / (1 - start))
        self.resolution = 4 * 2 ** len(channels)
        widths = list(channels)
        sizes = {4 * 2**index: width for index, width in enumerate(widths)}
        if attention and attention not in sizes:
            raise ValueError(f"attention must be at one of {', '.join(map(str, sizes))} cells")

        def after(width: int) -> list[nn.Module]:
            """What follows a convolution of that many channels."""
            norm = nn.BatchNorm3d(width) if normalisation == "batch" else VirtualBatchNorm(width, reference)
            return [norm, nn.ReLU(inplace=True)]

        # A transposed convolution of a 1³ input by a 4³ kernel is a linear map; it stays a convolution as published.
        layers: list[nn.Module] = [nn.ConvTranspose3d(latent_size, widths[0], 4, bias=False)]
        for size, (width, narrower) in zip(sizes, itertools.pairwise([*widths, 1]), strict=True):
            layers += after(width)
            if size == attention:
                layers.append(SelfAttention(width))
            last = size == self.resolution // 2
            layers.append(
                DoublingConv3d(width)
                if last
                else nn.ConvTranspose3d(width, narrower, 4, stride=2, padding=1, bias=False)
            )
        network = nn.Sequential(*layers)
        codes = torch.zeros(reference, latent_size, 1, 1, 1)
        self.layers = network if normalisation == "batch" else VirtualBatch(network, codes)

    @torch.no_grad()
    def set_reference(self, draw: Callable[[int], torch.Tensor]) -> None:
        """Draw the reference batch: `draw(n)` gives (n, latent_size) codes. It is not called without such a batch."""
        if isinstance(self.layers, VirtualBatch):
            self.layers.reference.copy_(draw(len(self.layers.reference))[:, :, None, None, None])

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Map codes to logits of occupancy.

        Args:
            codes: (N, latent_size).

        Returns:
            (N, 1, R, R, R), axes x, y, z; `sigmoid` of it is the occupancy of the paper.
        """
        return self.layers(codes[:, :, None, None, None]) + self.start

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
