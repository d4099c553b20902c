"""The implicit generator: a perceptron that reads signed distance from a code and a point.

J. J. Park et al.: DeepSDF, CVPR 2019, section 4 and figure 4, as a generator: M. Kleineberg, M. Fey, F. Weichert:
Adversarial Generation of Continuous Implicit Shape Representations, Eurographics 2020 (short papers), section 3.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional as F  # noqa: N812

from ..field import Field, Materials, lattice
from ..representations import DISTANCE_BAND, Implicit
from . import precision
from .chunks import in_chunks, piecewise

OUTSIDE = 1.0
"""Distance beyond the sphere that a network was trained in."""
ROWS = 1 << 12
"""Points that pass through the layers together on a processor: 2 MB of 256 features in 16 bits."""
WHOLE = 1 << 15
"""Points with gradients up to which all that the layers compute is kept, and nothing computed again."""


def perceptron(before: int, width: int, layers: int, after: int) -> nn.Sequential:
    """Linear layers with ReLU between them and, where more follows, after the last."""
    widths = [before] + [width] * (layers - 1)
    body: list[nn.Module] = []
    for one in widths[:-1]:
        body += [nn.Linear(one, width), nn.ReLU()]
    return nn.Sequential(*body, nn.Linear(widths[-1], after))


class ImplicitGenerator(nn.Module):
    """[p, z] → `layers[0]` linear layers → [features, p, z] → `layers[1]` more → tanh: signed distance.

    Args:
        latent_size: length of z; 128 in the paper.
        width: of the hidden layers; 256 in the paper.
        layers: linear layers before z and p are fed again, and after; 4 and 4 in the paper.
        scale: what the tanh is multiplied by, the largest distance in units of the cube.
        sphere: radius beyond which everything is outside, for networks trained in a sphere only; 0 for none.
        start_radius: radius of a sphere whose distance is added before the tanh, so that training begins with it; 0, as
            published, begins without any surface.
        frequencies: octaves of waves that a point is given by besides its coordinates, the longest as long as the cube;
            0 as published. Without, a perceptron is long in learning what is thin (M. Tancik et al.: Fourier Features
            Let Networks Learn High Frequency Functions in Low Dimensional Domains, NeurIPS 2020).
        symmetric: left and right are mirror images: the network is given |x|.
    """

    yields = Implicit

    def __init__(
        self,
        latent_size: int = 128,
        width: int = 256,
        layers: tuple[int, int] | list[int] = (4, 4),
        scale: float = DISTANCE_BAND,
        sphere: float = 0.0,
        start_radius: float = 0.0,
        frequencies: int = 0,
        symmetric: bool = False,
    ) -> None:
        super().__init__()
        if min(latent_size, width, *layers) < 1 or len(layers) != 2 or scale <= 0 or min(sphere, start_radius) < 0:
            raise ValueError("sizes must be positive, and layers two numbers")
        if frequencies < 0:
            raise ValueError("frequencies must not be negative")
        self.latent_size, self.width = latent_size, width
        self.scale, self.sphere, self.start_radius = scale, sphere, start_radius
        first, second = layers
        self.symmetric = symmetric
        self.frequencies, self.place = frequencies, 3 * (1 + 2 * frequencies)
        self.layers1 = perceptron(self.place + latent_size, width, first, width)
        self.layers2 = perceptron(width + self.place + latent_size, width, second, 1)

    def forward(self, codes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """(N, latent_size) and (N, P, 3) to signed distances (N, P) within ±scale, negative inside.

        Under autocast the layers' products are 16-bit; coordinates are not, nor is what follows the last layer.
        """
        if points.stride(0) == 0:
            points = points[:1]  # a lattice that all shapes share
        out = self._products(codes, points)
        if self.start_radius:
            out = out + (points.norm(dim=-1) - self.start_radius) / self.scale
        distance = self.scale * torch.tanh(out)
        if self.sphere:
            distance = torch.where(points.norm(dim=-1) > self.sphere, OUTSIDE, distance)
        return distance

    def _products(self, codes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """All layers, (N, P), in float32 or finer. On a processor many points pass in parts that stay in its cache."""
        kind = codes.device.type
        function = functools.partial(self._layers, precision.wanted(codes))
        inputs = (points, codes, *self.layers1.parameters(), *self.layers2.parameters())
        rows = len(codes) * points.shape[1]
        with torch.autocast(kind, enabled=False):
            if kind != "cpu" or rows <= (WHOLE if torch.is_grad_enabled() else ROWS):
                return function(*inputs)
            return piecewise(function, max(1, ROWS // len(codes)), *inputs)

    def _layers(
        self, narrow: torch.dtype, points: torch.Tensor, codes: torch.Tensor, *parameters: torch.Tensor
    ) -> torch.Tensor:
        """All layers with the given weights and biases, in turn; wide products in the type `narrow`."""
        weights, biases = parameters[::2], parameters[1::2]
        again = (len(self.layers1) + 1) // 2  # the layer that is fed z and p again
        features: torch.Tensor | None = None
        points = self._placed(points)
        for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            if features is not None:
                features = torch.relu_(features)
            if features is None or index == again:
                features = self._fed(narrow, features, points, codes, weight, bias)
            else:
                features = F.linear(features, weight.to(narrow), bias.to(narrow))
        assert features is not None
        return features[..., 0].to(codes.dtype)

    def _placed(self, points: torch.Tensor) -> torch.Tensor:
        """(N, P, 3) points as the layers are given them: (N, P, place)."""
        if self.symmetric:
            points = torch.cat([points[..., :1].abs(), points[..., 1:]], -1)
        if not self.frequencies:
            return points
        octaves = 2.0 ** torch.arange(self.frequencies, device=points.device, dtype=points.dtype)
        phases = (torch.pi * points[..., None] * octaves).flatten(-2)
        return torch.cat([points, phases.sin(), phases.cos()], -1)

    def _fed(
        self,
        narrow: torch.dtype,
        features: torch.Tensor | None,
        points: torch.Tensor,
        codes: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
    ) -> torch.Tensor:
        """The layer of [features, p, z], or of [p, z]: W_f f + (W_p p + (W_z z + b)). W_z z + b is one for all points
        of a shape, W_p p one for all shapes where they share the points. `points` is (N or 1, P, place)."""
        own = weight.shape[1] - self.latent_size
        shared = F.linear(codes, weight[:, own:], bias).to(narrow)  # (N, width)
        out = F.linear(points, weight[:, own - self.place : own]).to(narrow) + shared[:, None]  # (N, P, width)
        if features is None:
            return out
        wide = weight[:, : own - self.place].to(narrow)
        return torch.addmm(out.flatten(0, 1), features.flatten(0, 1), wide.t()).unflatten(0, out.shape[:2])

    def represent(self, codes: torch.Tensor) -> Implicit:
        """(N, latent_size) to fields that are evaluated where they are asked for."""
        return Implicit(lambda points: self(codes, points).float(), len(codes), codes.device)

    @torch.inference_mode()
    def fields(self, codes: np.ndarray, size_m: float) -> list[Field]:
        device = next(self.parameters()).device
        every = torch.as_tensor(codes, device=device)
        return [ImplicitField(self, every[i : i + 1], size_m) for i in range(len(every))]


class ImplicitField:
    """One shape of an implicit generator."""

    FACTOR = 2
    COARSEST = 48
    """Cells below which everything is evaluated."""

    def __init__(self, generator: ImplicitGenerator, code: torch.Tensor, size_m: float) -> None:
        self._generator, self._code, self.size_m = generator, code, size_m

    def values(self, resolution: int) -> np.ndarray:
        """Coarse to fine: every second cell along each axis, then those where the sign may change nearby."""
        coarse = resolution // self.FACTOR
        if resolution % self.FACTOR or coarse < self.COARSEST:
            return self._evaluate(lattice(resolution)).reshape((resolution,) * 3)
        far = self.values(coarse)
        near = _near_a_change(far)
        values, near = (array.repeat(2, 0).repeat(2, 1).repeat(2, 2) for array in (far, near))
        values[near] = self._evaluate(lattice(resolution)[near.reshape(-1)])
        return values

    def materials(self, points: np.ndarray) -> Materials | None:
        return None

    def _evaluate(self, points: np.ndarray) -> np.ndarray:
        return in_chunks(functools.partial(self._generator, self._code), points, self._code.device)


def _near_a_change(values: np.ndarray) -> np.ndarray:
    """Cells within one of where the sign changes, or may between two cells: where a value is below its own change."""
    near = np.zeros(values.shape, bool)
    for axis in (0, 1, 2):
        turned, marks = np.swapaxes(values, 0, axis), np.swapaxes(near, 0, axis)
        low, high = turned[:-1], turned[1:]
        may = ((low < 0) != (high < 0)) | (np.minimum(np.abs(low), np.abs(high)) < np.abs(high - low))
        marks[:-1] |= may
        marks[1:] |= may
    return ndimage.binary_dilation(near)
