"""The textured generator whose shape's code is a coarse grid of cells, each of which tells what is in and around it.

A vector says everything about a whole shape at once, so that every slat of every chair has to be learned by itself.
Cells are decoded by convolutions, the same ones everywhere: what a slat is, is learned once. Codes on a grid for
distances: R. Chabra et al.: Deep Local Shapes, ECCV 2020, section 4; C. Jiang et al.: Local Implicit Grid
Representations for 3D Scenes, CVPR 2020, section 3; S. Peng et al.: Convolutional Occupancy Networks, ECCV 2020,
section 3. An autoencoder's grid of codes that another model then draws: R. Rombach et al.: High-Resolution Image
Synthesis with Latent Diffusion Models, CVPR 2022, section 3.1; here the other model is a GAN.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from .coded import MATERIAL_CHANNELS, TRUNCATION, CodedGenerator, Codes, Features, Mapping, PointHead, perceptron
from .judge import CellTrunk, Judge
from .volume_encoder import channels_to_cells

FINEST = 32
"""Cells of the grids that are encoded, along each axis, after `space_to_depth`."""
START = 4
"""Cells along each axis from which codes are drawn, and to which a critic reduces them."""

JUDGE = (32, 64)
"""Widths of the judge's convolutions, the last at so few cells."""


def shape_of(cells: int, symmetric: bool) -> tuple[int, int, int]:
    """Of a grid of cells along x, y, z: half as many along x, if shapes mirror themselves."""
    return (cells // 2 if symmetric else cells), cells, cells


class VolumeSynthesis(nn.Module):
    """Cells of a code → two feature volumes, each level twice as fine as the one before.

    Args:
        channels, cells: of the code.
        widths: at the cells themselves, at twice as many, …
    """

    def __init__(self, channels: int, cells: tuple[int, int, int], widths: Sequence[int]) -> None:
        super().__init__()
        self.channels, self.cells = channels, cells
        # Convolutions do not know where they are; cells are told.
        axes = [(torch.arange(n) + 0.5) * (2.0 / cells[-1]) - (1.0 if n == cells[-1] else 0.0) for n in cells]
        self.place: torch.Tensor
        self.register_buffer("place", torch.stack(torch.meshgrid(*axes, indexing="ij"))[None], persistent=False)
        self.enter = nn.Conv3d(channels + 3, widths[0], 3, padding=1)
        self.within = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(8, width), nn.LeakyReLU(0.2), nn.Conv3d(width, width, 3, padding=1))
            for width in widths[:-1]
        )
        self.after = nn.ModuleList(nn.GroupNorm(8, width) for width in widths[:-1])
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(before, after, 4, stride=2, padding=1) for before, after in itertools.pairwise(widths)
        )

    def forward(self, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, C · X · Y · Z) to the last level but one and the last: (N, widths[-2], …) and (N, widths[-1], …)."""
        grid = codes.unflatten(1, (self.channels, *self.cells))
        grid = fine = self.enter(torch.cat([grid, self.place.expand(len(grid), -1, -1, -1, -1).to(grid)], 1))
        for within, after, up in zip(self.within, self.after, self.up, strict=True):
            grid = F.leaky_relu(after(fine + within(fine)), 0.2)
            fine = up(grid)
        return grid.to(codes.dtype), fine.to(codes.dtype)


class Styled(nn.Module):
    """A convolution after which a style sets scale and shift of every normalised channel (Huang & Belongie 2017)."""

    def __init__(self, before: int, after: int, style: int, up: bool = False) -> None:
        super().__init__()
        self.convolution: nn.Module = (
            nn.ConvTranspose3d(before, after, 4, stride=2, padding=1) if up else nn.Conv3d(before, after, 3, padding=1)
        )
        self.style = nn.Linear(style, 2 * after)

    def forward(self, grid: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        scale, shift = self.style(style)[:, :, None, None, None].chunk(2, 1)
        return F.leaky_relu(torch.addcmul(shift, F.group_norm(self.convolution(grid).float(), 8), 1 + scale), 0.2)


def lively(network: nn.Sequential) -> nn.Sequential:
    """The same with weights that keep the spread of what goes in.

    K. He et al.: Delving Deep into Rectifiers, ICCV 2015, section 2.2. torch's own shrink it by half and more in each
    layer: all z would be drawn alike at first, and a generator that is told from shapes by that may stay so.
    """
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, 0.2)
            nn.init.zeros_(layer.bias)
    return network


class CellDrawer(nn.Module):
    """z → style → the cells of a code: a perceptron, a start of (2 or 4) × 4 × 4, and styled convolutions.

    They go up to half as many cells, each of which yields 2³ (W. Shi et al.: Real-Time Single Image and Video
    Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network, CVPR 2016, section 3.2): the finest
    level would cost most.

    Args:
        latent: length of z, and of what else is given.
        channels: of the code.
        widths: at 4 cells along an axis, at 8, …
        style, layers: width and depth of the perceptron.
        symmetric: as of the generator.
    """

    def __init__(
        self, latent: int, channels: int, widths: Sequence[int], style: int, layers: int, symmetric: bool
    ) -> None:
        super().__init__()
        self.begin = (widths[0], *shape_of(START, symmetric))
        self.mapping = nn.Sequential(lively(perceptron(latent, style, style, layers)), nn.LeakyReLU(0.2))
        self.start = nn.Linear(style, math.prod(self.begin))
        self.first = Styled(widths[0], widths[0], style)
        self.rest = nn.ModuleList()
        for before, after in itertools.pairwise(widths):
            self.rest += [Styled(before, after, style, up=True), Styled(after, after, style)]
        self.out = nn.Conv3d(widths[-1], 8 * channels, 3, padding=1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(N, latent) to (N, channels · X · Y · Z)."""
        style = self.mapping(z)
        # Weight gradients of so small a 16-bit convolution come out as NaN now and then on CPUs (torch 2.13).
        with torch.autocast(z.device.type, enabled=False):
            grid = F.leaky_relu(self.start(style.float()), 0.2).unflatten(1, self.begin)
            grid = self.first(grid, style.float())
        for layer in self.rest:
            grid = layer(grid, style)
        return channels_to_cells(self.out(grid).float()).flatten(1)


