"""The tri-plane generator: a code becomes three feature planes, and points read distance and materials from them.

Tri-planes: E. R. Chan et al.: Efficient Geometry-aware 3D Generative Adversarial Networks, CVPR 2022, section 4.1; also
in GET3D (J. Gao et al. 2022, section 3.1). Generating an autoencoder's codes with a GAN: Z. Chen, H. Zhang:
Learning Implicit Fields for Generative Shape Modeling (IM-GAN), CVPR 2019, section 3.3.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from ..field import Field, Materials, lattice

TRUNCATION = 0.1
"""Distances are learned up to this far from the surface, in units of the cube (DeepSDF's δ)."""
MATERIAL_CHANNELS = 5  # sRGB base colour, roughness, metallic


class Mapping(nn.Module):
    """z → code, a perceptron whose output is spread like the codes it was trained to imitate."""

    def __init__(self, latent_size: int, code_size: int, width: int, layers: int) -> None:
        super().__init__()
        widths = [latent_size] + [width] * (layers - 1)
        body: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            body += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*body, nn.Linear(widths[-1], code_size))
        self.mean: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("mean", torch.zeros(code_size))
        self.register_buffer("scale", torch.ones(code_size))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(N, latent_size) to (N, code_size)."""
        return self.mean + self.scale * self.layers(z)


class PlaneSynthesis(nn.Module):
    """Code → three feature planes, 4² → … → R² by nearest upsampling and 3×3 convolutions, one set of weights for all
    three; what tells the planes apart is their own 4² start."""

    def __init__(self, code_size: int, channels: tuple[int, ...] | list[int]) -> None:
        super().__init__()
        self.first = channels[0]
        self.start = nn.Linear(code_size, 3 * channels[0] * 16)
        blocks: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            blocks += [
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.Conv2d(before, after, 3, padding=1),
                nn.GroupNorm(8, after),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        # The last planes are read linearly: no normalisation or rectifier after them.
        self.blocks = nn.Sequential(*blocks[:-2])

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(N, code_size) to (N, 3, C, R, R): planes (|x| or x, y), (x, z), (y, z); rows are the second axis."""
        count = len(codes)
        planes = self.start(codes).reshape(3 * count, self.first, 4, 4)
        # Channels last is a third faster for these shapes on CPUs, and no slower on CUDA.
        planes = self.blocks(F.leaky_relu(planes, 0.2).contiguous(memory_format=torch.channels_last))
        return planes.unflatten(0, (count, 3))


def _head(channels: int, width: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out)
    )


