"""The encoders that stand before a textured generator while its planes are learned, and their common loss."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn
from torch.nn import functional as F

from gan3d_core.generators.coded import TRUNCATION, CodedGenerator, Codes, Features
from gan3d_core.generators.volume_encoder import VolumeEncoder, space_to_depth

from .autoencoder_data import Batch
from .precision import sixteen_bits


class ShapeEncoder(nn.Module):
    """Distances → the code of the geometry; materials where the surface passes → the code of the texture."""

    def __init__(self, generator: CodedGenerator, width: int = 16) -> None:
        super().__init__()
        self.symmetric = generator.symmetric
        # 64³ distances enter as 32³ cells of 2³ values each: nothing is lost, and the costliest layer is saved.
        self.geometry = generator.make_encoder(width)
        self.texture = VolumeEncoder(7, generator.texture_code, width // 2, self.symmetric)
        # Normalisation forgets how light or colourful a shape is; the mean material of each coarse block remembers.
        self.palette = nn.Linear(5 * 16 * (2 if self.symmetric else 4), 2 * generator.texture_code, bias=False)

    def forward(self, distance: torch.Tensor, material: torch.Tensor) -> tuple[Codes, Codes]:
        """(B, 1, 64³) and (B, 6, 32³) to means and log-variances."""
        if self.symmetric:
            distance, material = distance[:, :, 32:], material[:, :, 16:]
        cells = F.avg_pool3d(distance, 2)
        split = space_to_depth(distance[:, 0])
        pooled = F.adaptive_avg_pool3d(material, (2 if self.symmetric else 4, 4, 4))
        palette = pooled[:, :5] / pooled[:, 5:].clamp_min(1e-3)
        geometry = self.geometry(split).float().chunk(2, 1)
        texture = self.texture(torch.cat([material, cells], 1)) + self.palette(palette.flatten(1))
        texture = texture.float().chunk(2, 1)
        return Codes(geometry[0], texture[0]), Codes(geometry[1].clamp(-12, 4), texture[1].clamp(-12, 4))


@dataclasses.dataclass(frozen=True)
class Losses:
    distance: torch.Tensor
    sharp: torch.Tensor
    """Error of the sharpened distance; see `reconstruction_losses`."""
    material: torch.Tensor
    size: torch.Tensor
    divergence: torch.Tensor
    blending: torch.Tensor
    """Entropy of the shares of the palette, nats per point: 0 where every point is of one material."""
    mottling: torch.Tensor
    """Error of how much the palette's materials are mottled."""
    sign_errors: torch.Tensor
    """Share of the drawn points on the wrong side; not part of the loss."""

    def decoding(
        self, sharp_weight: float = 0.5, material_weight: float = 1.0, blending_weight: float = 0.01
    ) -> torch.Tensor:
        """The sum of what the decoder is to blame for."""
        surface = material_weight * (self.material + self.mottling) + blending_weight * self.blending
        return self.distance + sharp_weight * self.sharp + surface + 0.1 * self.size


SHARPNESS = 0.02
"""Half the width, in units of the cube, of the band in which the sharpened distance counts: about half a leg."""


def draw(mean: Codes, log_variance: Codes, noise: torch.Generator) -> Codes:
    """One code of each distribution (Kingma & Welling 2014, section 2.4)."""

    def one(centre: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
        return centre + torch.randn(centre.shape, generator=noise).to(centre) * (0.5 * spread).exp()

    return Codes(one(mean.geometry, log_variance.geometry), one(mean.texture, log_variance.texture))


def reconstruction_losses(
    encoder: ShapeEncoder,
    generator: CodedGenerator,
    batch: Batch,
    noise: torch.Generator,
    autocast: bool = False,
) -> Losses:
    """Encode, draw a code, decode, compare (a variational autoencoder, Kingma & Welling 2014, equation 10).

    Args:
        autocast: 16-bit convolutions. Points and their distances stay in 32 bits: at 8 bits of mantissa a coordinate is
            off by half a leg.
    """
    with sixteen_bits(batch.distance.device, autocast):
        mean, log_variance = encoder(batch.distance, batch.material)
        planes = generator.synthesise(draw(mean, log_variance, noise))
    divergence = torch.stack(
        [_divergence(mean.geometry, log_variance.geometry), _divergence(mean.texture, log_variance.texture)]
    ).sum()
    return dataclasses.replace(decoding_losses(generator, planes, batch, noise), divergence=divergence)


def decoding_losses(generator: CodedGenerator, planes: Features, batch: Batch, noise: torch.Generator) -> Losses:
    """Compare decoded planes with the shapes they should be; no divergence, as that is the encoder's.

    Distances are clipped to ±TRUNCATION (DeepSDF, equation 4) and their error is counted in units of it. A slat that is
    missed altogether costs little so: its inside is hardly below zero. The same distances through a narrow tanh make it
    cost about as much as a missing seat. Materials are compared on the surface and a little off it, where a texture
    will be baked from a slightly different surface.
    """
    points = torch.cat([batch.near, batch.volume], 1)
    target = points[..., 3].clamp(-TRUNCATION, TRUNCATION)
    found = generator.distance(planes, points[..., :3])
    distance = (found - target).abs().mean() / TRUNCATION
    sharp = ((found / SHARPNESS).tanh() - (target / SHARPNESS).tanh()).abs().mean()

    offset = 0.02 * torch.randn((*batch.surface.shape[:2], 1), generator=noise).to(batch.surface)
    at = batch.surface[..., :3] + offset * batch.surface[..., 3:]
    materials, shares = generator.mixture(planes, at)
    known = batch.known / batch.known.sum().clamp_min(1)
    material = ((materials - batch.surface_material).abs().mean(2) * known).sum()
    blending = mottling = torch.zeros_like(material)
    if shares is not None and generator.palette is not None:
        # The logarithm of a share that has become zero would have no gradient but NaN.
        blending = -((shares * shares.clamp_min(1e-6).log()).sum(2) * known).sum()
        # How much there is of it is a matter of a material, not of where one ends.
        amount = generator.palette.mottling(planes.codes.texture, shares.detach())
        if amount is not None:
            mottling = ((amount - batch.mottling).abs() * known).sum()

    size = F.smooth_l1_loss(generator.log_size(planes.codes), batch.log_size)
    wrong = ((found < 0) != (target < 0)).float().mean().detach()
    return Losses(distance, sharp, material, size, torch.zeros_like(size), blending, mottling, wrong)


def _divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence from N(0, 1), nats per code, mean over codes."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
