"""The textured generator: one code for the shape and one for its surface become feature planes; points read distance
and materials from them.

Two codes, two mapping networks, geometry and texture branches: J. Gao et al.: GET3D, NeurIPS 2022, section 3.1.
Tri-planes: E. R. Chan et al.: Efficient Geometry-aware 3D Generative Adversarial Networks, CVPR 2022, section 4.1.
Codes that set the scale and shift of every normalised layer: X. Huang, S. Belongie: Arbitrary Style Transfer in
Real-time with Adaptive Instance Normalization, ICCV 2017, equation 8.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from ..field import Field, Materials, lattice
from .chunks import in_chunks
from .volume_encoder import VolumeEncoder, space_to_depth

TRUNCATION = 0.1
"""Distances are learned up to this far from the surface, in units of the cube (DeepSDF's δ)."""
ENCODED = 64
"""Cells along each axis of the distances that are encoded."""
MATERIAL_CHANNELS = 5  # sRGB base colour, roughness, metallic
GRAIN = 0.1
"""How far a point's material may lie from the mixture of the palette."""
DECIDED = 4.0
"""How much more sharply parts are told apart in a texture than while they are learned, when shares need gradients."""


def reach(cells: int) -> float:
    """The distance at the centre of one of `cells`³ cells beyond which no surface is inside that cell or touches its
    neighbours. Learned distances are not exact, so it is twice what exact ones would need, within the truncation."""
    return min(2.0 * np.sqrt(3.0) / cells, 0.95 * TRUNCATION)


class Mapping(nn.Module):
    """z → code, a perceptron whose output is spread like the codes it was trained to imitate.

    Args:
        latent_size: length of z.
        code_size: length of the code.
        given: length of what else is known: the class, and for a texture the shape's code.
        width, layers: of the perceptron.
    """

    def __init__(self, latent_size: int, code_size: int, width: int, layers: int, given: int = 0) -> None:
        super().__init__()
        widths = [latent_size + given] + [width] * (layers - 1)
        body: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            body += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*body, nn.Linear(widths[-1], code_size))
        self.mean: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("mean", torch.zeros(code_size))
        self.register_buffer("scale", torch.ones(code_size))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(N, latent_size + given) to (N, code_size)."""
        return self.mean + self.scale * self.layers(z)

    def whiten(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes (N, code_size) with mean zero and spread one in every entry."""
        return (codes - self.mean) / self.scale


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


