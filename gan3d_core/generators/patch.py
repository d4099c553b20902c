"""The patch generator: charts, each a perceptron from a code and a place on the chart to a place in space.

T. Groueix, M. Fisher, V. G. Kim, B. C. Russell, M. Aubry: A Papier-Mâché Approach to Learning 3D Surface Generation
(AtlasNet), CVPR 2018, sections 4.1 and 5.2: K unit squares, or one sphere. What is ours: a chart begins as a patch of a
sphere, so that its outside has a meaning from the start, and there is no batch norm.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from ..field import Field
from ..representations import Surfaces
from .chart_field import ChartField
from .mesh_field import MeshField
from .template import spheres

TEMPLATES = ("square", "sphere")


class PatchGenerator(nn.Module):
    """Args:
    latent_size: length of z; 1024 in the paper, where it is an encoder's output.
    charts: how many; 25 in the paper. One where the template is a sphere.
    widths: of the hidden layers; (1026, 513, 256) in the paper.
    template: `square` or `sphere`.
    points: along each side of a square, or subdivisions of the icosahedron that the sphere is.
    start_radius: of the sphere that the charts begin as.
    """

    yields = Surfaces

    def __init__(
        self,
        latent_size: int = 128,
        charts: int = 25,
        widths: Sequence[int] = (256, 128, 64),
        template: str = "square",
        points: int = 10,
        start_radius: float = 0.6,
    ) -> None:
        super().__init__()
        if template not in TEMPLATES:
            raise ValueError(f"template must be one of {', '.join(TEMPLATES)}")
        if template == "sphere" and charts != 1:
            raise ValueError("a sphere is one chart")
        if not widths or min(latent_size, charts, *widths) < 1 or not 0 < start_radius < 1:
            raise ValueError("sizes must be positive, and start_radius between 0 and 1")
        if points < (2 if template == "square" else 0):
            raise ValueError("a square needs two or more points along a side")
        self.latent_size, self.charts, self.template = latent_size, charts, template
        if template == "sphere":
            sphere = spheres(points)[-1]
            place, start, faces = sphere.vertices[None], sphere.vertices[None], sphere.faces[None]
        else:
            place, start, faces = _squares(charts, points)
        # (K, M, 2 or 3), (K, M, 3) before the tanh, and (K · F, 3).
        self.register_buffer("place", torch.from_numpy(place), persistent=False)
        self.register_buffer("start", torch.from_numpy(start * start_radius).atanh(), persistent=False)
        offsets = np.arange(charts)[:, None, None] * place.shape[1]
        self.register_buffer("faces", torch.from_numpy((faces + offsets).reshape(-1, 3)), persistent=False)
        sizes = [place.shape[2] + latent_size, *widths, 3]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for before, after in itertools.pairwise(sizes):
            bound = 1 / math.sqrt(before)  # as torch begins its linear layers
            self.weights.append(torch.empty(charts, before, after).uniform_(-bound, bound))
            self.biases.append(torch.empty(charts, 1, after).uniform_(-bound, bound))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(N, latent_size) to vertices (N, K · M, 3) in the cube, chart after chart."""
        place, start = self.get_buffer("place"), self.get_buffer("start")
        own = place.shape[2]
        weight = self.weights[0]
        # The first layer's parts for the place and for the code meet only here.
        shared = codes @ weight[:, own:]  # (K, N, C)
        features = (place @ weight[:, :own] + self.biases[0])[:, None] + shared[:, :, None]  # (K, N, M, C)
        features = features.flatten(1, 2)
        for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            features = torch.baddbmm(bias, F.relu(features), weight)
        moved = features.unflatten(1, (len(codes), -1)).transpose(0, 1)  # (N, K, M, 3)
        return (start + moved.float()).tanh().flatten(1, 2)

    def represent(self, codes: torch.Tensor) -> Surfaces:
        """(N, latent_size) to meshes: open ones side by side, or one closed."""
        return Surfaces(self(codes), self.get_buffer("faces"))

    @torch.inference_mode()
    def fields(self, codes: np.ndarray, size_m: float) -> list[Field]:
        faces = self.get_buffer("faces")
        vertices = self(torch.as_tensor(codes, device=faces.device)).cpu().numpy()
        triangles = faces.cpu().numpy()
        if self.template == "sphere":
            return [MeshField(one, triangles, size_m) for one in vertices]
        chart = np.arange(len(triangles)) // (len(triangles) // self.charts)
        return [ChartField(one, triangles, chart, size_m) for one in vertices]


def _squares(charts: int, points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places (K, M, 2) in [0, 1]², where on a unit sphere they begin (K, M, 3), and the faces (1, F, 3) of each."""
    axis = np.linspace(0, 1, points)
    u, v = (each.reshape(-1) for each in np.meshgrid(axis, axis, indexing="ij"))
    # Directions spread evenly over the sphere along a spiral of golden angles; the squares about cover it.
    index = np.arange(charts)
    height = 1 - (2 * index + 1) / charts
    turn = index * math.pi * (3 - math.sqrt(5))
    level = np.sqrt(1 - height**2)
    towards = np.stack([level * np.cos(turn), level * np.sin(turn), height], -1)
    helper = np.where(np.abs(towards[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    right = np.cross(helper, towards)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    up = np.cross(towards, right)
    half = min(0.5 * math.sqrt(4 * math.pi / charts) * 1.1, 2.0)
    across = (2 * u - 1)[None, :, None] * half * right[:, None] + (2 * v - 1)[None, :, None] * half * up[:, None]
    start = towards[:, None] + across
    start /= np.linalg.norm(start, axis=-1, keepdims=True)
    a = (np.arange(points - 1)[:, None] * points + np.arange(points - 1)).reshape(-1)
    faces = np.concatenate([np.stack([a, a + points, a + points + 1], 1), np.stack([a, a + points + 1, a + 1], 1)])
    place = np.broadcast_to(np.stack([u, v], -1), (charts, points**2, 2))
    return place.astype(np.float32), start.astype(np.float32), faces[None]
