"""What generators share that decode textured shapes from codes: two mappings, a palette, fields, and mending.

Two codes, two mapping networks, geometry and texture branches: J. Gao et al.: GET3D, NeurIPS 2022, section 3.1.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from ..drawing import loose_share
from ..field import Field, Materials, lattice
from .attributes import Attributes
from .chunks import in_chunks
from .judge import Judge
from .solid_noise import solid_noise
from .volume_encoder import space_to_depth

TRUNCATION = 0.1
"""Distances are learned up to this far from the surface, in units of the cube (DeepSDF's δ)."""
ENCODED = 64
"""Cells along each axis of the distances that are encoded."""
MATERIAL_CHANNELS = 5  # sRGB base colour, roughness, metallic
GRAIN = 0.1
"""How far a point's material may lie from the mixture of the palette."""
MOST_MOTTLED = 0.25
"""The standard deviation of sRGB base colour where a material is as mottled as it can be."""
DECIDED = 4.0
"""How much more sharply parts are told apart in a texture than while they are learned, when shares need gradients."""


def reach(cells: int) -> float:
    """The distance at the centre of one of `cells`³ cells beyond which no surface is inside that cell or touches its
    neighbours. Learned distances are not exact, so it is twice what exact ones would need, within the truncation."""
    return min(2.0 * np.sqrt(3.0) / cells, 0.95 * TRUNCATION)


def perceptron(before: int, after: int, width: int, layers: int) -> nn.Sequential:
    """So many linear layers, with leaky rectifiers between them."""
    widths = [before] + [width] * (layers - 1)
    body: list[nn.Module] = []
    for narrow, wide in itertools.pairwise(widths):
        body += [nn.Linear(narrow, wide), nn.LeakyReLU(0.2)]
    return nn.Sequential(*body, nn.Linear(widths[-1], after))


class Mapping(nn.Module):
    """z → code, by layers whose output is spread like the codes they were trained to imitate.

    Args:
        layers: from z, and what else is known (the class, and for a texture the shape's code), to a standardised code.
        code_size: length of the code.
    """

    def __init__(self, layers: nn.Module, code_size: int) -> None:
        super().__init__()
        self.layers = layers
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


class PointHead(nn.Module):
    """What features say at a point, its coordinates and a code → values. Two hidden layers.

    Args:
        code_size: 0 if no code is told.
    """

    def __init__(self, features: int, code_size: int, width: int, out: int) -> None:
        super().__init__()
        self.features = nn.Linear(features + 3, width)
        self.code = nn.Linear(code_size, width, bias=False) if code_size else None
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))

    def forward(self, features: torch.Tensor, points: torch.Tensor, codes: torch.Tensor | None = None) -> torch.Tensor:
        """(N, P, features), (N, P, 3), (N, code_size) to (N, P, out)."""
        hidden = self.features(torch.cat([features, points], -1))
        return self.rest(hidden if self.code is None else hidden + self.code(codes)[:, None])


class Palette(nn.Module):
    """The few materials of which a shape is made, and how a point is made of them.

    Furniture has a seat of one material and legs of another, and a smooth function of space lets them run into each
    other. Here a point's material is a mixture of a palette that its code decides, and a little of its own for grain;
    shares of a mixture can be made more decided afterwards, colours cannot.

    Args:
        code_size: length of the texture's code.
        entries: K, how many materials.
        mottled: whether each also has its mottling, see `mottling`.
    """

    def __init__(self, code_size: int, entries: int, mottled: bool = False) -> None:
        super().__init__()
        self.entries = entries
        last = nn.Linear(64, entries * MATERIAL_CHANNELS)
        self.layers = nn.Sequential(nn.Linear(code_size, 64), nn.ReLU(), last)
        nn.init.normal_(last.bias)  # entries that begin alike would be told apart late
        self.mottle = nn.Sequential(nn.Linear(code_size, 64), nn.ReLU(), nn.Linear(64, entries)) if mottled else None

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

    def mottling(self, codes: torch.Tensor, shares: torch.Tensor) -> torch.Tensor | None:
        """The standard deviation (N, P) of base colour around its mean where shares (N, P, K) are, if it is mottled.

        Wood is lighter here and darker there by its own chance, which no code can hold, and a mean of that is plain.
        How much it varies can be held; where, `solid_noise` says.
        """
        if self.mottle is None:
            return None
        return (shares @ (MOST_MOTTLED * torch.sigmoid(self.mottle(codes) - 3.0))[..., None])[..., 0]


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
class Features:
    """Codes with what is made of them, from which points read: three planes of an image each, or one volume."""

    codes: Codes
    geometry: torch.Tensor
    """(N, 3, C, R, R), or (N, C, X, Y, Z)."""
    texture: torch.Tensor
    """(N, 3, C', R', R'), or (N, C', X', Y', Z')."""

    def __getitem__(self, index: slice) -> Features:
        return Features(self.codes[index], self.geometry[index], self.texture[index])