class PointHead(nn.Module):
    """What three planes say at a point, its coordinates and the code → values. Two hidden layers."""

    def __init__(self, features: int, code_size: int, width: int, out: int) -> None:
        super().__init__()
        self.features = nn.Linear(features + 3, width)
        self.code = nn.Linear(code_size, width, bias=False)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))

    def forward(self, features: torch.Tensor, points: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """(N, P, features), (N, P, 3), (N, code_size) to (N, P, out)."""
        return self.rest(self.features(torch.cat([features, points], -1)) + self.code(codes)[:, None])


class Palette(nn.Module):
    """The few materials of which a shape is made, and how a point is made of them.

    Furniture has a seat of one material and legs of another, and a smooth function of space lets them run into each
    other. Here a point's material is a mixture of a palette that its code decides, and a little of its own for grain;
    shares of a mixture can be made more decided afterwards, colours cannot.

    Args:
        code_size: length of the texture's code.
        entries: K, how many materials.
    """

    def __init__(self, code_size: int, entries: int) -> None:
        super().__init__()
        self.entries = entries
        last = nn.Linear(64, entries * MATERIAL_CHANNELS)
        self.layers = nn.Sequential(nn.Linear(code_size, 64), nn.ReLU(), last)
        nn.init.normal_(last.bias)  # entries that begin alike would be told apart late

    def forward(
        self, codes: torch.Tensor, said: torch.Tensor, sharpness: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Materials of points.

        Args:
            codes: (N, code_size).
            said: (N, P, K + 5) by a point network: logarithms of shares, and grain.
            sharpness: 1 mixes as learned, more decides for the largest share.

        Returns:
            materials (N, P, 5) in [0, 1], shares (N, P, K) that add up to one.
        """
        materials = torch.sigmoid(self.layers(codes)).unflatten(1, (self.entries, MATERIAL_CHANNELS))
        shares = torch.softmax(sharpness * said[..., : self.entries], -1)
        return (shares @ materials + GRAIN * torch.tanh(said[..., self.entries :])).clamp(0, 1), shares


@dataclasses.dataclass
class Codes:
    """What shapes are decoded from."""

    geometry: torch.Tensor
    """(N, geometry_code)."""
    texture: torch.Tensor
    """(N, texture_code)."""

    def __getitem__(self, index: slice | np.ndarray | torch.Tensor) -> Codes:
        return Codes(self.geometry[index], self.texture[index])

    def clone(self) -> Codes:
        """A copy that is an ordinary tensor, whatever mode this one was made in."""
        return Codes(self.geometry.clone(), self.texture.clone())

    def __len__(self) -> int:
        return len(self.geometry)


@dataclasses.dataclass
class Planes:
    """Codes with the planes made of them."""

    codes: Codes
    geometry: torch.Tensor
    """(N, 3, C, R, R)."""
    texture: torch.Tensor
    """(N, 3, C', R', R')."""

    def __getitem__(self, index: slice) -> Planes:
        return Planes(self.codes[index], self.geometry[index], self.texture[index])


class TexturedGenerator(nn.Module):
    """Codes → planes → distance, base colour, roughness, metallic anywhere, and the size in metres.

    z is (z of the geometry, z of the texture) ~ N(0, 1); the same geometry z with another texture z is the same shape
    with another surface.

    Args:
        latent_size: length of z, both parts together.
        texture_latent: length of its texture part, the last of it.
        geometry_code, texture_code: lengths of the codes.
        channels, texture_channels: widths of the two plane syntheses at 4², 8², …; the last is the planes' own.
        head_width: hidden width of the two point networks.
        mapping_width, mapping_layers: of the perceptrons z → code.
        symmetric: read |x| for x, so that every shape mirrors itself left to right.
        classes: how many categories it draws; with fewer than two it is not told.
        palette: how many materials a shape is mixed of, see `Palette`; 0 lets every point have any.
        rounds: how often a drawn shape is encoded and decoded again before it is given out; see `mend`.
        encoder_width: of the encoder that this needs.
    """

    CLASS_SIZE = 32

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
        rounds: int = 0,
        encoder_width: int = 16,
    ) -> None:
        super().__init__()
        sizes = (texture_latent, geometry_code, texture_code, head_width, mapping_width, mapping_layers)
        if min(*sizes, *channels, *texture_channels) < 1 or min(len(channels), len(texture_channels)) < 2:
            raise ValueError("sizes must be positive, and there must be two or more plane widths")
        if min(rounds, palette) < 0:
            raise ValueError("rounds and palette must not be negative")
        if latent_size <= texture_latent:
            raise ValueError("latent_size holds both parts of z and must be greater than texture_latent")
        if any(width % 8 for width in (*channels, *texture_channels)):
            raise ValueError("plane widths must be multiples of 8")
        self.latent_size, self.texture_latent, self.symmetric = latent_size, texture_latent, symmetric
        self.geometry_code, self.texture_code = geometry_code, texture_code
        both = geometry_code + texture_code
        geometry_latent = latent_size - texture_latent
        self.classes = classes
        self.class_code = nn.Embedding(classes, self.CLASS_SIZE) if classes > 1 else None
        label = self.CLASS_SIZE if classes > 1 else 0
        self.geometry_mapping = Mapping(geometry_latent, geometry_code, mapping_width, mapping_layers, label)
        known = label + geometry_code
        self.texture_mapping = Mapping(texture_latent, texture_code, mapping_width, mapping_layers, known)
        self.geometry_synthesis = PlaneSynthesis(geometry_code, channels)
        self.texture_synthesis = PlaneSynthesis(both, texture_channels)
        self.distance_head = PointHead(3 * channels[-1], geometry_code, head_width, 1)
        both_planes = 3 * (channels[-1] + texture_channels[-1])
        self.material_head = PointHead(both_planes, both, head_width, palette + MATERIAL_CHANNELS)
        self.palette = Palette(texture_code, palette) if palette else None
        self.size_head = nn.Linear(geometry_code, 1)
        self.rounds = rounds
        self.encoder = VolumeEncoder(8, geometry_code, encoder_width, symmetric) if rounds else None

    def map(self, z: torch.Tensor, label: torch.Tensor | None = None) -> Codes:
        """(N, latent_size) and the classes (N,) int64 to codes. No label is class 0."""
        given = []
        if self.class_code is not None:
            label = torch.zeros(len(z), dtype=torch.int64, device=z.device) if label is None else label
            given = [self.class_code(label)]
        geometry = self.geometry_mapping(torch.cat([z[:, : -self.texture_latent], *given], 1))
        # The texture is drawn for this shape: metal legs want a shape that has such legs.
        known = self.geometry_mapping.whiten(geometry)
        return Codes(geometry, self.texture_mapping(torch.cat([z[:, -self.texture_latent :], *given, known], 1)))

    @torch.no_grad()
    def mend(self, codes: Codes) -> Codes:
        """Lead drawn codes to where the shapes are that the planes were learned from: decode, encode, `rounds` times.

        Between the codes of its shapes an autoencoder has learned nothing, and bars break there. Its encoder takes what
        is almost a shape for the shape it almost is, so that a round trip goes towards the data (Y. Bengio et al.:
        Generalized Denoising Auto-Encoders as Generative Models, NeurIPS 2013, section 3). Only the geometry takes it.
        """
        if self.encoder is None:
            return codes
        for _ in range(self.rounds):
            mended = []
            for one in codes.geometry.split(1):
                # Distances ask for nothing of the texture.
                planes = Planes(Codes(one, codes.texture[:1]), self.geometry_synthesis(one), one[:0])
                values = TexturedField(self, planes, 1.0).values(ENCODED)
                right = values[ENCODED // 2 :] if self.symmetric else values
                grid = torch.as_tensor(right, device=one.device)[None]
                mended.append(self.encoder(space_to_depth(grid / TRUNCATION)).chunk(2, 1)[0])
            codes = Codes(torch.cat(mended), codes.texture)
        return codes

    @property
    def levels(self) -> int:
        """Crossovers between which styles can be mixed: the start and every style of the longer synthesis."""
        return 1 + max(len(self.geometry_synthesis.style), len(self.texture_synthesis.style))

    def synthesise(self, codes: Codes, late: Codes | None = None, crossover: int = 0) -> Planes:
        """Codes to planes; with `late`, the levels from `crossover` (1 … levels − 1) on take these codes."""
        both = torch.cat([codes.geometry, codes.texture], 1)
        if late is None:
            return Planes(codes, self.geometry_synthesis(codes.geometry), self.texture_synthesis(both))
        late_both = torch.cat([late.geometry, late.texture], 1)
        return Planes(
            codes,
            self.geometry_synthesis(codes.geometry, late.geometry, crossover),
            self.texture_synthesis(both, late_both, crossover),
        )

    def forward(self, z: torch.Tensor, label: torch.Tensor | None = None) -> Planes:
        """(N, latent_size) to planes."""
        return self.synthesise(self.map(z, label))

    def _where(self, points: torch.Tensor) -> torch.Tensor:
        """(N, P, 3) with x mirrored to one side and stretched over the planes' whole width."""
        if not self.symmetric:
            return points
        return torch.cat([2.0 * points[..., :1].abs() - 1.0, points[..., 1:]], -1)

    def distance(self, planes: Planes, points: torch.Tensor) -> torch.Tensor:
        """Signed distance (N, P) in units of the cube, in (−TRUNCATION, TRUNCATION), negative inside, at (N, P, 3)."""
        where = self._where(points)
        features = _read(planes.geometry, where)
        return TRUNCATION * torch.tanh(self.distance_head(features, where, planes.codes.geometry)[..., 0])

    def material(self, planes: Planes, points: torch.Tensor, sharpness: float = 1.0) -> torch.Tensor:
        """(N, P, 5) in [0, 1]: sRGB base colour, roughness, metallic, at (N, P, 3); see `Palette` for the sharpness."""
        return self.mixture(planes, points, sharpness)[0]

    def mixture(
        self, planes: Planes, points: torch.Tensor, sharpness: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Materials, and the shares (N, P, K) of the palette's that they are mixed of, if there is one."""
        where = self._where(points)
        features = torch.cat([_read(planes.geometry, where), _read(planes.texture, where)], -1)
        both = torch.cat([planes.codes.geometry, planes.codes.texture], 1)
        said = self.material_head(features, where, both)
        if self.palette is None:
            return torch.sigmoid(said), None
        return self.palette(planes.codes.texture, said, sharpness)

    def size_m(self, codes: Codes) -> torch.Tensor:
        """Longest side (N,) in metres."""
        return torch.exp(self.size_head(codes.geometry)[:, 0])

    @torch.inference_mode()
    def fields(self, codes: np.ndarray, size_m: float) -> list[Field]:
        """The size is the network's own; `size_m` of the checkpoint is not needed."""
        device = next(self.parameters()).device
        return self.decode(self.mend(self.map(torch.as_tensor(codes, device=device))))

    @torch.inference_mode()
    def decode(self, codes: Codes) -> list[Field]:
        """Fields of codes that have been mapped, or encoded, already."""
        planes, sizes = self.synthesise(codes), self.size_m(codes)
        return [TexturedField(self, planes[i : i + 1], float(sizes[i])) for i in range(len(codes))]


def _read(planes: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """The three planes (N, 3, C, R, R) at points (N, P, 3), bilinear, side by side: (N, P, 3 C)."""
    x, y, z = where.unbind(-1)
    at = torch.stack([torch.stack([x, y], -1), torch.stack([x, z], -1), torch.stack([y, z], -1)], 1)
    flat = F.grid_sample(
        planes.flatten(0, 1), at.flatten(0, 1)[:, None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return flat[:, :, 0].reshape(len(planes), 3 * planes.shape[2], where.shape[1]).transpose(1, 2)


class TexturedField:
    """One shape of a textured generator, evaluated where it is asked for."""

    def __init__(self, generator: TexturedGenerator, planes: Planes, size_m: float) -> None:
        self._generator, self._planes, self.size_m = generator, planes, size_m

    def values(self, resolution: int) -> np.ndarray:
        """Coarse to fine: a quarter of the resolution everywhere (half of it at 64³), the full one within reach of the
        surface. Of a generator that mirrors itself, the right half is evaluated and the left is its image."""
        left = resolution // 2 if self._generator.symmetric else 0
        step = 4 if resolution >= 128 else 2
        coarse = resolution // step
        if resolution % step or coarse < 32:
            right = lattice(resolution)[left * resolution**2 :]  # x is the slowest
            values = np.empty((resolution,) * 3, np.float32)
            values[left:] = self._distance(right).reshape(-1, resolution, resolution)
        else:
            far = self.values(coarse)
            values = far.repeat(step, 0).repeat(step, 1).repeat(step, 2)
            near = (np.abs(far) < reach(coarse)).repeat(step, 0).repeat(step, 1).repeat(step, 2)
            near[:left] = False
            values[near] = self._distance(lattice(resolution)[near.reshape(-1)])
        values[:left] = values[resolution - left :][::-1]
        return values

    def materials(self, points: np.ndarray) -> Materials:
        out = self._evaluate(functools.partial(self._generator.material, sharpness=DECIDED), points)
        return Materials(out[:, :3].copy(), out[:, 3].copy(), out[:, 4].copy())

    def _distance(self, points: np.ndarray) -> np.ndarray:
        return self._evaluate(self._generator.distance, points)

    def _evaluate(self, function, points: np.ndarray) -> np.ndarray:
        return in_chunks(lambda part: function(self._planes, part), points, self._planes.geometry.device)