class PrincipalDrawer(nn.Module):
    """z → the cells of a code, as a sum of the principal directions of the codes of real shapes.

    Where parts stand together (both arms with the back, every leg with every stretcher) is a matter of the whole, which
    a perceptron learns within minutes; a few hundred directions hold nearly all of how codes differ. They were found
    once, and stay. Principal components of whole shapes: V. Blanz, T. Vetter: A Morphable Model for the Synthesis of 3D
    Faces, SIGGRAPH 1999, section 3; here of codes, drawn by a GAN instead of a normal distribution. What follows from
    the attributes of a shape by a linear map is taken off before, and put back.

    Args:
        latent: length of z, and of what else is given.
        code_size: of the cells together.
        components: how many directions.
        width, layers: of the perceptron.
        told: how many conditions are the last of what is given, see `Attributes`.
    """

    RIDGE = 0.1
    """Shapes' worth of nothing that every condition of the linear map is held back by: rare ones say little."""

    def __init__(self, latent: int, code_size: int, components: int, width: int, layers: int, told: int = 0) -> None:
        super().__init__()
        self.told = told
        self.layers = perceptron(latent, components, width, layers)
        self.directions: torch.Tensor
        self.scale: torch.Tensor
        self.linear: torch.Tensor
        self.register_buffer("directions", torch.zeros(components, code_size))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("linear", torch.zeros(told, code_size), persistent=told > 0)

    def follow(self, codes: torch.Tensor, conditions: torch.Tensor) -> None:
        """Take how codes (N, code_size), of mean zero, follow from conditions (N, told); the directions in which they
        differ most beyond that; and the scale of the first.

        With fewer codes than directions the last ones stay zero.
        """
        if self.told:
            normal = conditions.T @ conditions + self.RIDGE * torch.eye(self.told, device=codes.device)
            self.linear.copy_(torch.linalg.solve(normal, conditions.T @ codes))
        _, spread, directions = torch.linalg.svd(codes - conditions @ self.linear, full_matrices=False)
        count = min(len(self.directions), len(directions))
        self.directions[:count] = directions[:count]
        self.scale.fill_(float(spread[0]) / math.sqrt(len(codes)))

    def along(self, codes: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """(N, code_size) and (N, told) to what they are along the directions, (N, components)."""
        return (codes - conditions @ self.linear) @ self.directions.T / self.scale

    def across(self, along: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """(N, components) and (N, told) to the codes that are this along the directions, (N, code_size)."""
        return self.scale * along @ self.directions + conditions @ self.linear

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(N, latent) to (N, code_size)."""
        return self.across(self.layers(z), z[:, z.shape[1] - self.told :])


class Summary(nn.Module):
    """The mean of each block of cells, from a grid of cells to a small one: what there is of a shape, roughly."""

    def __init__(self, channels: int, cells: tuple[int, int, int], blocks: tuple[int, int, int]) -> None:
        super().__init__()
        self.grid, self.blocks = (channels, *cells), blocks
        self.size = channels * math.prod(blocks)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(N, channels · X · Y · Z) to (N, channels · blocks)."""
        return F.adaptive_avg_pool3d(codes.unflatten(1, self.grid), self.blocks).flatten(1)


class CellEncoder(nn.Module):
    """A grid of distances → means and log-variances of the cells of a code."""

    def __init__(self, channels: int, code_channels: int, cells: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        at, before = FINEST, channels
        while at > cells:
            at //= 2
            after = 2 * width if 2 * at == FINEST else 3 * before
            layers += [nn.Conv3d(before, after, 4, stride=2, padding=1), nn.GroupNorm(8, after), nn.LeakyReLU(0.2)]
            before = after
        layers += [nn.Conv3d(before, before, 3, padding=1), nn.GroupNorm(8, before), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Conv3d(before, 2 * code_channels, 1))

    def forward(self, grid: torch.Tensor) -> torch.Tensor:
        """(B, channels, 16 or 32, 32, 32) to (B, 2 · code_channels · X · Y · Z), means first."""
        return self.body(grid).flatten(1)


class LatentVolumeGenerator(CodedGenerator):
    """A shape's code is a grid of cells, of which feature volumes are made.

    Args:
        cells: along each axis of a code; along x half of them, if shapes mirror themselves.
        code_channels: numbers in each cell.
        widths: of the feature volumes at the cells, at twice as many, …; points read the last two.
        components: principal directions that codes are drawn along by a perceptron, see `PrincipalDrawer`; 0 draws by
            convolutions.
        drawer_widths: of these, at 4 cells along an axis, at 8, … up to half of `cells`.
        head_width: hidden width of the two point networks.
        mapping_width, mapping_layers: of the perceptrons before that, and from z to the code of a texture.
        others: as of `CodedGenerator`.
    """

    def __init__(
        self,
        latent_size: int = 192,
        texture_latent: int = 64,
        cells: int = 16,
        code_channels: int = 2,
        texture_code: int = 64,
        widths: Sequence[int] = (64, 32),
        components: int = 0,
        drawer_widths: Sequence[int] = (128, 96),
        head_width: int = 64,
        mapping_width: int = 256,
        mapping_layers: int = 4,
        symmetric: bool = True,
        classes: int = 1,
        palette: int = 6,
        mottled: bool = False,
        attributes: Sequence[tuple[str, Sequence[str]]] = (),
        rounds: int = 0,
        encoder_width: int = 16,
        judged: bool = False,
    ) -> None:
        if min(code_channels, texture_code, head_width, mapping_width, mapping_layers) < 1 or components < 0:
            raise ValueError("sizes must be positive, components not negative")
        if cells not in (8, 16):
            raise ValueError("cells must be 8 or 16")
        if len(widths) < 2:
            raise ValueError("there must be two or more widths")
        if not components and START * 2 ** len(drawer_widths) != cells:
            raise ValueError("there must be as many drawer_widths as lead from 4 to half the cells")
        if any(width < 1 or width % 8 for width in (*widths, *drawer_widths)):
            raise ValueError("widths must be multiples of 8")
        grid = shape_of(cells, symmetric)
        geometry_code = code_channels * math.prod(grid)
        summary = Summary(code_channels, grid, shape_of(START, symmetric))
        super().__init__(
            latent_size, texture_latent, geometry_code, texture_code, symmetric, classes, palette, rounds,
            summary, summary.size, mottled, attributes,
        )  # fmt: skip
        self.cells, self.code_channels = grid, code_channels
        known = texture_latent + self.given_size + summary.size
        surface = lively(perceptron(known, texture_code, mapping_width, mapping_layers))
        latent = self.noise_size + self.given_size
        drawer: nn.Module
        if components:
            drawer = PrincipalDrawer(
                latent, geometry_code, components, mapping_width, mapping_layers, self.attributes.size
            )
        else:
            drawer = CellDrawer(latent, code_channels, drawer_widths, mapping_width, mapping_layers, symmetric)
        self.geometry_mapping = Mapping(drawer, geometry_code)
        self.texture_mapping = Mapping(surface, texture_code)
        self.geometry_synthesis = VolumeSynthesis(code_channels, self.cells, widths)
        middle, last = widths[-2:]
        self.distance_head = PointHead(last, 0, head_width, 1)
        self.material_head = PointHead(middle + last, texture_code, head_width, palette + MATERIAL_CHANNELS)
        self.encoder = self.make_encoder(encoder_width) if rounds else None
        self.judge = self.make_judge() if judged else None

    @property
    def levels(self) -> int:
        return 1

    def make_encoder(self, width: int) -> CellEncoder:
        return CellEncoder(8, self.code_channels, self.cells[-1], width)

    def make_judge(self) -> Judge:
        return Judge(CellTrunk(self.code_channels, self.cells, JUDGE[-round(math.log2(self.cells[-1] // START)) :]))

    def shape_alone(self, codes: Codes) -> Features:
        coarse, fine = self.geometry_synthesis(codes.geometry)
        return Features(codes, fine, coarse)

    def synthesise(self, codes: Codes, late: Codes | None = None, crossover: int = 0) -> Features:
        return self.shape_alone(codes)  # points read what is of the texture from its code

    def distance(self, planes: Features, points: torch.Tensor) -> torch.Tensor:
        where = self._where(points)
        features = read(planes.geometry, where)
        return TRUNCATION * torch.tanh(self.distance_head(features, where)[..., 0])

    def mixture(
        self, planes: Features, points: torch.Tensor, sharpness: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        where = self._where(points)
        features = torch.cat([read(planes.geometry, where), read(planes.texture, where)], -1)
        said = self.material_head(features, where, planes.codes.texture)
        return self._mixed(planes.codes, said, sharpness)


def read(volume: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """A volume (N, C, X, Y, Z) at points (N, P, 3), trilinear: (N, P, C)."""
    at = where.flip(-1)[:, :, None, None]
    found = F.grid_sample(volume, at, mode="bilinear", padding_mode="border", align_corners=False)
    return found[:, :, :, 0, 0].transpose(1, 2)