class TriplaneGenerator(nn.Module):
    """Codes → planes → distance, base colour, roughness, metallic anywhere, and the size in metres.

    Args:
        latent_size: length of z ~ N(0, 1).
        code_size: length of the code that the planes are made from.
        channels: widths of the plane synthesis at 4², 8², …; the last is the planes' own.
        head_width: hidden width of the two point networks.
        mapping_width, mapping_layers: of the perceptron z → code.
        symmetric: read |x| for x, so that every shape mirrors itself left to right.
    """

    def __init__(
        self,
        latent_size: int = 128,
        code_size: int = 128,
        channels: tuple[int, ...] | list[int] = (128, 96, 64, 48, 40),
        head_width: int = 64,
        mapping_width: int = 512,
        mapping_layers: int = 4,
        symmetric: bool = True,
    ) -> None:
        super().__init__()
        if min(latent_size, code_size, head_width, mapping_width, mapping_layers, *channels) < 1 or len(channels) < 2:
            raise ValueError("sizes must be positive, and there must be two or more plane widths")
        if any(width % 8 for width in channels):
            raise ValueError("plane widths must be multiples of 8")
        self.latent_size, self.code_size, self.symmetric = latent_size, code_size, symmetric
        self.mapping = Mapping(latent_size, code_size, mapping_width, mapping_layers)
        self.synthesis = PlaneSynthesis(code_size, channels)
        self.distance_head = _head(channels[-1], head_width, 1)
        self.material_head = _head(channels[-1], head_width, MATERIAL_CHANNELS)
        self.size_head = nn.Linear(code_size, 1)
        # The normalised planes say where; what holds for the whole shape, its palette above all, comes from the code.
        self.distance_code = nn.Linear(code_size, head_width, bias=False)
        self.material_code = nn.Linear(code_size, head_width, bias=False)

    def features(self, planes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Sum of the three planes at points, bilinear.

        Args:
            planes: (N, 3, C, R, R).
            points: (N, P, 3) in the cube.

        Returns:
            (N, P, C).
        """
        x, y, z = points.unbind(-1)
        if self.symmetric:
            x = 2.0 * x.abs() - 1.0  # the half space fills the planes' whole width
        where = torch.stack([torch.stack([x, y], -1), torch.stack([x, z], -1), torch.stack([y, z], -1)], 1)
        flat = F.grid_sample(
            planes.flatten(0, 1),
            where.flatten(0, 1)[:, None],
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )
        return flat[:, :, 0].unflatten(0, (-1, 3)).sum(1).transpose(1, 2)

    def distance(self, planes: torch.Tensor, codes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Signed distance (N, P) in units of the cube, in (−TRUNCATION, TRUNCATION), negative inside."""
        hidden = self.distance_head[0](self.features(planes, points)) + self.distance_code(codes)[:, None]
        return TRUNCATION * torch.tanh(self.distance_head[1:](hidden)[..., 0])

    def material(self, planes: torch.Tensor, codes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """(N, P, 5) in (0, 1): sRGB base colour, roughness, metallic."""
        hidden = self.material_head[0](self.features(planes, points)) + self.material_code(codes)[:, None]
        return torch.sigmoid(self.material_head[1:](hidden))

    def size_m(self, codes: torch.Tensor) -> torch.Tensor:
        """Longest side (N,) in metres."""
        return torch.exp(self.size_head(codes)[:, 0])

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(N, latent_size) to planes (N, 3, C, R, R)."""
        return self.synthesis(self.mapping(z))

    @torch.inference_mode()
    def fields(self, codes: np.ndarray, size_m: float) -> list[Field]:
        """The size is the network's own; `size_m` of the checkpoint is not needed."""
        device = next(self.parameters()).device
        mapped = self.mapping(torch.as_tensor(codes, device=device))
        return self.decode(mapped)

    @torch.inference_mode()
    def decode(self, mapped: torch.Tensor) -> list[Field]:
        """Fields of codes (N, code_size) that have been mapped, or encoded, already."""
        planes = self.synthesis(mapped)
        sizes = self.size_m(mapped)
        return [TriplaneField(self, planes[i : i + 1], mapped[i : i + 1], float(sizes[i])) for i in range(len(mapped))]


class TriplaneField:
    """One shape of a tri-plane generator, evaluated where it is asked for."""

    CHUNK = 1 << 16

    def __init__(self, generator: TriplaneGenerator, planes: torch.Tensor, code: torch.Tensor, size_m: float) -> None:
        self._generator, self._planes, self._code, self.size_m = generator, planes, code, size_m

    def values(self, resolution: int) -> np.ndarray:
        """Coarse to fine: a quarter of the resolution everywhere, the full one within reach of the surface."""
        coarse = resolution // 4
        if resolution % 4 or coarse < 32:
            return self._distance(lattice(resolution)).reshape((resolution,) * 3)
        far = self.values(coarse)
        values = far.repeat(4, 0).repeat(4, 1).repeat(4, 2)
        # Beyond this no surface can be inside the coarse cell or touch its neighbours; learned distances are not exact,
        # so the reach is twice what exact ones would need, within the truncation.
        reach = min(2.0 * np.sqrt(3.0) / coarse, 0.95 * TRUNCATION)
        near = (np.abs(far) < reach).repeat(4, 0).repeat(4, 1).repeat(4, 2)
        values[near] = self._distance(lattice(resolution)[near.reshape(-1)])
        return values

    def materials(self, points: np.ndarray) -> Materials:
        out = self._evaluate(self._generator.material, points)
        return Materials(out[:, :3].copy(), out[:, 3].copy(), out[:, 4].copy())

    def _distance(self, points: np.ndarray) -> np.ndarray:
        return self._evaluate(self._generator.distance, points)

    @torch.inference_mode()
    def _evaluate(self, function, points: np.ndarray) -> np.ndarray:
        device = self._planes.device
        chunks = [
            function(self._planes, self._code, torch.as_tensor(points[None, i : i + self.CHUNK], device=device))[0]
            .float()
            .cpu()
            for i in range(0, len(points), self.CHUNK)
        ]
        return torch.cat(chunks).numpy() if chunks else np.zeros(0, np.float32)
