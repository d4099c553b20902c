"""The textured generator: one code for the shape and one for its surface become feature planes; points read distance
and materials from them.

Tri-planes: E. R. Chan et al.: Efficient Geometry-aware 3D Generative Adversarial Networks, CVPR 2022, section 4.1.
Codes that set the scale and shift of every normalised layer: X. Huang, S. Belongie: Arbitrary Style Transfer in
Real-time with Adaptive Instance Normalization, ICCV 2017, equation 8.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from .coded import MATERIAL_CHANNELS, TRUNCATION, CodedGenerator, Codes, Features, Mapping, PointHead, perceptron
from .judge import Judge, VectorTrunk
from .volume_encoder import VolumeEncoder


class PlaneSynthesis(nn.Module):
    """Code → three feature planes, 4² → … → R² by transposed convolutions, one set of weights for all three; what tells
    the planes apart is their own 4² start. The code also sets scale and shift after every normalisation, so that what
    holds for the whole shape (how many slats, how thick) need not travel through the start."""

    def __init__(self, code_size: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.first = channels[0]
        self.start = nn.Linear(code_size, 3 * channels[0] * 16)
        # Kernel 4, stride 2: every texel sees 2 × 2 of the coarser plane, as nearest upsampling and a 3 × 3 convolution
        # would, for 4/9 of the multiplications.
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1) for before, after in itertools.pairwise(channels)
        )
        self.style = nn.ModuleList(nn.Linear(code_size, 2 * width) for width in channels[1:-1])

    def forward(self, codes: torch.Tensor, late: torch.Tensor | None = None, crossover: int = 0) -> torch.Tensor:
        """(N, code_size) to (N, 3, C, R, R): planes (|x| or x, y), (x, z), (y, z); rows are the second axis.

        With `late`, the layers from `crossover` on take these codes: 0 is the start, i the style after the i-th
        convolution (style mixing, Karras et al. 2019, section 3.1).
        """
        early, late = codes, codes if late is None else late
        codes = late if crossover < 1 else early
        planes = self.start(codes).reshape(3 * len(codes), self.first, 4, 4)
        # Channels last is a third faster for these shapes on CPUs, and no slower on CUDA.
        planes = F.leaky_relu(planes, 0.2).contiguous(memory_format=torch.channels_last)
        for index, up in enumerate(self.up):
            # Under autocast the convolutions are 16-bit; everything else is cheap, and faster in 32 bits on CPUs.
            planes = up(planes).to(codes.dtype)
            if index < len(self.style):  # the last planes are read linearly
                codes = late if crossover < index + 2 else early
                scale, shift = self.style[index](codes).repeat_interleave(3, 0)[:, :, None, None].chunk(2, 1)
                planes = F.leaky_relu(torch.addcmul(shift, F.group_norm(planes, 8), 1 + scale), 0.2)
        return planes.unflatten(0, (len(codes), 3))


class TexturedGenerator(CodedGenerator):
    """A shape's code is a vector, of which planes are made.

    Args:
        channels, texture_channels: widths of the two plane syntheses at 4², 8², …; the last is the planes' own.
        head_width: hidden width of the two point networks.
        others: as of `CodedGenerator`.
    """

    def __init__(
        self,
        latent_size: int = 192,
        texture_latent: int = 64,
        geometry_code: int = 160,
        texture_code: int = 64,
        channels: Sequence[int] = (128, 96, 64, 48, 32),
        texture_channels: Sequence[int] = (64, 48, 32, 16),
        head_width: int = 64,
        mapping_width: int = 512,
        mapping_layers: int = 4,
        symmetric: bool = True,
        classes: int = 1,
        palette: int = 0,
        attributes: Sequence[tuple[str, Sequence[str]]] = (),
        rounds: int = 0,
        encoder_width: int = 16,
        judged: bool = False,
    ) -> None:
        sizes = (geometry_code, texture_code, head_width, mapping_width, mapping_layers)
        if min(*sizes, *channels, *texture_channels) < 1 or min(len(channels), len(texture_channels)) < 2:
            raise ValueError("sizes must be positive, and there must be two or more plane widths")
        if any(width % 8 for width in (*channels, *texture_channels)):
            raise ValueError("plane widths must be multiples of 8")
        super().__init__(
            latent_size, texture_latent, geometry_code, texture_code, symmetric, classes, palette, rounds,
            attributes=attributes,
        )  # fmt: skip
        latent = self.noise_size + self.given_size
        shape = perceptron(latent, geometry_code, mapping_width, mapping_layers)
        known = texture_latent + self.given_size + geometry_code
        surface = perceptron(known, texture_code, mapping_width, mapping_layers)
        self.geometry_mapping = Mapping(shape, geometry_code)
        self.texture_mapping = Mapping(surface, texture_code)
        both = geometry_code + texture_code
        self.geometry_synthesis = PlaneSynthesis(geometry_code, channels)
        self.texture_synthesis = PlaneSynthesis(both, texture_channels)
        self.distance_head = PointHead(3 * channels[-1], geometry_code, head_width, 1)
        both_planes = 3 * (channels[-1] + texture_channels[-1])
        self.material_head = PointHead(both_planes, both, head_width, palette + MATERIAL_CHANNELS)
        self.encoder = self.make_encoder(encoder_width) if rounds else None
        self.judge = self.make_judge() if judged else None

    def make_encoder(self, width: int) -> VolumeEncoder:
        return VolumeEncoder(8, self.geometry_code, width, self.symmetric)

    def make_judge(self) -> Judge:
        return Judge(VectorTrunk(self.geometry_code))

    @property
    def levels(self) -> int:
        """Crossovers between which styles can be mixed: the start and every style of the longer synthesis."""
        return 1 + max(len(self.geometry_synthesis.style), len(self.texture_synthesis.style))

    def shape_alone(self, codes: Codes) -> Features:
        return Features(codes, self.geometry_synthesis(codes.geometry), codes.geometry[:0])

    def synthesise(self, codes: Codes, late: Codes | None = None, crossover: int = 0) -> Features:
        """Codes to planes; with `late`, the levels from `crossover` (1 … levels − 1) on take these codes."""
        both = torch.cat([codes.geometry, codes.texture], 1)
        if late is None:
            return Features(codes, self.geometry_synthesis(codes.geometry), self.texture_synthesis(both))
        late_both = torch.cat([late.geometry, late.texture], 1)
        return Features(
            codes,
            self.geometry_synthesis(codes.geometry, late.geometry, crossover),
            self.texture_synthesis(both, late_both, crossover),
        )

    def distance(self, planes: Features, points: torch.Tensor) -> torch.Tensor:
        """Signed distance (N, P) in units of the cube, in (−TRUNCATION, TRUNCATION), negative inside, at (N, P, 3)."""
        where = self._where(points)
        features = _read(planes.geometry, where)
        return TRUNCATION * torch.tanh(self.distance_head(features, where, planes.codes.geometry)[..., 0])

    def mixture(
        self, planes: Features, points: torch.Tensor, sharpness: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Materials, and the shares (N, P, K) of the palette's that they are mixed of, if there is one."""
        where = self._where(points)
        features = torch.cat([_read(planes.geometry, where), _read(planes.texture, where)], -1)
        both = torch.cat([planes.codes.geometry, planes.codes.texture], 1)
        said = self.material_head(features, where, both)
        return self._mixed(planes.codes, said, sharpness)


def _read(planes: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """The three planes (N, 3, C, R, R) at points (N, P, 3), bilinear, side by side: (N, P, 3 C)."""
    x, y, z = where.unbind(-1)
    at = torch.stack([torch.stack([x, y], -1), torch.stack([x, z], -1), torch.stack([y, z], -1)], 1)
    flat = F.grid_sample(
        planes.flatten(0, 1), at.flatten(0, 1)[:, None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return flat[:, :, 0].reshape(len(planes), 3 * planes.shape[2], where.shape[1]).transpose(1, 2)