class CodedGenerator(nn.Module, abc.ABC):
    """Codes → features → distance, base colour, roughness, metallic anywhere, and the size in metres.

    z is (z of the geometry, z of the texture) ~ N(0, 1); the same geometry z with another texture z is the same shape
    with another surface. What is made of a shape's code, and how points read it, is its subclasses' own.

    Args:
        latent_size: length of z, both parts together, without what the attributes are drawn from.
        texture_latent: length of its texture part, the last of it.
        geometry_code, texture_code: lengths of the codes.
        symmetric: read |x| for x, so that every shape mirrors itself left to right.
        classes: how many categories it draws; with fewer than two it is not told.
        palette: how many materials a shape is mixed of, see `Palette`; 0 lets every point have any.
        mottled: whether the palette's materials are mottled.
        attributes: names and values of what it is told of a shape, see `Attributes`; drawn from the last numbers of z's
            geometry part, which is so much longer.
        rounds: how often a drawn shape is encoded and decoded again before it is given out; see `mend`.
        judged: whether its drawn shapes are judged, see `Judge`.
        summary, summary_size: from a shape's code to what its size and the drawing of its texture need of it; all of it
            by default.
    """

    CLASS_SIZE = 32

    geometry_mapping: Mapping
    texture_mapping: Mapping
    encoder: nn.Module | None
    judge: Judge | None

    def __init__(
        self,
        latent_size: int,
        texture_latent: int,
        geometry_code: int,
        texture_code: int,
        symmetric: bool,
        classes: int,
        palette: int,
        rounds: int,
        summary: nn.Module | None = None,
        summary_size: int = 0,
        mottled: bool = False,
        attributes: Sequence[tuple[str, Sequence[str]]] = (),
    ) -> None:
        super().__init__()
        if mottled and not palette:
            raise ValueError("what is mottled is a palette's materials: there must be a palette")
        if min(texture_latent, classes) < 1 or min(rounds, palette) < 0:
            raise ValueError("texture_latent and classes must be positive, rounds and palette not negative")
        if latent_size <= texture_latent:
            raise ValueError("latent_size holds both parts of z and must be greater than texture_latent")
        self.attributes = Attributes(attributes)
        self.latent_size, self.texture_latent = latent_size + self.attributes.size, texture_latent
        self.noise_size, self.symmetric = latent_size - texture_latent, symmetric
        self.geometry_code, self.texture_code = geometry_code, texture_code
        self.classes, self.rounds = classes, rounds
        self.class_code = nn.Embedding(classes, self.CLASS_SIZE) if classes > 1 else None
        self.given_size = (self.CLASS_SIZE if classes > 1 else 0) + self.attributes.size
        self.palette = Palette(texture_code, palette, mottled) if palette else None
        self.summary = summary or nn.Identity()
        self.size_head = nn.Linear(summary_size or geometry_code, 1)

    @property
    @abc.abstractmethod
    def levels(self) -> int:
        """Crossovers between which styles can be mixed, see `synthesise`; 1 where there are none."""

    @abc.abstractmethod
    def make_encoder(self, width: int) -> nn.Module:
        """An encoder from (N, 8, 16 or 32, 32, 32), the distances after `space_to_depth` and in units of TRUNCATION, to
        means and log-variances (N, 2 · geometry_code) of this generator's code of a shape."""

    @abc.abstractmethod
    def make_judge(self) -> Judge:
        """A judge of this generator's codes of shapes."""

    @abc.abstractmethod
    def shape_alone(self, codes: Codes) -> Features:
        """What distances need of `synthesise`; materials cannot be asked for."""

    @abc.abstractmethod
    def synthesise(self, codes: Codes, late: Codes | None = None, crossover: int = 0) -> Features:
        """Codes to features; with `late`, the levels from `crossover` (1 … levels − 1) on take these codes."""

    @abc.abstractmethod
    def distance(self, planes: Features, points: torch.Tensor) -> torch.Tensor:
        """Signed distance (N, P) in units of the cube, in (−TRUNCATION, TRUNCATION), negative inside, at (N, P, 3)."""

    @abc.abstractmethod
    def mixture(
        self, planes: Features, points: torch.Tensor, sharpness: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Materials, and the shares (N, P, K) of the palette's that they are mixed of, if there is one."""

    def _mixed(self, codes: Codes, said: torch.Tensor, sharpness: float) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What a point network said, as a mixture of the palette, if there is one."""
        if self.palette is None:
            return torch.sigmoid(said), None
        return self.palette(codes.texture, said, sharpness)

    def map(self, z: torch.Tensor, label: torch.Tensor | None = None) -> Codes:
        """(N, latent_size) and the classes (N,) int64 to codes. No label is class 0."""
        given = []
        if self.class_code is not None:
            label = torch.zeros(len(z), dtype=torch.int64, device=z.device) if label is None else label
            given = [self.class_code(label)]
        noise, own, surface = z.split([self.noise_size, self.attributes.size, self.texture_latent], 1)
        given.append(self.attributes(own))
        geometry = self.geometry_mapping(torch.cat([noise, *given], 1))
        # The texture is drawn for this shape: metal legs want a shape that has such legs.
        known = self.summary(self.geometry_mapping.whiten(geometry))
        return Codes(geometry, self.texture_mapping(torch.cat([surface, *given, known], 1)))

    @torch.no_grad()
    def mend(self, codes: Codes) -> tuple[Codes, list[float]]:
        """Lead drawn codes to where the shapes are that the planes were learned from: decode, encode, `rounds` times.

        Between the codes of its shapes an autoencoder has learned nothing, and bars break there. Its encoder takes what
        is almost a shape for the shape it almost is, so that a round trip goes towards the data (Y. Bengio et al.:
        Generalized Denoising Auto-Encoders as Generative Models, NeurIPS 2013, section 3). Only the geometry takes it.

        Returns:
            the codes, and how much of each shape was loose before, see `loose_share`.
        """
        loose = [0.0] * len(codes)
        if self.encoder is None:
            return codes, loose
        for turn in range(self.rounds):
            mended: list[torch.Tensor] = []
            for one in codes.geometry.split(1):
                features = self.shape_alone(Codes(one, codes.texture[:1]))
                values = TexturedField(self, features, 1.0).values(ENCODED)
                if not turn:
                    loose[len(mended)] = loose_share(values)
                right = values[ENCODED // 2 :] if self.symmetric else values
                grid = torch.as_tensor(right, device=one.device)[None]
                mended.append(self.encoder(space_to_depth(grid / TRUNCATION)).chunk(2, 1)[0])
            codes = Codes(torch.cat(mended), codes.texture)
        return codes, loose

    def forward(self, z: torch.Tensor, label: torch.Tensor | None = None) -> Features:
        """(N, latent_size) to planes."""
        return self.synthesise(self.map(z, label))

    def _where(self, points: torch.Tensor) -> torch.Tensor:
        """(N, P, 3) with x mirrored to one side and stretched over the planes' whole width."""
        if not self.symmetric:
            return points
        return torch.cat([2.0 * points[..., :1].abs() - 1.0, points[..., 1:]], -1)

    def material(self, planes: Features, points: torch.Tensor, sharpness: float = 1.0) -> torch.Tensor:
        """(N, P, 5) in [0, 1]: sRGB base colour, roughness, metallic, at (N, P, 3); see `Palette` for the sharpness."""
        materials, shares = self.mixture(planes, points, sharpness)
        if self.palette is None or shares is None:
            return materials
        amount = self.palette.mottling(planes.codes.texture, shares)
        if amount is None:
            return materials
        colour = materials[..., :3] + (amount * solid_noise(points))[..., None]
        return torch.cat([colour.clamp(0, 1), materials[..., 3:]], -1)

    def size_m(self, codes: Codes) -> torch.Tensor:
        """Longest side (N,) in metres."""
        return torch.exp(self.log_size(codes))

    def log_size(self, codes: Codes) -> torch.Tensor:
        """Its logarithm (N,)."""
        return self.size_head(self.summary(codes.geometry))[:, 0]

    @torch.inference_mode()
    def fields(self, codes: np.ndarray, size_m: float) -> list[Field]:
        """The size is the network's own; `size_m` of the checkpoint is not needed."""
        device = next(self.parameters()).device
        mended, loose = self.mend(self.map(torch.as_tensor(codes, device=device)))
        fields = self.decode(mended)
        for field, before, doubt in zip(fields, loose, self.doubts(mended), strict=True):
            field.loose_before, field.doubt = before, doubt
        return list(fields)

    @torch.inference_mode()
    def decode(self, codes: Codes) -> list[TexturedField]:
        """Fields of codes that have been mapped, or encoded, already."""
        planes, sizes = self.synthesise(codes), self.size_m(codes).tolist()
        return [TexturedField(self, planes[i : i + 1], sizes[i]) for i in range(len(codes))]

    @torch.no_grad()
    def doubts(self, codes: Codes) -> list[float]:
        """How far the judge would rather not show each of some mended codes; 0 for all without a judge."""
        if self.judge is None:
            return [0.0] * len(codes)
        return self.judge.doubts(self.geometry_mapping.whiten(codes.geometry))


class TexturedField:
    """One shape of a textured generator, evaluated where it is asked for.

    If it was drawn, `loose_before` and `doubt` say what `drawing.choose` asks.
    """

    def __init__(self, generator: CodedGenerator, planes: Features, size_m: float) -> None:
        self._generator, self._planes, self.size_m = generator, planes, size_m
        self.loose_before = self.doubt = 0.0

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
