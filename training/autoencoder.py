"""The encoder that stands before a tri-plane generator while its planes are learned, and their common loss."""

from __future__ import annotations

import dataclasses
import itertools

import torch
from torch import nn
from torch.nn import functional as F

from gan3d_core.generators.triplane import TRUNCATION, TriplaneGenerator

from .autoencoder_data import Batch


class VolumeEncoder(nn.Module):
    """Grids of distance and material → mean and log-variance of the code.

    With `symmetric`, only the half x > 0 is read, as the generator draws only that half.
    """

    def __init__(self, code_size: int, width: int = 16, symmetric: bool = True) -> None:
        super().__init__()
        self.symmetric = symmetric
        self.shape = nn.Conv3d(1, width, 4, stride=2, padding=1)
        widths = [width + 6, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv3d(before, after, 4, stride=2, padding=1), nn.GroupNorm(8, after), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        cells = 4 * 4 * (2 if symmetric else 4)
        self.out = nn.Linear(8 * width * cells, 2 * code_size)
        # Normalisation forgets how light or colourful a shape is; the mean material of each coarse block remembers.
        self.palette = nn.Linear(5 * cells, 2 * code_size, bias=False)

    def forward(self, distance: torch.Tensor, material: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 1, 64³) and (B, 6, 32³) to (B, code_size) twice."""
        if self.symmetric:
            distance, material = distance[:, :, 32:], material[:, :, 16:]
        fine = F.leaky_relu(self.shape(distance), 0.2)
        cells = (2 if self.symmetric else 4, 4, 4)
        pooled = F.adaptive_avg_pool3d(material, cells)
        palette = pooled[:, :5] / pooled[:, 5:].clamp_min(1e-3)
        both = self.out(self.body(torch.cat([fine, material], 1))) + self.palette(palette.flatten(1))
        mean, log_variance = both.chunk(2, 1)
        return mean, log_variance.clamp(-12, 4)


@dataclasses.dataclass(frozen=True)
class Losses:
    distance: torch.Tensor
    material: torch.Tensor
    size: torch.Tensor
    divergence: torch.Tensor
    sign_errors: torch.Tensor
    """Share of the drawn points on the wrong side; not part of the loss."""


def reconstruction_losses(
    encoder: VolumeEncoder, generator: TriplaneGenerator, batch: Batch, noise: torch.Generator
) -> Losses:
    """Encode, draw a code, decode, compare (a variational autoencoder, Kingma & Welling 2014, equation 10).

    Distances are clipped to ±TRUNCATION (DeepSDF, equation 4) and their error is counted in units of it; materials are
    compared on the surface and a little off it, where a texture will be baked from a slightly different surface.
    """
    mean, log_variance = encoder(batch.distance, batch.material)
    draw = torch.randn(mean.shape, generator=noise)
    codes = mean + draw.to(mean) * (0.5 * log_variance).exp()
    planes = generator.synthesis(codes)

    points = torch.cat([batch.near, batch.volume], 1)
    target = points[..., 3].clamp(-TRUNCATION, TRUNCATION)
    found = generator.distance(planes, codes, points[..., :3])
    # Near the surface an error is a dent; far from it only the sign counts.
    weight = 1.0 + 3.0 * (target.abs() < 0.5 * TRUNCATION).float()
    distance = (weight * (found - target).abs()).mean() / TRUNCATION

    offset = 0.02 * torch.randn((*batch.surface.shape[:2], 1), generator=noise).to(batch.surface)
    at = batch.surface[..., :3] + offset * batch.surface[..., 3:]
    material = (generator.material(planes, codes, at) - batch.surface_material).abs().mean()

    size = F.smooth_l1_loss(generator.size_head(codes)[:, 0], batch.log_size)
    divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
    wrong = ((found < 0) != (target < 0)).float().mean().detach()
    return Losses(distance, material, size, divergence, wrong)
